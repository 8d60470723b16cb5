"""zephctl: one command for everything one does with a server."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from itertools import zip_longest

import click

from zephctl import app
from zephctl.exits import ExitStatus, status_of
from zephctl.output import JSON, Output, closed_pipe
from zephserver.core.errors import ZephError
from zephserver.version import __version__

# name: (module below zephctl.commands, what it does, so short that two of them stand beside each other). Modules are
# imported when their command is asked for; `zephctl --help` needs none of them.
COMMANDS = {
    "new": ("new", "Make a running example."),
    "check": ("check", "Check without starting."),
    "start": ("start", "Start, return when ready."),
    "dev": ("dev", "Run and load saved tasks."),
    "reload": ("reload", "Load changed tasks."),
    "stop": ("stop", "Stop, return when down."),
    "restart": ("restart", "Stop and start again."),
    "wait": ("wait", "Wait for a ready server."),
    "status": ("status", "Show how the server is."),
    "services": ("services", "Show and act on services."),
    "tasks": ("tasks", "Show tasks, and call one."),
    "clients": ("clients", "Show and end connections."),
    "rooms": ("rooms", "Show rooms and members."),
    "users": ("users", "Show who is connected."),
    "say": ("say", "Send browsers a message."),
    "token": ("token", "Sign a token for a user."),
    "top": ("top", "Watch the server live."),
    "bench": ("bench", "Measure under load."),
    "metrics": ("metrics", "Print what is counted."),
    "events": ("events", "Show what happens."),
    "tail-log": ("tail_log", "Show and follow the log."),
    "log-level": ("log_level", "Show or set log levels."),
    "settings": ("settings", "Show the settings."),
    "command": ("command", "Send any command."),
    "cluster": ("cluster", "Look at the cluster."),
    "doctor": ("doctor", "Look for trouble."),
    "unit": ("unit", "Print a systemd unit."),
    "completion": ("completion", "Complete in your shell."),
}
TWO_COLUMNS = 78  # cells that they take


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"zephctl.commands.{COMMANDS[cmd_name][0]}")
        found: click.Command = module.cli
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was perhaps meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else " See: zephctl --help"
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands instead of the options, which the last line has: all of it fits on a small terminal."""
        with formatter.section("Commands"):
            rows = [(name, summary) for name, (_, summary) in COMMANDS.items()]
            if formatter.width < TWO_COLUMNS:
                formatter.write_dl(rows)
                return
            cells = [f"{name:<12}{summary:<27}" for name, summary in rows]
            half = -(-len(cells) // 2)
            for left, right in zip_longest(cells[:half], cells[half:], fillvalue=""):
                formatter.write(f"  {left}{right}".rstrip() + "\n")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Options: --version, and --help for each COMMAND. Exit statuses: zephctl(1).",
)
@click.version_option(__version__, prog_name="zephctl", message="%(prog)s %(version)s")
def cli() -> None:
    """Operate a zephserver: the one of this folder, of --folder, or --settings.

    \b
      zephctl new chat && cd chat && zephctl start
      zephctl tail-log -f
    """


def program() -> None:
    """The process zephctl. It ends without taking Python apart, which takes longer than most commands."""
    gc.disable()  # a process of a tenth of a second makes no garbage worth collecting
    status = main()
    os._exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """The program zephctl: run the command and turn every error into one line and an exit status."""
    app.current.clear()
    try:
        result = cli.main(args=list(argv) if argv is not None else None, prog_name="zephctl", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return int(result) if isinstance(result, int) else ExitStatus.DONE
    except click.ClickException as error:
        if _wants_json(argv if argv is not None else sys.argv[1:]):
            Output("json").error("usage", error.format_message())
        else:
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        closed_pipe()
        return ExitStatus.DONE
    except OSError as error:  # the disk behind stdout is full
        print(f"zephctl: the answer cannot be written: {error.strerror}", file=sys.stderr)
        return ExitStatus.FAILED
    except ZephError as error:
        if app.current:
            app.current[0].output.error(error.code, str(app.current[0].explained(error)))
        else:
            print(f"zephctl: {error}", file=sys.stderr)
        return status_of(error.code)
    finally:
        for one in app.current:
            one.close()


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether JSON was asked for, as far as one can tell from arguments that could not be read."""
    pairs = zip(["", *argv], argv, strict=False)
    return any((before in ("-o", "--output") and word in JSON) or word in _JSON_WORDS for before, word in pairs)


_JSON_WORDS = {f"{option}{mode}" for option in ("-o", "--output=") for mode in JSON}
