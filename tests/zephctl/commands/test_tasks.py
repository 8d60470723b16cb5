"""zephctl tasks: list, running, call."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.zephctl.commands.conftest import NAMES, NASTY, tasks_heard
from tests.zephctl.conftest import Answer, Terminal
from tests.zephserver.conftest import ROUTER, Site

Zephctl = Callable[..., Answer]

EVERY_VERB = [["list"], ["running"], ["call", "echo"]]


def lines(answer: Answer) -> list[str]:
    """What is seen on the terminal."""
    return [line.rstrip() for line in answer.stdout.splitlines()]


def open_gate() -> None:
    """Let the tasks that wait end."""
    sys.modules["things"].gate.set()


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_in_json_has_the_promised_shape(zephctl: Zephctl, open_site: Callable[..., Site]) -> None:
    open_site(TASKS_PATH={"b": "things/Echo", "a": "things/Who"})

    answer = zephctl("tasks", "list", "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1,
        "tasks": [
            {"name": "TaskPing", "class": "zephserver.task/TaskPing", "kind": "async"},
            {"name": "a", "class": "things/Who", "kind": "thread"},
            {"name": "b", "class": "things/Echo", "kind": "async"},
        ],
    }
    assert list(answer.json["tasks"][0]) == ["name", "class", "kind"]


def test_list_in_lines_for_programs(zephctl: Zephctl, open_site: Callable[..., Site]) -> None:
    open_site(TASKS_PATH={"écho": "things/Echo"})

    ping = "TaskPing\tzephserver.task/TaskPing\tasync\n"
    assert zephctl("tasks", "list") == Answer(0, f"{ping}écho\tthings/Echo\tasync\n", "")
    assert zephctl("tasks", "list", "-o", "name") == Answer(0, "TaskPing\nécho\n", "")
    assert [json.loads(line)["name"] for line in zephctl("tasks", "list", "-o", "jsonl").stdout.splitlines()] == [
        "TaskPing",
        "écho",
    ]


def test_list_on_a_terminal(zephctl: Zephctl, open_site: Callable[..., Site]) -> None:
    open_site(TASKS_PATH={"echo": "things/Echo"})

    answer = zephctl("tasks", "list", "--color", "never", terminal=Terminal())

    assert lines(answer) == [
        "NAME       CLASS                      KIND",
        "───────────────────────────────────────────",
        "TaskPing   zephserver.task/TaskPing   async",
        "echo       things/Echo                async",
    ]


# -- running ------------------------------------------------------------------------------------------------------


def test_running_shows_the_oldest_first_and_who_asked(zephctl: Zephctl, site: Site) -> None:
    ann = site.join("ann")
    for _ in range(2):
        ann.send(task="wait")
    ann.send(task="TaskPing", id=1)
    ann.hear(id=1)

    answer = zephctl("tasks", "running", "-o", "json")

    rows = answer.json["tasks"]
    assert (answer.status, answer.stderr) == (0, "")
    assert [list(row) for row in rows] == [["task", "cid", "seconds"]] * 2
    assert [(row["task"], row["cid"]) for row in rows] == [("wait", ann.cid)] * 2
    assert 20 > rows[0]["seconds"] >= rows[1]["seconds"] >= 0
    assert [line.split("\t")[:2] for line in zephctl("tasks", "running").stdout.splitlines()] == [["wait", ann.cid]] * 2
    assert zephctl("tasks", "running", "-o", "name").stdout == "wait\nwait\n"
    assert len(zephctl("tasks", "running", "-o", "jsonl").stdout.splitlines()) == 2
    assert lines(zephctl("tasks", "running", "--color", "never", terminal=Terminal()))[0].split() == [
        "TASK",
        "CID",
        "SECONDS",
    ]


def test_running_shows_what_was_called_from_a_shell_without_a_cid(zephctl: Zephctl, site: Site) -> None:
    zephctl("tasks", "call", "wait", "--timeout", "0.05")

    assert zephctl("tasks", "running").stdout.startswith("wait\t-\t")


def test_running_when_nothing_runs_is_a_word_on_a_terminal_and_nothing_in_a_pipe(zephctl: Zephctl, site: Site) -> None:
    assert zephctl("tasks", "running", terminal=Terminal()) == Answer(0, "", "no tasks\n")
    assert zephctl("tasks", "running", "-q", terminal=Terminal()) == Answer(0, "", "")
    assert zephctl("tasks", "running") == Answer(0, "", "")
    assert zephctl("tasks", "running", "-o", "json").json == {"schema": 1, "tasks": []}


# -- call ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["echo", "thread"])
@pytest.mark.parametrize("data", ['{"x": 1}', '"é"', "null", "[1, 2.5, false]"])
def test_call_prints_the_answer_as_json(zephctl: Zephctl, site: Site, task: str, data: str) -> None:
    assert zephctl("tasks", "call", task, data) == Answer(0, f"{data}\n", "")


def test_call_without_data_gives_null(zephctl: Zephctl, site: Site) -> None:
    assert zephctl("tasks", "call", "echo") == Answer(0, "null\n", "")


def test_call_prints_several_answers_in_every_form(zephctl: Zephctl, site: Site) -> None:
    words = ["tasks", "call", "several", '[1, {"a": "b"}]']

    for mode in ("plain", "table", "name"):
        assert zephctl(*words, "-o", mode) == Answer(0, '1\n{"a": "b"}\n', "")
    assert zephctl(*words, "-q").stdout == '1\n{"a": "b"}\n'
    assert zephctl(*words, "-o", "json") == Answer(0, '{"schema": 1, "answers": [1, {"a": "b"}]}\n', "")
    assert zephctl(*words, "-o", "jsonl") == Answer(0, '{"data": 1}\n{"data": {"a": "b"}}\n', "")


@pytest.mark.parametrize("text", [NASTY, "tab\tand\nnewline", "\x85\u2028\x9b31m", "é"])
def test_an_answer_is_json_and_harmless_whatever_it_says(zephctl: Zephctl, site: Site, text: str) -> None:
    answer = zephctl("tasks", "call", "echo", json.dumps(text), terminal=Terminal())

    assert json.loads(answer.stdout) == text
    assert answer.stdout.rstrip("\n").isprintable()


def test_a_task_that_says_nothing_prints_nothing(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("tasks", "call", "quiet")

    assert (answer.status, answer.stdout) == (0, "")
    assert zephctl("tasks", "call", "quiet", "-q") == Answer(0, "", "")
    assert zephctl("tasks", "call", "quiet", "-o", "jsonl").stdout == ""
    assert zephctl("tasks", "call", "quiet", "-o", "json").json == {"schema": 1, "answers": []}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["zephctl", "zephctl", None, "who"]),
        (["--user", "ann"], ["ann", "ann", None, "who"]),
        (["--user", "7", "--room", "lobby"], ["7", "7", "lobby", "who"]),
    ],
)
def test_the_task_is_told_the_user_and_the_room(
    zephctl: Zephctl, site: Site, options: list[str], expected: list[Any]
) -> None:
    assert json.loads(zephctl("tasks", "call", "who", *options).stdout) == expected


def test_a_task_for_members_takes_the_caller_for_one(zephctl: Zephctl, site: Site) -> None:
    assert zephctl("tasks", "call", "member") == Answer(0, '"welcome"\n', "")


def test_what_the_task_says_to_a_room_really_goes_there(zephctl: Zephctl, site: Site) -> None:
    ann, bob = site.join("ann", "lobby"), site.join("bob", "news")

    answer = zephctl("tasks", "call", "tell", '"hello"', "--room", "lobby")

    assert answer == Answer(0, "1\n", "")
    assert ann.hear(task="tell") == {"task": "tell", "data": "hello", "room": "lobby"}
    assert tasks_heard(bob) == []


def test_data_from_stdin(zephctl: Zephctl, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"x": 1}\n'))

    assert zephctl("tasks", "call", "echo", "-") == Answer(0, '{"x": 1}\n', "")


def test_a_stdin_that_cannot_be_read_is_exit_2(zephctl: Zephctl, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (io.TextIOWrapper(io.BytesIO(b'"\xff"'), "utf-8"), None):
        monkeypatch.setattr(sys, "stdin", stdin)

        answer = zephctl("tasks", "call", "echo", "-")

        assert (answer.status, answer.stdout) == (2, "")
        assert "stdin" in answer.stderr


# -- errors of a task ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["out-of-stock", "permission-denied", "unknown-room", "bad-request"])
def test_an_error_of_the_task_is_exit_1_whatever_its_code(zephctl: Zephctl, site: Site, code: str) -> None:
    answer = zephctl("tasks", "call", "fail", json.dumps([code, "no \x1b[31mapples"]))

    assert answer == Answer(1, "", "zephctl: no \\x1b[31mapples\n")


def test_an_error_of_the_task_in_json_has_its_code(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("tasks", "call", "fail", '["out-of-stock", "no apples"]', "-o", "json")

    assert (answer.status, json.loads(answer.stderr)["error"]) == (1, {"code": "out-of-stock", "message": "no apples"})


def test_a_task_that_raises_is_exit_1_and_the_log_has_why(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("tasks", "call", "trip")

    assert (answer.status, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    assert answer.stderr.startswith("zephctl: the task failed")
    site.wait_log("one foot on the other")


def test_a_task_that_raises_after_an_answer_has_failed_too(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("tasks", "call", "answerandtrip")

    assert answer.status == 1
    assert answer.stdout in ("", '"so far"\n')


def test_a_task_that_overruns_its_own_time_is_exit_8(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("tasks", "call", "brief")

    assert answer == Answer(8, "", "zephctl: the task did not end in 0.05 s\n")


def test_a_task_that_takes_longer_than_the_caller_waits_is_exit_8_and_goes_on(zephctl: Zephctl, site: Site) -> None:
    ann = site.join("ann")

    answer = zephctl("tasks", "call", "wait", "--timeout", "0.05")

    assert answer == Answer(8, "", "zephctl: the task has not ended after 0.05 s; it goes on\n")
    assert zephctl("tasks", "running", "-o", "name").stdout == "wait\n"
    open_gate()
    assert ann.ask("wait")["data"] == "at last"
    assert tasks_heard(ann) == []


@pytest.mark.parametrize("task", ["echo", "thread"])
def test_no_task_runs_while_the_router_is_disabled(zephctl: Zephctl, site: Site, task: str) -> None:
    zephctl("services", "disable", ROUTER)

    answer = zephctl("tasks", "call", task, "1")

    assert (answer.status, answer.stdout) == (1, "")
    assert answer.stderr.count("\n") == 1


def test_no_task_runs_while_the_loop_does_not(zephctl: Zephctl, site: Site) -> None:
    zephctl("services", "disable", "WebsocketClient")

    answer = zephctl("tasks", "call", "echo", "1")

    assert answer == Answer(1, "", "zephctl: tasks run in the loop of WebsocketClient, which does not run\n")


# -- other errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nope", "", "Echo"])
def test_a_task_that_there_is_not_is_exit_4(zephctl: Zephctl, site: Site, name: str) -> None:
    answer = zephctl("tasks", "call", name)

    assert answer == Answer(4, "", f"zephctl: no task named '{name}'; see: zephctl tasks list\n")


@pytest.mark.parametrize("data", ["hello", "", "{'a': 1}", "NaN", '"\udcff"'])
def test_what_is_not_json_is_exit_2(zephctl: Zephctl, site: Site, data: str) -> None:
    answer = zephctl("tasks", "call", "echo", data)

    assert (answer.status, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert answer.stderr.startswith("zephctl: the data is not JSON: ")


def test_data_that_is_too_long_for_the_control_socket_is_exit_2(zephctl: Zephctl, site: Site) -> None:
    answer = zephctl("tasks", "call", "echo", json.dumps("x" * 70_000))

    assert answer == Answer(2, "", "zephctl: a request has at most 65536 bytes\n")


@pytest.mark.parametrize("words", EVERY_VERB)
def test_every_verb_without_a_server_is_exit_5(zephctl: Zephctl, no_server: None, words: list[str]) -> None:
    answer = zephctl("tasks", *words)

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("words", EVERY_VERB[:2])
def test_a_server_that_does_not_answer_is_exit_8(
    zephctl: Zephctl, silent_server: tuple[str, ...], words: list[str]
) -> None:
    answer = zephctl("tasks", *words, *silent_server)

    assert answer == Answer(8, "", "zephctl: the server on silent.sock gave no answer in time; see its log\n")


@pytest.mark.parametrize(
    ("words", "command"), [*zip(EVERY_VERB, ["tasks.list", "tasks.running", "tasks.call"], strict=True)]
)
def test_a_server_without_tasks_is_a_failure_that_says_so(
    zephctl: Zephctl, other_server: object, words: list[str], command: str
) -> None:
    answer = zephctl("tasks", *words)

    assert answer == Answer(
        1,
        "",
        f"zephctl: no service of this server answers '{command}': "
        "zephserver.router/Router does, once it is in SERVICE_LIST; see: zephctl services list\n",
    )


@pytest.mark.parametrize("words", [["call"], ["call", "a", "1", "2"], ["list", "a"], ["running", "a"], ["lost"]])
def test_wrong_words_are_exit_2(zephctl: Zephctl, words: list[str]) -> None:
    assert zephctl("tasks", *words).status == 2


def test_the_server_of_the_tests_has_all_tasks(zephctl: Zephctl, site: Site) -> None:
    names = zephctl("tasks", "list", "-o", "name").stdout.split()

    assert names == ["TaskPing", *sorted(name.lower() for name in NAMES)]
