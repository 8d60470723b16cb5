"""From a message to a task: finds the class, checks access, runs it, keeps its life cycle."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

from zephserver import messages
from zephserver.core import runtime
from zephserver.core.command_table import command
from zephserver.core.errors import (
    Overloaded,
    RequestError,
    ServiceNotLoaded,
    SettingsError,
    TaskFailed,
    TaskTimeout,
    UnknownTask,
)
from zephserver.core.service import Service, load_class
from zephserver.core.settings_page import Settings
from zephserver.events import TaskFinished, TaskRaised
from zephserver.task import Request, TaskPing
from zephserver.workers import WorkerPool

if TYPE_CHECKING:
    from zephserver.client import Client
    from zephserver.websocket_client import WebsocketClient

_log = logging.getLogger("zephserver.router")


class Router(Service):
    """The service that runs tasks. Its tables belong to the event loop of the WebSocket service."""

    notify_ready: ClassVar[bool] = True

    def __init__(self) -> None:
        self._disabled = threading.Event()
        self._jobs: set[Job] = set()
        self._workers: WorkerPool
        self.tasks: dict[str, type[Any]] = {}
        self.finished = 0
        self.failed = 0

    # -- the service ------------------------------------------------------------------------------------------------

    @staticmethod
    def check(settings: Settings) -> list[str]:
        """What is wrong with TASKS_PATH, for `zephctl check`: modules that cannot be imported, missing classes."""
        faults = []
        for name, path in settings.tasks_path.items():
            try:
                _load_task(path)
            except ServiceNotLoaded as error:
                faults.append(f"TASKS_PATH: task {name!r}: {error}")
        return faults

    def main(self) -> None:
        """Load the tasks; then there is nothing to do until the server stops."""
        try:
            self._serve()
        finally:
            self._disabled.clear()  # for the next life

    def _serve(self) -> None:
        settings = self.server.settings
        faults = self.check(settings)
        if faults:
            raise SettingsError(faults)
        self.tasks = {"TaskPing": TaskPing} | {name: _load_task(path) for name, path in settings.tasks_path.items()}
        server = self.server
        self._workers = WorkerPool(
            "task", settings.task_threads, settings.task_queue, lambda name, body: runtime.spawn(name, body, server)
        )
        self.ready()
        self._disabled.wait()
        self._workers.close()
        for job in list(self._jobs):
            job.interrupt()
        left = self._workers.join(2.0)
        if left:
            _log.warning("tasks still run and are left behind: %s", ", ".join(left))

    def disable(self) -> None:
        """Take no more requests, interrupt the tasks that run."""
        self._disabled.set()

    def stats(self) -> dict[str, Any]:
        """How many tasks run, ended, and ended with an error."""
        return {"tasks": {"running": len(self._jobs), "finished": self.finished, "failed": self.failed}}

    @command("tasks.list")
    def list_tasks(self) -> list[dict[str, Any]]:
        """The tasks that clients can call."""
        return [
            {
                "name": name,
                "class": f"{task.__module__}/{task.__qualname__}",
                "kind": "async" if _is_async(task) else "thread",
            }
            for name, task in sorted(self.tasks.items())
        ]

    # -- loop only --------------------------------------------------------------------------------------------------

    def route(self, service: WebsocketClient, client: Client, message: messages.Message) -> None:
        """Run the task that the message names, or tell the client why not."""
        name = message.task or ""
        task = self.tasks.get(name)
        if task is None:
            client.refuse(message, UnknownTask(name))
            return
        if self._disabled.is_set():
            client.refuse(message, Overloaded("the router is stopping; try again"))
            return
        limit = self.server.settings.tasks_per_client
        if len(client.jobs) >= limit:
            client.refuse(message, Overloaded(f"{limit} of your requests are being served; wait for an answer"))
            return
        job = Job(self, service, client, message, task)
        client.jobs.add(job)
        self._jobs.add(job)
        if getattr(task, "concurrent", False):
            self._start(job)
        elif (lane := client.lanes.get(name)) is not None:
            lane.append(job)  # messages of one connection to one task run in order
        else:
            client.lanes[name] = deque()
            self._start(job)

    def left(self, client: Client) -> None:
        """The client is gone: interrupt those of its tasks that wish it."""
        for job in list(client.jobs):
            if getattr(job.task, "interrupt_on_disconnect", False):
                job.interrupt()

    def running(self) -> int:
        """Tasks that run or wait. Any thread."""
        return len(self._jobs)

    def abandon(self, service: WebsocketClient) -> None:
        """Interrupt and forget what still runs for a service whose loop ends: nobody waits for it any more."""
        for job in [job for job in self._jobs if job.service is service]:
            job.is_given_up = True
            job.interrupt()
            self._jobs.discard(job)

    def _start(self, job: Job) -> None:
        if job.is_async:
            job.future = asyncio.ensure_future(job.run_async())
        elif not self._workers.submit(job.name, job.run):
            job.refuse(Overloaded("the server has too many tasks waiting; try again later"))
            self.ended(job)
            return
        if job.timeout is not None:
            job.timer = asyncio.get_running_loop().call_later(job.timeout, self._overran, job)

    def _overran(self, job: Job) -> None:
        """The task takes too long: the client is told now, the task is interrupted and its lane goes on without it."""
        job.refuse(TaskTimeout(f"the task did not end in {job.timeout:g} s"))
        job.is_given_up = True
        job.interrupt()
        self.ended(job)

    def ended(self, job: Job) -> None:
        """The task is over, or was given up; the next one of its lane may start. Called once or twice for a job."""
        if job.timer is not None:
            job.timer.cancel()
        if job not in self._jobs:
            return
        self._jobs.discard(job)
        job.client.jobs.discard(job)
        self.finished += 1
        self.failed += job.outcome != "done"
        if self.server.bus.wants(TaskFinished):
            seconds = time.monotonic() - job.created
            self.server.bus.publish(
                TaskFinished(task=job.name, cid=job.client.cid, seconds=seconds, outcome=job.outcome)
            )
        if getattr(job.task, "concurrent", False):
            return
        lane = job.client.lanes[job.name]
        if lane:
            self._start(lane.popleft())
        else:
            del job.client.lanes[job.name]


class Job:
    """One message on its way through one task: the task's channel to the world."""

    __slots__ = (
        "_answered",
        "_instance",
        "_is_interrupted",
        "_router",
        "client",
        "created",
        "future",
        "id",
        "is_async",
        "is_given_up",
        "name",
        "outcome",
        "request",
        "service",
        "task",
        "timeout",
        "timer",
    )

    def __init__(
        self, router: Router, service: WebsocketClient, client: Client, message: messages.Message, task: type[Any]
    ) -> None:
        self._router, self.service = router, service
        self.client, self.task, self.name = client, task, message.task or ""
        self.id = message.id
        self.is_async = _is_async(task)
        self.created = time.monotonic()
        self.outcome = "done"
        self.timer: asyncio.TimerHandle | None = None
        self.future: asyncio.Future[None] | None = None
        timeout = getattr(task, "timeout", None)
        self.timeout: float | None = timeout if timeout is not None else router.server.settings.task_timeout
        self.is_given_up = False  # it took too long: what it still says to its client is not heard
        self._answered = False
        self._is_interrupted = False
        self._instance: Any = None
        # What the client sends never overrides what the server knows: a room counts only if it is in it.
        room = message.room if message.room in client.rooms else client.room
        self.request = Request(self, data=message.data, cid=client.cid, user=client.user, task=self.name, room=room)

    # the channel of the task, any thread

    def reply(self, data: Any) -> bool:
        """Answer the client; False when it has left, or was told that this takes too long."""
        if self.is_given_up:
            return False
        return self._send(messages.answer(self.name, data, self.id))

    def say(self, answer: dict[str, Any]) -> int:
        """Send to others."""
        return self.service.say(answer)

    # its life

    def run(self) -> None:
        """From birth to death in one worker thread. Whatever the task does, the worker lives on."""
        if self.is_given_up:
            return  # its time was over before it had a thread
        try:
            self._instance = self.task(self.request)
            self._instance.main()
            self._acknowledge()
        except BaseException as error:  # SystemExit of a task is a failure of that task only
            self._failed(error)
        self.service.portal.call_soon(self._router.ended, self)

    async def run_async(self) -> None:
        """The same on the event loop, which must not block."""
        try:
            self._instance = self.task(self.request)
            await self._instance.main()
            self._acknowledge()
        except BaseException as error:  # SystemExit would end the loop
            if not self._is_interrupted:
                self._failed(error)
            elif self.outcome == "done":
                self.outcome = "interrupted"
        self._router.ended(self)

    def refuse(self, error: RequestError) -> None:
        """Tell the client that its request failed, unless it has had its answer."""
        self.outcome = error.code
        if not self._answered:
            self._send(messages.error(self.name, error, self.id))

    def interrupt(self) -> None:
        """Ask the task to end. Its own interrupt() may block, so it gets a thread. Any thread."""
        self._is_interrupted = True
        if self.is_async:
            if self.future is not None:
                self.service.portal.call(self.future.cancel)
            return
        interrupt = getattr(self._instance, "interrupt", None)
        if callable(interrupt):
            runtime.spawn(f"interrupt:{self.name}", lambda: _quietly(interrupt), self._router.server)

    def _acknowledge(self) -> None:
        """A request with an id is answered when its effect is there, even by a task that says nothing."""
        if self.id is not None and not self._answered:
            self.reply(None)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, RequestError):
            self._router.server.bus.publish(
                TaskRaised(task=self.name, cid=self.client.cid, error=repr(error), traceback=traceback.format_exc())
            )
            error = TaskFailed("the task failed")
        self.refuse(error)

    def _send(self, payload: bytes) -> bool:
        self._answered = True
        self.service.portal.call(self.client.send, payload)
        return self.client.cid != "" and self.client.stage.value == "ready"


def _load_task(path: str) -> type[Any]:
    """Import a task's class and make sure that it has main(). Raises ServiceNotLoaded."""
    task = load_class(path)
    if not callable(getattr(task, "main", None)):
        raise ServiceNotLoaded(path, f"class {task.__name__} has no method main")
    return task


def _is_async(task: type[Any]) -> bool:
    return inspect.iscoroutinefunction(task.main)


def _quietly(function: Any) -> None:
    try:
        function()
    except Exception:
        _log.exception("interrupt() raised")
