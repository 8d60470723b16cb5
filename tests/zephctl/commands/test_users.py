"""zephctl users: list."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.zephctl.commands.conftest import NASTY, NASTY_SHOWN
from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import SESSION_MANAGER, Site

Zephctl = Callable[..., Answer]

ANN = {"id": 7, "username": "ann"}


def test_list_in_json_has_a_user_once_with_all_rooms(zephctl: Zephctl, site: Site) -> None:
    site.join(ANN, "news")
    site.join(ANN, "lobby")
    site.join("bob", None)

    answer = zephctl("users", "list", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1,
        "users": [
            {"name": "ann", "id": 7, "connections": 2, "rooms": ["lobby", "news"]},
            {"name": "bob", "id": "bob", "connections": 1, "rooms": []},
        ],
    }
    assert list(answer.json["users"][0]) == ["name", "id", "connections", "rooms"]


def test_users_of_one_name_are_told_apart_by_their_ids(zephctl: Zephctl, site: Site) -> None:
    site.join({"id": 7, "username": "ann"}, None)
    site.join({"id": "7", "username": "ann"}, None)

    answer = zephctl("users", "list", "-o", "json")

    assert [user["id"] for user in answer.json["users"]] == [7, "7"]


def test_anonymous_users_are_one_each(zephctl: Zephctl, open_site: Callable[..., Site]) -> None:
    site = open_site(SESSION_MANAGER)
    site.join(None)
    site.join(None)

    answer = zephctl("users", "list")

    assert answer == Answer(0, "anonymous\t-\t1\tlobby\nanonymous\t-\t1\tlobby\n", "")


def test_list_in_lines_for_programs(zephctl: Zephctl, site: Site) -> None:
    site.join(ANN, "lobby")
    site.join("bob", None)

    assert zephctl("users", "list") == Answer(0, "ann\t7\t1\tlobby\nbob\tbob\t1\t-\n", "")
    assert zephctl("users", "list", "-o", "name") == Answer(0, "ann\nbob\n", "")
    assert [json.loads(line)["name"] for line in zephctl("users", "list", "-o", "jsonl").stdout.splitlines()] == [
        "ann",
        "bob",
    ]


def test_list_on_a_terminal(zephctl: Zephctl, site: Site) -> None:
    site.join(ANN, "news")
    site.join(ANN, "lobby")

    answer = zephctl("users", "list", "--color", "never", terminal=Terminal())

    assert [line.rstrip() for line in answer.stdout.splitlines()] == [
        "NAME   ID   CONNECTIONS   ROOMS",
        "─────────────────────────────────────",
        "ann     7             2   lobby, news",
    ]


def test_a_list_of_nobody_is_a_word_on_a_terminal_and_nothing_in_a_pipe(zephctl: Zephctl, site: Site) -> None:
    assert zephctl("users", "list", terminal=Terminal()) == Answer(0, "", "no users\n")
    assert zephctl("users", "list", "-q", terminal=Terminal()) == Answer(0, "", "")
    assert zephctl("users", "list") == Answer(0, "", "")
    assert zephctl("users", "list", "-o", "json").json == {"schema": 1, "users": []}


@pytest.mark.parametrize("mode", ["table", "plain", "json", "jsonl", "name"])
def test_names_that_speak_to_a_terminal_are_escaped(zephctl: Zephctl, site: Site, mode: str) -> None:
    site.join({"id": NASTY, "username": NASTY}, NASTY)

    answer = zephctl("users", "list", "-o", mode, "--color", "never", terminal=Terminal())

    assert "\x1b" not in answer.stdout
    assert "\u202e" not in answer.stdout
    if mode == "json":
        assert answer.json["users"] == [{"name": NASTY, "id": NASTY, "connections": 1, "rooms": [NASTY]}]
    else:
        assert (json.dumps(NASTY) if mode == "jsonl" else NASTY_SHOWN) in answer.stdout


# -- errors -------------------------------------------------------------------------------------------------------


def test_no_server_is_exit_5(zephctl: Zephctl, no_server: None) -> None:
    answer = zephctl("users", "list")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


def test_a_server_that_does_not_answer_is_exit_8(zephctl: Zephctl, silent_server: tuple[str, ...]) -> None:
    answer = zephctl("users", "list", *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


def test_a_server_without_users_is_a_failure_that_says_so(zephctl: Zephctl, other_server: object) -> None:
    answer = zephctl("users", "list")

    assert answer == Answer(
        1,
        "",
        "zephctl: no service of this server answers 'users.list': "
        "zephserver.room_handler/RoomHandler does, once it is in SERVICE_LIST; see: zephctl services list\n",
    )


@pytest.mark.parametrize("words", [["list", "ann"], ["show"], []])
def test_wrong_words_are_exit_2(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("users", *words).status == 2


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300", "soon"])
def test_a_time_out_that_nobody_can_wait_for_is_exit_2(zephctl: Zephctl, no_server: None, seconds: str) -> None:
    answer = zephctl("users", "list", "--timeout", seconds)

    assert answer.status == 2
    assert "--timeout" in answer.stderr
