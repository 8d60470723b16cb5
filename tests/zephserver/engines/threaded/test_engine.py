"""The engine without compiled parts: what it reads, and the holes of the package below it, each closed.

What every engine does is in test_picows.py and tests/conformance; threads and limits are in test_threaded_limits.py.
"""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.cases import BINARY, TEXT, Frame, close, ping, text
from tests.conformance.peer import ACCEPT, Heard, Peer
from tests.conformance.test_fuzz import CODES, harmed
from tests.conformance.test_handshake import ACCEPTED, REFUSED, opening
from tests.conformance.test_limits import FATAL
from tests.zephserver.engines.stage import MIB, Notebook, Page, Stage, connection_threads
from zephserver.engines.handshake import LONGEST_HEAD
from zephserver.engines.interface import Connection
from zephserver.testing import wait_until


def ask(stage: Stage, request: bytes) -> Heard:
    """Send a request and hear the answer."""
    with Peer(stage.server) as peer:
        peer.send(request)
        return peer.read_answer()


@pytest.fixture(scope="module")
def echo() -> Iterator[Stage]:
    """A server that echoes, for tests that leave it as it was."""
    with Stage(Notebook(echoes=True)) as stage:
        yield stage


# -- the package below ------------------------------------------------------------------------------------------------


def run_python(code: str) -> str:
    """What a new Python says."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_package_does_not_set_up_the_logging_of_the_program() -> None:
    assert run_python("import logging, zephserver.engines.threaded.engine; print(logging.root.handlers)") == "[]"


@pytest.mark.parametrize(("engine", "other"), [("threaded", "picows"), ("picows", "websocket_server")])
def test_the_library_of_the_other_engine_is_not_imported(engine: str, other: str) -> None:
    made = run_python(
        "import sys\n"
        "from zephserver.core.settings import make_settings\n"
        "from zephserver.engines.factory import make_engine\n"
        f"engine = make_engine(make_settings({{'SERVICE_LIST': [], 'WEBSOCKET_ENGINE': {engine!r}}}), None)\n"
        f"print(type(engine).__name__, {other!r} in sys.modules)"
    )

    assert made == f"{engine.title()}Engine False"


# -- the opening ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=list(ACCEPTED))
def test_a_handshake_is_accepted(echo: Stage, request_: bytes) -> None:
    heard = ask(echo, request_)

    assert (heard.status, heard.headers.get("sec-websocket-accept")) == (101, ACCEPT)
    assert "sec-websocket-extensions" not in heard.headers


@pytest.mark.parametrize(("status", "request_"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_handshake_is_refused(echo: Stage, status: int, request_: bytes) -> None:
    heard = ask(echo, request_)

    assert (heard.status, heard.ending) == (status, "eof")


def test_a_refusal_is_heard_by_one_who_goes_on_talking(echo: Stage) -> None:
    heard = ask(echo, opening(line="POST / HTTP/1.1") + b"x" * 2_000_000)

    assert (heard.status, heard.ending) == (405, "eof")


def test_a_flood_of_headers_is_stopped_at_the_limit(echo: Stage) -> None:
    with Peer(echo.server) as peer:
        tracemalloc.start()
        try:
            peer.send(b"GET / HTTP/1.1\r\nX: ")
            for _ in range(60):
                peer.send(b"x" * MIB)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        peer.half_close()
        heard = peer.read_answer()

    assert heard.status == 431
    assert peak < 2 * MIB + 4 * LONGEST_HEAD  # the megabyte of the test, and what is made of it


def test_a_request_that_dribbles_is_cut_off_in_time() -> None:
    with Stage(Notebook(), HANDSHAKE_TIMEOUT=0.3) as stage, Peer(stage.server, limit=5.0) as peer:
        began = time.monotonic()
        for byte in opening()[:-1]:  # progress does not buy time
            peer.send(bytes([byte]))
            if peer.pump(lambda: peer.is_over, 0.01):
                break
        heard = peer.read_answer()
        took = time.monotonic() - began

    assert (heard.status, heard.ending) == (408, "eof")
    assert 0.25 < took < 4.0


def test_those_who_say_nothing_hold_no_thread_for_long() -> None:
    with Stage(Notebook(), HANDSHAKE_TIMEOUT=0.2) as stage, ExitStack() as stack:
        silent = [stack.enter_context(Peer(stage.server)) for _ in range(30)]
        for peer in silent:
            peer.pump(lambda: peer.is_over)  # noqa: B023 - it is called at once

        wait_until(lambda: not connection_threads(), "the threads are gone")

    assert {peer.heard.ending for peer in silent} == {"eof"}


def test_a_long_answer_reaches_one_who_has_ended_its_side(echo: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may need longer than the seconds that there are to read an answer, and after the end of one's side.
    monkeypatch.setattr("zephserver.engines.door.ANSWER_TIME", 60.0)
    monkeypatch.setattr("zephserver.engines.threaded.connection.CLOSE_TIME", 60.0)
    with Peer(echo.server, small_buffer=True, limit=60.0) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        peer.half_close()
        heard = peer.read_answer()

    assert (heard.status, len(heard.body), heard.ending) == (200, 16 * MIB, "eof")


# -- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length", [(1 << 31) - 1, 1 << 31, 8 << 30, (1 << 63) - 1, 1 << 63, (1 << 63) + 5, (1 << 64) - 1]
)
def test_a_giant_is_refused_by_its_head_and_costs_nothing(echo: Stage, length: int) -> None:
    tracemalloc.start()
    try:
        with Peer(echo.server) as peer:
            peer.open()
            peer.send(Frame(TEXT, length=length).encode()[:10])  # not even the mask
            peer.end()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peer.heard.code == (1009 if length < 1 << 63 else 1002)  # RFC 6455, 5.2: such a length has no 64th bit
    assert peak < 3 * MIB  # the peer reads a megabyte at once


def test_a_message_hidden_in_a_binary_frame_is_not_heard() -> None:
    notebook = Notebook()
    hidden = text(b"hidden").encode()
    with Stage(notebook) as stage, Peer(stage.server) as peer:
        peer.open()
        peer.send(Frame(BINARY, hidden, mask=bytes(4)).encode() + hidden)
        peer.end()

    assert peer.heard.code == 1003
    assert notebook.heard == []


@pytest.mark.parametrize("last", FATAL.values(), ids=list(FATAL))
def test_nothing_is_heard_after_the_connection_failed_or_closed(last: Frame) -> None:
    notebook = Notebook()
    with Stage(notebook) as stage, Peer(stage.server) as peer:
        peer.open()
        peer.send(text(b"before").encode())
        for frame in (last, text(b"late"), ping(), Frame(TEXT, b"later"), *[Frame(BINARY, b"latest")] * 3):
            peer.send(frame.encode())
        peer.half_close()
        peer.end()

    assert notebook.heard == ["before"]
    assert len(notebook.closed) == 1


def test_what_was_said_before_the_peer_went_away_is_heard() -> None:
    notebook = Notebook()
    with Stage(notebook) as stage:
        with Peer(stage.server) as peer:
            peer.open()
            for number in range(2_000):
                peer.send(text(b"%d" % number).encode())
            peer.send(close(4_321, b"bye").encode())
        wait_until(lambda: notebook.closed, "it is gone")

    assert notebook.heard == [str(number) for number in range(2_000)]
    assert notebook.closed == [(4_321, "bye")]


@settings(max_examples=60, deadline=None, database=None)
@given(data=st.data())
def test_a_harmed_script_harms_nobody_else(echo: Stage, data: st.DataObject) -> None:
    script = harmed(data)
    step = data.draw(st.sampled_from((len(script) or 1, 1 + len(script) // 7, 1 + len(script) // 30)))
    with echo.peers(2) as (witness, peer):
        for at in range(0, len(script), step):
            peer.send(script[at : at + step])
        peer.half_close()
        peer.pump(lambda: peer.is_over)
        witness.send(text(b"and you?").encode() + ping(b"?").encode())

        assert peer.heard.ending in ("eof", "reset")
        assert peer.heard.code in CODES
        assert not peer.heard.faults
        assert witness.pump(lambda: witness.heard.events == [("text", b"and you?"), ("pong", b"?")])


def test_a_fault_of_ours_closes_the_connection_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    notebook = Notebook(echoes=True)
    with Stage(notebook) as stage, stage.peers(2) as (peer, other):
        peer.send(text(b"raise").encode() + text(b"behind").encode())
        peer.end()
        other.send(text().encode())
        assert other.pump(lambda: bool(other.heard.events))

    assert (peer.heard.code, notebook.heard) == (1011, ["raise", "hello"])
    assert "a fault of ours" in caplog.text


def test_a_fault_of_ours_when_a_connection_opens_closes_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Notebook):
        def opened(self, connection: Connection) -> Page:
            raise ValueError("a fault of ours")

    with Stage(Broken()) as stage, Peer(stage.server) as peer:
        assert peer.open().status == 101
        peer.end()

    assert peer.heard.code == 1011
    assert "a fault of ours" in caplog.text
