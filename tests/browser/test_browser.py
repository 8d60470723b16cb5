"""The pages of the examples in a real Chromium, against real servers; the tests themselves are in *.test.mjs."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import django_versions
from tests.requirements import REQUIRED, missing, program

HERE = Path(__file__).parent
TESTS = sorted(path.name for path in HERE.glob("*.test.mjs"))
OLDEST_NODE = 20
PATIENCE = 280.0  # seconds for one file, which usually takes 5 to 20


@pytest.fixture(scope="session")
def node() -> str:
    """The path of a Node that is new enough, with playwright-core."""
    path = program("node")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        missing(f"node {version.strip()} is older than {OLDEST_NODE}")
    with open(HERE / "package-lock.json") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # where several processes run tests, one of them installs
        if not all((HERE / "node_modules" / package).exists() for package in ("playwright-core", "axe-core")):
            if not REQUIRED or shutil.which("npm") is None:
                missing("playwright-core is not installed: npm ci --prefix tests/browser")
            command = ["npm", "ci", "--no-audit", "--no-fund", "--prefix", str(HERE)]
            subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    return path or missing("chromium is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the tests make their examples; a server that a failed test left there is killed, by its pid."""
    yield tmp_path
    for lock in tmp_path.glob("*/server.lock"):
        word = lock.read_text().partition("\n")[0]
        if word.isdigit():
            try:
                os.kill(int(word), signal.SIGKILL)
            except ProcessLookupError:
                pass


OTHERS = [("django.test.mjs", version) for version in django_versions.others()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "version"), [*((name, "") for name in TESTS), *OTHERS])
def test_in_a_browser(node: str, chromium: str, folder: Path, name: str, version: str) -> None:
    environment = os.environ | {
        "ZEPH_PYTHONPATH": django_versions.folder_of(version) if version else "",
        "CHROMIUM": chromium,
        "ZEPH_BIN": str(Path(sys.executable).parent),
        "ZEPH_FOLDER": str(folder),
        "ZEPH_SCREENSHOTS": os.environ.get("ZEPH_SCREENSHOTS") or str(folder / "screenshots"),
    }

    with subprocess.Popen(
        [node, "--test", "--test-reporter=spec", name],
        cwd=HERE,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that a browser that hangs can be ended with it
    ) as process:
        try:
            said = process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said = process.communicate()[0]

    assert process.returncode == 0, said
