"""What a command shows, exactly: on terminals wide and narrow, in pipes, in JSON, in other encodings."""

from __future__ import annotations

import io
import json
from typing import IO, Any

import pytest

from tests.zephctl.conftest import Terminal
from zephctl.output import MODES, Output, span, worker_column

ROWS: list[dict[str, Any]] = [
    {"name": "app/Mail", "state": "ready", "restarts": 0, "error": None, "since": 1795351386.037},
    {"name": "app/Web", "state": "failed", "restarts": 12, "error": "ValueError: no luck", "since": 1795351387.0},
]
COLUMNS = ["name", "state", "restarts", "error"]
RED = "\x1b[31m"


class Ascii(io.TextIOWrapper):
    """A stream of LANG=C: what it cannot encode is an error."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding="ascii", write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def getvalue(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode("ascii")


def output(mode: str | None = None, color: str = "auto", *, to: IO[str] | None = None, quiet: bool = False) -> Output:
    """An output whose streams can be read; a pipe unless *to* says otherwise."""
    return Output(mode, color, quiet=quiet, stdout=to or io.StringIO(), stderr=io.StringIO())


def shown(out: Output) -> str:
    """What went to stdout."""
    assert isinstance(out.stdout, (io.StringIO, Ascii))
    return out.stdout.getvalue()


def said(out: Output) -> str:
    """What went to stderr."""
    assert isinstance(out.stderr, io.StringIO)
    return out.stderr.getvalue()


def lines(text: str) -> list[str]:
    """The lines without the blanks that a table ends with."""
    return [line.rstrip() for line in text.splitlines()]


# -- the mode -----------------------------------------------------------------------------------------------------


def test_a_terminal_gets_a_table() -> None:
    assert output(to=Terminal()).mode == "table"


def test_a_pipe_gets_plain_lines() -> None:
    assert output().mode == "plain"


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_that_was_asked_for_wins_over_the_terminal(mode: str) -> None:
    assert output(mode, to=Terminal()).mode == mode
    assert output(mode).mode == mode


@pytest.mark.parametrize(("mode", "expected"), [(mode, mode in ("json", "jsonl")) for mode in MODES])
def test_json_is_told_from_what_people_read(mode: str, expected: bool) -> None:
    assert output(mode).is_json is expected


# -- rows ---------------------------------------------------------------------------------------------------------


def test_rows_are_a_table_on_a_terminal() -> None:
    out = output(color="never", to=Terminal())

    out.rows("services", ROWS, COLUMNS)

    assert lines(shown(out)) == [
        "NAME       STATE    RESTARTS   ERROR",
        "──────────────────────────────────────────────────",
        "app/Mail   ready           0   -",
        "app/Web    failed         12   ValueError: no luck",
    ]


def test_rows_are_folded_on_a_terminal_of_20_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = output(color="never", to=Terminal())

    out.rows("services", ROWS, ["name", "state"])

    assert lines(shown(out)) == [
        "NAME       STATE",
        "─────────────────",
        "app/Mail   ready",
        "app/Web    failed",
    ]


def test_no_text_is_lost_where_four_columns_meet_20_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = output(color="never", to=Terminal())

    out.rows("services", ROWS, COLUMNS)

    table = lines(shown(out))
    assert max(map(len, table)) <= 20
    assert "".join(line[:3].strip() for line in table[2:]).replace("─", "").endswith("app/Mailapp/Web")


def test_rows_are_tab_separated_in_a_pipe_whatever_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = output()

    out.rows("services", ROWS, COLUMNS)

    assert shown(out) == "app/Mail\tready\t0\t-\napp/Web\tfailed\t12\tValueError: no luck\n"


def test_rows_in_json_have_the_schema_and_every_field() -> None:
    out = output("json")

    out.rows("services", ROWS[:1], COLUMNS)

    assert shown(out) == (
        '{"schema": 1, "services": [{"name": "app/Mail", "state": "ready", "restarts": 0, "error": null, '
        '"since": 1795351386.037}]}\n'
    )


def test_rows_in_jsonl_are_a_line_each() -> None:
    out = output("jsonl")

    out.rows("services", [{"name": "a", "n": 1}, {"name": "b", "n": 2}], ["name"])

    assert shown(out) == '{"name": "a", "n": 1}\n{"name": "b", "n": 2}\n'


def test_rows_by_name_are_names() -> None:
    out = output("name")

    out.rows("services", ROWS, COLUMNS)

    assert shown(out) == "app/Mail\napp/Web\n"


@pytest.mark.parametrize(
    ("mode", "expected", "word"),
    [
        ("table", "", "no services\n"),
        ("plain", "", ""),
        ("json", '{"schema": 1, "services": []}\n', ""),
        ("jsonl", "", ""),
        ("name", "", ""),
    ],
)
def test_no_rows_are_nothing_to_programs_and_a_word_to_people(mode: str, expected: str, word: str) -> None:
    out = output(mode)

    out.rows("services", [], COLUMNS)

    assert shown(out) == expected
    assert said(out) == word


# -- records ------------------------------------------------------------------------------------------------------

RECORD = {"name": "app/Mail", "log_dropped": 0, "status": "", "ok": True}


def test_a_record_is_a_grid_on_a_terminal() -> None:
    out = output(color="never", to=Terminal())

    out.record(RECORD)

    assert lines(shown(out)) == ["name         app/Mail", "log dropped  0", "status       -", "ok           yes"]


def test_a_long_text_of_a_record_keeps_its_lines_on_a_terminal() -> None:
    out = output(color="never", to=Terminal())

    out.record({"name": "app/Mail", "traceback": "Traceback:\n  File\nValueError\n"})

    assert lines(shown(out)) == [
        "name       app/Mail",
        "traceback  Traceback:",
        "             File",
        "           ValueError",
    ]


def test_a_record_is_folded_on_a_terminal_of_20_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = output(color="never", to=Terminal())

    out.record({"name": "a.long.module/Service", "ok": False})

    assert lines(shown(out)) == ["name  a.long.module/", "      Service", "ok    no"]


def test_a_record_is_name_and_value_in_a_pipe() -> None:
    out = output()

    out.record(RECORD)

    assert shown(out) == "name\tapp/Mail\nlog_dropped\t0\nstatus\t-\nok\tyes\n"


def test_a_text_of_many_lines_stays_on_one_line_in_a_pipe() -> None:
    out = output()

    out.record({"traceback": "Traceback:\n\tFile"})

    assert shown(out) == "traceback\tTraceback:  File\n"


def test_a_record_shows_people_the_columns_and_json_everything() -> None:
    people, program = output(), output("json")

    people.record(RECORD, ["name", "ok"])
    program.record(RECORD, ["name", "ok"])

    assert shown(people) == "name\tapp/Mail\nok\tyes\n"
    assert shown(program) == '{"schema": 1, "name": "app/Mail", "log_dropped": 0, "status": "", "ok": true}\n'


def test_a_record_in_jsonl_is_the_bare_object() -> None:
    out = output("jsonl")

    out.record({"name": "app/Mail"})

    assert shown(out) == '{"name": "app/Mail"}\n'


def test_a_record_by_name_is_its_name() -> None:
    out = output("name")

    out.record(RECORD)

    assert shown(out) == "app/Mail\n"


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (0.5, "0.5"),
        (30.0, "30"),
        (1795351386.037, "1795351386.037"),
        (["a", "b"], "a, b"),
        ({"total": 2, "enabled": 1}, "2 total, 1 enabled"),
        ({"app/Web": {"restart": "always"}}, '{"app/Web": {"restart": "always"}}'),
        ({"echo": "tasks/Echo"}, '{"echo": "tasks/Echo"}'),
    ],
)
def test_a_value_in_a_cell(value: object, expected: str) -> None:
    out = output()

    out.record({"value": value})

    assert shown(out) == f"value\t{expected}\n"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.2, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "120 min"),
        (7_200, "2 h"),
        (172_799, "48 h"),
        (172_800, "2 d"),
        (864_000, "10 d"),
    ],
)
def test_a_time_for_people(seconds: float, expected: str) -> None:
    assert span(seconds) == expected


# -- streams and words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("table", "it happened\n"),
        ("plain", "it happened\n"),
        ("name", "it happened\n"),
        ("json", '{"kind": "It"}\n'),
        ("jsonl", '{"kind": "It"}\n'),
    ],
)
def test_an_item_of_a_stream_is_its_text_or_a_json_line(mode: str, expected: str) -> None:
    out = output(mode)

    out.item({"kind": "It"}, "it happened")

    assert shown(out) == expected


def test_an_item_is_written_at_once() -> None:
    raw = io.BytesIO()
    out = output(to=io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8"))

    out.item({}, "it happened")

    assert raw.getvalue() == b"it happened\n"


def test_text_that_is_the_answer_goes_to_stdout_even_when_quiet() -> None:
    out = output(quiet=True)

    out.text("Thread service:app/Mail\n  File")

    assert shown(out) == "Thread service:app/Mail\n  File\n"


def test_words_go_to_stderr() -> None:
    out = output()

    out.say("stopped")

    assert (shown(out), said(out)) == ("", "stopped\n")


def test_quiet_leaves_the_words_out_but_no_data() -> None:
    out = output(quiet=True)

    out.say("stopped")
    out.record({"name": "app/Mail"})

    assert (shown(out), said(out)) == ("name\tapp/Mail\n", "")


def test_quiet_leaves_no_error_out() -> None:
    out = output(quiet=True)

    out.error("unreachable", "nobody is there")

    assert (shown(out), said(out)) == ("", "zephctl: nobody is there\n")


def test_an_error_of_several_lines_names_the_program_on_each() -> None:
    out = output()

    out.error("bad-settings", "a.py:1: no\na.py:2: never")

    assert said(out) == "zephctl: a.py:1: no\nzephctl: a.py:2: never\n"


@pytest.mark.parametrize("mode", ["json", "jsonl"])
def test_an_error_is_json_where_json_was_asked_for(mode: str) -> None:
    out = output(mode)

    out.error("bad-settings", "a.py:1: no\na.py:2: never")

    assert shown(out) == ""
    assert said(out) == '{"schema": 1, "error": {"code": "bad-settings", "message": "a.py:1: no\\na.py:2: never"}}\n'


def test_an_error_without_a_sentence_still_says_its_code() -> None:
    out = output()

    out.error("mine", "")

    assert said(out) == "zephctl: mine\n"


# -- colours ------------------------------------------------------------------------------------------------------


def colored(color: str = "auto", *, to: IO[str] | None = None, mode: str | None = None) -> bool:
    """Whether a table with a dead service has a colour."""
    out = output(mode, color, to=to)
    out.rows("services", [{"name": "a", "state": "dead"}], ["name", "state"])
    assert ("\x1b" in shown(out)) == (RED in shown(out))
    return RED in shown(out)


def test_a_terminal_gets_colours() -> None:
    assert colored(to=Terminal())


def test_a_pipe_gets_no_colours() -> None:
    assert not colored(mode="table")


def test_no_color_takes_the_colours_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    assert not colored(to=Terminal())


def test_an_empty_no_color_is_no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")

    assert colored(to=Terminal())


def test_force_color_gives_a_pipe_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert colored(mode="table")


def test_no_color_wins_over_force_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")

    assert not colored(to=Terminal())
    assert not colored(mode="table")


def test_a_dumb_terminal_gets_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    assert not colored(to=Terminal())


def test_color_always_wins_over_no_color_and_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    assert colored("always", mode="table")


def test_color_never_wins_over_force_color_and_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert not colored("never", to=Terminal())


def test_a_line_of_the_log_has_the_colour_of_its_level() -> None:
    out = output(to=Terminal())

    out.item({}, "all [bold]lost[/] :smile: 42", "ERROR")

    assert shown(out) == f"{RED}all [bold]lost[/] :smile: 42\x1b[0m\n"


def test_a_line_of_the_log_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out = output(to=Terminal())

    out.item({}, "word " * 20 + "end", "INFO")

    assert shown(out) == "word " * 20 + "end\n"


@pytest.mark.parametrize("mode", ["plain", "json", "jsonl", "name"])
def test_what_programs_read_has_no_colours_even_if_always(mode: str) -> None:
    out = output(mode, "always", to=Terminal())

    out.rows("services", ROWS, COLUMNS)
    out.record(ROWS[1])

    assert "\x1b" not in shown(out)


def test_a_table_takes_no_markup_from_the_data() -> None:
    out = output(color="never", to=Terminal())

    out.rows("services", [{"name": "[red]a[/red] :smile:"}], ["name"])

    assert lines(shown(out))[2] == "[red]a[/red] :smile:"


# -- other encodings ----------------------------------------------------------------------------------------------

FOREIGN = {"name": "app/Café", "error": "Łódź 🙂"}


def test_json_stays_json_where_only_ascii_can_be_written() -> None:
    out = output("json", to=Ascii())

    out.rows("services", [FOREIGN], ["name"])

    assert json.loads(shown(out)) == {"schema": 1, "services": [FOREIGN]}


def test_a_json_error_stays_json_where_only_ascii_can_be_written() -> None:
    out = Output("json", stdout=io.StringIO(), stderr=Ascii())

    out.error("mine", "Café 🙂")

    assert isinstance(out.stderr, Ascii)
    assert json.loads(out.stderr.getvalue())["error"]["message"] == "Café 🙂"


def test_json_is_written_as_it_is_where_everything_can_be() -> None:
    out = output("json")

    out.record({"name": "Café"})

    assert shown(out) == '{"schema": 1, "name": "Café"}\n'


def test_json_with_half_a_character_stays_json() -> None:
    out = output("json", to=io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True))

    out.record({"name": "\udcff"})

    assert isinstance(out.stdout, io.TextIOWrapper)
    assert isinstance(out.stdout.buffer, io.BytesIO)
    assert json.loads(out.stdout.buffer.getvalue()) == {"schema": 1, "name": "\udcff"}


def test_plain_lines_are_escaped_where_only_ascii_can_be_written() -> None:
    out = output(to=Ascii())

    out.rows("services", [FOREIGN], ["name", "error"])

    assert shown(out) == "app/Caf\\xe9\t\\u0141\\xf3d\\u017a \\U0001f642\n"


def test_a_table_is_escaped_where_only_ascii_can_be_written() -> None:
    out = output(color="never", to=Ascii(is_terminal=True))

    out.rows("services", [{"name": "app/Café"}], ["name"])

    assert lines(shown(out)) == ["NAME", "-----------", "app/Caf\\xe9"]


def test_a_coloured_line_is_escaped_where_only_ascii_can_be_written() -> None:
    out = output(to=Ascii(is_terminal=True))

    out.item({}, "no Café", "ERROR")

    assert shown(out) == f"{RED}no Caf\\xe9\x1b[0m\n"


# -- control characters -------------------------------------------------------------------------------------------

EVIL = "a\x1b[2Jb\x07c\rd\x9be\u202ef"
TAME = "a\\x1b[2Jb\\x07c\\rd\\x9be\\u202ef"


@pytest.mark.parametrize("mode", ["plain", "name"])
def test_plain_rows_speak_to_no_terminal(mode: str) -> None:
    out = output(mode)

    out.rows("services", [{"name": EVIL}], ["name"])

    assert shown(out) == f"{TAME}\n"


def test_plain_records_speak_to_no_terminal() -> None:
    out = output()

    out.record({"name": EVIL})

    assert shown(out) == f"name\t{TAME}\n"


def test_a_table_speaks_to_no_terminal() -> None:
    out = output(color="never", to=Terminal())

    out.rows("services", [{"name": EVIL}], ["name"])

    assert lines(shown(out))[2] == TAME


def test_a_grid_speaks_to_no_terminal() -> None:
    out = output(color="never", to=Terminal())

    out.record({"name": EVIL, "traceback": f"one\n{EVIL}"})

    assert lines(shown(out)) == [f"name       {TAME}", "traceback  one", f"           {TAME}"]


@pytest.mark.parametrize("level", ["", "ERROR"])
def test_an_item_speaks_to_no_terminal(level: str) -> None:
    out = output(color="never", to=Terminal())

    out.item({}, EVIL, level)

    assert shown(out) == f"{TAME}\n"


def test_an_answer_of_many_lines_speaks_to_no_terminal() -> None:
    out = output()

    out.text(f"one\n\t{EVIL}")

    assert shown(out) == f"one\n\t{TAME}\n"


def test_words_and_errors_speak_to_no_terminal() -> None:
    out = output()

    out.say(EVIL)
    out.error("mine", EVIL)

    assert said(out) == f"{TAME}\nzephctl: {TAME}\n"


def test_json_escapes_control_characters_in_its_own_way() -> None:
    out = output("json")

    out.record({"name": EVIL})

    assert "\x1b" not in shown(out)
    assert json.loads(shown(out))["name"] == EVIL


def test_rows_of_several_processes_have_a_column_more() -> None:
    assert worker_column([{"name": "a"}, {"name": "b", "worker": 2}]) == ["worker"]
    assert worker_column([{"name": "a"}]) == worker_column([]) == []
