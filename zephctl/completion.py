"""What a shell may complete: words from click, and names from the running server within a fifth of a second."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import signal
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from zephctl import live_names, scripts
from zephctl.cli import COMMANDS, LazyGroup
from zephctl.client import ControlClient

PATIENCE = 0.2  # seconds for names; a shell that hangs at a Tab is worse than one that knows nothing
SUFFIXES = {"settings_file": "file", "interface": "file", "folder": "dir"}  # parameters that are paths
HELP_TEXTS = {
    "zephserver-start": scripts.START_HELP,
    "zephserver-stop": scripts.STOP_HELP,
    "zephserver-command": scripts.COMMAND_HELP,
}
WORDBREAKS = ":="  # where bash ends a word and zephctl does not


class _Group(LazyGroup):
    """The commands, without importing those that are not on the line."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands from the table; options as click knows them."""
        if incomplete[:1] == "-":
            return click.Command.shell_complete(self, ctx, incomplete)
        rows = COMMANDS.items()
        return [CompletionItem(name, help=summary) for name, (_, summary) in rows if name.startswith(incomplete)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, with live names for its parameters."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _give_names(command, cmd_name)
        return command


class _Line(ShellComplete):
    """Click's completion, of a line that is there already."""

    name = "line"
    source_template = ""


def complete(line: str, shell: str, word: str = "") -> list[tuple[str, str, str]]:
    """Kind (plain, file or dir), value and help of all that the last word of *line* may become.

    *word* is what bash takes for that word, which ends at colons and equals signs.
    """
    words, raw = _split(line)
    if not words:
        return []
    incomplete = words.pop()
    program = os.path.basename(words[0]) if words else ""
    if program in HELP_TEXTS:
        items = _of_script(program, words[1:], incomplete)
    elif words:
        try:
            items = _Line(_group(), {}, "zephctl", "").get_completions(words[1:], incomplete)
        except click.ClickException:  # a word on the line is no command
            return []
    else:
        return []
    before = re.match(r"--[\w-]+=", incomplete)
    prefix = before.group() if before else ""
    found = [(item.type, f"{prefix}{item.value}", item.help or "") for item in items if _is_printable(item)]
    return [(kind, _for_bash(value, raw, word), help) for kind, value, help in found] if shell == "bash" else found


def _split(line: str) -> tuple[list[str], str]:
    """The words of the line, the last of them perhaps empty, and how that one is typed."""
    words = split_arg_string(line)
    raw = re.search(r"(?:\\.|\"(?:\\.|[^\"\\])*(?:\"|$)|'[^']*(?:'|$)|[^\s\\\"'])*$", line)
    typed = raw.group() if raw else ""
    return (words if typed else [*words, ""]), typed


def _for_bash(value: str, raw: str, word: str) -> str:
    """What bash puts in the place of *word*: without what stands before it, and quoted unless a quote is open."""
    word = "" if word in WORDBREAKS else word
    if any(mark in raw for mark in WORDBREAKS) and raw.endswith(word):
        before = split_arg_string(raw[: len(raw) - len(word)])
        value = value[len(before[0]) if before else 0 :]
    return value if raw[:1] in ("'", '"') else re.sub(r"([^\w@%+=:,./-])", r"\\\1", value)


def _is_printable(item: CompletionItem) -> bool:
    """A name is whatever somebody chose; what a terminal could not bear is not offered."""
    return item.type != "plain" or str(item.value).isprintable()


def _group() -> _Group:
    from zephctl.cli import cli

    return _Group("zephctl", params=cli.params, context_settings=dict(cli.context_settings))


def _give_names(command: click.Command, path: str) -> None:
    """Have the parameters of a command, and of those below it, completed from the tables."""
    for parameter in command.params:
        kind = SUFFIXES.get(parameter.name or "") or live_names.PATHS.get((path, parameter.name))
        source = live_names.of(path, parameter.name or "")
        if kind is not None:
            setattr(parameter, "shell_complete", functools.partial(_path, kind))  # noqa: B010 - a method, of one object
        elif source is not None:
            setattr(parameter, "shell_complete", functools.partial(_names, source))  # noqa: B010
    for name, below in getattr(command, "commands", {}).items():
        _give_names(below, f"{path} {name}")


def _path(kind: str, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type=kind)]


def _names(source: live_names.Source, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    typed = ctx.params.get("words") or ()
    return _ask(functools.partial(source, words=typed, incomplete=incomplete), ctx.params, incomplete)


def _of_script(program: str, words: list[str], incomplete: str) -> list[CompletionItem]:
    """For the three commands that do without click: options as their help names them, and what a server answers."""
    known = [f"--{name}" for name in dict.fromkeys(re.findall(r"--([a-z]+)", HELP_TEXTS[program]))] + ["--help"]
    option, equals, _ = incomplete.partition("=")
    last = option if equals else (words[-1] if words else "")
    if last in ("--settings", "--interface"):
        return [CompletionItem("", type="file")]
    if last == "--folder":
        return [CompletionItem("", type="dir")]
    if incomplete.startswith("-"):
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]
    if program == "zephserver-stop":
        return [CompletionItem("", type="file")]
    if program == "zephserver-start":
        return []
    options, typed = _options(words)
    return _ask(functools.partial(live_names.commands, words=typed, incomplete=incomplete), options, incomplete)


def _options(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What the options before the words name, as click would call it; the words."""
    options: dict[str, Any] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name in ("--settings", "--folder", "--interface"):
            key = "settings_file" if name == "--settings" else name[2:]
            options[key] = value if equals else (rest.pop(0) if rest else "")
    return options, rest


def _ask(
    source: Callable[[live_names.Ask], Iterable[str]], options: dict[str, Any], incomplete: str
) -> list[CompletionItem]:
    """The names that *source* gets from the server. None when it is down, slow, or not to be found; never a word."""
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))  # a settings file may catch all that is raised
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    server = _Server(options)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            names = list(source(server.ask))
        return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]
    except Exception:
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        server.close()


class _Server:
    """The server that the options on the line name; looked for when it is asked something."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._client: ControlClient | None = None

    def ask(self, command: str) -> Any:
        """The answer to a command."""
        from zephserver.core.settings_file import find_settings_file, interface_of

        if self._client is None:
            options = self._options
            path = options.get("interface")
            if not path:
                path = interface_of(find_settings_file(options.get("settings_file"), options.get("folder")))
            self._client = ControlClient(path, PATIENCE)
        return self._client.call(command)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
