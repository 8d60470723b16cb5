"""Where in the user's files an error comes from."""

from __future__ import annotations

import json

import pytest

from zephserver.core import origin
from zephserver.core.origin import Origin, is_of_the_user, origin_of

NO_JSON = "Expecting value: line 1 column 1 (char 0)"


def error_of(text: str, file: str) -> BaseException:
    """What running this text as that file raises."""
    try:
        exec(compile(text, file, "exec"), {"json": json})  # noqa: S102
    except Exception as error:
        return error
    raise AssertionError("it worked")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef x(:\n", Origin("SyntaxError: invalid syntax", "/a.py", 2, "def x(:", 7)),
        ("x = 1\nx = 1 / 0", Origin("ZeroDivisionError: division by zero", "/a.py", 2)),
        ("raise ValueError", Origin("ValueError", "/a.py", 1)),
        ("def f():\n  json.loads('x')\nf()", Origin(f"JSONDecodeError: {NO_JSON}", "/a.py", 2)),
        ("eval('1 +')", Origin("SyntaxError: invalid syntax (<string>, line 1)", "/a.py", 1)),
    ],
)  # fmt: skip
def test_the_last_place_in_our_files_is_told(text: str, expected: Origin) -> None:
    assert origin_of(error_of(text, "/a.py"), lambda file: file == "/a.py") == expected


def test_an_error_that_comes_from_elsewhere_has_no_place() -> None:
    found = origin_of(error_of("1 / 0", "/b.py"), lambda file: file == "/a.py")

    assert found == Origin("ZeroDivisionError: division by zero")
    assert str(found) == "ZeroDivisionError: division by zero"


def test_an_origin_is_written_as_compilers_do() -> None:
    assert (
        str(Origin("SyntaxError: invalid syntax", "/a.py", 2, "def x(:", 7)) == "/a.py:2: SyntaxError: invalid syntax"
    )


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/srv/chat/chat_tasks.py", True),
        (json.__file__, False),
        ("/srv/chat/.venv/lib/python3/site-packages/x.py", False),
        (origin.__file__, False),
        ("<frozen importlib._bootstrap>", False),
    ],
)
def test_files_of_the_user_are_told_from_libraries(file: str, expected: bool) -> None:
    assert is_of_the_user(file) is expected
