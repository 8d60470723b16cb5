"""zephctl completion: what a shell may complete, in three real shells, fast, and silent when nobody answers."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.zephctl.commands.shells import BIN, Shell
from tests.zephctl.conftest import Answer
from tests.zephserver.conftest import Site
from zephctl import completion_scripts
from zephctl.cli import COMMANDS
from zephctl.completion import complete

ROOT = Path(__file__).parents[3]
Zephctl = Callable[..., Answer]
FILES = completion_scripts.FILES


def values(line: str, shell: str = "fish", word: str = "") -> list[str]:
    """What the last word of a line may become."""
    return [value for _, value, _ in complete(line, shell, word)]


# -- words that need no server --------------------------------------------------------------------------------------


def test_every_command_is_completed_with_its_summary(folder: Path) -> None:
    assert [(value, help) for _, value, help in complete("zephctl ", "zsh")] == [
        (name, summary) for name, (_, summary) in COMMANDS.items()
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zephctl sta", ["start", "status"]),
        ("/opt/venv/bin/zephctl sta", ["start", "status"]),
        ("zephctl services res", ["reset", "restart"]),
        ("zephctl tail-log --fol", ["--follow", "--folder"]),
        ("zephctl status -o js", ["json", "jsonl"]),
        ("zephctl status --output=js", ["--output=json", "--output=jsonl"]),
        ("zephctl completion b", ["bash"]),
        ("zephctl log-level WA", ["WARNING"]),
        ("zephctl log-level wa", ["warning"]),
        ("zephctl settings show PORT_", ["PORT_ZEPH"]),
        ("zephctl settings show PORT_ZEPH LOG_PA", ["LOG_PATH"]),
        ("zephserver-start --d", ["--daemon", "--dev"]),
        ("zephserver-stop --f", ["--folder"]),
        ("zephctl frobnicate ", []),
        ("zephctl", []),
        ("", []),
        ("zephctl status 'unfinished", []),
    ],
)
def test_a_word_is_completed(folder: Path, line: str, expected: list[str]) -> None:
    assert values(line) == expected


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("zephctl status --settings z", "file"),
        ("zephctl status --interface ", "file"),
        ("zephctl status --folder /s", "dir"),
        ("zephctl new chat ", "dir"),
        ("zephserver-start --folder ", "dir"),
        ("zephserver-command --settings=z", "file"),
        ("zephserver-stop ", "file"),
    ],
)
def test_a_path_is_left_to_the_shell(folder: Path, line: str, kind: str) -> None:
    assert [found for found, _, _ in complete(line, "bash")] == [kind]


def test_no_hidden_option_is_offered(folder: Path) -> None:
    assert "--answer" not in values("zephctl completion --")


# -- names of a running server --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zephctl services show Ro", ["RoomHandler", "Router"]),
        ("zephctl services restart zephserver.router", ["zephserver.router/Router"]),
        ("zephctl tail-log --service Ro", ["RoomHandler", "Router"]),
        ("zephctl tasks call ec", ["echo"]),
        ("zephctl rooms show ", ["lobby"]),
        ("zephctl rooms say lob", ["lobby"]),
        ("zephctl rooms say lobby ec", ["echo"]),
        ("zephctl say notice --room l", ["lobby"]),
        ("zephctl clients kick an", ["ann"]),
        ("zephctl command services sh", ["show"]),
        ("zephctl command services show Ro", ["RoomHandler", "Router"]),
        ("zephserver-command services sh", ["show"]),
        ("zephserver-command rooms show ", ["lobby"]),
        ("zephserver-command sett", ["settings"]),
    ],
)
def test_a_live_name_is_completed(site: Site, line: str, expected: list[str]) -> None:
    site.join("ann", "lobby")

    assert values(line) == expected


def test_a_server_elsewhere_is_asked_when_the_line_names_it(
    site: Site, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert values("zephctl tasks call --folder f ec") == ["echo"]
    assert values(f"zephctl tasks call --interface {folder}/interface.sock ec") == ["echo"]
    assert values(f"zephserver-command --interface={folder}/interface.sock services sh") == ["show"]
    assert values("zephctl tasks call ec") == []


def test_a_name_that_a_terminal_could_not_bear_is_not_offered(site: Site) -> None:
    site.join("ann", "e\x1b[31mvil")
    site.join("bob", "good")

    assert values("zephctl rooms show ") == ["good"]


def test_bash_gets_what_follows_the_place_where_it_breaks_words(site: Site) -> None:
    site.join("ann", "team:red room")

    assert values("zephctl rooms show team:r", "bash", "r") == [r"red\ room"]
    assert values("zephctl rooms show team:", "bash", ":") == [r"red\ room"]
    assert values("zephctl rooms show te", "bash", "te") == [r"team:red\ room"]
    assert values("zephctl rooms show 'te", "bash", "'te") == ["team:red room"]
    assert values("zephctl status --output=js", "bash", "js") == ["json", "jsonl"]
    assert values("zephctl rooms show team:r", "zsh") == ["team:red room"]


# -- nobody answers -------------------------------------------------------------------------------------------------


def ask(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """Ask as a shell does."""
    return subprocess.run(
        [str(BIN / "zephctl"), "completion", "zsh", "--answer", line],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


SETTINGS = {
    "no server": "SERVICE_LIST = []\n",
    "settings that raise": "1 / 0\n",
    "settings that print": "print('plain\\tevil'); SERVICE_LIST = []\n",
    "settings that exit": "raise SystemExit(3)\n",
    "settings that loop": "while True:\n    try:\n        x = 1\n    except BaseException:\n        pass\n",
    "nothing": None,
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_without_names_there_is_no_word_at_all(folder: Path, settings: str | None) -> None:
    if settings is not None:
        (folder / "zephsettings.py").write_text(settings)

    done = ask(folder, "zephctl services show ")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_server_that_says_nothing_costs_a_fifth_of_a_second(folder: Path, silent_server: tuple[str, ...]) -> None:
    began = time.monotonic()

    found = [ask(folder, f"zephctl services show --interface {silent_server[1]} ").stdout for _ in range(2)]

    assert found == ["", ""]
    assert time.monotonic() - began < 20.0  # and not a minute each, as other commands wait


def test_an_answer_imports_nothing_heavy(site: Site, folder: Path) -> None:
    program = (
        "import sys; from zephctl.cli import main; main(['completion', 'zsh', '--answer', 'zephctl tasks call ec']); "
        "print([m for m in sys.modules if m in ('rich', 'asyncio', 'zephserver.core.settings', 'watchdog', 'ssl') "
        "or m.startswith('zephctl.commands.')], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "plain\techo\t\n"
    assert done.stderr == "['zephctl.commands.completion', 'zephctl.commands.reload', 'zephctl.commands.tasks']\n"


# -- the scripts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", FILES)
def test_the_script_is_the_one_in_the_repository(zephctl: Zephctl, shell: str) -> None:
    committed = (ROOT / "completions" / FILES[shell]).read_text()

    assert zephctl("completion", shell) == Answer(0, committed, ""), "run: python -m docs.completions"


@pytest.mark.parametrize("shell", FILES)
def test_it_is_installed_where_the_shell_looks(
    zephctl: Zephctl, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    first = {
        "bash": ".local/share/bash-completion/completions/zephctl",
        "zsh": ".local/share/zsh/site-functions/_zephctl",
        "fish": ".config/fish/completions/zephctl.fish",
    }[shell]

    answer = zephctl("completion", shell, "--install")
    again = zephctl("completion", shell, "--install", "-q", "-o", "json")

    assert answer.status == 0
    assert f"wrote {tmp_path / first}" in answer.stderr
    files = again.json["files"]
    assert files[0] == str(tmp_path / first)
    assert {Path(file).read_text() for file in files} == {completion_scripts.SCRIPTS[shell]}
    assert len(files) == (1 if shell == "zsh" else 4)


def test_a_place_that_cannot_be_written_is_a_failure(
    zephctl: Zephctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))

    answer = zephctl("completion", "zsh", "--install")

    assert (answer.status, answer.stdout) == (1, "")
    assert answer.stderr.endswith("cannot be written: Not a directory\n")


def test_an_unknown_shell_is_a_usage_error(zephctl: Zephctl) -> None:
    assert zephctl("completion", "csh").status == 2


# -- real shells ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=FILES)
def shell(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Shell]:
    """A shell of each kind, in the folder of the server."""
    home = tmp_path / "home"
    home.mkdir()
    shell = Shell(request.param, ROOT / "completions" / FILES[request.param], home, folder)
    yield shell
    shell.close()


# What a person types, and what is shown then.
TYPED = [
    ("zephctl servi\t", "zephctl services "),
    ("zephctl services restart Route\t", "services restart Router "),
    ("zephctl tasks call ech\t", "tasks call echo "),
    ("zephctl rooms show lob\t", "rooms show lobby:red "),
    ("zephctl rooms show lobby:\t", "rooms show lobby:red "),
    ("zephctl clients kick an\t", "clients kick ann "),
    ("zephctl settings show TOKEN\t", "settings show TOKEN_SECRET "),
    ("zephctl check --settings zephs\t", "--settings zephsettings.py"),
    ("zephctl status --output=jsonl\t", "--output=jsonl "),
    ("zephserver-command services lis\t", "services list "),
    ("zephserver-start --daem\t", "zephserver-start --daemon "),
]


def test_a_person_presses_tab(site: Site, shell: Shell) -> None:
    site.join("ann", "lobby:red")

    for typed, shown in TYPED:
        shell.send(typed)
        shell.wait(shown, press_again="\t")
        shell.drop()


def test_a_person_presses_tab_and_sees_what_there_is(site: Site, shell: Shell) -> None:
    shell.send("zephctl services res\t\t")

    shell.wait("restart", press_again="\t")
    shell.drop()


def test_a_person_presses_tab_and_no_server_runs(shell: Shell, no_server: None) -> None:
    shell.send("zephctl services show \t\x15echo still here\n")

    shown = shell.wait("still here")
    assert "rror" not in shown
    assert "Traceback" not in shown


def test_the_measured_time_of_a_tab_is_told(site: Site, folder: Path, record_property: Callable[..., None]) -> None:
    def processor() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def seconds() -> float:
        before = processor()
        ask(folder, "zephctl services show Ro")
        return processor() - before

    least = min(seconds() for _ in range(5))

    record_property("seconds", json.dumps(round(least, 3)))
    assert (
        least < 0.3
    )  # of a processor, about a tenth when nothing else runs on it; on a busy machine a tab takes longer
