"""zephctl new."""

from __future__ import annotations

import os
import shlex
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from zephctl.app import App, output_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ZephError

TEMPLATES = {
    "chat": "a chat room with its page, through the tasks echo and chat",
    "services": "two services that run without any web",
}


@click.command()
@click.argument("template", type=click.Choice(list(TEMPLATES)))
@click.argument("target", metavar="[FOLDER]", required=False)
@output_options
def cli(app: App, template: str, target: str | None) -> int:
    """Make a folder with an example that runs at once. It is named after the template, or FOLDER.

    \b
      zephctl new chat
      zephctl new services /srv/workers
    """
    folder = Path(target or template).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ZephError(f"{folder} exists and is not empty; name another folder")
    try:
        _copy(resources.files("zephctl") / "templates" / template, folder)
    except OSError as error:
        raise ZephError(f"{folder} cannot be made: {error.strerror}") from None
    app.output.say(f"made {folder}: {TEMPLATES[template]}")
    there = os.path.relpath(folder)
    app.output.say("next: zephctl start" if there == "." else f"next: cd {shlex.quote(there)} && zephctl start")
    if app.output.is_json:
        app.output.record({"folder": str(folder), "template": template})
    return ExitStatus.DONE


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)  # others may not write here, whatever the umask: the settings are code
    for entry in source.iterdir():
        if entry.name == "__pycache__":
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
            (target / entry.name).chmod(0o644)
