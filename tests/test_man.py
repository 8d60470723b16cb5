"""The manual pages and completion scripts are those that the code prints, and mandoc has nothing to say about them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from docs import completions, man
from tests.requirements import program
from zephctl.cli import COMMANDS
from zephserver.core.settings_page import page

ROOT = Path(__file__).parent.parent
PAGES = man.pages()


def mandoc(*words: str) -> str:
    """What mandoc says."""
    done = subprocess.run([program("mandoc"), *words], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_current(name: str) -> None:
    assert (ROOT / "man" / man.place_of(name)).read_text(encoding="utf-8") == PAGES[name], "run: python -m docs.man"


def test_there_is_no_page_of_something_that_is_gone() -> None:
    there = {str(path.relative_to(ROOT / "man")) for path in (ROOT / "man").rglob("*.[0-9]")}

    assert there == {man.place_of(name) for name in PAGES}


def test_every_command_has_a_page() -> None:
    programs = ("zephserver-start", "zephserver-stop", "zephserver-command", "zephctl")

    wanted = {f"{name}.1" for name in (*programs, *(f"zephctl-{command}" for command in COMMANDS))}

    assert set(PAGES) == wanted | {"zephsettings.5"}


def test_mandoc_has_nothing_to_say() -> None:
    assert mandoc("-T", "lint", *map(str, sorted((ROOT / "man").rglob("*.[0-9]")))) == ""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_what_a_reader_looks_for(name: str) -> None:
    sections = re.findall(r"^\.Sh (.*)$", PAGES[name], re.MULTILINE)

    wanted = ["NAME", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"]
    if name.endswith(".1"):
        wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
    assert [section for section in sections if section in wanted] == wanted


def test_every_setting_is_in_the_manual() -> None:
    text = PAGES["zephsettings.5"]

    assert [line.name for line in page() if f"\n.It Va {line.name.upper()}\n" not in text] == []


def test_a_page_reads_well() -> None:
    text = re.sub(r".\x08", "", mandoc("-O", "width=78", str(ROOT / "man/man1/zephctl-services.1")))

    assert re.search("zephctl-services . show and act on services", text)
    assert re.search(r"^ +3 +It does not run: the server for status, the service", text, re.MULTILINE)
    assert "\n           zephctl services stack Router\n" in text


@pytest.mark.parametrize("name", completions.pages())
def test_a_completion_script_is_current(name: str) -> None:
    printed = completions.pages()[name]

    assert (ROOT / "completions" / name).read_text(encoding="utf-8") == printed, "run: python -m docs.completions"


@pytest.mark.parametrize(("name", "shell"), [("zephctl.bash", "bash"), ("_zephctl", "zsh"), ("zephctl.fish", "fish")])
def test_a_shell_can_read_its_script(name: str, shell: str) -> None:
    done = subprocess.run(
        [program(shell), "-n", str(ROOT / "completions" / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_wheel_has_pages_and_scripts_where_a_system_looks(tmp_path: Path) -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        shared = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]

    assert all((ROOT / source).exists() for source in shared)
    assert shared["man"] == "share/man"
    assert {f"completions/{name}" for name in completions.pages()} <= set(shared)
