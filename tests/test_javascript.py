"""The JavaScript client has tests of its own, in js/test; they run from here too."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.requirements import REQUIRED, missing, program
from zephserver.version import __version__

JS = Path(__file__).parent.parent / "js"
TESTS = sorted(str(path.relative_to(JS)) for path in JS.glob("test/*.test.mjs"))
MINIFIED = "../../zephserver/static/zephclient.min.js"  # seen from js/test
OLDEST_NODE = 20


@pytest.fixture
def node() -> str:
    """The path of a Node that is new enough."""
    path = program("node")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        missing(f"node {version.strip()} is older than {OLDEST_NODE}")
    return path


def run(*command: str, **environment: str) -> None:
    """Run a command in js/ and show what it said when it failed."""
    done = subprocess.run(
        command, cwd=JS, env=os.environ | environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tests_of_the_client_pass(node: str) -> None:
    assert TESTS
    run(node, "--test", *TESTS)


def test_the_tests_of_the_client_pass_with_its_minified_form(node: str) -> None:
    run(node, "--test", *TESTS, ZEPHCLIENT=MINIFIED)


def test_the_built_files_are_current(node: str) -> None:
    if REQUIRED and not (JS / "node_modules" / "esbuild").exists():
        missing("esbuild is not installed: npm ci --prefix js")  # without it the minified form is compared by its hash
    run(node, "build.mjs", "--check")


def test_the_declarations_allow_what_they_should(node: str) -> None:
    compiler = JS / "node_modules" / ".bin" / "tsc"
    if not compiler.exists():
        missing("typescript is not installed: npm ci --prefix js")
    run(str(compiler), "--project", "test/tsconfig.json")


def test_the_client_has_the_version_of_the_server() -> None:
    assert json.loads((JS / "package.json").read_text("utf-8"))["version"] == __version__
