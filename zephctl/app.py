"""What every command of zephctl shares: where the server is, and how to show things."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zephctl.client import ControlClient
from zephctl.exits import ExitStatus
from zephctl.output import MODES, Output, closed_pipe
from zephctl.unheard import unheard
from zephserver.core.errors import CommandFailed, ControlUnreachable, ServiceNotLoaded, UnknownCommand, ZephError
from zephserver.core.settings_file import find_settings_file, interface_of

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT = 60.0  # seconds that a server may say nothing
# The first word of a command that the core does not know: the service that answers it.
ANSWERED_BY = {
    "clients": "zephserver.websocket_client/WebsocketClient",
    "cluster": "zephserver.websocket_client/WebsocketClient",  # drain; what else there is, the core knows
    "rooms": "zephserver.room_handler/RoomHandler",
    "say": "zephserver.websocket_client/WebsocketClient",
    "tasks": "zephserver.router/Router",
    "token": "zephserver.session_manager/TokenSessionManager",
    "users": "zephserver.room_handler/RoomHandler",
}
LONGEST = 1e9  # seconds; a socket cannot wait for ever so much


class Seconds(click.FloatRange):
    """A time that one can wait for, which nan and inf are not."""

    def __init__(self, shortest: float = 0.0, *, more: bool = False) -> None:
        super().__init__(shortest, min_open=more)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of seconds, or a usage error."""
        seconds: float = super().convert(value, param, ctx)
        if not seconds <= LONGEST:
            self.fail(f"{value!r} is no number of seconds that one can wait for.", param, ctx)
        return seconds


class App:
    """The options that are common to all commands, and what follows from them."""

    def __init__(
        self,
        *,
        settings: str | None,
        folder: str | None,
        interface: str | None,
        mode: str | None,
        color: str,
        quiet: bool,
        timeout: float | None,
    ) -> None:
        self.output = Output(mode, color, quiet=quiet)
        self.timeout = timeout
        self._settings, self._folder, self._interface = settings, folder, interface

    @functools.cached_property
    def client(self) -> ControlClient:
        """The server that the options name, or the one of this folder."""
        return ControlClient(self.interface, self.timeout or TIMEOUT)

    @functools.cached_property
    def interface(self) -> str:
        """The path of the control socket."""
        return self._interface or interface_of(self.settings_file)

    @functools.cached_property
    def settings_file(self) -> str:
        """The path of the settings file. Raises SettingsError."""
        return find_settings_file(self._settings, self._folder)

    def load_settings(self) -> Settings:
        """The settings, read whole. Raises SettingsError with every fault."""
        from zephserver.core.settings import load_settings

        return load_settings(self.settings_file)

    def explained(self, error: ZephError) -> ZephError:
        """The error, or what is really wrong when a server runs and cannot be reached."""
        if not isinstance(error, ControlUnreachable):
            return error
        return unheard(self.interface, self._settings, self._folder) or error

    def close(self) -> None:
        """Close the connection to the server, if there is one."""
        if "client" in self.__dict__:
            self.client.close()

    def call(self, command: str, **args: Any) -> Any:
        """The answer of the running server. Raises CommandFailed, also when no service of it knows the answer."""
        try:
            return self.client.call(command, **args)
        except CommandFailed as error:
            if error.code != UnknownCommand.code:
                raise
            who = ANSWERED_BY.get(command.partition(".")[0])
            does = f": {who} does, once it is in SERVICE_LIST" if who else ""
            why = f"no service of this server answers {command!r}{does}; see: zephctl services list"
            raise CommandFailed(ServiceNotLoaded.code, why) from None


current: list[App] = []  # the one that runs, for the error handler at the top


def common_options(function: F) -> F:
    """Give a command the options that all commands have, and an App as its first argument."""
    for option in _WHERE:
        function = option(function)
    return output_options(function)


def output_options(function: F) -> F:
    """As common_options(), for a command that needs no server and no settings."""

    @functools.wraps(function)
    def with_app(
        *args: Any,
        mode: str | None,
        color: str,
        quiet: bool,
        timeout: float | None = None,
        settings_file: str | None = None,
        folder: str | None = None,
        interface: str | None = None,
        **kwargs: Any,
    ) -> Any:
        app = App(
            settings=settings_file,
            folder=folder,
            interface=interface,
            mode=mode,
            color=color,
            quiet=quiet,
            timeout=timeout,
        )
        current[:] = [app]
        try:
            return function(app, *args, **kwargs)
        except BrokenPipeError:  # here, because click would make exit status 1 of it
            closed_pipe()
            return ExitStatus.DONE

    for option in _HOW:
        with_app = option(with_app)
    return with_app  # type: ignore[return-value]


_WHERE = (
    click.option("--timeout", type=Seconds(more=True), metavar="S", help="Seconds to wait."),
    click.option("--interface", metavar="SOCKET", help="Control socket of the server."),
    click.option("--folder", metavar="DIR", help="Folder of the settings file."),
    click.option("--settings", "settings_file", metavar="FILE", help="Settings file; also: $ZEPHSETTINGS."),
)
_HOW = (
    click.option("-q", "--quiet", is_flag=True, help="No words on success."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        metavar="WHEN",
        help="auto, always or never.",
    ),
    click.option(
        "-o",
        "--output",
        "mode",
        type=click.Choice(MODES),
        metavar="FORMAT",
        help="table, plain (in a pipe), json, jsonl or name.",
    ),
)
