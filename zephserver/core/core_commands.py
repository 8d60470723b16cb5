"""What the core answers on the control socket; the services add rows of their own."""

from __future__ import annotations

import contextlib
import functools
import json
import queue
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zephserver.core import metrics, threads
from zephserver.core.command_table import command
from zephserver.core.errors import BadRequest, NoAnswer, UnknownService, ZephError
from zephserver.core.events import ClusterSaid, Event, kinds
from zephserver.core.logs import Line
from zephserver.core.settings_kinds import LEVELS, a_level

if TYPE_CHECKING:
    from zephserver.core.server import Server

PULSE = 1.0  # seconds after which a stream looks whether its client is still there


@command("help")
def help_(server: Server) -> list[dict[str, str]]:
    """The commands that this server answers."""
    return [{"command": row.usage, "help": row.help} for row in server.table.rows()]


@command("ping")
def ping(server: Server) -> str:
    """Whether the server answers at all."""
    return "pong"


@command("status")
def status(server: Server) -> dict[str, Any]:
    """The state of the server."""
    return server.status()


@command("stop")
def stop(server: Server) -> Iterator[str]:
    """Stop the server; the answer ends when it is down."""
    server.request_stop("command stop")
    yield "stopping"
    server.stopped.wait()
    yield "stopped" if server.exit_status == 0 else "stopped, but not cleanly: see the log"


@command("reload")
def reload(server: Server) -> None:
    """Open the log anew, and reload tasks, the TLS certificate and services of your own that can, as SIGHUP does."""
    server.reload()


@command("wait")
def wait(server: Server, within: float = 30.0) -> dict[str, Any]:
    """Wait until the server is ready; an error when it is not WITHIN seconds, or cannot become so any more."""
    end = time.monotonic() + within
    late = server.services.wait_ready(timeout=within)
    while not late and not server.is_ready and not server.is_stopping and time.monotonic() < end:
        time.sleep(0.01)  # between the last service and the word of the server there are microseconds
    why = "; ".join(f"{name}: {why}" for name, why in late.items()) or server.not_ready
    if why:
        raise NoAnswer(f"not ready: {'the server is stopping' if server.is_stopping else why}")
    return server.status()


@command("metrics")
def metrics_(server: Server) -> str:
    """Everything that is counted, in the text format of Prometheus."""
    return metrics.write(server)


@command("top")
def top(server: Server) -> dict[str, Any]:
    """What a live view needs, in one answer: status, services, everything that is counted, processor time of threads.

    `clock` is in seconds, for rates between two answers.
    """
    return {
        "clock": round(server.clock.monotonic(), 6),
        "status": server.status(),
        "services": server.services.rows(),
        "metrics": metrics.write(server),
        "threads": threads.cpu_seconds(),
    }


@command("services.list")
def list_services(server: Server) -> list[dict[str, Any]]:
    """Name and state of every service."""
    return server.services.rows()


@command("services.show")
def show_service(server: Server, name: str) -> dict[str, Any]:
    """Everything about one service."""
    return server.services.details(full_name(server, name))


@command("services.enable")
def enable_service(server: Server, name: str, wait: bool = True) -> dict[str, Any]:
    """Start a service, and wait until it is ready."""
    _not_while_stopping(server)
    name = full_name(server, name)
    return _after(server, name, server.services.enable_service(name), wait)


@command("services.disable")
def disable_service(server: Server, name: str) -> dict[str, Any]:
    """Stop a service; get_service() does not resurrect it."""
    name = full_name(server, name)
    return _after(server, name, server.services.disable_service(name), wait=False)


@command("services.restart")
def restart_service(server: Server, name: str, wait: bool = True) -> dict[str, Any]:
    """Stop and start a service, with a clean record."""
    _not_while_stopping(server)
    name = full_name(server, name)
    server.services.restart_service(name)
    return _after(server, name, True, wait)


@command("services.reset")
def reset_service(server: Server, name: str, wait: bool = True) -> dict[str, Any]:
    """Forget the deaths of a failed service and try it again."""
    _not_while_stopping(server)
    name = full_name(server, name)
    return _after(server, name, server.services.reset_service(name), wait)


@command("services.stack")
def stack_of_service(server: Server, name: str) -> str:
    """Where the thread of a service is right now."""
    name = full_name(server, name)
    return server.services.stack(name) or f"service {name} has no thread: it is {server.services.state(name)}"


@command("services.wait")
def wait_service(server: Server, name: str, within: float = 30.0) -> dict[str, Any]:
    """Wait until a service is ready."""
    name = full_name(server, name)
    late = server.services.wait_ready([name], within)
    if late:
        raise NoAnswer(f"service {name} is not ready: {late[name]}")
    return server.services.details(name)


@command("events")
def events(server: Server, after: int = -1, follow: bool = True) -> Iterator[dict[str, Any] | None]:
    """Every event of the server from now on, or from those that are kept after number AFTER."""
    journal = server.bus.journal
    seen = journal.last if after < 0 else after
    with server.bus.subscribe(_take, Event):  # while somebody looks, the events that nobody else reads are made too
        while True:
            news, lost = journal.after(seen, PULSE if follow else 0.0)
            if lost:
                yield {"kind": "Lost", "text": f"{lost} events are not kept any more", "count": lost}
            for event in news:
                seen = event.seq
                yield event.as_dict()
            if not news and (journal.closed or not follow):
                return
            if not news:
                yield None


@command("events.kinds")
def event_kinds(server: Server) -> list[str]:
    """The kinds of events that there are, also those of the services."""
    return kinds()


@command("log.tail")
def tail_log(
    server: Server, lines: int = 10, follow: bool = False, cursor: str = "", level: str = "DEBUG", service: str = ""
) -> Iterator[dict[str, Any] | None]:
    """The last lines of the log; with FOLLOW what comes too. CURSOR resumes where an earlier answer ended."""
    journal, boot = server.log.journal, server.log.boot
    lowest = LEVELS.index(_level(level))
    service = _owner(server, service)

    def shown(line: Line) -> bool:
        return LEVELS.index(line.level) >= lowest and service in ("", line.service)

    seen = 0
    if cursor:
        run, _, number = cursor.partition(":")
        if not number.isdigit():
            raise BadRequest(f"a cursor looks like {boot}:{journal.last}, got {cursor!r}")
        if run == boot:
            seen = int(number)
        else:
            yield {"lost": None, "text": "the server was started anew since; its log so far follows"}
    else:
        past, _ = journal.after(0)
        seen = past[-1].seq if past else 0
        for line in [line for line in past if shown(line)][-lines:] if lines else ():
            yield _row(line, boot)
    while True:
        news, lost = journal.after(seen, PULSE if follow else 0.0)
        if lost:
            yield {"lost": lost, "text": f"{lost} lines are not kept in memory any more; the log file has them"}
        for line in news:
            seen = line.seq
            if shown(line):
                yield _row(line, boot)
        if not news and (journal.closed or not follow):
            return
        if not news:
            yield None


def _owner(server: Server, name: str) -> str:
    """The service in full, or the logger, whose lines are wanted. Raises UnknownService."""
    if name in _short_names(server):
        return full_name(server, name)
    is_logger = "." in name and "/" not in name  # it may log for the first time in a moment
    if name in ("", *server.service_names) or is_logger:
        return name
    if any(line.service == name for line in server.log.journal.after(0)[0]):
        return name
    raise UnknownService(name, server.service_names)


def _row(line: Line, boot: str) -> dict[str, Any]:
    return line.as_dict() | {"cursor": f"{boot}:{line.seq}", "text": line.as_text()}


@command("cluster.status")
def cluster_status(server: Server) -> dict[str, Any]:
    """How the servers are joined, whether that works, and which they are."""
    node, peers = server.settings.cluster_node, server.cluster.rows()
    servers = [str(entry["hostname"]) for entry in server.settings.cluster_server_list] if peers else []
    servers += [name for name in (node, *(peer["name"] for peer in peers)) if name not in servers]
    engine = server.cluster.engine
    state = "alone" if engine == "local" else server.cluster.state() or "connected"
    if server.is_drained:
        state = "drained: its clients go to the other servers"
    return {"node": node, "engine": engine, "state": state, "servers": servers, "peers": peers}


@command("cluster.peers")
def cluster_peers(server: Server) -> list[dict[str, Any]]:
    """The other servers: whether they are up, what waits for them, what they missed."""
    return server.cluster.rows()


@command("cluster.say")
def cluster_say(server: Server, event: str, data: str = "null") -> int:
    """Trigger EVENT on all other servers; DATA is JSON. How many others there are, whether they are up or not."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"data: expected JSON: {error}") from None
    server.cluster.say(event, value)
    server.bus.publish(ClusterSaid(event=event, data=value))
    return len(server.cluster.rows())


@command("cluster.listen")
def cluster_listen(server: Server, events: list[str] | str) -> Iterator[dict[str, Any] | None]:
    """The EVENTS that other servers say, or an operator of this one, as they come; names with commas between them."""
    names = events.split(",") if isinstance(events, str) else events
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise BadRequest(f"events: expected names, got {events!r}")
    heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    takers = {name: functools.partial(_heard, heard, name, "cluster") for name in set(names)}

    def said(fact: Event) -> None:
        if isinstance(fact, ClusterSaid) and fact.event in names:
            _heard(heard, fact.event, "here", fact.data)

    with contextlib.ExitStack() as stack:
        for name, take in takers.items():
            server.cluster.subscribe(name, take)
            stack.callback(server.cluster.unsubscribe, name, take)
        stack.enter_context(server.bus.subscribe(said, ClusterSaid))
        while not server.stopped.is_set():
            try:
                yield heard.get(timeout=PULSE)
            except queue.Empty:
                yield None


def _heard(into: queue.SimpleQueue[dict[str, Any]], event: str, whence: str, data: Any) -> None:
    into.put({"at": round(time.time(), 6), "event": event, "from": whence, "data": data})


@command("log.level")
def log_level(server: Server, level: str = "", service: str = "") -> dict[str, str]:
    """Show the log levels, or set one: of the server, or of one service."""
    service = full_name(server, service) if service else ""
    if level:
        server.set_log_level(_level(level), service)
    elif service:
        return {service: server.log.level(service)}
    return {name or "server": level for name, level in server.log.levels().items()}


@command("log.reopen")
def reopen_log(server: Server) -> None:
    """Open the log file anew, after it was moved away."""
    server.log.reopen()


@command("settings.show")
def show_settings(server: Server) -> list[dict[str, Any]]:
    """The settings that the server runs with, and where each came from."""
    return server.settings.rows()


def _not_while_stopping(server: Server) -> None:
    if server.is_stopping:
        raise ZephError("the server is stopping; nothing is enabled any more")


def full_name(server: Server, name: str) -> str:
    """The full name of a service that was named in full or by its class, as in `Router`. Raises UnknownService."""
    if name in server.service_names:
        return name
    found = _short_names(server).get(name, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise ZephError(f"{name!r} is the class of several services: {', '.join(found)}; name one in full")
    server.services.state(name)  # a name of 2015, or nobody's
    return name


def _short_names(server: Server) -> dict[str, list[str]]:
    short: dict[str, list[str]] = {}
    for name in server.service_names:
        short.setdefault(name.partition("/")[2], []).append(name)
    return short


def _after(server: Server, name: str, changed: bool, wait: bool) -> dict[str, Any]:
    """The service after a change; an error when it was to become ready and did not."""
    if wait:
        late = server.services.wait_ready([name], server.settings.start_timeout + 1)
        if late:
            raise NoAnswer(f"service {name} is not ready: {late[name]}")
    return server.services.details(name) | {"changed": changed}


def _level(level: str) -> str:
    try:
        return a_level(level)
    except ValueError as error:
        raise BadRequest(f"{error}, got {level!r}") from None


def _take(event: Event) -> None:
    """The reader that makes the bus want every event; the journal keeps them."""
