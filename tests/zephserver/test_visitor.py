"""The client that users test their servers with, and the fixtures that pytest finds by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephserver.conftest import Site
from zephserver import Task
from zephserver.testing import RequestFailed, connect, server_of

MakeSite = Callable[..., Site]


class Echo(Task):
    """Answers."""

    async def main(self) -> None:
        """Reply."""
        self.reply(self.data)


class Shout(Task):
    """Says it to the room."""

    async def main(self) -> None:
        """Say."""
        self.say(self.data)


class Never(Task):
    """Fails."""

    def main(self) -> None:
        """Fail."""
        self.fail("no-luck", "not today")


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site(Echo, Shout, Never)


def test_a_visitor_is_who_it_says_and_gets_answers(site: Site) -> None:
    with connect(site.server, session="ann", room="lobby") as ann:
        assert (ann.user["username"], len(ann.cid) > 5) == ("ann", True)
        assert ann.request("Echo", {"a": [1]}) == {"a": [1]}


def test_a_request_that_fails_has_a_code_and_a_sentence(site: Site) -> None:
    with connect(site.server) as ann, pytest.raises(RequestFailed, match="Never: no-luck: not today") as failed:
        ann.request("Never")

    assert (failed.value.task, failed.value.code, failed.value.message) == ("Never", "no-luck", "not today")


def test_what_was_not_asked_for_stays_until_it_is(site: Site) -> None:
    with connect(site.server, session="ann", room="lobby") as ann, connect(site.server, session="bob") as bob:
        ann.send("Shout", "one")
        ann.send("Shout", "two", room="lobby")
        assert ann.hear(task="Shout", data="two")["room"] == "lobby"
        assert ann.hear(task="Shout")["data"] == "one"
        assert ann.hear(msgtype="user_list", timeout=5)["data"] == ["ann"]
        assert bob.so_far() == []


def test_what_was_sent_so_far_is_read_once(site: Site) -> None:
    with connect(site.server, session="ann", room="lobby") as ann:
        ann.request("Shout", "one")
        ann.send("Echo", "two")

        assert [message["data"] for message in ann.so_far(task="Shout")] == ["one"]
        assert [message["data"] for message in ann.so_far(task="Echo")] == ["two"]
        assert ann.so_far(task="Shout") == []


def test_a_message_that_does_not_come_is_an_assertion_that_shows_what_came(site: Site) -> None:
    with connect(site.server, session="ann") as ann:
        ann.send("Echo", "hello")
        ann.request("Echo")
        with pytest.raises(AssertionError, match=r"no message with task='Shout'.*'data': 'hello'"):
            ann.hear(task="Shout", timeout=0.01)


def test_a_server_that_hangs_up_is_told_with_its_code(site: Site) -> None:
    with connect(site.server, session="ann") as ann:
        site.service.disconnect_user("ann", "enough")
        with pytest.raises(AssertionError, match="the server hung up with 4004 enough"):
            ann.hear(task="Echo")


def test_headers_are_sent_and_a_refusal_is_told(make_site: MakeSite, doorkeeper: type) -> None:
    site = make_site(session_manager=doorkeeper)
    with connect(site.server, session="ann", headers={"Cookie": "key=k1"}):
        handshake, _ = doorkeeper.asked[0]  # type: ignore[attr-defined]
        assert handshake.cookies["key"] == "k1"


def test_a_server_on_a_unix_socket_can_be_visited(make_site: MakeSite, tmp_path: Path) -> None:
    site = make_site(Echo, HOST_ZEPH=f"unix:{tmp_path}/w")
    with connect(site.server, session="ann") as ann:
        assert ann.request("Echo", 1) == 1


def test_without_the_package_it_is_told_how_to_get_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websocket", None)

    with pytest.raises(ImportError, match=r"pip install 'zephserver\[testing\]'"):
        connect(site.server)


def test_the_server_of_a_folder_runs_beside_the_real_one(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "zephsettings.py").write_text(
        "SERVICE_LIST = []\nPORT_ZEPH = 1\nTASK_THREADS = 7\nLOG_LEVEL = 'INFO'\n"
    )
    path = list(sys.path)

    with server_of(tmp_path, LOG_LEVEL="DEBUG") as one, server_of(tmp_path) as other:
        assert (one.settings.log_level, other.settings.log_level) == ("DEBUG", "INFO")
        assert one.settings.task_threads == 7
        assert one.settings.folder == tmp_path
    assert sys.path == path
    assert [entry.name for entry in tmp_path.iterdir()] == ["zephsettings.py"]


def test_a_server_without_websockets_cannot_be_visited(make_site: MakeSite) -> None:
    site = make_site()
    site.server.services.disable_service("zephserver.websocket_client/WebsocketClient")
    site.service.address = None

    class Silent:
        def get_service(self, name: str) -> object:
            return site.service

    with pytest.raises(AssertionError, match="the server does not listen"):
        connect(Silent())  # type: ignore[arg-type]


# -- the plugin ---------------------------------------------------------------------------------------------------

TESTS = """
import pytest

@pytest.fixture
def zephserver_settings():
    return {"LEAVE_DELAY": 0}

def test_visit(running_server, visit, zephserver_folder):
    assert running_server.settings.leave_delay == 0
    assert zephserver_folder == running_server.settings.folder
    assert visit(session="ann").request("TaskPing") == "pong"
"""
SETTINGS = """\
SERVICE_LIST = ["zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
                "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
"""


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest in another process."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_pytest_finds_the_fixtures_by_itself(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / "zephsettings.py").write_text(SETTINGS)

    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_without_a_settings_file_the_fixture_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(running_server): pass\n")

    done = run_pytest(tmp_path)

    assert done.returncode == 1
    assert "there is no zephsettings.py above" in done.stdout


def test_a_pytest_that_does_not_use_the_fixtures_imports_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    found = {m for m in sys.modules if m.startswith('zephserver')}\n"
        "    assert found <= {'zephserver', 'zephserver.version', 'zephserver.pytest_plugin'}\n"
    )

    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout


def test_the_examples_of_the_page_pass(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "test.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, re.DOTALL)
    tmp_path.chmod(0o755)
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    (tmp_path / "zephsettings.py").write_text(SETTINGS + 'TASKS_PATH = {"double": "test_a_task/Double"}\n')

    done = run_pytest(tmp_path)

    assert "4 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("template", ["services", "chat", "poll"])
def test_the_tests_of_a_template_pass_where_it_was_copied(tmp_path: Path, template: str) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "zephctl", "new", template, str(tmp_path / "mine")], capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr

    done = run_pytest(tmp_path / "mine", "-W", "error")

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
