"""One message on its way through one task. Belongs to the router."""

from __future__ import annotations

import asyncio
import contextvars
import dis
import inspect
import logging
import math
import time
import traceback
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zephserver import messages
from zephserver.access import waits_when_made
from zephserver.core import runtime
from zephserver.core.errors import BadMessage, RequestError, ServiceNotLoaded, TaskFailed
from zephserver.core.service import load_class
from zephserver.events import TaskRaised
from zephserver.task import Request

if TYPE_CHECKING:
    from zephserver.caller import Caller
    from zephserver.client import Client
    from zephserver.router import Router
    from zephserver.websocket_client import WebsocketClient

_log = logging.getLogger("zephserver.router")

# Where a coroutine may be suspended: without any of these it runs to its end at once.
_AWAITING = frozenset({"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "YIELD_VALUE"})


@dataclass(frozen=True, slots=True)
class TaskClass:
    """A task's class, and what the router wants to know of it, looked up once."""

    cls: type[Any]
    is_async: bool
    is_instant: bool  # an async one that never awaits, so that it costs no task of the event loop
    is_made_in_thread: bool  # an async one whose constructor waits for something, as for a database
    is_concurrent: bool
    interrupts_on_disconnect: bool
    timeout: float | None

    @classmethod
    def of(cls, task: type[Any], timeout: float | None) -> TaskClass:
        """What *task* says of itself; *timeout* counts where it says nothing."""
        own = getattr(task, "timeout", None)
        is_async = inspect.iscoroutinefunction(task.main)
        waits = waits_when_made(task)
        return cls(
            task,
            is_async,
            is_async and not waits and _never_awaits(task.main),
            is_async and waits,
            bool(getattr(task, "concurrent", False)),
            bool(getattr(task, "interrupt_on_disconnect", False)),
            own if own is not None else timeout,
        )


def load_task(path: str) -> type[Any]:
    """Import a task's class and make sure that it can be one. Raises ServiceNotLoaded."""
    task = load_class(path)
    if fault := fault_of(task):
        raise ServiceNotLoaded(path, fault)
    return task


def fault_of(task: type[Any]) -> str:
    """Why a class cannot be a task; '' when it can."""
    main, timeout = getattr(task, "main", None), getattr(task, "timeout", None)
    if not callable(main):
        return f"class {task.__name__} has no method main"
    if inspect.isgeneratorfunction(main) or inspect.isasyncgenfunction(main):
        return f"main() of class {task.__name__} has a yield, so it would never run; write a main() without"
    if timeout is not None and not _is_seconds(timeout):
        return f"timeout of class {task.__name__}: expected seconds above 0, or None, got {timeout!r}"
    return ""


class Job:
    """A task's channel to the world, and its life. What it says may be said from any thread."""

    __slots__ = (
        "_answered",
        "_instance",
        "_is_interrupted",
        "_router",
        "client",
        "created",
        "future",
        "id",
        "is_given_up",
        "name",
        "outcome",
        "request",
        "service",
        "task",
        "timer",
    )

    def __init__(
        self,
        router: Router,
        service: WebsocketClient,
        client: Client | Caller,
        message: messages.Message,
        task: TaskClass,
    ) -> None:
        self._router, self.service, self.client, self.task = router, service, client, task
        self.name = name = message.task or ""
        self.id = message.id
        self.created = time.monotonic()
        self.outcome = "done"
        self.timer: asyncio.TimerHandle | None = None
        self.future: asyncio.Future[None] | None = None
        self.is_given_up = False  # it took too long: what it still says to its client is not heard
        self._answered = False
        self._is_interrupted = False
        self._instance: Any = None
        room = message.room if message.room is not None else client.room
        user = client.user if router.user_for_task is None else router.user_for_task(client.user)
        self.request: Request | None = Request(self, data=message.data, cid=client.cid, user=user, task=name, room=room)

    # -- the channel of the task ------------------------------------------------------------------------------------

    def reply(self, data: Any) -> bool:
        """Answer the client; False when it has left, or was told that this takes too long."""
        if self.is_given_up:
            return False
        return self._send(messages.answer(self.name, data, self.id))

    def say(self, answer: dict[str, Any]) -> int:
        """Send to others."""
        return self.service.say(answer)

    # -- its life ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """From birth to death in one worker thread. Whatever the task does, the worker lives on."""
        if self.is_given_up:
            return  # its time was over before it had a thread
        try:
            with self._router.around_task:
                self._instance = self.task.cls(self.request)
                if self._is_interrupted:  # while it was made: nobody could tell it then
                    self._call_interrupt()
                self._finish(self._instance.main())
            self._acknowledge()
        except BaseException as error:  # SystemExit of a task is a failure of that task only
            self._failed(error)
        finally:
            self._let_go()
            self.service.portal.call_soon(self._router.ended, self)

    def _finish(self, outcome: Any) -> None:
        """What main() gave back: an async one behind a plain decorator gives a coroutine, and has done nothing yet."""
        if inspect.iscoroutine(outcome):
            error = asyncio.run_coroutine_threadsafe(_caught(outcome), self.service.loop).result()
            if error is not None:
                raise error
        elif inspect.isgenerator(outcome) or inspect.isasyncgen(outcome):
            raise TypeError("main() is a generator, which nobody runs; reply() each answer, and yield nothing")

    def run_instantly(self) -> None:
        """A coroutine that never awaits, from its birth to its death, in a context of its own. Loop only."""
        contextvars.copy_context().run(self._run_through)

    def _run_through(self) -> None:
        try:
            coroutine = self.task.cls(self.request).main()
            try:
                coroutine.send(None)
            except StopIteration:
                pass
            else:  # it can only be a main() that was replaced meanwhile
                coroutine.close()
                raise RuntimeError("main() awaits, though its code does not")
            self._acknowledge()
        except BaseException as error:  # SystemExit would end the loop
            self._failed(error)
        finally:
            self._let_go()

    async def run_async(self) -> None:
        """The same on the event loop, which must not block."""
        try:
            if self.task.is_made_in_thread:
                self._instance = await self._router.in_thread(self.name, lambda: self.task.cls(self.request))
            else:
                self._instance = self.task.cls(self.request)
            await self._instance.main()
            self._acknowledge()
        except BaseException as error:  # SystemExit would end the loop
            if not self._is_interrupted:
                self._failed(error)
            elif self.outcome == "done":
                self.outcome = "interrupted"
        finally:
            self._let_go()
            self._router.ended(self)

    def refuse(self, error: RequestError) -> None:
        """Tell the client that its request failed, unless it has had its answer."""
        self.outcome = error.code
        if not self._answered or self.client.hears_every_failure:
            self._send(messages.error(self.name, error, self.id))

    def interrupt(self) -> None:
        """Ask the task to end. Its own interrupt() may block, so it gets a thread. Any thread."""
        self._is_interrupted = True
        if not self.task.is_async:
            self._call_interrupt()
        elif self.future is not None:
            self.service.portal.call(self.future.cancel)

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody asked it to end; one that has not begun is not begun any more."""
        return self._is_interrupted

    def _call_interrupt(self) -> None:
        interrupt = getattr(self._instance, "interrupt", None)
        if callable(interrupt):
            runtime.spawn(f"interrupt:{self.name}", lambda: _quietly(interrupt), self._router.server)

    def _let_go(self) -> None:
        """The request knows the job; without this the data of the client would stay until the collector comes by."""
        self.request = self._instance = None

    def _acknowledge(self) -> None:
        """A request with an id is answered when its effect is there, even by a task that says nothing."""
        if self.id is not None and not self._answered:
            self.reply(None)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, RequestError) or isinstance(error, BadMessage):  # that was a message of the task's own
            self._router.server.bus.publish(
                TaskRaised(task=self.name, cid=self.client.cid, error=_told(error), traceback=traceback.format_exc())
            )
            error = TaskFailed("the task failed")
        self.refuse(error)

    def _send(self, payload: bytes) -> bool:
        self._answered = True
        self.service.portal.call(self.client.send, payload)
        return self.client.is_ready


async def _caught(coroutine: Coroutine[Any, Any, Any]) -> BaseException | None:
    """What it raises: SystemExit would end the loop."""
    try:
        await coroutine
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return error
    return None


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _never_awaits(main: Any) -> bool:
    code = getattr(main, "__code__", None)
    return code is not None and not any(step.opname in _AWAITING for step in dis.get_instructions(code))


def _told(error: BaseException) -> str:
    """An exception in one line, whatever its own repr() does."""
    try:
        return repr(error)
    except Exception:
        return f"{type(error).__name__} (its repr() raised)"


def _quietly(function: Any) -> None:
    try:
        function()
    except Exception:
        _log.exception("interrupt() raised")
