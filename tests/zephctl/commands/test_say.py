"""zephctl say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.zephctl.commands.conftest import NASTY, tasks_heard
from tests.zephctl.conftest import Answer
from tests.zephserver.conftest import Site

Zephctl = Callable[..., Answer]

ANN = {"id": 7, "username": "ann"}


def test_say_to_everyone_reaches_every_connection(zephctl: Zephctl, site: Site) -> None:
    visitors = [site.join(ANN, "lobby"), site.join(ANN, "news"), site.join("bob", None)]

    answer = zephctl("say", "notice", '"the server restarts at noon"', "--everyone")

    said = {"task": "notice", "data": "the server restarts at noon"}
    assert answer == Answer(0, "", "sent to 3 connections\n")
    assert [visitor.hear(task="notice") for visitor in visitors] == [said] * 3


def test_say_to_a_room_reaches_those_who_are_in_it(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join(ANN, "lobby"), site.join("bob", "news")

    answer = zephctl("say", "chat", '{"text": "hé"}', "--room", "lobby")

    assert answer == Answer(0, "", "sent to 1 connection\n")
    assert ann.hear(task="chat") == {"task": "chat", "data": {"text": "hé"}, "room": "lobby"}
    assert tasks_heard(bob) == []


def test_say_to_users_reaches_all_connections_of_each_once(zephctl: Zephctl, site: Site) -> None:
    bobs, carol, dave = [site.join("bob"), site.join("bob", "news")], site.join("carol"), site.join("dave")

    answer = zephctl("say", "mail", "3", "--user", "bob", "--user", "carol", "--user", "bob")

    assert answer == Answer(0, "", "sent to 3 connections\n")
    assert [tasks_heard(visitor) for visitor in [*bobs, carol, dave]] == [[3], [3], [3], []]


def test_an_id_is_a_number_only_where_one_says_so(zephctl: Zephctl, site: Site) -> None:
    number, text = site.join({"id": 7, "username": "ann"}), site.join({"id": "7", "username": "ann"})

    zephctl("say", "mail", '"to the number"', "--user", "7", "--number")
    zephctl("say", "mail", '"to the text"', "--user", "7")

    assert tasks_heard(number) == ["to the number"]
    assert tasks_heard(text) == ["to the text"]


def test_an_id_may_be_below_zero(zephctl: Zephctl, site: Site) -> None:
    ann = site.join({"id": -1, "username": "ann"})

    assert zephctl("say", "mail", "--user=-1", "--number") == Answer(0, "", "sent to 1 connection\n")
    assert tasks_heard(ann) == [None]


@pytest.mark.parametrize("data", ["0", "false", '""', "[]", "[1, 2.5, null]", '{"a": {"b": "\\u00e9"}}', " 1 "])
def test_the_data_is_any_json(zephctl: Zephctl, site: Site, data: str) -> None:
    ann = site.join(ANN)

    answer = zephctl("say", "chat", data, "--everyone")

    assert answer.status == 0
    assert tasks_heard(ann) == [json.loads(data)]


def test_nobody_there_is_told_and_no_failure(zephctl: Zephctl, site: Site) -> None:
    for target in (["--everyone"], ["--room", "nope"], ["--user", "nobody"]):
        assert zephctl("say", "notice", *target) == Answer(0, "", "sent to 0 connections\n")


@pytest.mark.parametrize(("mode", "shape"), [("json", {"schema": 1, "sent": 1}), ("jsonl", {"sent": 1})])
def test_in_json_it_tells_how_many(zephctl: Zephctl, site: Site, mode: str, shape: dict[str, int]) -> None:
    site.join(ANN)

    answer = zephctl("say", "notice", "--everyone", "-o", mode)

    assert (answer.status, answer.json) == (0, shape)


def test_quietly_it_says_nothing_here(zephctl: Zephctl, site: Site) -> None:
    ann = site.join(ANN)

    assert zephctl("say", "notice", "--everyone", "-q") == Answer(0, "", "")
    assert tasks_heard(ann) == [None]


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [[], ["--room", "a", "--everyone"], ["--room", "a", "--user", "b"], ["--user", "b", "--everyone"]]
)
def test_exactly_one_target_is_named(zephctl: Zephctl, site: Site, target: list[str]) -> None:
    answer = zephctl("say", "notice", *target)

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr.endswith("Error: Name one of --room, --user and --everyone.\n")


def test_a_usage_error_in_json(zephctl: Zephctl) -> None:
    answer = zephctl("say", "notice", "-o", "json")

    assert (answer.status, answer.stdout) == (2, "")
    assert json.loads(answer.stderr) == {
        "schema": 1,
        "error": {"code": "usage", "message": "Name one of --room, --user and --everyone."},
    }


def test_a_room_without_a_name_is_no_target(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("say", "notice", "--room", "")

    assert answer == Answer(2, "", "zephctl: name a room, users, or everyone\n")


@pytest.mark.parametrize("id", ["ann", "", "--5", "1_000", "7.0", "9" * 5000])
def test_an_id_that_is_no_number_is_exit_2(zephctl: Zephctl, site: Site, id: str) -> None:
    answer = zephctl("say", "notice", "--number", "--user", "7", f"--user={id}")

    assert (answer.status, answer.stdout) == (2, "")
    assert answer.stderr.endswith("Error: With --number every --user is a number.\n")


@pytest.mark.parametrize("data", ["hello", "", "{'a': 1}", "NaN", "[" * 20_000, '"\udcff"', '"\\ud800"', "1 2"])
def test_what_is_not_json_is_exit_2(zephctl: Zephctl, site: Site, data: str) -> None:
    ann = site.join(ANN)

    answer = zephctl("say", "chat", data, "--everyone")

    assert (answer.status, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert answer.stderr.startswith("zephctl: the data is not JSON: ")
    assert tasks_heard(ann) == []


def test_an_answer_of_the_server_about_data_is_harmless_to_a_terminal(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("say", NASTY, NASTY, "--everyone")

    assert answer.status == 2
    assert "\x1b" not in answer.stderr
    assert "\u202e" not in answer.stderr


def test_data_that_is_too_long_for_the_control_socket_is_exit_2(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("say", "chat", json.dumps("x" * 70_000), "--everyone")

    assert answer == Answer(2, "", "zephctl: a request has at most 65536 bytes\n")


def test_no_server_is_exit_5(zephctl: Zephctl, no_server: None) -> None:
    answer = zephctl("say", "notice", "--everyone")

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


def test_a_server_that_does_not_answer_is_exit_8(zephctl: Zephctl, silent_server: tuple[str, ...]) -> None:
    answer = zephctl("say", "notice", "--everyone", *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


def test_a_server_without_websockets_is_a_failure_that_says_so(zephctl: Zephctl, other_server: object) -> None:
    answer = zephctl("say", "notice", "--everyone")

    assert answer == Answer(
        1,
        "",
        "zephctl: no service of this server answers 'say': "
        "zephserver.websocket_client/WebsocketClient does, once it is in SERVICE_LIST; see: zephctl services list\n",
    )


@pytest.mark.parametrize("words", [[], ["a", "1", "more", "--everyone"], ["a", "--loud"]])
def test_wrong_words_are_exit_2(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("say", *words).status == 2
