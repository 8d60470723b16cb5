"""From a message to a task: finds the class, checks access, runs it, keeps its life cycle."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zephserver import messages
from zephserver.caller import Caller
from zephserver.core import metrics, runtime
from zephserver.core.command_table import command
from zephserver.core.errors import (
    AccessDenied,
    CommandFailed,
    Overloaded,
    ReloadFailed,
    ServiceNotLoaded,
    SettingsError,
    TaskTimeout,
    UnknownTask,
    ZephError,
)
from zephserver.core.lifecycle import State
from zephserver.core.service import Service
from zephserver.core.settings_page import Settings
from zephserver.events import TaskFinished
from zephserver.job import Job
from zephserver.task_table import TaskTable, load_tasks
from zephserver.workers import WorkerPool

if TYPE_CHECKING:
    from zephserver.client import Client
    from zephserver.session_manager import SessionManager
    from zephserver.websocket_client import WebsocketClient

_log = logging.getLogger("zephserver.router")

ROUTER = "zephserver.router/Router"
RELOADER = "zephserver.reloader/Reloader"  # development mode: what cannot be loaded is loaded when it was mended


class Router(Service):
    """The service that runs tasks. Its tables belong to the event loop of the WebSocket service."""

    notify_ready: ClassVar[bool] = True

    def __init__(self) -> None:
        self._disabled = threading.Event()
        self._is_serving = False
        self._jobs: set[Job] = set()
        self._workers: WorkerPool
        self._websocket: WebsocketClient | None = None
        self.around_task: AbstractContextManager[object] = nullcontext()
        self.user_for_task: Callable[[Any], Any] | None = None
        self.table: TaskTable
        self._outcomes: Counter[tuple[str, str]] = Counter()  # (task, outcome)
        self._seconds: dict[tuple[str, bool], metrics.Histogram] = {}  # (task, did its work)

    # -- the service ------------------------------------------------------------------------------------------------

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override] # read-only here
        """The session manager, where there is one: a task may need what it has set up."""
        settings = self.server.settings
        return (settings.my_session_handler,) if settings.my_session_handler in settings.service_list else ()

    @staticmethod
    def check(settings: Settings) -> list[str]:
        """What is wrong with TASKS_PATH, for `zephctl check`: modules that cannot be imported, missing classes."""
        return load_tasks(settings.tasks_path)[1]

    def main(self) -> None:
        """Load the tasks; then there is nothing to do until the server stops."""
        try:
            self._serve()
        finally:
            self._is_serving = False
            self._disabled.clear()  # for the next life

    def _serve(self) -> None:
        settings = self.server.settings
        table = TaskTable(self.server)
        faults = table.load()
        if faults and RELOADER not in settings.service_list:
            raise SettingsError(faults)
        self.table = table
        self._look_complete()
        server = self.server
        self._workers = WorkerPool(
            "task", settings.task_threads, settings.task_queue, lambda name, body: runtime.spawn(name, body, server)
        )
        self._is_serving = True
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

    def reload(self) -> None:
        """Load the code of the tasks that has changed (SIGHUP); what goes wrong stands in the log. Any thread."""
        try:
            self.reload_tasks()
        except (ReloadFailed, CommandFailed):
            pass  # it was published, or they are being loaded at this moment

    @command("tasks.reload")
    def reload_tasks(self, dry_run: bool = False) -> dict[str, Any]:
        """Load the code of the tasks that has changed; running tasks end on the old code, nobody is disconnected."""
        done = self.reload_touched((), dry_run=dry_run)
        return done | {"stale": dataclasses.asdict(self.table.stale())}

    def reload_touched(self, touched: Iterable[Path], *, dry_run: bool = False) -> dict[str, Any]:
        """Load the code that has changed; *touched* are files that are known to have. Raises ReloadFailed."""
        done = self._loaded().reload(touched, running=len(self._jobs), dry_run=dry_run)
        self._look_complete()
        return done

    @command("tasks.rollback")
    def roll_tasks_back(self) -> bool:
        """Go back to the code of the tasks from before the last reload."""
        undone = self._loaded().rollback()
        self._look_complete()
        return undone

    def stats(self) -> dict[str, Any]:
        """How many tasks run, ended, and ended with an error."""
        finished = sum(self._outcomes.values())
        done = sum(count for (_, outcome), count in list(self._outcomes.items()) if outcome == "done")
        return {"tasks": {"running": len(self._jobs), "finished": finished, "failed": finished - done}}

    def metrics(self) -> Iterator[metrics.Family]:
        """What happened to the tasks. Any thread."""
        yield metrics.gauge("zephserver_tasks_running", "Tasks that run or wait.", len(self._jobs))
        for what, value in (self._workers.stats() if self._is_serving else {}).items():
            yield metrics.gauge(f"zephserver_task_{what}", f"Of the worker threads for tasks: {what}.", value)
        yield metrics.Family(
            "zephserver_tasks_total",
            "counter",
            "Tasks that ended, by outcome: done, or the code of the error.",
            [("", (("task", task), ("outcome", how)), n) for (task, how), n in sorted(self._outcomes.items())],
        )
        yield metrics.Family(
            "zephserver_task_seconds",
            "histogram",
            "Seconds from a message to the end of its task.",
            [
                sample
                for (task, was_done), histogram in sorted(self._seconds.items())
                for sample in histogram.samples((("task", task), ("outcome", "done" if was_done else "failed")))
            ],
        )

    @command("tasks.list")
    def list_tasks(self) -> list[dict[str, Any]]:
        """The tasks that clients can call."""
        return [
            {
                "name": name,
                "class": f"{task.cls.__module__}/{task.cls.__qualname__}",
                "kind": "async" if task.is_async else "thread",
            }
            for name, task in sorted(self._loaded().rows.items())
        ]

    @command("tasks.running")
    def running_tasks(self) -> list[dict[str, Any]]:
        """The tasks that run or wait, the oldest first."""
        now = time.monotonic()
        return [
            {"task": job.name, "cid": job.client.cid, "seconds": round(now - job.created, 3)}
            for job in sorted(self._jobs, key=lambda job: job.created)
        ]

    @command("tasks.call")
    def call_task(
        self, name: str, data: str = "null", user: str = "zephctl", room: str = "", within: float = 30.0
    ) -> dict[str, Any]:
        """Run a task as a client would: DATA is JSON, USER is its id and name; the answers, when it has ended."""
        if name in self._loaded().missing:
            raise CommandFailed(ServiceNotLoaded.code, f"task {name!r} is not loaded; zephctl check says why")
        if name not in self.table.rows:
            raise CommandFailed(UnknownTask.code, f"no task named {name!r}; see: zephctl tasks list")
        service = self._websocket
        if service is None:
            raise ZephError("tasks run in the loop of WebsocketClient, which does not run")
        caller = Caller(user, room or None)
        message = messages.call(name, data)

        def run() -> None:
            self.route(service, caller, message)
            if not caller.jobs:
                caller.go_on()

        if not service.portal.call_soon(run):
            raise ZephError("the loop of WebsocketClient has just ended")
        return caller.wait(within)

    def _loaded(self) -> TaskTable:
        """The table of tasks. Raises CommandFailed as long as there is none."""
        if hasattr(self, "table"):
            return self.table
        row = self.server.services.details(ROUTER)
        why = f"Router is {row['state']}" + (f": {row['error']}" if row["error"] else "")
        what = "mend it, then: zephctl services reset" if row["state"] == State.FAILED else "see: zephctl services show"
        raise CommandFailed(ServiceNotLoaded.code, f"the tasks are not loaded, for {why}; {what} Router")

    def _look_complete(self) -> None:
        """The server is ready only when all tasks are there."""
        missing = self.table.missing
        names = f"task{'' if len(missing) == 1 else 's'} {', '.join(missing)}"
        self.not_ready = f"not loaded: {names}; zephctl check says why" if missing else ""
        self.server.look_ready()

    # -- loop only --------------------------------------------------------------------------------------------------

    def open(self, service: WebsocketClient, sessions: SessionManager) -> None:
        """The WebSocket service runs, and its loop takes tasks; what the session manager wishes for them."""
        self._websocket = service
        self.around_task = getattr(sessions, "around_task", None) or nullcontext()
        self.user_for_task = getattr(sessions, "user_for_task", None)

    def in_thread(self, title: str, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """What a function returns that has to wait for something, in a thread for tasks. Raises Overloaded."""
        assert self._websocket is not None

        def within() -> Any:
            with self.around_task:
                return function()

        return self._workers.ask(title, within, self._websocket.portal.call_soon)

    def route(self, service: WebsocketClient, client: Client | Caller, message: messages.Message) -> None:
        """Run the task that the message names, or tell the client why not."""
        name = message.task or ""
        task = self.table.rows.get(name)
        if task is None:
            client.refuse(message, UnknownTask(name))
        elif self._disabled.is_set() or not self._is_serving:
            client.refuse(message, Overloaded("the router is stopping; try again"))
        elif message.room is not None and message.room not in client.rooms:
            client.refuse(message, AccessDenied("you are not in this room; join it first"))
        elif not client.is_ready and task.interrupts_on_disconnect:
            pass  # it has left, and this task is for those who are here
        elif task.is_instant:
            job = Job(self, service, client, message, task)
            job.run_instantly()
            self._note(job)
        else:
            job = Job(self, service, client, message, task)
            client.jobs.add(job)
            self._jobs.add(job)
            if task.is_concurrent:
                self._start(job)
            elif (lane := client.lanes.get(name)) is not None:
                lane.append(job)  # messages of one connection to one task run in order
            else:
                client.lanes[name] = deque()
                self._start(job)

    def left(self, client: Client) -> None:
        """The client is gone: interrupt those of its tasks that wish it."""
        for job in list(client.jobs):
            if job.task.interrupts_on_disconnect:
                job.interrupt()

    def running(self) -> int:
        """Tasks that run or wait. Any thread."""
        return len(self._jobs)

    def abandon(self, service: WebsocketClient) -> None:
        """Interrupt and forget what still runs for a service whose loop ends: nobody waits for it any more."""
        self._websocket = None
        for job in [job for job in self._jobs if job.service is service]:
            job.refuse(Overloaded("the server is stopping"))
            job.is_given_up = True
            job.interrupt()
            self._jobs.discard(job)

    def ended(self, job: Job) -> None:
        """The task is over, or was given up; the next one of its lane may start. Called once or twice for a job."""
        if job.timer is not None:
            job.timer.cancel()
        if job not in self._jobs:
            return
        self._jobs.discard(job)
        client = job.client
        client.jobs.discard(job)
        self._note(job)
        if not job.task.is_concurrent:
            lane = client.lanes[job.name]
            if lane:
                self._start(lane.popleft())
            else:
                del client.lanes[job.name]
        client.go_on()

    def _start(self, job: Job) -> None:
        if job.is_interrupted:  # while it waited for another one of its lane
            job.refuse(Overloaded("the task was interrupted before it began"))
            self.ended(job)
            return
        if job.task.is_async:
            job.future = asyncio.ensure_future(job.run_async())
        elif not self._workers.submit(job.name, job.run):
            job.refuse(Overloaded("the server has too many tasks waiting; try again later"))
            self.ended(job)
            return
        if job.task.timeout is not None:
            job.timer = asyncio.get_running_loop().call_later(job.task.timeout, self._overran, job)

    def _overran(self, job: Job) -> None:
        """The task takes too long: the client is told now, the task is interrupted and its lane goes on without it."""
        job.refuse(TaskTimeout(f"the task did not end in {job.task.timeout:g} s"))
        job.is_given_up = True
        job.interrupt()
        self.ended(job)

    def _note(self, job: Job) -> None:
        """Count a task that has ended."""
        seconds = time.monotonic() - job.created
        self._outcomes[job.name, job.outcome] += 1
        key = job.name, job.outcome == "done"
        histogram = self._seconds.get(key)
        if histogram is None:
            histogram = self._seconds[key] = metrics.Histogram()
        histogram.observe(seconds)
        if self.server.bus.wants(TaskFinished):
            self.server.bus.publish(
                TaskFinished(task=job.name, cid=job.client.cid, seconds=seconds, outcome=job.outcome)
            )
