"""The settings: one typed page, read once, at the door.

Each line of the page has the name, the default, what the value may be, and its help; the manual page, the reference
and `zephctl settings show` are printed from it. In the settings file the names are upper case.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from zephserver.core import legacy
from zephserver.core import settings_kinds as kinds
from zephserver.core.errors import SettingsError
from zephserver.core.lifecycle import Restart, RestartPolicy
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.settings_file import INTERFACE, run_settings_file

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


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Run and check a settings file. Raises SettingsError with every fault at once, each with file:line."""
    path = os.path.abspath(path)
    folder = Path(path).parent
    shadows = _shadows(folder)
    if shadows:
        raise SettingsError(shadows)
    names, source = run_settings_file(path)
    values = {name: value for name, value in names.items() if name.isupper() or name in legacy.SETTINGS}
    return make_settings(values, folder=folder, file=Path(path), lines=_lines(source))


def make_settings(
    values: Mapping[str, Any],
    *,
    folder: Path | str = ".",
    file: Path | None = None,
    lines: Mapping[str, int] | None = None,
) -> Settings:
    """Settings from upper-case names, as in a file; for programs that embed a server, and for tests.

    Relative paths are taken from *folder*. Raises SettingsError with every fault at once.
    """
    folder = Path(folder).absolute()
    lines = dict(lines or {})
    faults: list[str] = []
    faulty: set[str] = set()
    warnings: list[str] = []

    def where(name: str) -> str:
        if file is None:
            return name
        return f"{file}:{lines[name]}: {name}" if name in lines else f"{file}: {name}"

    values = _from_2015(dict(values), where, warnings)
    lines |= {new: lines[old] for old, new in legacy.SETTINGS.items() if old in lines and new not in lines}
    known = {line.name.upper(): line for line in page()}
    parsed: dict[str, Any] = {}
    for name, line in known.items():
        if name in values:
            if line.metadata["idle"]:
                warnings.append(f"{where(name)} has no effect in this version")
            try:
                parsed[line.name] = line.metadata["kind"](values[name])
            except ValueError as error:
                got = "" if "got" in str(error) else f", got {_excerpt(values[name])}"
                faulty.add(name)
                faults.append(f"{where(name)}: {error}{got}")
        elif line.metadata["required"]:
            faulty.add(name)
            faults.append(f"{file or 'settings'}: {name} is missing: {line.metadata['help']}; [] runs none")
    own = {name: value for name, value in values.items() if name not in known}
    for name in own:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if near:
            faults.append(f"{where(name)}: unknown setting; did you mean {near[0]}?")
    settings = Settings(
        **_complete(parsed, folder), folder=folder, file=file, lines=lines, own=own, warnings=tuple(warnings)
    )
    faults += [f"{where(name)}: {fault}" for name, fault in _faults_together(settings, faulty)]
    if faults:
        raise SettingsError(faults)
    return settings


def _complete(parsed: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Defaults that depend on other settings, and paths made absolute."""
    complete = {line.name: default_of(line) for line in page()} | {"service_list": ()} | parsed
    if complete["configuration_network_interface"] is None:
        complete["configuration_network_interface"] = complete["configuration_network_interface_server"]
    if complete["cluster_node"] is None:
        complete["cluster_node"] = platform.node() or "localhost"
    return {name: folder / value if isinstance(value, Path) else value for name, value in complete.items()}


def _faults_together(settings: Settings, faulty: set[str]) -> Iterator[tuple[str, str]]:
    """What is wrong between settings that are right one by one: name and fault. The *faulty* ones are left out."""
    if not faulty & {"SERVICE_LIST", "SERVICE_OPTIONS"}:
        yield from _faults_of_options(settings)
    for name in ("LOCK_FILE", "CONFIGURATION_NETWORK_INTERFACE_SERVER", "LOG_PATH"):
        path = getattr(settings, name.lower())
        if name not in faulty and isinstance(path, Path) and not path.parent.is_dir():
            yield name, f"there is no folder {path.parent}; make it with: mkdir -p {path.parent}"
    for name in ("CONFIGURATION_NETWORK_INTERFACE_SERVER", "CONFIGURATION_NETWORK_INTERFACE"):
        size = len(os.fsencode(getattr(settings, name.lower())))
        is_given = name in settings.lines or name.endswith("SERVER")
        if name not in faulty and is_given and size > kinds.SOCKET_PATH_BYTES:
            limit = kinds.SOCKET_PATH_BYTES
            yield name, f"the path has {size} bytes and a UNIX socket takes {limit}; name a shorter one"
    if len(settings.cluster_server_list) > 1:
        yield "CLUSTER_SERVER_LIST", "this version joins no servers yet; expected at most one entry"
    if settings.websocket_engine != "picows":
        yield "WEBSOCKET_ENGINE", "this version has the engine 'picows' only"
    tls = {"TLS_CERTIFICATE", "TLS_KEY"}
    if not faulty & tls and (settings.tls_certificate is None) != (settings.tls_key is None):
        yield "TLS_CERTIFICATE", "TLS_CERTIFICATE and TLS_KEY go together; one of them is missing"
    for name in sorted(tls):
        path = getattr(settings, name.lower())
        if name not in faulty and path is not None and not os.access(path, os.R_OK):
            yield name, f"{path} cannot be read"
    if settings.static_folder is not None and not settings.static_folder.is_dir():
        yield "STATIC_FOLDER", f"there is no folder {settings.static_folder}"


def _faults_of_options(settings: Settings) -> Iterator[tuple[str, str]]:
    """SERVICE_OPTIONS that speak of services which SERVICE_LIST does not have, or in a circle."""
    for name, options in settings.service_options.items():
        if name not in settings.service_list:
            near = difflib.get_close_matches(name, settings.service_list, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield "SERVICE_OPTIONS", f"{name!r} is not in SERVICE_LIST{hint}"
        for other in options.get("requires", ()):
            if other not in settings.service_list:
                yield "SERVICE_OPTIONS", f"{name}: requires {other!r}, which is not in SERVICE_LIST"
    cycle = _cycle({name: options.get("requires", ()) for name, options in settings.service_options.items()})
    if cycle:
        yield "SERVICE_OPTIONS", f"these services require each other: {' -> '.join(cycle)}"


def _cycle(graph: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A cycle in who requires whom, its first name again at the end; [] without."""
    from graphlib import CycleError, TopologicalSorter

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def _from_2015(values: dict[str, Any], where: Callable[[str], str], warnings: list[str]) -> dict[str, Any]:
    """Replace the names of the 2015 project; one warning each."""
    for old, new in legacy.SETTINGS.items():
        if old not in values:
            continue
        value = values.pop(old)
        if old == "DJANGO" and not isinstance(value, str):
            warnings.append(f"{where(old)} is a name of 2015; name the settings module in DJANGO_SETTINGS_MODULE now")
            continue
        values.setdefault(new, value)
        warnings.append(f"{where(old)} is a name of 2015; write {new} now")

    def renew(name: str, path: Any) -> Any:
        advice = legacy.advice(path) if isinstance(path, str) else None
        if advice is None:
            return path
        warnings.append(f"{where(name)}: {advice}")
        return legacy.PATHS[path]

    services = values.get("SERVICE_LIST")
    if isinstance(services, (list, tuple)):
        values["SERVICE_LIST"] = [new for path in services if (new := renew("SERVICE_LIST", path)) is not None]
    tasks = values.get("TASKS_PATH")
    if isinstance(tasks, dict):
        values["TASKS_PATH"] = {
            task: new for task, path in tasks.items() if (new := renew("TASKS_PATH", path)) is not None
        }
    options = values.get("SERVICE_OPTIONS")
    if isinstance(options, dict):
        values["SERVICE_OPTIONS"] = {
            legacy.today(path) if isinstance(path, str) else path: given for path, given in options.items()
        }
    return values


def _lines(source: bytes) -> dict[str, int]:
    """The line of the last assignment to each name."""
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in ast.walk(target) if target is not None else ():
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    lines[name.id] = max(name.lineno, lines.get(name.id, 0))
    return lines


def _shadows(folder: Path) -> list[str]:
    """Modules of the folder that would hide one of Python's own from every library."""
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists())
    except OSError:
        return []
    return [
        f"{path}: hides Python's own module {path.stem!r} from every library; rename it"
        for path in found
        if path.stem in sys.stdlib_module_names
    ]


def _plain(value: Any) -> Any:
    """The value as JSON can carry it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [part if isinstance(part, (int, float, dict)) else str(part) for part in value]
    return value


def _excerpt(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 120 else text[:117] + "..."
