"""Everything that can go wrong, as one family. Pure: no I/O, no clock.

    ZephError                   code, sentence, facts as attributes
    ├─ SettingsError            bad-settings: all faults, each naming setting, value and what was expected
    ├─ AlreadyRunning           already-running: the pid that holds the lock
    ├─ StartFailed              start-failed: a part of the server did not come up
    ├─ FileRefused              file-refused: a lock, socket or log path that is not ours to touch
    ├─ ServiceError
    │  ├─ UnknownService        unknown-service: SERVICE_LIST does not have it; names what it has
    │  ├─ ServiceNotLoaded      service-not-loaded: import or constructor failed, or has not ended
    │  ├─ ServiceFailed         service-failed: it died too often; says how to reset it
    │  ├─ ServiceStuck          service-stuck: it ignored disable(); its thread still runs
    │  ├─ CalledInConstructor   called-in-constructor: __init__ asked for another service
    │  └─ IllegalTransition     illegal-transition: the table has no such row
    ├─ ReloadFailed             reload-failed: the changed code does not work, and the old code goes on
    ├─ UnknownRoom              unknown-room: nobody is in a room of that name
    ├─ UnknownClient            unknown-client: no connection or user of that name
    ├─ ClusterError             cluster-error: a peer or an engine refused
    ├─ ControlError
    │  ├─ BadRequest            bad-request: a control line that nobody can read
    │  ├─ UnknownCommand        unknown-command: no such row in the command table
    │  ├─ ServerBusy            busy: too many control clients at once
    │  ├─ ControlUnreachable    unreachable: nobody listens on that socket
    │  │  └─ ServerUnheard      unreachable: and yet a server holds the lock
    │  ├─ ControlDenied         permission-denied: the socket is not for this user
    │  ├─ NoAnswer              timed-out: it listens but did not answer in time
    │  └─ CommandFailed         the server's own code and sentence, carried over
    └─ RequestError             what a browser may be told: code and sentence, never a traceback
       ├─ BadMessage            bad-message
       ├─ UnknownTask           unknown-task
       ├─ AccessDenied          access-denied
       ├─ SessionExpired        session-expired: what the client showed was good once; it fetches a new one
       ├─ TooManyRooms          too-many-rooms
       ├─ RoomFull              room-full
       ├─ Overloaded            overloaded
       ├─ TaskTimeout           timed-out
       └─ TaskFailed            task-failed, or the code that Task.fail() was given

An error becomes something else in three places only: an exit status (zephctl/exits.py), a reply on the control socket
(control.py) and a reply to a browser (zephserver/messages.py).
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import would be half the start-up time of zephserver-stop
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from zephserver.core.origin import Origin


class ZephError(Exception):
    """Base of the family. `code` is stable and for machines; the text ends with what a person does next.

    `facts` are what a program may want to know beside the text; the control socket carries them.
    """

    code = "error"
    facts: dict[str, Any] | None = None


class SettingsError(ZephError):
    """The settings file cannot be used. `faults` has one line for each fault, all of them at once."""

    code = "bad-settings"

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


class AlreadyRunning(ZephError):
    """Another server holds the lock, or answers on the control socket."""

    code = "already-running"

    def __init__(self, where: str, pid: int | None) -> None:
        who = f"pid {pid}" if pid else "another process"
        super().__init__(f"a server is already running ({who}, {where}); stop it with zephserver-stop")
        self.where, self.pid = where, pid


class StartFailed(ZephError):
    """A part of the server did not come up; everything that had come up was taken down again."""

    code = "start-failed"


class FileRefused(ZephError):
    """A path that the server would write to is a link, a FIFO, somebody else's, or otherwise not a plain file."""

    code = "file-refused"

    def __init__(self, setting: str, path: object, why: str) -> None:
        super().__init__(f"{setting}: {path} {why}; remove it or name another path")
        self.setting, self.path = setting, str(path)


class ServiceError(ZephError):
    """Something about one service."""

    code = "service-error"


class UnknownService(ServiceError):
    """get_service() or a command named a service that SERVICE_LIST does not have."""

    code = "unknown-service"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, list(known)
        super().__init__(f"no service named {name!r}; SERVICE_LIST has: {', '.join(self.known) or 'nothing'}")


class ServiceNotLoaded(ServiceError):
    """The class could not be imported, its constructor raised, or has not come back yet."""

    code = "service-not-loaded"

    def __init__(self, name: str, why: str) -> None:
        self.name, self.why = name, why
        super().__init__(f"service {name} is not loaded: {why}")


class ServiceFailed(ServiceError):
    """The service died more often than its restart policy allows, or needs one that did."""

    code = "service-failed"

    def __init__(self, name: str, why: str, because: str = "") -> None:
        self.name, self.because = name, because  # another service, which it needs
        super().__init__(f"service {name} has failed: {why}; mend it, then: zephctl services reset {name}")


class ServiceStuck(ServiceError):
    """disable() was called and the thread of the service still runs. Python cannot kill a thread."""

    code = "service-stuck"

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"service {name} is stuck: {why}; see: zephctl services stack {name}")


class CalledInConstructor(ServiceError):
    """A service's __init__ asked for another service, which may not exist yet (the documents forbid it)."""

    code = "called-in-constructor"

    def __init__(self, name: str, wanted: str) -> None:
        self.name, self.wanted = name, wanted
        super().__init__(
            f"{name}.__init__ asks for service {wanted}, which may not be constructed yet; call it from main() instead"
        )


class IllegalTransition(ServiceError):
    """The transition table has no row for this state and trigger."""

    code = "illegal-transition"


class ReloadFailed(ZephError):
    """Changed code of the tasks cannot be used; `origin` says why and where."""

    code = "reload-failed"
    facts: dict[str, Any]

    def __init__(self, origin: Origin, so: str = "the old code goes on") -> None:
        super().__init__(f"{origin}; {so}")
        self.origin = origin
        self.facts = {name: getattr(origin, name) for name in ("file", "line", "source", "column")}


class UnknownRoom(ZephError):
    """A command named a room that nobody is in."""

    code = "unknown-room"

    def __init__(self, name: str) -> None:
        super().__init__(f"nobody is in a room named {name!r}; see: zephctl rooms list")
        self.name = name


class UnknownClient(ZephError):
    """A command named a connection or a user that is not there."""

    code = "unknown-client"

    def __init__(self, who: str) -> None:
        super().__init__(f"no connection and no user is named {who!r}; see: zephctl clients list")
        self.who = who


class ClusterError(ZephError):
    """A peer, an engine or an event of the cluster was refused."""

    code = "cluster-error"


class ControlError(ZephError):
    """Something about the control socket or a request on it."""

    code = "control-error"


class BadRequest(ControlError):
    """The line is not a request: too long, not JSON, wrong arguments. `id` is the request's, as far as it has one."""

    code = "bad-request"

    def __init__(self, message: str, id: int | str | None = None) -> None:
        super().__init__(message)
        self.id = id


class UnknownCommand(ControlError):
    """The command table has no such row."""

    code = "unknown-command"

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        hint = f"; did you mean {' or '.join(near)}?" if near else "; 'help' lists the commands"
        super().__init__(f"unknown command {name!r}{hint}")
        self.name = name


class ServerBusy(ControlError):
    """Every place for a control client is taken by one that is being served."""

    code = "busy"


class ControlUnreachable(ControlError):
    """Nobody listens on the control socket."""

    code = "unreachable"


class ServerUnheard(ControlUnreachable):
    """Nobody listens on the control socket, and yet a server holds the lock: somebody removed the socket."""

    def __init__(self, path: str, lock: str, pid: int | None) -> None:
        self.path, self.lock, self.pid = path, lock, pid
        who, end = (f"pid {pid}", f"with: kill {pid}") if pid else ("a server", "by its pid")
        super().__init__(f"{who} holds {lock}, but nobody listens on {path}; wait until it has put its socket back "
                         f"(2 s), or end it {end}")  # fmt: skip


class ControlDenied(ControlError):
    """The control socket belongs to another user."""

    code = "permission-denied"


class NoAnswer(ControlError):
    """The server listens but did not answer in time."""

    code = "timed-out"


class CommandFailed(ControlError):
    """The server answered with an error of its own, whose code this carries."""

    def __init__(self, code: str, message: str, facts: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.facts = code, facts


class RequestError(ZephError):
    """What a browser is told when its message cannot be served."""

    code = "request-error"


class BadMessage(RequestError):
    """Not JSON, not an object, or a field of the wrong kind."""

    code = "bad-message"


class UnknownTask(RequestError):
    """TASKS_PATH has no task of that name."""

    code = "unknown-task"

    def __init__(self, name: str) -> None:
        super().__init__(f"no task named {name[:80]!r}")
        self.name = name


class AccessDenied(RequestError):
    """The task or the room is not for this user."""

    code = "access-denied"


class SessionExpired(RequestError):
    """A session manager raises it when what the client showed was good once; the connection is closed with 4002."""

    code = "session-expired"


class TooManyRooms(RequestError):
    """The connection is in as many rooms as it may be."""

    code = "too-many-rooms"


class RoomFull(RequestError):
    """The room has as many connections as it may have."""

    code = "room-full"


class Overloaded(RequestError):
    """A limit of section "tasks" in the settings is reached; the message was not taken."""

    code = "overloaded"


class TaskTimeout(RequestError):
    """The task did not end within its timeout."""

    code = "timed-out"


class TaskFailed(RequestError):
    """The task raised, or called fail()."""

    code = "task-failed"

    def __init__(self, message: str, code: str = "task-failed") -> None:
        super().__init__(message)
        self.code = code
