"""What the end-to-end tests share: folders with settings, real processes in them, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PATIENCE = 60.0  # seconds; a machine may be busy, a test never waits that long on purpose

Run = Callable[..., subprocess.CompletedProcess[str]]
Spawn = Callable[..., "subprocess.Popen[str]"]
FolderOf = Callable[..., Path]


def environment(**more: str) -> dict[str, str]:
    """The environment without wishes about zephserver, colours and pages."""
    unwanted = ("ZEPHSETTINGS", "NO_COLOR", "FORCE_COLOR", "NOTIFY_SOCKET", "PYTHONDEVMODE")
    return {name: value for name, value in os.environ.items() if name not in unwanted} | more


def pid_of(folder: Path) -> int | None:
    """The pid of the server that holds the lock of a folder."""
    try:
        word = (folder / "server.lock").read_text().partition("\n")[0]
    except OSError:
        return None
    return int(word) if word.isdigit() else None


@pytest.fixture(autouse=True)
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Asked for early, because nothing_left_behind() wants it during its teardown."""
    return tmp_path_factory.getbasetemp()


def make_folder(folder: Path, settings: str, files: dict[str, str]) -> Path:
    """Write zephsettings.py and other files; the server picks a free port unless the settings name one."""
    folder.mkdir(mode=0o755)
    for name, text in {"zephsettings.py": f"PORT_ZEPH = 0\n{settings}", **files}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    return folder


@pytest.fixture
def folder_of(tmp_path: Path) -> Iterator[FolderOf]:
    """Make folders with these settings and files; their servers are killed at the end, if they still run."""
    folders: list[Path] = []

    def make(settings: str = "SERVICE_LIST = []\n", **files: str) -> Path:
        folders.append(tmp_path / f"f{len(folders)}")
        return make_folder(folders[-1], settings, {f"{name}.py": text for name, text in files.items()})

    yield make

    for folder in folders:
        kill_server(folder)


def kill_server(folder: Path) -> None:
    """Kill the server of a folder, by its pid."""
    pid = pid_of(folder)
    if pid is not None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run_in(folder: Path, program: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program of ours in a folder; *more* joins its environment."""
    return subprocess.run(
        [str(BIN / program), *words],
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def run() -> Run:
    """Run a program of ours in a folder: run(folder, "zephctl", "status")."""
    return run_in


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a program of ours in a folder, with pipes; killed at the end, if it still runs."""
    with ExitStack() as stack:

        def start(folder: Path, program: str, *words: str, **more: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [str(BIN / program), *words],
                cwd=folder,
                env=environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start
