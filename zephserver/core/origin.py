"""Where in the user's files an error comes from."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PRODUCT = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, slots=True)
class Origin:
    """What went wrong, and the place in the user's files, if it is known; `column` counts from 1."""

    what: str
    file: str | None = None
    line: int | None = None
    source: str = ""
    column: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" if self.file is not None else self.what


def origin_of(error: BaseException, is_ours: Callable[[str], bool]) -> Origin:
    """The last place that the error went through of those files that are ours."""
    name = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename is not None and is_ours(error.filename):
        text = (error.text or "").rstrip("\n")
        return Origin(f"{name}: {error.msg}", error.filename, error.lineno or 1, text, error.offset)
    what = f"{name}: {error}" if str(error) else name
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_ours(frame.filename)]
    if not frames:
        return Origin(what)
    return Origin(what, frames[-1].filename, frames[-1].lineno, frames[-1].line or "")


def is_library(file: str) -> bool:
    """Whether a source file is one of Python's own, or of a package that was installed."""
    return file.startswith(_STANDARD_LIBRARY) or "/site-packages/" in file or "/dist-packages/" in file


def is_of_the_user(file: str) -> bool:
    """Whether a source file is neither a library's nor ours nor frozen into Python."""
    return not (is_library(file) or file.startswith((_PRODUCT, "<")))
