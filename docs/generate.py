"""Prints the reference pages from the code: `make docs`. A test holds them current."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zephctl.cli import COMMANDS, cli
from zephserver.core.settings_page import default_of, page

DOCS = Path(__file__).parent


def settings_page() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every name that `zephsettings.py` may set, printed from the code by `make docs`. Times are in seconds.",
        "Relative paths are taken from the folder of the file. `zephctl settings show` prints the values in force and",
        "where each comes from; `zephctl check` tells every fault at once.",
        "",
        "| name | default | meaning |",
        "| --- | --- | --- |",
    ]
    for line in page():
        default = "required" if line.metadata["required"] else f"`{_literal(default_of(line))}`"
        lines.append(f"| `{line.name.upper()}` | {default} | {line.metadata['help'].replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """docs/reference/zephctl.md."""
    lines = ["# zephctl", "", "Every command, printed from the code by `make docs`.", ""]
    context = click.Context(cli, info_name="zephctl", **{**cli.context_settings, "terminal_width": 100})
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        lines += _help_of(command, context, f"zephctl {name}")
    return "\n".join(lines)


def _help_of(command: click.Command, parent: click.Context, name: str) -> list[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, terminal_width=100)
    lines = [f"## {name}", "", "```text", command.get_help(context).replace("\b", "").rstrip(), "```", ""]
    for sub, below in getattr(command, "commands", {}).items():
        lines += _help_of(below, context, f"{name} {sub}")
    return lines


def _literal(value: Any) -> str:
    return repr(str(value)) if isinstance(value, Path) else repr(value)


PAGES = {"reference/settings.md": settings_page, "reference/zephctl.md": commands_page}

if __name__ == "__main__":
    for place, make in PAGES.items():
        (DOCS / place).write_text(make(), encoding="utf-8")
        print(f"docs/{place}")
