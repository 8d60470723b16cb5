"""The recipe of docs/how-to/ci.md does what the page says, in a plain shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-to" / "ci.md"
TASKS = "from zephserver import Task\nclass Echo(Task):\n    async def main(self):\n        self.reply({})\n"
SETTINGS = """\
SERVICE_LIST = ["zephserver.session_manager/SimpleSessionManager", "zephserver.room_handler/RoomHandler",
                "zephserver.router/Router", "zephserver.websocket_client/WebsocketClient"]
TASKS_PATH = {"echo": "echoes/Echo"}
PORT_ZEPH = 0
"""
DASH = shutil.which("dash")


@pytest.fixture
def smoke(tmp_path: Path) -> Path:
    """The script of the page, beside a folder `site` with a server."""
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "smoke.sh").write_text(script)
    (tmp_path / "site").mkdir(mode=0o755)
    (tmp_path / "site" / "zephsettings.py").write_text(SETTINGS)
    (tmp_path / "site" / "echoes.py").write_text(TASKS.replace("{}", "self.data"))
    return tmp_path


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script with a shell that knows POSIX and nothing else."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [DASH or "sh", "smoke.sh", "site"], cwd=folder, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=100, check=False,
    )  # fmt: skip


def test_a_server_that_is_well_passes_and_leaves_its_log(smoke: Path) -> None:
    done = run(smoke)

    assert (done.returncode, done.stdout) == (0, "all is well\n"), done.stderr
    assert json.loads((smoke / "artifacts" / "status.json").read_text())["ready"] is True
    assert "ready: 4 services" in (smoke / "artifacts" / "events.jsonl").read_text()
    assert "ready: 4 services" in (smoke / "artifacts" / "logging.log").read_text()
    assert not (smoke / "site" / "interface.sock").exists()  # it was stopped


def test_a_wrong_answer_fails_and_leaves_its_log(smoke: Path) -> None:
    (smoke / "site" / "echoes.py").write_text(TASKS.replace("{}", "'wrong'"))

    done = run(smoke)

    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    assert (smoke / "artifacts" / "logging.log").exists()
    assert not (smoke / "site" / "interface.sock").exists()


def test_wrong_settings_fail_before_anything_runs(smoke: Path) -> None:
    (smoke / "site" / "zephsettings.py").write_text("PORT_ZEPH = 'x'\n")

    done = run(smoke)

    assert done.returncode == 6
    assert "PORT_ZEPH" in done.stderr


def test_the_shell_has_nothing_to_say_about_its_syntax(smoke: Path) -> None:
    done = subprocess.run([DASH or "sh", "-n", "smoke.sh"], cwd=smoke, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_workflow_names_no_registry_and_runs_the_script() -> None:
    text = (ROOT / "examples" / "ci" / "workflow.yml").read_text()

    assert "run: sh smoke.sh ." in text
    assert "://" not in text
