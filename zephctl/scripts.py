"""zephserver-start, zephserver-stop and zephserver-command: no click, no rich, so that they start in a blink."""

from __future__ import annotations

import os
import socket
import sys

from zephctl.exits import ExitStatus, status_of
from zephctl.unheard import unheard
from zephserver.core.control_socket import PATIENCE, connect, control_error
from zephserver.core.errors import ControlUnreachable, NoAnswer, SettingsError, ZephError
from zephserver.core.settings_file import find_settings_file, interface_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from zephserver.core.server import Server
    from zephserver.core.settings_page import Settings

RELOADER = "zephserver.reloader/Reloader"  # what makes a server one in development mode
GRACE = 5.0  # seconds for a server that is stopped while it starts

STOP_HELP = """\
usage: zephserver-stop [SOCKET] [--settings FILE | --folder DIR]

  zephserver-stop                          the server of this folder
  zephserver-stop /run/chat/interface.sock the server that listens there

Stop a server and return when it is down: 0, or 1 when it did not stop cleanly.
Exit status: 1 failed, 2 usage, 5 no server listens, 6 settings, 7 not yours, 8 no answer.
"""

COMMAND_HELP = """\
usage: zephserver-command [--interface=SOCKET | --settings FILE | --folder DIR] WORD...

  zephserver-command status
  zephserver-command services list
  zephserver-command --interface=/run/chat/interface.sock stop
  zephserver-command help                  what this server answers

Send a command to a running server and print its answer.
Exit status: 1 failed, 2 usage, 4 no such service, 5 no server listens, 6 settings, 7 not yours, 8 no answer.
"""

START_HELP = """\
usage: zephserver-start [-d | --daemon] [--dev | --workers N] [--settings FILE | --folder DIR]

  zephserver-start                         stay in the foreground; Ctrl-C stops
  zephserver-start --daemon                return when the server is ready
  zephserver-start --dev                   load changed tasks while it runs
  zephserver-start --workers 4             four processes that share the port
  zephserver-start --folder /srv/chat -d

Start the server of a folder with a zephsettings.py.
Exit status: 0 ready (--daemon) or stopped cleanly, 1 failed, 2 usage, 6 settings, 130 forced to end.
"""


def start() -> int:
    """The program zephserver-start."""
    return _program("zephserver-start", START_HELP, {"-d": "daemon", "--daemon": "daemon", "--dev": "dev"}, _start)


def stop() -> int:
    """The program zephserver-stop."""
    return _program("zephserver-stop", STOP_HELP, {}, _stop)


def command() -> int:
    """The program zephserver-command."""
    return _program("zephserver-command", COMMAND_HELP, {}, _command)


def run_foreground(settings: Settings, on_started: Callable[[Server], object] | None = None) -> int:
    """Be a server until somebody stops it; tell on stderr when it is ready. *on_started* is called then too."""
    from zephserver.core import bootstrap
    from zephserver.core.events import ServerReady, ServerStopping

    def say(text: object) -> None:
        print(text, file=sys.stderr, flush=True)

    def tell(server: Server, failure: ZephError | None) -> None:
        def say_ready(event: object = None) -> None:
            say(f"{ready_line(server)}; Ctrl-C stops it")

        server.bus.subscribe(say, ServerStopping)
        if failure is None:
            say_ready()
        else:
            say(f"not ready: {failure}")
            for refused in _refusals(server):
                say(refused)
            server.bus.subscribe(say_ready, ServerReady)
        if on_started is not None:
            on_started(server)

    return bootstrap.run(settings, on_started=tell)


def start_daemon(settings: Settings, timeout: float | None = None) -> str:
    """Start a server in the background; the line that says so, when it is ready.

    Raises what kept it from starting, NoAnswer when it took longer than *timeout* seconds; nothing is left running
    then.
    """
    if settings.log_path == "-":
        raise SettingsError(
            ["LOG_PATH is '-' (stderr), which a daemon does not have; name a file, or run it in the foreground"]
        )
    for descriptor in range(3):  # whoever called us may have closed them; the pipe must not take their places
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    ours, theirs = os.pipe()
    child = os.fork()  # before any thread exists in this process
    if child == 0:
        os.close(ours)
        _be_daemon(settings, theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours, encoding="utf-8") as report:
            if timeout is not None and not _has_word(report, timeout):
                _end(child, report)
                raise NoAnswer(
                    f"the server was not ready after {timeout:g} s and was stopped; give it a longer --timeout"
                )
            told = report.read()
    except KeyboardInterrupt:
        import signal

        os.kill(child, signal.SIGTERM)
        raise
    verdict, _, text = told.partition("\n")
    if verdict == "ready":
        return text
    from zephserver.core.errors import CommandFailed

    if verdict == "bad-settings":
        raise SettingsError(text.split("\n"))
    raise CommandFailed(verdict or "start-failed", text or "the server ended while it started; its log may say why")


def _has_word(report: IO[str], within: float) -> bool:
    """Whether the child writes or closes its report in time."""
    import select

    return bool(select.select([report], [], [], within)[0])


def _end(child: int, report: IO[str]) -> None:
    """End a server that takes too long to start. Its lock is free afterwards."""
    import signal

    os.kill(child, signal.SIGTERM)
    if not _has_word(report, GRACE):
        os.kill(child, signal.SIGKILL)
    report.read()


def ready_line(server: Server) -> str:
    """A ready server in one line: pid, addresses, log."""
    urls = dict.fromkeys(getattr(event, "url", "") for event in server.bus.journal.after(0)[0])
    where = "".join(f", {url}" for url in urls if url)
    count = server.settings.workers
    workers = f", {count} workers" if count > 1 else ""
    return f"zephserver is ready: pid {os.getpid()}{workers}{where}, log {server.settings.log_path}"


def _refusals(server: Server) -> list[str]:
    """Code of tasks that could not be loaded while the server started, with its place."""
    from zephctl.marks import marked

    events = [event.as_dict() for event in server.bus.journal.after(0)[0]]
    return [marked(event["text"], event) for event in events if event["kind"] == "ReloadRefused"]


def talk(path: str, words: list[str], timeout: float = PATIENCE, start: str = "zephserver-start") -> Iterator[str]:
    """Send the words on the control socket; the lines of the answer as they come. Raises ControlError."""
    line = " ".join(_quoted(word) for word in words)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connect(connection, path, timeout)
            connection.sendall(line.encode("utf-8", "surrogateescape") + b"\n")
            buffer, said = b"", False
            while data := connection.recv(65_536):
                said = True
                *lines, buffer = (buffer + data).split(b"\n")
                for one in lines:
                    yield one.decode("utf-8", "replace")
            if buffer:
                yield buffer.decode("utf-8", "replace")
            if not said:
                raise ControlUnreachable(f"the server on {path} went away before it answered; see its log")
        except OSError as error:
            raise control_error(path, error, start) from None


def _program(name: str, help: str, flags: dict[str, str], body: Callable[[dict[str, str], list[str]], int]) -> int:
    """Read the arguments, run *body*, and turn its errors into one line and an exit status."""
    try:
        options, words = _arguments(sys.argv[1:], flags, help)
        if "help" in options:
            print(help, end="")
            return ExitStatus.DONE
        if "version" in options:
            from zephserver.version import __version__

            print(f"{name} {__version__}")
            return ExitStatus.DONE
        return body(options, words)
    except _Usage as error:
        print(f"{name}: {error}\n{help.partition(chr(10))[0]}", file=sys.stderr)
        return ExitStatus.USAGE
    except ZephError as error:
        for line in str(error).splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        return status_of(error.code)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitStatus.DONE
    except OSError as error:  # the disk behind stdout is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"{name}: the answer cannot be written: {error.strerror}", file=sys.stderr)
        return ExitStatus.FAILED


class _Usage(Exception):
    """The arguments are wrong."""


def _arguments(argv: list[str], flags: dict[str, str], help: str = COMMAND_HELP) -> tuple[dict[str, str], list[str]]:
    """Options before the first word, and the words."""
    options: dict[str, str] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option = rest.pop(0)
        name, equals, value = option.partition("=")
        if option == "--":
            break
        if option in ("-h", "--help"):
            options["help"] = ""
        elif option == "--version":
            options["version"] = ""
        elif option in flags:
            options[flags[option]] = ""
        elif name in ("--settings", "--folder") or (name in ("--interface", "--workers") and name in help):
            if not equals:
                if not rest:
                    raise _Usage(f"{name} needs a value")
                value = rest.pop(0)
            options[name[2:]] = value
        else:
            raise _Usage(f"unknown option {option}")
    return options, rest


def _start(options: dict[str, str], words: list[str]) -> int:
    if words:
        raise _Usage(f"unexpected word {words[0]!r}")
    from zephserver.core.settings import load_settings

    workers = _workers(options)
    settings = load_settings(find_settings_file(options.get("settings"), options.get("folder")))
    if workers is not None:
        settings = settings.with_workers(workers)
    if "dev" in options:
        settings = settings.with_workers(1).with_service(RELOADER)
    if "daemon" in options:
        print(start_daemon(settings), file=sys.stderr)
        return ExitStatus.DONE
    status = run_foreground(settings)
    sys.stderr.flush()
    os._exit(status)  # threads of stuck services and of C libraries must not run while Python takes itself apart


def _workers(options: dict[str, str]) -> int | None:
    """What --workers says."""
    word = options.get("workers")
    if word is None:
        return None
    if not (word.isascii() and word.isdigit() and 0 < int(word) < 1_000):
        raise _Usage(f"--workers needs a number from 1 to 999, got {word!r}")
    if "dev" in options and int(word) > 1:
        raise _Usage("--dev is for one process; start several without it")
    return int(word)


def _stop(options: dict[str, str], words: list[str]) -> int:
    more, others = _arguments(words[1:], {})
    if others:
        raise _Usage("expected one socket at most")
    options = options | more
    path = words[0] if words else _interface(options)
    line = ""
    for line in _hear(options, path, ["stop"]):
        print(line, flush=True)
    if line != "stopped":
        raise ZephError("the server ended without stopping cleanly; see its log")
    return ExitStatus.DONE


def _command(options: dict[str, str], words: list[str]) -> int:
    if not words:
        raise _Usage("expected a command, as in: zephserver-command status")
    for line in _hear(options, _interface(options), words):
        if line.startswith("error: "):
            _, code, message = line.split(": ", 2)
            print(f"zephserver-command: {message}", file=sys.stderr)
            return status_of(code)
        print(line, flush=True)
    return ExitStatus.DONE


def _hear(options: dict[str, str], path: str, words: list[str]) -> Iterator[str]:
    """As talk(); when nobody listens although a server runs, the error says so."""
    try:
        yield from talk(path, words)
    except ControlUnreachable as error:
        raise unheard(path, options.get("settings"), options.get("folder")) or error from None


def _interface(options: dict[str, str]) -> str:
    return options.get("interface") or interface_of(find_settings_file(options.get("settings"), options.get("folder")))


def _quoted(word: str) -> str:
    """The word as the server's shlex reads it."""
    if word and all(c.isalnum() or c in "@%+=:,./-_" for c in word) and word.isascii():
        return word
    return "'" + word.replace("\n", " ").replace("'", "'\"'\"'") + "'"


def _be_daemon(settings: Settings, report: int) -> None:
    """The child of start_daemon(): its own session, nothing of the terminal, the verdict on *report*. No return."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.set_inheritable(report, False)
    status = int(ExitStatus.FAILED)
    told = False

    def tell(verdict: str, text: str) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(report, f"{verdict}\n{text}".encode("utf-8", "replace"))
            os.close(report)

    try:
        from zephserver.core import bootstrap

        def started(server: Server, failure: ZephError | None) -> None:
            tell("ready", ready_line(server))

        status = bootstrap.run(settings, on_started=started, strict=True, capture_output=True)
        tell("start-failed", "the server was stopped while it started")
    except ZephError as error:
        tell(error.code, str(error))
        status = status_of(error.code)
    except BaseException as error:
        tell("start-failed", f"{error!r}; this is a fault of zephserver")
    finally:
        os._exit(status)
