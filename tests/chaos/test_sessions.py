"""Row D12: nobody is taken for somebody else, and a session that has ended ends its connections."""

from __future__ import annotations

import base64
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from tests.chaos.askers import Asker, come_in
from tests.chaos.peers import Crowd, room_for
from tests.chaos.site import Site
from tests.scale import FULL, at_most

if TYPE_CHECKING:
    from tests.chaos.conftest import Folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900 if FULL else 120)]
Times = Callable[[float, float], float]
Figure = Callable[[str], None]

SECRET = "the secret of the row, long enough to sign with the longest of the algorithms"
OTHER = "the secret of somebody else, which is long enough for all the algorithms too"
EXPIRED, REFUSED = 4002, 4003

TOKENS = f"""
TOKEN_SECRET = {SECRET!r}
MY_SESSION_HANDLER = "zephserver.session_manager/TokenSessionManager"
SERVICE_LIST = [MY_SESSION_HANDLER, *SERVICE_LIST[1:], "notes/Notes"]
TASKS_PATH = {{"echo": "errands/Echo", "note": "notes/Note"}}
"""
NOTES = """
    import threading
    from zephserver import Service, Task
    from zephserver.core.command_table import command

    noted = []

    class Note(Task):
        async def main(self):
            noted.append(self.request["user"].username)
            self.reply(self.request["user"].id)

    class Notes(Service):
        def __init__(self):
            self.over = threading.Event()

        def main(self):
            self.over.wait()

        def disable(self):
            self.over.set()

        @command("noted")
        def noted(self) -> list:
            "The users whose task ran."
            return noted
"""


def token(secret: str = SECRET, algorithm: str | None = "HS256", header: Any = None, **claims: Any) -> str:
    """A token for ann, or as the claims say; None takes a claim out."""
    now = time.time()
    full = {"sub": "ann", "iat": int(now), "exp": int(now) + 600} | claims
    return jwt.encode({name: claim for name, claim in full.items() if claim is not None}, secret, algorithm, header)


def part(value: Any) -> str:
    """A part of a token, as its bytes travel."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(chance: random.Random, mutations: int) -> list[Any]:
    """What is no good token."""
    head, body, signature = token().split(".")
    root = part({"sub": "root", "exp": 2**31})
    rows: list[Any] = [
        None, "", "x", "..", "a.b.c", "\0", "é" * 100, "." * 1_000, 7, True, 1.5, [token()], {"id": "ann"},
        {"token": token()}, f"Bearer {token()}", f"{token()}x", f" {token()}", f"{token()}\n", token()[:-5], 
        f"{head}.{body}.", f"{head}.{body}",
        f"{head}.{root}.{signature}", f"{part({'alg': 'none', 'typ': 'JWT'})}.{root}.",
        f"{part({'alg': 'None'})}.{root}.{signature}", f"{part({'alg': 'nOnE'})}.{body}.{signature}",
        f"{part({'typ': 'JWT'})}.{body}.{signature}", f"{part({'alg': ['HS256']})}.{body}.{signature}",
        f"{part([])}.{body}.{signature}", f"{head}.{part([])}.{signature}", f"{part('[' * 5_000)}.{body}.{signature}",
        token(OTHER), token("\0" * 64), token(SECRET.upper()), token(algorithm="HS384"), token(algorithm="HS512"),
        token(OTHER, header={"jwk": {"kty": "oct", "k": part(OTHER)}}), token(OTHER, header={"kid": "../../dev/null"}),
        token(sub=None), token(sub=""), token(sub="a\nb"), token(sub="x" * 256), token(exp=None), token(exp="soon"),
        token(nbf=2**31), token(id=True), token(id=[1]), token(id={}), token(name=7), token(name=""),
        token(name="a\x1bb"),
        token(header={"crit": ["b64"], "b64": False}),
    ]  # fmt: skip
    for _ in range(mutations):
        good = token()
        at = chance.randrange(len(good) - 1)  # the last letter has bits that do not count
        other = chance.choice([letter for letter in "ABCxyz019-_.=" if letter != good[at]])
        rows.append(good[:at] + other + good[at + 1 :])
    return rows


def test_d12_forged_and_expired_tokens_open_nothing(
    folder: Folder, chance: random.Random, times: Times, figure: Figure
) -> None:
    folder.write("notes.py", NOTES)
    site = Site(folder, TOKENS)
    now = int(time.time())
    bad = forged(chance, int(times(300, 10_000)))
    late = [token(exp=now - seconds) for seconds in (10, 3_600, 10**9)] + [token(exp=0)]
    first = {"task": "note", "id": 1, "room": "lobby"}
    askers = [Asker(each, **first) for each in [*bad, *late]]
    # The header counts only when the message has nothing.
    askers.append(Asker("x", f"Authorization: Bearer {token()}", **first))
    askers.append(Asker(None, f"Authorization: Bearer {token(OTHER)}", **first))

    with Crowd(site.port) as crowd:
        crowd.play(iter(askers), 100, lambda peer: False, within=300)
        good = [Asker(token(sub="ann"), **first), Asker(None, f"Authorization: Bearer {token(sub='bob')}", **first)]
        come_in(crowd, good)
        crowd.run(lambda: all(asker.answers for asker in good), "good tokens are good")

        assert [[said.get("data") for said in asker.answers[1]] for asker in good] == [["ann"], ["bob"]]
    wrong = [(asker.first["session_id"], asker.code) for asker in askers if asker.welcome or asker.answers]
    assert not wrong
    codes = Counter(asker.code for asker in askers)
    assert codes == {REFUSED: len(bad) + 2, EXPIRED: len(late)}, [a.first for a in askers if not a.code]
    assert folder.call("noted") == ["ann", "bob"], "a task ran for somebody who was not let in"
    assert not [each for each in bad if isinstance(each, str) and len(each) > 100 and each in folder.log]
    site.assert_quiet()
    figure(f"{len(bad) + 2:,} forged tokens refused, {len(late)} expired")


COOKIES = """
    import random, threading, time
    from zephserver import Task
    from zephserver.core.command_table import command
    from zephserver.session_manager import SimpleSessionManager, User

    class Cookies(SimpleSessionManager):
        def __init__(self):
            super().__init__()
            self.sessions = {f"key-{number}": User(number, f"user-{number}") for number in range(10_000)}

        def get_user_session(self, instance, message):
            user = self.sessions.get(instance.cookies.get("sessionid"))
            time.sleep(random.uniform(0.0, 0.005))
            return user

        def is_valid(self, instance, user):
            return self.sessions.get(instance.cookies.get("sessionid")) == user

        @command("log-out")
        def log_out(self, first: int, last: int) -> None:
            "These users have no session any more."
            for number in range(first, last):
                del self.sessions[f"key-{number}"]

    class Who(Task):
        concurrent = True

        def __init__(self, request):
            super().__init__(request)
            self.user = request["user"]

        def main(self):
            time.sleep(random.uniform(0.0, 0.004))
            self.reply([self.user.id, self.user.username, self.data])
            self.say([self.user.id, self.data], users=[self.user.id], task="private")
"""
COOKIE_SESSIONS = """
MY_SESSION_HANDLER = "cookies/Cookies"
SERVICE_LIST = [MY_SESSION_HANDLER, *SERVICE_LIST[1:]]
TASKS_PATH = {"echo": "errands/Echo", "who": "cookies/Who"}
MESSAGE_RATE = None
TASK_THREADS = 16
"""


def browser(number: int, *, key: str | None = None, **first: Any) -> Asker:
    """A user with a cookie, who says in the message to be another one."""
    cookie = f"Cookie: theme=dark; sessionid={key if key is not None else f'key-{number}'}; lang=fr"
    return Asker({"id": number + 1, "username": f"user-{number + 1}"}, cookie, **first)


def test_d12_a_user_who_logs_out_is_closed_in_time_and_nobody_else(
    folder: Folder, times: Times, figure: Figure
) -> None:
    interval, users = times(0.5, 5.0), int(times(40, 400))
    folder.write("cookies.py", COOKIES)
    site = Site(folder, COOKIE_SESSIONS + f"SESSION_CHECK_INTERVAL = {interval}")

    with Crowd(site.port) as crowd:
        wrong_keys = ["", "key-", "key-99999", "key-1 key-2", "KEY-1", "key-1%00", '"', "None", "../key-1"]
        strangers = [browser(1, key=key) for key in wrong_keys] + [Asker("key-1"), Asker("key-1", "Cookie: id=key-1")]
        crowd.play(iter(strangers), 20, lambda peer: False)
        here = [browser(number) for number in range(users)]
        come_in(crowd, here)
        looked_at_twice = time.monotonic() + 2 * interval
        crowd.run(lambda: time.monotonic() > looked_at_twice, "their sessions are good")
        assert not [asker for asker in here if asker.is_over]

        folder.call("log-out", first=0, last=users // 2)
        began = time.monotonic()
        gone, rest = here[: users // 2], here[users // 2 :]
        crowd.run(lambda: all(asker.is_over for asker in gone), "those who logged out are closed")
        slowest = max(asker.ended for asker in gone) - began
        for asker in rest:
            asker.ask("who", 1)
        crowd.run(lambda: all(asker.answers for asker in rest), "the others are still there")
        again = [browser(number) for number in range(users // 2)]
        crowd.play(iter(again), 20, lambda peer: False)

    assert {asker.code for asker in [*strangers, *gone, *again]} == {REFUSED}
    assert not [asker for asker in [*strangers, *again] if asker.welcome]
    assert slowest <= at_most(interval + interval / 4 + 1.0), (
        "the interval, a step of the look-out, and a moment to close"
    )
    site.assert_quiet()
    figure(f"{users // 2} of {users} users logged out; closed after {slowest:.2f} s at most, interval {interval:g} s")


def test_d12_a_thousand_users_on_16_threads_never_get_an_answer_of_another(
    folder: Folder, times: Times, chance: random.Random, figure: Figure
) -> None:
    users, each = room_for(int(times(200, 1_000))), int(times(5, 50))
    folder.write("cookies.py", COOKIES)
    site = Site(folder, COOKIE_SESSIONS + "SESSION_CHECK_INTERVAL = 1.0\nTASK_QUEUE = 20_000")

    with Crowd(site.port) as crowd:
        askers = [browser(number, room=f"room-{number % 7}") for number in range(users)]
        come_in(crowd, askers)
        nonces = {asker: [chance.getrandbits(64) for _ in range(each)] for asker in askers}
        for turn in range(each):
            chance.shuffle(askers)
            for asker in askers:
                asker.ask("who", nonces[asker][turn], nonces[asker][turn])
            crowd.turn(0.0)
        seconds = crowd.run(
            lambda: all(len(asker.answers) == each and privates(asker) == each for asker in askers),
            "every request is answered, and said in private",
            within=300,
        )

        for asker in askers:
            user = asker.welcome["user"]
            assert f"sessionid=key-{user['id']};".encode() in asker.request, f"{user} with {asker.request!r}"
            assert set(asker.answers) == set(nonces[asker])
            for id, answers in asker.answers.items():
                assert [said["data"] for said in answers] == [[user["id"], user["username"], id]]
            assert {said["data"][0] for said in asker.told if said.get("task") == "private"} == {user["id"]}
            assert not [said for said in asker.told if "error" in said]
    site.assert_quiet()
    figure(f"{users:,} users, {users * each:,} answers, 0 of them another's, in {seconds:.1f} s")


def privates(asker: Asker) -> int:
    """How many messages were for this user only."""
    return sum(said.get("task") == "private" for said in asker.told)
