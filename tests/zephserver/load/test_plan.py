"""What a load is told, and what its clients say."""

from __future__ import annotations

import json

import pytest

from zephserver.load.plan import Plan, mark, number_in

PLAN = Plan(mode="echo", clients=3, seconds=1.0, host="127.0.0.1", port=8080, task="echo")


def test_a_plan_travels_as_a_line() -> None:
    assert Plan.read(PLAN.write()) == PLAN
    assert "\n" not in PLAN.write()


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"mode": "echo", "clients": 1, "seconds": 1, "more": 1}'])
def test_a_line_that_is_no_plan_is_refused(line: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        Plan.read(line)


def test_every_client_is_a_user_of_its_own() -> None:
    assert json.loads(PLAN.first_message(2)) == {"session_id": {"id": "bench-2", "username": "bench-2"}}


def test_a_token_and_a_room_are_said_first() -> None:
    plan = Plan(mode="fanout", clients=1, seconds=1.0, token="abc", room="lobby")

    assert json.loads(plan.first_message(0)) == {"session_id": "abc", "room": "lobby"}
    assert json.loads(plan.message(1))["room"] == "lobby"


def test_a_message_carries_its_number_and_is_as_long_as_asked_for() -> None:
    message = PLAN.message(17)

    assert number_in(message) == 17
    assert json.loads(message) == {"task": "echo", "data": {"text": mark(17).ljust(32, "x")}, "id": mark(17)}


@pytest.mark.parametrize("payload", [b"", b"{}", b"zb#", b"zb#12345678", b"zb#12345678x", b"zb#-00000001"])
def test_other_messages_have_no_number(payload: bytes) -> None:
    assert number_in(payload) is None


@pytest.mark.parametrize(
    ("where", "host"),
    [
        ({"host": "127.0.0.1", "port": 1}, "127.0.0.1:1"),
        ({"host": "::1", "port": 1}, "[::1]:1"),
        ({"unix": "x.sock"}, "localhost"),
    ],
)
def test_the_handshake_names_the_host(where: dict[str, object], host: str) -> None:
    plan = Plan(mode="echo", clients=1, seconds=1.0, path="/x?y=1", **where)  # type: ignore[arg-type]

    lines = plan.handshake().decode().split("\r\n")
    assert lines[:2] == ["GET /x?y=1 HTTP/1.1", f"Host: {host}"]
    assert lines[-2:] == ["", ""]
