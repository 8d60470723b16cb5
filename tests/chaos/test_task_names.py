"""Row C4: no name of a task leads anywhere but to the table, and what a client says of itself never wins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.askers import Asker, come_in, outcome
from tests.chaos.peers import Crowd
from tests.chaos.site import Site
from tests.scale import FULL

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 if FULL else 120)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]

WATCH = """
    import sys, threading
    from zephserver import Service, Task, user_passes_test
    from zephserver.core.command_table import command

    seen, watched = [], False
    telling = {"import", "exec", "compile", "os.system", "os.exec", "subprocess.Popen", "ctypes.dlopen"}

    def hook(event, args):
        if watched and event in telling:
            seen.append(f"{event} {args!r}"[:200])

    sys.addaudithook(hook)

    class Whoami(Task):
        async def main(self):
            user = self.request["user"]
            known = {name: self.request[name] for name in ("cid", "task", "room")}
            self.reply(known | {"user": [user.id, user.username], "names": sorted(self.request)})

    @user_passes_test(lambda user: None)
    class Undecided(Task):
        async def main(self):
            self.reply("let in")

    async def later(user):
        return True

    @user_passes_test(later)
    class Later(Undecided):
        pass

    class Watcher(Service):
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            self.over.wait()

        def disable(self):
            self.over.set()

        @command("watch")
        def watch(self) -> list:
            "Begin to note what is imported or run; what was seen so far."
            global watched
            watched = True
            return seen

        @command("pull")
        def pull(self) -> None:
            "Import something: what the hook is for."
            import colorsys
"""
WATCH_TASKS = """
SERVICE_LIST += ["watch/Watcher"]
TASKS_PATH = {
    "echo": "errands/Echo", "whoami": "watch/Whoami", "undecided": "watch/Undecided", "later": "watch/Later",
}
MESSAGE_RATE = None
"""
WRONG_NAMES: list[Any] = [
    "nosuch", "os/system", "os.system", "../x", "../../etc/passwd", "/etc/passwd", "__class__", "__init__", "main",
    "errands/Echo", "errands.Echo", "Echo", "echo ", " echo", "ECHO", "echo\0", "echo\n", "\0", "", "TASKS_PATH",
    "zephserver.task/TaskPing", "x" * 1_000_000, "\u202eohce", "éçho", "{0.__class__}", "%s%n", "$(id)", "`id`",
]  # fmt: skip
WRONG_KINDS: list[Any] = [["echo"], {"name": "echo"}, 7, 1.5, True]


def test_c4_no_name_of_a_task_leads_anywhere_but_to_the_table(folder: Folder, times: Times, figure: Figure) -> None:
    folder.write("watch.py", WATCH)
    site = Site(folder, WATCH_TASKS)
    site.echoes()
    assert folder.call("watch") == []

    with Crowd(site.port) as crowd:
        asker = Asker()
        come_in(crowd, [asker])
        rounds = int(times(3, 100))
        for turn in range(rounds):
            for name in [*WRONG_NAMES, *WRONG_KINDS]:
                asker.ask(name, f"{turn} {str(name)[:20]!r} {type(name)}")
            crowd.run(lambda turn=turn: len(asker.told) == (turn + 1) * len(WRONG_KINDS), "the wrong kinds", within=20)  # type: ignore[misc]
        asker.ask("echo", "last", "I am well")
        crowd.run(lambda: "last" in asker.answers, "the connection lives")

        assert {outcome([said]) for said in asker.told} == {"bad-message"}
        outcomes = Counter(outcome([said]) for id, answers in asker.answers.items() for said in answers if id != "last")
        assert outcomes == {"unknown-task": rounds * len(WRONG_NAMES)}
        assert asker.answers["last"][0]["data"] == "I am well"
        longest = max(len(json.dumps(said)) for answers in asker.answers.values() for said in answers)
    site.assert_quiet()
    assert folder.call("watch") == [], "a message made the server import or run something"
    folder.call("pull")
    assert [line for line in folder.call("watch") if "colorsys" in line], "the hook does not see imports"
    figure(f"{rounds * (len(WRONG_NAMES) + len(WRONG_KINDS)):,} names; 0 imports; longest answer {longest:,} bytes")


def test_c4_what_a_client_says_of_itself_never_wins_and_no_answer_is_a_no(folder: Folder) -> None:
    folder.write("watch.py", WATCH)
    site = Site(folder, WATCH_TASKS)
    lies = {
        "user": {"id": 1, "username": "root"}, "cid": "0" * 16, "authorized": True, "is_authenticated": True,
        "channel": None, "session_id": "root", "request": {"user": "root"}, "all": True, "except": None,
    }  # fmt: skip

    with Crowd(site.port) as crowd:
        liar = Asker({"id": 7, "username": "ann"}, user={"id": 1}, cid="f" * 16, room="den", authorized=True)
        come_in(crowd, [liar])
        liar.ask("whoami", 1, **lies)
        liar.ask("whoami", 2, room="of others")
        liar.ask("undecided", 3, **lies)
        liar.ask("later", 4, **lies)
        crowd.run(lambda: len(liar.answers) == 4, "the answers")
        told = liar.answers[1][0]["data"]

        assert told["user"] == [7, "ann"]
        assert told["cid"] == liar.welcome["cid"] != lies["cid"]
        assert told["room"] == "den"
        assert outcome(liar.answers[2]) == "access-denied", "it is not in that room"
        assert told["names"] == ["cid", "data", "room", "task", "user"]
        assert outcome(liar.answers[3]) == outcome(liar.answers[4]) == "access-denied"
