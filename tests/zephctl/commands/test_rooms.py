"""zephctl rooms: list, show, say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.zephctl.commands.conftest import NASTY, NASTY_SHOWN, tasks_heard
from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import Site
from zephctl.app import ANSWERED_BY

Zephctl = Callable[..., Answer]

EVERY_VERB = [["list"], ["show", "lobby"], ["say", "lobby", "chat"]]


def lines(answer: Answer) -> list[str]:
    """What is seen on the terminal."""
    return [line.rstrip() for line in answer.stdout.splitlines()]


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_in_json_has_the_promised_shape(zephctl: Zephctl, site: Site) -> None:
    site.join("ann", "lobby")
    site.join("ann", "lobby")
    site.join("bob", "news")

    answer = zephctl("rooms", "list", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1,
        "rooms": [{"name": "lobby", "users": 1, "connections": 2}, {"name": "news", "users": 1, "connections": 1}],
    }
    assert list(answer.json["rooms"][0]) == ["name", "users", "connections"]


def test_list_in_lines_for_programs(zephctl: Zephctl, site: Site) -> None:
    site.join("ann", "lobby")
    site.join("bob", "news")

    assert zephctl("rooms", "list") == Answer(0, "lobby\t1\t1\nnews\t1\t1\n", "")
    assert zephctl("rooms", "list", "-o", "name") == Answer(0, "lobby\nnews\n", "")
    assert zephctl("rooms", "list", "-o", "jsonl").stdout == (
        '{"name": "lobby", "users": 1, "connections": 1}\n{"name": "news", "users": 1, "connections": 1}\n'
    )


def test_list_on_a_terminal(zephctl: Zephctl, site: Site) -> None:
    site.join("ann", "lobby")

    answer = zephctl("rooms", "list", "--color", "never", terminal=Terminal())

    assert lines(answer) == [
        "NAME    USERS   CONNECTIONS",
        "───────────────────────────",
        "lobby       1             1",
    ]


def test_a_list_of_no_rooms_is_a_word_on_a_terminal_and_nothing_in_a_pipe(zephctl: Zephctl, site: Site) -> None:
    site.join("ann", None)

    assert zephctl("rooms", "list", terminal=Terminal()) == Answer(0, "", "no rooms\n")
    assert zephctl("rooms", "list", "-q", terminal=Terminal()) == Answer(0, "", "")
    assert zephctl("rooms", "list") == Answer(0, "", "")
    assert zephctl("rooms", "list", "-o", "json").json == {"schema": 1, "rooms": []}


def test_the_address_of_a_page_is_a_room_that_fits_the_terminal(zephctl: Zephctl, site: Site) -> None:
    room = "https://example.org/" + "long/" * 30
    site.join("ann", room)

    answer = zephctl("rooms", "list", "--color", "never", terminal=Terminal())

    assert max(map(len, lines(answer))) <= 80
    assert "".join(line[:58].strip() for line in lines(answer)[2:]).startswith("https://example.org/long/")
    assert zephctl("rooms", "list", "-o", "name").stdout == f"{room}\n"


@pytest.mark.parametrize("mode", ["table", "plain", "json", "jsonl", "name"])
def test_names_that_speak_to_a_terminal_are_escaped(zephctl: Zephctl, site: Site, mode: str) -> None:
    site.join({"id": 1, "username": NASTY}, NASTY)

    listed = zephctl("rooms", "list", "-o", mode, "--color", "never", terminal=Terminal())
    shown = zephctl("rooms", "show", NASTY, "-o", mode, "--color", "never", terminal=Terminal())

    assert (listed.status, shown.status) == (0, 0)
    for answer in (listed, shown):
        assert "\x1b" not in answer.stdout
        assert "\u202e" not in answer.stdout
    if mode == "json":
        assert listed.json["rooms"][0]["name"] == shown.json["users"][0] == NASTY
    else:
        assert json.dumps(NASTY) in listed.stdout if mode == "jsonl" else NASTY_SHOWN in listed.stdout


# -- show ---------------------------------------------------------------------------------------------------------


def test_show_in_json_has_everything(zephctl: Zephctl, site: Site) -> None:
    first, second, bob = site.join("ann"), site.join("ann"), site.join("bob")

    answer = zephctl("rooms", "show", "lobby", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1,
        "name": "lobby",
        "users": ["ann", "bob"],
        "cids": [first.cid, second.cid, bob.cid],
        "servers": {site.server.settings.cluster_node: 3},
        "epoch": None,
        "offset": None,
    }
    assert list(answer.json) == ["schema", "name", "users", "cids", "servers", "epoch", "offset"]


def test_show_for_people(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join("ann"), site.join("bob")

    plain = zephctl("rooms", "show", "lobby")
    table = zephctl("rooms", "show", "lobby", "--color", "never", terminal=Terminal())

    cids, node = f"{ann.cid}, {bob.cid}", site.server.settings.cluster_node
    assert plain == Answer(
        0, f"name\tlobby\nusers\tann, bob\ncids\t{cids}\nservers\t2 {node}\nepoch\t-\noffset\t-\n", ""
    )
    assert lines(table) == [
        "name     lobby",
        "users    ann, bob",
        f"cids     {cids}",
        f"servers  2 {node}",
        "epoch    -",
        "offset   -",
    ]


def test_show_by_name_and_in_jsonl(zephctl: Zephctl, site: Site) -> None:
    site.join("ann")

    assert zephctl("rooms", "show", "lobby", "-o", "name").stdout == "lobby\n"
    assert zephctl("rooms", "show", "lobby", "-o", "jsonl").json["users"] == ["ann"]


def test_show_tells_the_place_of_the_newest_message_of_a_room_that_remembers(
    zephctl: Zephctl, open_site: Callable[..., Site]
) -> None:
    open_site(ROOM_HISTORY={"lob*": (10, 60.0)}).join("ann")
    zephctl("rooms", "say", "lobby", "chat", "1")
    zephctl("rooms", "say", "lobby", "chat", "2")

    room = zephctl("rooms", "show", "lobby", "-o", "json").json

    assert room["offset"] == 2
    assert isinstance(room["epoch"], str)
    assert zephctl("rooms", "show", "lobby").stdout.endswith(f"epoch\t{room['epoch']}\noffset\t2\n")


@pytest.mark.parametrize("room", ["nope", ""])
def test_a_room_that_nobody_is_in_is_exit_4(zephctl: Zephctl, site: Site, room: str) -> None:
    answer = zephctl("rooms", "show", room)

    assert answer == Answer(4, "", f"zephctl: nobody is in a room named '{room}'; see: zephctl rooms list\n")


def test_a_room_that_nobody_is_in_is_an_error_in_json(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("rooms", "show", "nope", "-o", "json")

    assert (answer.status, answer.stdout) == (4, "")
    assert json.loads(answer.stderr) == {
        "schema": 1,
        "error": {"code": "unknown-room", "message": "nobody is in a room named 'nope'; see: zephctl rooms list"},
    }


# -- say ----------------------------------------------------------------------------------------------------------


def test_say_reaches_everybody_in_the_room_and_nobody_else(zephctl: Zephctl, site: Site) -> None:
    ann, bob, carol = site.join("ann"), site.join("bob"), site.join("carol", "news")

    answer = zephctl("rooms", "say", "lobby", "chat", '{"text": "hé"}')

    said = {"task": "chat", "data": {"text": "hé"}, "room": "lobby"}
    assert answer == Answer(0, "", "sent to 2 connections\n")
    assert [ann.hear(task="chat"), bob.hear(task="chat")] == [said, said]
    assert tasks_heard(carol) == []


def test_say_without_data_says_null(zephctl: Zephctl, site: Site) -> None:
    ann = site.join("ann")

    answer = zephctl("rooms", "say", "lobby", "chat")

    assert answer == Answer(0, "", "sent to 1 connection\n")
    assert ann.hear(task="chat")["data"] is None


@pytest.mark.parametrize(("mode", "shape"), [("json", {"schema": 1, "sent": 1}), ("jsonl", {"sent": 1})])
def test_say_in_json_tells_how_many(zephctl: Zephctl, site: Site, mode: str, shape: dict[str, int]) -> None:
    site.join("ann")

    answer = zephctl("rooms", "say", "lobby", "chat", "-o", mode)

    assert (answer.status, answer.json) == (0, shape)


def test_say_quietly_says_nothing_here(zephctl: Zephctl, site: Site) -> None:
    ann = site.join("ann")

    assert zephctl("rooms", "say", "lobby", "chat", "-q") == Answer(0, "", "")
    assert ann.hear(task="chat")["room"] == "lobby"


def test_say_to_an_empty_room_is_told(zephctl: Zephctl, site: Site) -> None:
    assert zephctl("rooms", "say", "nope", "chat") == Answer(0, "", "sent to 0 connections\n")


def test_say_of_what_is_not_json_is_exit_2(zephctl: Zephctl, site: Site) -> None:
    ann = site.join("ann")

    answer = zephctl("rooms", "say", "lobby", "chat", "hello")

    assert (answer.status, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert answer.stderr.startswith("zephctl: the data is not JSON: ")
    assert tasks_heard(ann) == []


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", EVERY_VERB)
def test_every_verb_without_a_server_is_exit_5(zephctl: Zephctl, no_server: None, words: list[str]) -> None:
    answer = zephctl("rooms", *words)

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("words", EVERY_VERB)
def test_a_server_that_does_not_answer_is_exit_8(
    zephctl: Zephctl, silent_server: tuple[str, ...], words: list[str]
) -> None:
    answer = zephctl("rooms", *words, *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


@pytest.mark.parametrize(("words", "command"), [*zip(EVERY_VERB, ["rooms.list", "rooms.show", "say"], strict=True)])
def test_a_server_without_rooms_is_a_failure_that_says_so(
    zephctl: Zephctl, other_server: object, words: list[str], command: str
) -> None:
    answer = zephctl("rooms", *words)

    assert answer == Answer(
        1,
        "",
        f"zephctl: no service of this server answers '{command}': "
        f"{ANSWERED_BY[command.partition('.')[0]]} does, once it is in SERVICE_LIST; see: zephctl services list\n",
    )


@pytest.mark.parametrize("words", [["show"], ["say"], ["say", "lobby"], ["list", "lobby"], ["lost"]])
def test_wrong_words_are_exit_2(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("rooms", *words).status == 2
