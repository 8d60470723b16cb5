"""The settings page: one typed line for each setting.

Each line has the name, the default, what the value may be, and its help; the manual page, the reference and `zephctl
settings show` are printed from it. In the settings file the names are upper case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from zephserver.core import settings_kinds as kinds
from zephserver.core.cluster import address
from zephserver.core.lifecycle import Restart, RestartPolicy
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.settings_file import INTERFACE

REQUIRED = object()


class Hidden(NamedTuple):
    """How a value that has a secret in it is shown, and what in it must never reach a log."""

    shown: Callable[[Any], Any]
    secrets: Callable[[Any], list[str]]


SECRET = Hidden(lambda value: "***", lambda value: [value])  # all of it
URL = Hidden(address.shown, address.secrets_of)


def setting(default: Any, kind: Callable[[object], Any], help: str, *, hidden: Hidden | None = None) -> Any:
    """One line of the page. What is *hidden* of its value is shown to nobody, also when the value is wrong."""
    metadata = {"kind": kind, "help": help, "hidden": hidden, "required": default is REQUIRED}
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
    workers: int = setting(1, kinds.a_count, "processes that run these services and share the port")
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
    cluster_node: str = setting(None, kinds.optional(kinds.a_text), "name of this server; None: the host name")
    cluster_engine: str = setting(
        "mesh", kinds.an_engine, "how the servers are joined: 'mesh', nats://..., redis://...", hidden=URL
    )
    cluster_name: str = setting(
        "zephserver", kinds.a_token, "what the names that the cluster uses at a broker begin with"
    )
    cluster_grace: float | None = setting(
        5.0,
        kinds.optional(kinds.seconds),
        "seconds without the broker until the server is not ready; None: it stays so",
    )
    cluster_secret: str | None = setting(
        None,
        kinds.optional(kinds.a_secret),
        "shared by the servers: who has it may join, and reads along",
        hidden=SECRET,
    )
    # WebSocket server
    my_session_handler: str = setting(
        "zephserver.session_manager/SimpleSessionManager", kinds.a_service, "service that finds the user"
    )
    my_room_handler: str = setting("zephserver.room_handler/RoomHandler", kinds.a_service, "service that keeps rooms")
    session_check_interval: float | None = setting(
        60.0, kinds.optional(kinds.seconds), "seconds between two looks whether a user may still be here; None: never"
    )
    token_secret: str | None = setting(
        None, kinds.optional(kinds.a_secret), "signs the tokens of TokenSessionManager", hidden=SECRET
    )
    same_domain: bool = setting(True, kinds.a_flag, "the page and the server share a domain, so cookies arrive")
    django_settings_module: str | None = setting(None, kinds.optional(kinds.a_text), "settings of a Django project")
    host_zeph: str = setting("127.0.0.1", kinds.a_host, "address to listen on, or unix:PATH")
    port_zeph: int = setting(8080, kinds.a_port, "port to listen on; 0 picks a free one")
    reuse_port: bool = setting(False, kinds.a_flag, "let several processes listen on the same port (SO_REUSEPORT)")
    trusted_proxies: tuple[IPv4Network | IPv6Network | str, ...] = setting(
        (), kinds.proxies, "proxies that are believed who the client is: addresses, networks, 'unix'"
    )
    proxy_header: str = setting(
        "X-Forwarded-For",
        kinds.one_of("X-Forwarded-For", "Forwarded"),
        "the header in which the proxies name the client",
    )
    tls_certificate: Path | None = setting(None, kinds.optional(kinds.a_path), "certificate chain, PEM, for wss://")
    tls_key: Path | None = setting(None, kinds.optional(kinds.a_path), "private key of the certificate, PEM")
    metrics_token: str | None = setting(
        None, kinds.optional(kinds.a_text), "who shows it may read /metrics; loopback may without", hidden=SECRET
    )
    allowed_origins: tuple[str, ...] | None = setting(
        None, kinds.optional(kinds.texts), "web pages that may connect, with patterns; None: the same host; ['*']: all"
    )
    websocket_engine: str = setting("picows", kinds.one_of("picows", "threaded"), "what moves the bytes")
    threaded_allow_remote: bool = setting(
        False, kinds.a_flag, "let the engine 'threaded' listen on other addresses than loopback"
    )
    static_folder: Path | None = setting(None, kinds.optional(kinds.a_path), "folder whose files are served by GET")
    reload_poll: float | None = setting(
        None, kinds.optional(kinds.seconds), "development mode: look at the files this often; None: be told of changes"
    )
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
    rooms_per_client: int = setting(128, kinds.a_count, "rooms that one connection is in at once")
    room_members: int | None = setting(None, kinds.optional(kinds.a_count), "connections in one room")
    leave_delay: float = setting(3.0, kinds.seconds_or_zero, "seconds in which a user who left may come back unnoticed")
    presence_limit: int = setting(1_000, kinds.a_count, "users in a room above which nobody is told who comes and goes")
    room_history: dict[str, tuple[int, float]] = setting(
        dict, kinds.histories, "pattern of rooms -> (messages, seconds) that such a room keeps for recovery"
    )
    history_bytes: int = setting(67_108_864, kinds.a_count, "bytes that all histories together may take")
    message_rate: tuple[float, float] | None = setting(
        (100.0, 200.0), kinds.optional(kinds.a_rate), "(messages a second, burst) of one client; then reading pauses"
    )
    send_queue_bytes: int = setting(1_048_576, kinds.a_count, "bytes that may wait for one client, when more comes")
    write_timeout: float = setting(10.0, kinds.seconds, "seconds a client may take to read its queue")
    ping_interval: float = setting(20.0, kinds.seconds, "seconds of silence before a ping")
    ping_timeout: float = setting(20.0, kinds.seconds, "seconds for the pong")
    task_threads: int = setting(256, kinds.a_count, "tasks that run at once")
    task_queue: int = setting(1_024, kinds.a_count_or_zero, "tasks that wait for a thread; then 'overloaded'")
    tasks_per_client: int = setting(16, kinds.a_count, "tasks of one client, running or waiting; then reading pauses")
    task_timeout: float | None = setting(None, kinds.optional(kinds.seconds), "seconds a task may run")
    drain_batch: int = setting(1_000, kinds.a_count, "connections closed at once when the server stops")
    drain_interval: float = setting(0.5, kinds.seconds, "seconds between two batches")
    cluster_queue_bytes: int = setting(16_777_216, kinds.a_count, "bytes that wait for one server of the cluster")

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

    def with_service(self, name: str) -> Settings:
        """The same settings with one more service, the last of the list."""
        return self if name in self.service_list else replace(self, service_list=(*self.service_list, name))

    def with_workers(self, count: int) -> Settings:
        """The same settings for so many processes, which may not fit together any more: see processes/plan.py."""
        return replace(self, workers=count)

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
            hidden: Hidden | None = line.metadata["hidden"]
            if hidden is not None and value is not None:
                value = hidden.shown(value)
            where = f"{self.file}:{self.lines[name]}" if name in self.lines else "default"
            rows.append({"name": name, "value": _plain(value), "from": where, "help": line.metadata["help"]})
        return rows

    def secrets(self) -> list[str]:
        """The values that must never reach a log."""
        hidden = [(line.metadata["hidden"], getattr(self, line.name)) for line in page() if line.metadata["hidden"]]
        return [secret for kind, value in hidden if value for secret in kind.secrets(value)]


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
