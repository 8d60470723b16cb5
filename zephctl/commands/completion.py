"""zephctl completion."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from zephctl.app import App, output_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ZephError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it to where the shell looks for yours.")
@click.option("--answer", metavar="LINE", hidden=True, help="What the last word of LINE may become.")
@click.option("--word", default="", hidden=True, help="What bash takes for that word.")
@output_options
def cli(app: App, shell: str, install: bool, answer: str | None, word: str) -> int:
    """Print the script that makes a shell complete our commands, and the names of services, tasks, rooms and users.

    \b
      zephctl completion bash --install
      zephctl completion zsh > ~/.zfunc/_zephctl
      zephctl completion fish | source
    """
    if answer is not None:
        from zephctl.completion import complete

        lines = ["\t".join(parts) for parts in complete(answer, shell, word)]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        return ExitStatus.DONE
    from zephctl.completion_scripts import SCRIPTS, advice, places

    if not install:
        app.output.text(SCRIPTS[shell].rstrip("\n"))
        return ExitStatus.DONE
    written = places(shell, os.environ)
    for place in written:
        _write(place, SCRIPTS[shell])
    if app.output.is_json:
        app.output.record({"shell": shell, "files": [str(place) for place in written]})
    app.output.say(f"wrote {written[0]}" + (f" and {len(written) - 1} more beside it" if written[1:] else ""))
    app.output.say(advice(shell, written[0]))
    return ExitStatus.DONE


def _write(place: Path, text: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ZephError(f"{place} cannot be written: {error.strerror}") from None
