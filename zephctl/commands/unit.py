"""zephctl unit."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from zephctl.app import App, common_options
from zephctl.exits import ExitStatus
from zephserver.core.errors import ZephError


@click.command()
@click.option("--user", "for_user", is_flag=True, help="For the systemd of your own session.")
@click.option("--name", metavar="NAME", help="Name of the service; that of the folder without.")
@click.option("--docker", is_flag=True, help="A Dockerfile and a compose file instead.")
@click.option("--write", "target", metavar="DIR", help="Write the files there instead of printing them.")
@common_options
def cli(app: App, for_user: bool, name: str | None, docker: bool, target: str | None) -> int:
    """Print a hardened systemd unit for the server of this folder, or what a container needs.

    \b
      zephctl unit | sudo tee /etc/systemd/system/chat.service
      zephctl unit --user --write ~/.config/systemd/user
      zephctl unit --docker --write .
    """
    from zephctl import container, systemd_unit

    if docker and for_user:
        raise click.UsageError("Choose one of --docker and --user.")
    settings = app.load_settings()
    name = name or systemd_unit.name_of(settings.folder)
    if not systemd_unit.NAME.fullmatch(name):
        raise click.UsageError(f"A name has letters, digits and :_.@-, unlike {name!r}.")
    if docker:
        files = container.files(settings, name)
        advice = container.advice(settings)
    else:
        files = {f"{name}.service": systemd_unit.unit(settings, name, for_user=for_user)}
        manager = "systemctl --user" if for_user else "sudo systemctl"
        advice = [f"then: {manager} daemon-reload && {manager} enable --now {shlex.quote(name)}"]
    if target is None:
        _print(app, files)
    else:
        written = _write(Path(target).expanduser().absolute(), files)
        app.output.say(f"wrote {', '.join(written)}")
        if app.output.is_json:
            app.output.record({"files": written})
    for line in advice:
        app.output.say(line)
    return ExitStatus.DONE


def _print(app: App, files: dict[str, str]) -> None:
    """The text of a single file as it is; several with a line before each that says which."""
    if app.output.is_json:
        app.output.record({"files": files})
        return
    for name, text in files.items():
        if len(files) > 1:
            app.output.text(f"# ---- {name}")
        app.output.text(text.rstrip("\n"))


def _write(folder: Path, files: dict[str, str]) -> list[str]:
    """Write the files, none of which may be there already."""
    there = [str(folder / name) for name in files if (folder / name).exists()]
    if there:
        raise ZephError(f"{', '.join(there)} exists; move it away or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ZephError(f"{folder} cannot be written to: {error.strerror}") from None
    return [str(folder / name) for name in files]
