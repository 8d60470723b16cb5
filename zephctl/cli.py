"""zephctl: one command for everything one does with a server."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
from collections.abc import Sequence

import click

from zephctl import app
from zephctl.exits import ExitStatus, status_of
from zephctl.output import JSON, Output, closed_pipe
from zephserver.core.errors import ZephError
from zephserver.version import __version__

# name: (module below zephctl.commands, first line of its help). Modules are imported when their command is asked for;
# `zephctl --help` needs none of them.
COMMANDS = {
    "new": ("new", "Make a folder with an example that runs at once."),
    "check": ("check", "Check the settings, services and tasks without starting them."),
    "start": ("start", "Start the server and return when it is ready."),
    "dev": ("dev", "Run the server, and load changed tasks while it runs."),
    "reload": ("reload", "Load the code of the tasks that has changed."),
    "stop": ("stop", "Stop the server and return when it is down."),
    "restart": ("restart", "Stop the server and start it again."),
    "wait": ("wait", "Wait until the server is ready, or stopped."),
    "status": ("status", "Show whether the server runs and how it is."),
    "services": ("services", "Look at the services and act on them."),
    "tasks": ("tasks", "Look at the tasks, and call one as a browser would."),
    "clients": ("clients", "Look at the open connections, and end some."),
    "rooms": ("rooms", "Look at the rooms and who is in them."),
    "users": ("users", "Look at the users who are connected."),
    "say": ("say", "Send a message to browsers."),
    "token": ("token", "Sign a token with which a user can connect."),
    "top": ("top", "Watch the server live."),
    "bench": ("bench", "Put load on the server and measure it."),
    "metrics": ("metrics", "Print everything that is counted."),
    "events": ("events", "Show what happens in the server."),
    "tail-log": ("tail_log", "Show the last lines of the log, and follow it."),
    "log-level": ("log_level", "Show or change the log level of a running server."),
    "settings": ("settings", "Show the settings and where each comes from."),
    "command": ("command", "Send any command to the server, also one of your services."),
    "cluster": ("cluster", "Look at the cluster, say an event to it, and hear its events."),
    "doctor": ("doctor", "Look for trouble in a folder and on this machine."),
    "unit": ("unit", "Print a systemd unit, or a Dockerfile with a compose file."),
    "completion": ("completion", "Print what makes a shell complete our commands and your names."),
}


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in --help, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Examples and options: zephctl COMMAND --help. Exit statuses: zephctl(1).",
)
@click.version_option(__version__, prog_name="zephctl", message="%(prog)s %(version)s")
def cli() -> None:
    """Operate a zephserver: the one of this folder, of --folder, or --settings.

    \b
      zephctl new chat && cd chat && zephctl start
      zephctl status
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
