"""The settings page: one typed line for each setting.

Each line has the name, the default, what the value may be, and its help; the manual page, the reference and `zephctl
settings show` are printed from it. In the settings file the names are upper case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from zephserver.core import settings_kinds as kinds
from zephserver.core.lifecycle import Restart, RestartPolicy
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.settings_file import INTERFACE

REQUIRED = object()


def setting(default: Any, kind: Callable[[object], Any], help: str, *, secret: bool = False, idle: bool = False) -> Any:
    """One line of the page. An *idle* setting is checked but has no effect in this version, and says so when set."""
    metadata = {"kind": kind, "help": help, "secret": secret, "idle": idle, "required": default is REQUIRED}
    if default is REQUIRED:
        return field(metadata=metadata)
    if default is dict:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(line: dataclasses.Field[Any]) -> Any:
    """The default on a line of the page; None when the setting is required."""
    if line.default_factory is not dataclasses.MISSING:
        return line.default_factory()
    return None if line.metadata["required"] else line.default


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a server wants to know, checked. Frozen: any thread.

    Names of the user's own stay reachable as they were written: `settings.MY_NAME`.
    """

    # services
    service_list: tuple[str, ...] = setting(REQUIRED, kinds.services, "services to run, in this order")
    service_options: dict[str, dict[str, Any]] = setting(dict, kinds.options, "per service: restart, requires, ...")
    tasks_path: dict[str, str] = setting(dict, kinds.tasks, "task name -> 'path.to.module/ClassName'")
    start_timeout: float = setting(30.0, kinds.seconds, "seconds for a service to construct and to become ready")
    stop_timeout: float = setting(10.0, kinds.seconds, "seconds for a service to stop before it is stuck")
    shutdown_timeout: float = setting(30.0, kinds.seconds, "seconds for the whole stop before the process is ended")
    restart_delay: float = setting(0.1, kinds.seconds, "pause before the first restart; doubles each time")
    restart_max_delay: float = setting(5.0, kinds.seconds, "longest pause before a restart")
    restart_intensity: int = setting(5, kinds.a_count_or_zero, "restarts within RESTART_PERIOD before a service fails")
    restart_period: float = setting(10.0, kinds.seconds, "seconds in which RESTART_INTENSITY counts")
    # files
    lock_file: Path = setting(Path("server.lock"), kinds.a_path, "one server per lock file")
    configuration_network_interface_server: Path = setting(
        Path(INTERFACE), kinds.a_socket, "control socket that the server listens on"
    )
    configuration_network_interface: Path = setting(
        None, kinds.a_socket, "control socket that the commands use (the server's without)"
    )
    # log
    log_level: str = setting("INFO", kinds.a_level, "least severe level written to the log")
    log_path: Path | str = setting(Path("logging.log"), kinds.a_log_path, "where the log is written; '-' is stderr")
    log_format: str = setting("text", kinds.one_of("text", "json"), "'text' or 'json', one line an event")
    log_max_bytes: int = setting(50_000_000, kinds.a_count, "size at which the log is rotated")
    log_backups: int = setting(10, kinds.a_count_or_zero, "rotated logs that are kept")
    # cluster
    cluster_server_list: tuple[dict[str, Any], ...] = setting(
        (), kinds.nodes, "every server of the cluster, this one included; 0 or 1 entries: no cluster"
    )
    cluster_node: str = setting(None, kinds.optional(kinds.a_text), "hostname of this server in the list")
    cluster_engine: str = setting("mesh", kinds.a_text, "how the servers are joined")
    cluster_secret: str | None = setting(None, kinds.optional(kinds.a_text), "shared by the servers", secret=True)
    # WebSocket server
    my_session_handler: str = setting(
        "zephserver.session_manager/SimpleSessionManager", kinds.a_service, "service that finds the user"
    )
    my_room_handler: str = setting("zephserver.room_handler/RoomHandler", kinds.a_service, "service that keeps rooms")
    same_domain: bool = setting(True, kinds.a_flag, "the page and the server share a domain, so cookies arrive")
    django_settings_module: str | None = setting(None, kinds.optional(kinds.a_text), "settings of a Django project")
    host_zeph: str = setting("127.0.0.1", kinds.a_host, "address to listen on, or unix:PATH")
    port_zeph: int = setting(8080, kinds.a_port, "port to listen on; 0 picks a free one")
    reuse_port: bool = setting(False, kinds.a_flag, "let several processes listen on the same port (SO_REUSEPORT)")
    trusted_proxies: tuple[IPv4Network | IPv6Network | str, ...] = setting(
        (), kinds.proxies, "proxies that are believed who the client is: addresses, networks, 'unix'"
    )
    tls_certificate: Path | None = setting(None, kinds.optional(kinds.a_path), "certificate chain, PEM, for wss://")
    tls_key: Path | None = setting(None, kinds.optional(kinds.a_path), "private key of the certificate, PEM")
    metrics_token: str | None = setting(
        None, kinds.optional(kinds.a_text), "who shows it may read /metrics; loopback may without", secret=True
    )
    allowed_origins: tuple[str, ...] | None = setting(
        None, kinds.optional(kinds.texts), "web pages that may connect, with patterns; None: the same host; ['*']: all"
    )
    websocket_engine: str = setting("picows", kinds.one_of("picows", "threaded"), "what moves the bytes")
    static_folder: Path | None = setting(None, kinds.optional(kinds.a_path), "folder whose files are served by GET")
    # limits
    compression: bool = setting(True, kinds.a_flag, "compress messages for the browsers that offer it")
    max_message_bytes: int = setting(1_048_576, kinds.a_count, "longest message; then close 1009")
    max_fragments: int = setting(4_096, kinds.a_count, "most fragments of a message; then close 1009")
    handshake_timeout: float = setting(10.0, kinds.seconds, "seconds for the opening handshake")
    identify_timeout: float = setting(10.0, kinds.seconds, "seconds from the handshake to the first message")
    max_connections: int | None = setting(
        None, kinds.optional(kinds.a_count), "open connections; None: 10,000 or the file limit less 64"
    )
    max_connections_per_user: int | None = setting(None, kinds.optional(kinds.a_count), "open connections of one user")
    max_connections_per_address: int | None = setting(
        None, kinds.optional(kinds.a_count), "open connections of one address; then 503"
    )
    message_rate: tuple[float, float] | None = setting(
        (100.0, 200.0), kinds.optional(kinds.a_rate), "(messages a second, burst) of one client; then reading pauses"
    )
    send_queue_bytes: int = setting(1_048_576, kinds.a_count, "bytes queued for one client before it is cut off")
    write_timeout: float = setting(10.0, kinds.seconds, "seconds a client may leave its queue unread")
    ping_interval: float = setting(20.0, kinds.seconds, "seconds of silence before a ping")
    ping_timeout: float = setting(20.0, kinds.seconds, "seconds for the pong")
    task_threads: int = setting(256, kinds.a_count, "tasks that run at once")
    task_queue: int = setting(1_024, kinds.a_count_or_zero, "tasks that wait for a thread; then 'overloaded'")
    tasks_per_client: int = setting(16, kinds.a_count, "tasks of one client, running or waiting; then 'overloaded'")
    task_timeout: float | None = setting(None, kinds.optional(kinds.seconds), "seconds a task may run")
    drain_batch: int = setting(1_000, kinds.a_count, "connections closed at once when the server stops")
    drain_interval: float = setting(0.5, kinds.seconds, "seconds between two batches")
    cluster_queue_bytes: int = setting(16_777_216, kinds.a_count, "bytes queued for one server", idle=True)

    # not in the file: where the settings come from
    folder: Path = field(default=Path(), metadata={"derived": True})
    file: Path | None = field(default=None, metadata={"derived": True})
    lines: Mapping[str, int] = field(default_factory=dict, metadata={"derived": True})
    own: Mapping[str, Any] = field(default_factory=dict, metadata={"derived": True})
    warnings: tuple[str, ...] = field(default=(), metadata={"derived": True})

    def __getattr__(self, name: str) -> Any:
        """`settings.PORT_ZEPH` is `settings.port_zeph`, and names of the user's own are found too."""
        own = self.__dict__.get("own", {})
        if name in own:
            return own[name]
        if name.isupper() and name.lower() in self.__dict__:
            return self.__dict__[name.lower()]
        raise AttributeError(f"no setting {name!r}")

    def options_of(self, service: str) -> ServiceOptions:
        """What SERVICE_OPTIONS and the limits say about one service."""
        given = self.service_options.get(service, {})
        policy = RestartPolicy(
            restart=Restart(given.get("restart", Restart.ON_FAILURE)),
            delay=given.get("restart_delay", self.restart_delay),
            max_delay=given.get("restart_max_delay", self.restart_max_delay),
            intensity=given.get("restart_intensity", self.restart_intensity),
            period=given.get("restart_period", self.restart_period),
        )
        return ServiceOptions(
            policy=policy,
            requires=given.get("requires"),
            essential=given.get("essential"),
            start_timeout=given.get("start_timeout", self.start_timeout),
            stop_timeout=given.get("stop_timeout", self.stop_timeout),
        )

    def rows(self) -> list[dict[str, Any]]:
        """Name, value, where it came from and help of every setting; secrets are starred."""
        rows = []
        for line in page():
            name = line.name.upper()
            value = getattr(self, line.name)
            if line.metadata["secret"] and value is not None:
                value = "***"
            where = f"{self.file}:{self.lines[name]}" if name in self.lines else "default"
            rows.append({"name": name, "value": _plain(value), "from": where, "help": line.metadata["help"]})
        return rows

    def secrets(self) -> list[str]:
        """The values that must never reach a log."""
        values = [getattr(self, line.name) for line in page() if line.metadata["secret"]]
        return [value for value in values if value]


def page() -> list[dataclasses.Field[Any]]:
    """The lines of the page, in order."""
    return [line for line in dataclasses.fields(Settings) if "kind" in line.metadata]


def _plain(value: Any) -> Any:
    """The value as JSON can carry it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [part if isinstance(part, (int, float, dict)) else str(part) for part in value]
    return value
