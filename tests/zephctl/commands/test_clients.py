"""zephctl clients: list, show, kick."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.zephctl.commands.conftest import NASTY, NASTY_SHOWN
from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import Site

Zephctl = Callable[..., Answer]

ANN = {"id": 7, "username": "ann"}
EVERY_VERB = [["list"], ["show", "ann"], ["kick", "ann"]]


def lines(answer: Answer) -> list[str]:
    """What is seen on the terminal."""
    return [line.rstrip() for line in answer.stdout.splitlines()]


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_in_json_has_the_promised_shape(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join(ANN, "lobby"), site.join("bob", None)

    answer = zephctl("clients", "list", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    address = {"address": "127.0.0.1"}
    assert answer.json == {
        "schema": 1,
        "clients": [
            {"cid": ann.cid, "user": "ann", "user_id": 7, **address, "rooms": ["lobby"], "tasks": 0},
            {"cid": bob.cid, "user": "bob", "user_id": "bob", **address, "rooms": [], "tasks": 0},
        ],
    }
    assert list(answer.json["clients"][0]) == ["cid", "user", "user_id", "address", "rooms", "tasks"]


def test_list_in_jsonl_is_a_line_for_each(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join(ANN, "lobby"), site.join("bob", None)

    answer = zephctl("clients", "list", "-o", "jsonl")

    assert [json.loads(line)["cid"] for line in answer.stdout.splitlines()] == [ann.cid, bob.cid]


def test_list_in_plain_lines(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join(ANN, "lobby"), site.join("bob", None)
    ann.send(room="news")
    ann.hear(msgtype="user_list", room="news")

    answer = zephctl("clients", "list")

    assert answer == Answer(0, f"{ann.cid}\tann\t127.0.0.1\tlobby, news\t0\n{bob.cid}\tbob\t127.0.0.1\t-\t0\n", "")


def test_list_by_name_gives_the_cids(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join(ANN), site.join("bob")

    assert zephctl("clients", "list", "-o", "name") == Answer(0, f"{ann.cid}\n{bob.cid}\n", "")


def test_list_on_a_terminal(zephctl: Zephctl, site: Site) -> None:
    ann = site.join(ANN, "lobby")

    answer = zephctl("clients", "list", "--color", "never", terminal=Terminal())

    assert lines(answer) == [
        "CID                USER   ADDRESS     ROOMS   TASKS",
        "───────────────────────────────────────────────────",
        f"{ann.cid}   ann    127.0.0.1   lobby       0",
    ]


def test_a_list_of_nobody_is_a_word_on_a_terminal_and_nothing_in_a_pipe(zephctl: Zephctl, site: Site) -> None:
    assert zephctl("clients", "list", terminal=Terminal()) == Answer(0, "", "no clients\n")
    assert zephctl("clients", "list", "-q", terminal=Terminal()) == Answer(0, "", "")
    assert zephctl("clients", "list") == Answer(0, "", "")
    assert zephctl("clients", "list", "-o", "json").json == {"schema": 1, "clients": []}


def test_somebody_whose_user_is_not_known_is_not_listed(zephctl: Zephctl, site: Site) -> None:
    site.connect()

    assert zephctl("clients", "list") == Answer(0, "", "")


def test_a_task_that_runs_is_counted(zephctl: Zephctl, site: Site) -> None:
    ann = site.join(ANN)
    ann.send(task="wait")
    ann.send(task="TaskPing", id=1)
    ann.hear(id=1)

    assert zephctl("clients", "list", "-o", "json").json["clients"][0]["tasks"] == 1


@pytest.mark.parametrize("mode", ["table", "plain", "json", "jsonl", "name"])
def test_names_that_speak_to_a_terminal_are_escaped(zephctl: Zephctl, site: Site, mode: str) -> None:
    visitor = site.join({"id": 1, "username": NASTY}, NASTY + "\n")

    answer = zephctl("clients", "list", "--color", "never", "-o", mode, terminal=Terminal())

    assert "\x1b" not in answer.stdout
    assert "\u202e" not in answer.stdout
    if mode == "plain":
        assert answer.stdout == f"{visitor.cid}\t{NASTY_SHOWN}\t127.0.0.1\t{NASTY_SHOWN} \t0\n"
    if mode == "json":
        assert (answer.json["clients"][0]["user"], answer.json["clients"][0]["rooms"]) == (NASTY, [NASTY + "\n"])


# -- show ---------------------------------------------------------------------------------------------------------


def test_show_in_json_has_everything(zephctl: Zephctl, site: Site) -> None:
    ann = site.join(ANN, "lobby")
    site.join("bob")

    answer = zephctl("clients", "show", ann.cid, "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1,
        "cid": ann.cid,
        "user": "ann",
        "user_id": 7,
        "address": "127.0.0.1",
        "rooms": ["lobby"],
        "tasks": 0,
    }


def test_show_for_people(zephctl: Zephctl, site: Site) -> None:
    cid = site.join(ANN, "lobby").cid

    plain = zephctl("clients", "show", cid)
    table = zephctl("clients", "show", cid, "--color", "never", terminal=Terminal())

    assert plain == Answer(0, f"cid\t{cid}\nuser\tann\nuser_id\t7\naddress\t127.0.0.1\nrooms\tlobby\ntasks\t0\n", "")
    assert lines(table) == [
        f"cid      {cid}",
        "user     ann",
        "user id  7",
        "address  127.0.0.1",
        "rooms    lobby",
        "tasks    0",
    ]


def test_show_by_name_and_in_jsonl(zephctl: Zephctl, site: Site) -> None:
    cid = site.join(ANN, None).cid

    assert zephctl("clients", "show", cid, "-o", "name").stdout == f"{cid}\n"
    assert next(iter(zephctl("clients", "show", cid, "-o", "jsonl").json)) == "cid"


@pytest.mark.parametrize("who", ["ann", "7"])
def test_show_finds_the_only_connection_of_a_user(zephctl: Zephctl, site: Site, who: str) -> None:
    cid = site.join(ANN, None).cid

    assert zephctl("clients", "show", who, "-o", "name") == Answer(0, f"{cid}\n", "")


def test_show_of_a_user_with_several_connections_says_which(zephctl: Zephctl, site: Site) -> None:
    first, second = site.join(ANN), site.join(ANN)

    answer = zephctl("clients", "show", "ann")

    assert answer == Answer(
        1, "", f"zephctl: 'ann' has several connections: {first.cid}, {second.cid}; name one by its cid\n"
    )


@pytest.mark.parametrize("verb", ["show", "kick"])
def test_somebody_who_is_not_there_is_exit_4(zephctl: Zephctl, site: Site, verb: str) -> None:
    site.join(ANN)

    answer = zephctl("clients", verb, NASTY)

    quoted = repr(NASTY)
    assert answer == Answer(4, "", f"zephctl: no connection and no user is named {quoted}; see: zephctl clients list\n")


@pytest.mark.parametrize("verb", ["show", "kick"])
def test_somebody_who_is_not_there_is_an_error_in_json(zephctl: Zephctl, site: Site, verb: str) -> None:
    answer = zephctl("clients", verb, "ann", "-o", "json")

    message = "no connection and no user is named 'ann'; see: zephctl clients list"
    assert (answer.status, answer.stdout) == (4, "")
    assert json.loads(answer.stderr) == {"schema": 1, "error": {"code": "unknown-client", "message": message}}


# -- kick ---------------------------------------------------------------------------------------------------------


def test_kick_by_cid_closes_this_connection_only(zephctl: Zephctl, site: Site) -> None:
    first, second = site.join(ANN), site.join(ANN)

    answer = zephctl("clients", "kick", first.cid)

    assert answer == Answer(0, "", "closed 1 connection\n")
    assert first.closed() == (4004, "disconnected")
    assert second.ask("echo", 1)["data"] == 1


@pytest.mark.parametrize("who", ["ann", "7"])
def test_kick_by_name_or_id_closes_all_of_a_user(zephctl: Zephctl, site: Site, who: str) -> None:
    anns, bob = [site.join(ANN), site.join(ANN, None)], site.join("bob")

    answer = zephctl("clients", "kick", who, "--reason", "good night")

    assert answer == Answer(0, "", "closed 2 connections\n")
    assert [ann.closed() for ann in anns] == [(4004, "good night")] * 2
    assert bob.ask("echo", 1)["data"] == 1


def test_who_was_kicked_is_not_listed_any_more(zephctl: Zephctl, site: Site) -> None:
    ann = site.join(ANN)

    zephctl("clients", "kick", "ann")

    ann.closed()
    assert zephctl("clients", "list", "-o", "json").json["clients"] == []
    assert zephctl("clients", "kick", "ann").status == 4


@pytest.mark.parametrize(("mode", "shape"), [("json", {"schema": 1, "closed": 1}), ("jsonl", {"closed": 1})])
def test_kick_in_json_tells_how_many(zephctl: Zephctl, site: Site, mode: str, shape: dict[str, int]) -> None:
    site.join(ANN)

    answer = zephctl("clients", "kick", "ann", "-o", mode)

    assert (answer.status, answer.json) == (0, shape)


def test_kick_quietly_says_nothing(zephctl: Zephctl, site: Site) -> None:
    site.join(ANN)

    assert zephctl("clients", "kick", "ann", "-q") == Answer(0, "", "")


def test_a_reason_that_is_too_long_for_a_close_frame_is_cut_between_characters(zephctl: Zephctl, site: Site) -> None:
    ann = site.join(ANN)

    answer = zephctl("clients", "kick", "ann", "--reason", "é" * 200)

    code, reason = ann.closed()
    assert (answer.status, code) == (0, 4004)
    assert reason == "é" * 61  # 122 bytes of at most 123, RFC 6455, 5.5


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", EVERY_VERB)
def test_every_verb_without_a_server_is_exit_5(zephctl: Zephctl, no_server: None, words: list[str]) -> None:
    answer = zephctl("clients", *words)

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("words", EVERY_VERB)
def test_a_server_that_does_not_answer_is_exit_8(
    zephctl: Zephctl, silent_server: tuple[str, ...], words: list[str]
) -> None:
    answer = zephctl("clients", *words, *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


@pytest.mark.parametrize("words", EVERY_VERB)
def test_settings_that_cannot_be_read_are_exit_6(
    zephctl: Zephctl, write_settings: Callable[..., object], words: list[str]
) -> None:
    write_settings("SERVICE_LIST = [\n")

    answer = zephctl("clients", *words)

    assert (answer.status, answer.stdout) == (6, "")
    assert answer.stderr.endswith("zephsettings.py:1: '[' was never closed: SERVICE_LIST = [\n")


@pytest.mark.parametrize(("words", "command"), [(EVERY_VERB[0], "clients.list"), (EVERY_VERB[2], "clients.kick")])
def test_a_server_without_websockets_is_a_failure_that_says_so(
    zephctl: Zephctl, other_server: object, words: list[str], command: str
) -> None:
    answer = zephctl("clients", *words)

    assert answer == Answer(
        1,
        "",
        f"zephctl: no service of this server answers '{command}': "
        "zephserver.websocket_client/WebsocketClient does, once it is in SERVICE_LIST; see: zephctl services list\n",
    )


@pytest.mark.parametrize("words", [["show"], ["kick"], ["kick", "a", "b"], ["list", "a"], ["lost"]])
def test_wrong_words_are_exit_2(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("clients", *words).status == 2
