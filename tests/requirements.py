"""What tests need beside Python: without it they are skipped, and fail where everything has to be there."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

REQUIRED = os.environ.get("ZEPH_REQUIRE_ALL") == "1"


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it with ZEPH_REQUIRE_ALL=1."""
    if REQUIRED:
        pytest.fail(what)
    pytest.skip(what)


def program(name: str) -> str:
    """The path of a program of .ci/packages.txt."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return found or missing(f"{name} is not installed; on Debian: see .ci/packages.txt")
