"""Prints the manual pages from the code: `python -m docs.man`. A test holds them current, and mandoc has to like them.

Names, options and settings come from the code; examples, exit statuses, environment and files are written here by hand
where the help of a command does not have them. The language is mdoc(7).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from docs import mdoc
from zephctl import scripts
from zephctl.cli import COMMANDS, cli
from zephserver.core.settings_page import default_of, page

MAN = Path(__file__).parent.parent / "man"
DATE = "November 22, 2026"  # of the last change that a reader would notice
COMMON = ("mode", "color", "quiet", "settings_file", "folder", "interface", "timeout")

STATUSES = {
    0: "Done.",
    1: "The command failed.",
    2: "The command line is wrong.",
    3: "It does not run: the server for status, the service for services show.",
    4: "There is no such service, task, room, client or setting; for status: a server runs and cannot be asked.",
    5: "The server cannot be reached.",
    6: "The settings are invalid.",
    7: "Permission denied: the server belongs to another user.",
    8: "No answer in time.",
    130: "Interrupted with Ctrl-C.",
}
WITH_SERVER = (0, 1, 2, 5, 6, 7, 8, 130)
WITHOUT_SERVER = (0, 1, 2, 6)
OWN_STATUSES = {
    "status": (0, 1, 2, 3, 4, 6, 7, 8),
    "services": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "events": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "tail-log": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "tasks": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "rooms": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "clients": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "command": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "log-level": (*WITH_SERVER[:3], 4, *WITH_SERVER[3:]),
    "settings": (0, 2, 4, 6),
    "check": (0, 2, 6),
    "doctor": (0, 1, 2),
    "new": (0, 1, 2),
    "completion": (0, 1, 2),
    "unit": WITHOUT_SERVER,
}
EXAMPLES = {
    "zephctl": [
        ("Make the chat example, and start it:", "zephctl new chat && cd chat && zephctl start"),
        ("Follow the log of a server elsewhere:", "zephctl tail-log -f --folder /srv/chat"),
        ("Wait in a script until it is ready, then call a task:",
         "zephctl wait --timeout 30 && zephctl tasks call echo '{\"x\": 1}'"),
        ("Names of the services that failed:",
         "zephctl services list -o json | jq -r '.services[] | select(.state == \"failed\").name'"),
    ],
    "services": [
        ("See why a service does not answer:", "zephctl services stack Router"),
        ("Try a service again that had failed:", "zephctl services reset workers/Cash"),
    ],
    "tail-log": [
        ("What went wrong in the last ten minutes:", "zephctl tail-log --since 10m --level warning"),
        ("One service, as it goes on, for a program:", "zephctl tail-log -f --service Router -o jsonl"),
        ("Go on where a program ended:", "zephctl tail-log --after 5d1f0c2e:4711 -o jsonl"),
    ],
    "events": [("Every change of a service:", "zephctl events --kind ServiceChanged -o jsonl")],
    "unit": [
        ("Run the server of this folder as a service of the system:",
         "zephctl unit | sudo tee /etc/systemd/system/chat.service\nsudo systemctl daemon-reload\n"
         "sudo systemctl enable --now chat"),
    ],
    "doctor": [("Stop a deployment when something is bad:", "zephctl doctor -q --folder /srv/chat || exit 1")],
    "completion": [("For every new bash:", "zephctl completion bash --install")],
}  # fmt: skip
ENVIRONMENT = {
    "ZEPHSETTINGS": "Settings file, where no option names one.",
    "NO_COLOR": "No colours.",
    "FORCE_COLOR": "Colours in a pipe too.",
    "COLUMNS": "Width of the terminal.",
}
FILES = {
    "zephsettings.py": "The settings, zephsettings(5). It is run as Python, so nobody else may write to it.",
    "interface.sock": "The control socket of a running server.",
    "server.lock": "Locked while the server runs; its pid is inside.",
    "logging.log": "The log, with older parts in logging.log.1 and so on.",
}
PROGRAMS = {
    "zephserver-start": (scripts.START_HELP, "start a server"),
    "zephserver-stop": (scripts.STOP_HELP, "stop a server"),
    "zephserver-command": (scripts.COMMAND_HELP, "send a command to a running server"),
}
# What the options of the three programs do; their help has no room for it.
OPTIONS = {
    "-d": "Return when the server is ready; it goes on in the background.",
    "--daemon": "The same.",
    "--dev": "Development mode: load tasks that change while the server runs.",
    "--workers": "So many processes that share the port.",
    "--settings": "The settings file.",
    "--folder": "The folder of the settings file.",
    "--interface": "The control socket of the server.",
}
VALUES = {"--settings": "FILE", "--folder": "DIR", "--interface": "SOCKET", "--workers": "N"}


ABOUT = (
    "zephctl does everything one does with a server: the one of this folder, or of --folder, --settings or "
    "--interface. Each command has a page of its own, as in zephctl-status(1)."
)
ABOUT_OUTPUT = (
    "Data goes to standard output and words to standard error. Without -o it is a table on a terminal and lines "
    "with tabs in a pipe; JSON has a schema version, and errors are JSON there too."
)
ABOUT_SETTINGS = (
    "zephsettings.py is a Python file that gives names their values. It is run once, when a server starts, so it "
    "has to belong to the user or root, and nobody else may write to it. Times are in seconds, and relative paths"
    " are taken from the folder of the file. A name that nobody knows is kept for the services of the user. "
    "zephctl-settings(1) shows the values in force, zephctl-check(1) tells every fault at once."
)


def pages() -> dict[str, str]:
    """File name and text of every page."""
    made = {"zephctl.1": zephctl_page(), "zephsettings.5": settings_page()}
    context = click.Context(cli, info_name="zephctl")
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        made[f"zephctl-{name}.1"] = command_page(name, command)
    for name in PROGRAMS:
        made[f"{name}.1"] = program_page(name)
    return made


def zephctl_page() -> str:
    """zephctl(1)."""
    lines = _head("zephctl", 1, "operate a zephserver")
    lines += [".Sh SYNOPSIS", ".Nm", ".Ar COMMAND", ".Op Ar OPTION ...", ".Op Ar WORD ...", ".Sh DESCRIPTION"]
    lines += mdoc.prose(ABOUT)
    lines += [".Ss Commands", ".Bl -tag -width Ds"]
    for name, (_, summary) in COMMANDS.items():
        lines += [f".It Cm {mdoc.safe(name)}", *mdoc.prose(summary)]
    lines += [".El", ".Ss Options that every command has", *_options(_common_options())]
    lines += mdoc.prose(ABOUT_OUTPUT)
    lines += _environment() + _files() + _statuses(STATUSES) + mdoc.examples(EXAMPLES["zephctl"])
    return _page(
        lines + mdoc.see_also(["zephserver-start(1)", "zephsettings(5)", *(f"zephctl-{n}(1)" for n in COMMANDS)])
    )


def command_page(name: str, command: click.Command) -> str:
    """zephctl-NAME(1)."""
    lines = _head(f"zephctl-{name}", 1, COMMANDS[name][1].rstrip("."))
    lines.append(".Sh SYNOPSIS")
    below: dict[str, click.Command] = dict(getattr(command, "commands", {}))
    for words, one in {f"{name} {verb}": one for verb, one in below.items()}.items() or [(name, command)]:
        lines += _synopsis(f"zephctl {words}", one)
    prose, examples = _help(command)
    lines += [".Sh DESCRIPTION", *mdoc.prose(prose)]
    if not below:
        lines += _own_options(command)
    for verb, one in below.items():
        prose, more = _help(one)
        lines += [f".Ss zephctl {mdoc.safe(name)} {mdoc.safe(verb)}", *mdoc.prose(prose), *_own_options(one)]
        examples += [example for example in more if example not in examples]
    lines += [".Pp", *mdoc.prose("The options that every command has are in zephctl(1).")]
    lines += _environment() + _statuses(OWN_STATUSES.get(name, WITH_SERVER))
    lines += mdoc.examples([*EXAMPLES.get(name, []), *(("", example) for example in examples)])
    return _page(lines + mdoc.see_also(["zephctl(1)", "zephsettings(5)"]))


def program_page(name: str) -> str:
    """A page for one of the three programs that do without click."""
    help, summary = PROGRAMS[name]
    usage, _, rest = help.partition("\n")
    examples = re.findall(r"^  (\S.*)$", rest, re.MULTILINE)
    prose = " ".join(line for line in rest.splitlines() if line and not line.startswith((" ", "Exit status")))
    exits = re.findall(r"(\d+) ([^,.]+)", help.partition("Exit status: ")[2])
    lines = _head(name, 1, summary) + [".Sh SYNOPSIS", ".Nm"]
    options = list(dict.fromkeys(re.findall(r"(?<![\w-])(--?[a-z]+)", usage)))
    words = re.findall(r"(?:^| )(\[?[A-Z]+(?:\]|\.\.\.)?)(?= |$)", re.sub(r"\[-[^\]]*\]", "", usage))
    for option in options:
        value = f" Ar {VALUES[option]}" if option in VALUES else ""
        lines.append(f".Op Fl {mdoc.safe(option[1:])}{value}")
    for word in words:
        bare = word.strip("[].")
        lines.append(f".Op Ar {bare}" if word.startswith("[") else f".Ar {bare}{' ...' if '...' in word else ''}")
    lines += [".Sh DESCRIPTION", *mdoc.prose(prose), ".Pp", "The options:", ".Bl -tag -width Ds"]
    for option in options:
        value = f" Ar {VALUES[option]}" if option in VALUES else ""
        lines += [f".It Fl {mdoc.safe(option[1:])}{value}", *mdoc.prose(OPTIONS[option])]
    lines.append(".El")
    lines += _environment(["ZEPHSETTINGS"]) + _files()
    lines += _statuses({0: "Done.", **{int(number): f"{text.strip().capitalize()}." for number, text in exits}})
    split = [re.split(r" {2,}", example, maxsplit=1) for example in examples]
    lines += mdoc.examples(
        [(f"{parts[1][:1].upper()}{parts[1][1:]}:" if parts[1:] else "", parts[0]) for parts in split]
    )
    return _page(lines + mdoc.see_also(["zephctl(1)", "zephsettings(5)"]))


def settings_page() -> str:
    """zephsettings(5)."""
    lines = _head("zephsettings", 5, "settings of a zephserver")
    lines += [".Sh DESCRIPTION"]
    lines += mdoc.prose(ABOUT_SETTINGS)
    lines += [".Bl -tag -width Ds"]
    for line in page():
        required = line.metadata["required"]
        default = "Required." if required else f"Default: {_literal(default_of(line))}."
        text = line.metadata["help"]
        lines += [
            f".It Va {mdoc.safe(line.name.upper())}",
            *mdoc.prose(f"{text[:1].upper()}{text[1:].rstrip('.')}."),
            *mdoc.prose(default),
        ]
    lines += [
        ".El",
        *_files(),
        ".Sh EXAMPLES",
        "A server with one service and one task:",
        ".Bd -literal -offset indent",
    ]
    lines += ['SERVICE_LIST = [\\(dqworkers/Cash\\(dq]', 'TASKS_PATH = {\\(dqecho\\(dq: \\(dqtasks/Echo\\(dq}',
              "PORT_ZEPH = 8080", ".Ed"]  # fmt: skip
    return _page(lines + mdoc.see_also(["zephctl(1)", "zephctl-settings(1)", "zephserver-start(1)"]))


# -- parts of a page ----------------------------------------------------------------------------------------------


def _head(name: str, section: int, summary: str) -> list[str]:
    summary = summary[:1].lower() + summary[1:] if not summary[:2].isupper() else summary
    return [
        f".Dd {DATE}",
        f".Dt {name.upper()} {section}",
        ".Os",
        ".Sh NAME",
        f".Nm {name}",
        f".Nd {mdoc.safe(summary)}",
    ]


def _help(command: click.Command) -> tuple[str, list[str]]:
    """The prose of a help text, and its examples."""
    text = inspect.cleandoc(command.help or "")
    prose, _, block = text.partition("\b")
    examples, _, after = block.strip("\n").partition("\n\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    return f"{prose.strip()}\n\n{after.strip()}".strip(), lines


def _synopsis(name: str, command: click.Command) -> list[str]:
    lines = [f".Nm {mdoc.safe(name)}"]
    for parameter in _own(command):
        if isinstance(parameter, click.Option):
            lines.append(f".Op {_flags(parameter, short=True)}{' ...' if parameter.multiple else ''}")
    lines.append(".Op Ar OPTION ...")
    for parameter in _own(command):
        if isinstance(parameter, click.Argument):
            word = mdoc.safe((parameter.metavar or (parameter.name or "").upper()).strip("[].")).replace("...", "")
            more = " ..." if parameter.nargs != 1 else ""
            lines.append(f".Ar {word}{more}" if parameter.required else f".Op Ar {word}{more}")
    return lines


def _own(command: click.Command) -> list[click.Parameter]:
    return [p for p in command.params if p.name not in COMMON and not getattr(p, "hidden", False)]


def _common_options() -> list[click.Option]:
    status = cli.get_command(click.Context(cli), "status")
    assert status is not None
    return [p for p in status.params if isinstance(p, click.Option) and p.name in COMMON]


def _own_options(command: click.Command) -> list[str]:
    return _options([p for p in _own(command) if isinstance(p, click.Option)])


def _options(options: Iterable[click.Option]) -> list[str]:
    lines = []
    for option in options:
        default = f" Default: {option.default}." if option.show_default and option.default is not None else ""
        lines += [f".It {_flags(option)}", *mdoc.prose(f"{option.help or ''}{default}")]
    return [".Bl -tag -width Ds", *lines, ".El"] if lines else []


def _flags(option: click.Option, *, short: bool = False) -> str:
    """An option with its value in mdoc."""
    value = ""
    if not option.is_flag:
        choices = getattr(option.type, "choices", None)
        value = (
            f" Ar {mdoc.safe(option.metavar or ('|'.join(map(str, choices)) if choices else option.type.name.upper()))}"
        )
    names = [*option.opts, *option.secondary_opts]
    shown = [f"Fl {mdoc.safe(name[1:])}" for name in (names[:1] if short else names)]
    return " , ".join(shown) + value


def _environment(names: Iterable[str] = tuple(ENVIRONMENT)) -> list[str]:
    return [".Sh ENVIRONMENT", *mdoc.entries("Ev", {name: ENVIRONMENT[name] for name in names})]


def _files() -> list[str]:
    return [".Sh FILES", *mdoc.entries("Pa", FILES)]


def _statuses(numbers: Iterable[int] | dict[int, str]) -> list[str]:
    texts = numbers if isinstance(numbers, dict) else {number: STATUSES[number] for number in numbers}
    return [".Sh EXIT STATUS", *mdoc.entries("", {str(number): text for number, text in texts.items()})]


def _literal(value: Any) -> str:
    return repr(str(value)) if isinstance(value, Path) else repr(value)


def _page(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line) + "\n"


def place_of(name: str) -> str:
    """Where a page lies below man/, so that `man -M man zephctl` finds it."""
    return f"man{name[-1]}/{name}"


if __name__ == "__main__":
    made = {place_of(name): text for name, text in pages().items()}
    for place, text in made.items():
        (MAN / place).parent.mkdir(parents=True, exist_ok=True)
        (MAN / place).write_text(text, encoding="utf-8")
        print(f"man/{place}")
    for old in set(MAN.rglob("*.[15]")) - {MAN / place for place in made}:
        old.unlink()
