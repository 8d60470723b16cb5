"""zephctl new."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from zephctl.app import App, output_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ZephError

TEMPLATES = {
    "chat": "a chat room with its page, through the tasks echo and chat",
    "django": "a Django project with a login page and a chat, for its own users",
    "poll": "a live poll with its page, and a service that counts",
    "services": "two services that run without any web",
}

# What comes from another template, so that it is there once: folder -> template's folder, and files.
BORROWED = {"django": {"chat/static/chat": ("chat/static", ("chat.css", "log.js", "view.js"))}}
FIRST = {"django": "python manage.py migrate && zephctl start && python manage.py runserver"}


@click.command()
@click.argument("template", type=click.Choice(list(TEMPLATES)))
@click.argument("target", metavar="[FOLDER]", required=False)
@output_options
def cli(app: App, template: str, target: str | None) -> int:
    """Make a folder with an example that runs at once. It is named after the template, or FOLDER.

    \b
      zephctl new chat
      zephctl new poll lunch
      zephctl new django mysite
      zephctl new services /srv/workers
    """
    folder = Path(target or template).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ZephError(f"{folder} exists and is not empty; name another folder")
    try:
        templates = resources.files("zephctl") / "templates"
        _copy(templates / template, folder)
        for place, (source, names) in BORROWED.get(template, {}).items():
            _copy(templates / source, folder / place, names)
    except OSError as error:
        raise ZephError(f"{folder} cannot be made: {error.strerror}") from None
    app.output.say(f"made {folder}: {TEMPLATES[template]}")
    there = os.path.relpath(folder)
    first = FIRST.get(template, "zephctl start")
    app.output.say(f"next: {first}" if there == "." else f"next: cd {shlex.quote(there)} && {first}")
    if app.output.is_json:
        app.output.record({"folder": str(folder), "template": template})
    return ExitStatus.DONE


def _copy(source: Traversable, target: Path, names: Collection[str] | None = None) -> None:
    """Copy a folder, or the files of it that are named."""
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)  # others may not write here, whatever the umask: the settings are code
    for entry in source.iterdir():
        if entry.name == "__pycache__" or (names is not None and entry.name not in names):
            continue
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
            (target / entry.name).chmod(0o644)
