"""A load from its first connection to its result. One event loop, no threads."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from zephserver.load import frames
from zephserver.load.client import LoadClient
from zephserver.load.latencies import Latencies
from zephserver.load.plan import Plan, number_in

KNOCKING = 64  # connections that are being opened at once
CONNECT_TIME = 30.0  # seconds in which the clients have to be there, before the measurement
LAST_ANSWERS = 1.0  # seconds to wait for what is under way at the end
CLOSING_TIME = 2.0
IN_FLIGHT = 100  # messages of one client that may be under way with a rate: a server that is slower is not buried
RETRY = 0.05  # seconds after an error before the same client sends again
TICK = 0.005

Report = Callable[[dict[str, Any]], None]


class LoadFailed(Exception):
    """There is nothing to measure; the text says why."""


class Run:
    """One load. `stop` ends it early, and what was measured until then is the result."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self._plan, self._report = plan, report
        self.stop = asyncio.Event()
        self.latencies = Latencies()
        self.sent = self.received = self.unsent = self.connected = 0
        self.listener: Callable[[int, bytes], None] | None = None  # who counts the messages of a fan-out
        self.errors: Counter[str] = Counter()  # answers that were errors, by code
        self.refused: Counter[str] = Counter()  # connections that did not come about
        self.lost: Counter[str] = Counter()  # connections that the server ended later
        self.clients: list[LoadClient] = []
        self._is_loading = False
        self._began = self._ended = 0.0
        self._cpu = 0.0
        self._number = 0
        self.sent_at: dict[int, float] = {}  # of the messages that are under way
        self._timers: set[asyncio.TimerHandle] = set()
        self._tls = _tls_context(plan)

    async def run(self) -> dict[str, Any]:
        """Connect, load, wait for the last answers, close. Raises LoadFailed."""
        reporter = asyncio.ensure_future(self._report_progress())
        try:
            if self._plan.mode == "connect":
                self._begin()
                await self._connect(self._plan.seconds)
                self._end()
            else:
                await self._connect(CONNECT_TIME)
                if not self.ready():
                    raise LoadFailed(_why_nobody(self.refused))
                if not self.stop.is_set():
                    self._begin()
                    await self._load()
                    self._end()
                    await self._last_answers()
        finally:
            reporter.cancel()
            await asyncio.gather(reporter, return_exceptions=True)
            await self._close()
        if not self.latencies.count and not self.stop.is_set():
            raise LoadFailed(self._why_nothing())
        return self.result()

    def result(self) -> dict[str, Any]:
        """What was measured."""
        seconds = self._ended - self._began
        return {
            "interrupted": self.stop.is_set(),
            "connected": self.connected,
            "refused": dict(self.refused),
            "lost": dict(self.lost),
            "seconds": seconds,
            "sent": self.sent,
            "received": self.received,
            "unsent": self.unsent,
            "unanswered": len(self.sent_at),
            "errors": dict(self.errors),
            "per_second": self.received / seconds if seconds else 0.0,
            "latency": self.latencies.as_dict(),
            "histogram": self.latencies.rows(),
            "client_cpu": self._cpu / seconds if seconds else 0.0,
        }

    # -- connections ----------------------------------------------------------------------------------------------

    async def _connect(self, within: float) -> None:
        """Open all connections, some at once; those of a rate when it is their turn."""
        numbers = iter(range(self._plan.clients))
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def knock() -> None:
            for number in numbers:
                if self._plan.mode == "connect" and self._plan.rate is not None:
                    await asyncio.sleep(began + number / self._plan.rate - loop.time())
                await self._open(number)

        knocking = asyncio.gather(*(knock() for _ in range(min(KNOCKING, self._plan.clients))))
        await self._until(knocking, within)
        for client in self.clients:
            if not client.ready.done():
                self.refused["no answer"] += 1
                client.abort()

    async def _open(self, number: int) -> None:
        began = time.perf_counter()
        try:
            client = await self._dial(number)
        except OSError as error:
            self.refused[error.strerror or type(error).__name__] += 1
            return
        self.clients.append(client)
        if await client.ready:
            self.connected += 1
            if self._plan.mode == "connect":
                self.latencies.add(time.perf_counter() - began)
                self.received += 1

    async def _dial(self, number: int) -> LoadClient:
        plan, loop = self._plan, asyncio.get_running_loop()

        def make() -> LoadClient:
            return LoadClient(plan, number, self._heard, self._closed)

        if plan.mode == "connect":
            self.sent += 1
        if plan.unix:
            return (await loop.create_unix_connection(make, plan.unix, ssl=self._tls))[1]
        return (await loop.create_connection(make, plan.host, plan.port or 0, ssl=self._tls))[1]

    def _closed(self, client: LoadClient, why: str) -> None:
        """The server ended a connection."""
        (self.lost if client.ready.done() else self.refused)[why] += 1

    def ready(self) -> list[LoadClient]:
        """The clients that can send and hear."""
        return [client for client in self.clients if client.is_ready]

    async def _close(self) -> None:
        for client in self.clients:
            client.close()
        if self.clients:
            await asyncio.wait([client.gone for client in self.clients], timeout=CLOSING_TIME)
        for client in self.clients:
            if not client.gone.done():
                client.abort()
        for timer in self._timers:
            timer.cancel()

    # -- messages -------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        """Send for as long as was asked for, or until everybody is gone."""
        if self._plan.mode == "fanout":
            from zephserver.load.fanout import FanOut

            await self._until(FanOut(self, self._plan).run(), self._plan.seconds)
        elif self._plan.rate is not None:
            await self._until(self._send_at_rate(self._plan.rate), self._plan.seconds)
        else:
            for client in self.ready():
                self._send(client)
            await self._until(asyncio.gather(*(client.gone for client in self.ready())), self._plan.seconds)

    async def _send_at_rate(self, rate: float) -> None:
        """Messages when their time has come, from one client after the other."""
        began, due = time.perf_counter(), 0
        while senders := self.ready():
            now = time.perf_counter()
            while began + due / rate <= now:
                client = senders[due % len(senders)]
                if client.in_flight < IN_FLIGHT:
                    self._send(client)
                else:
                    self.unsent += 1
                due += 1
            await asyncio.sleep(TICK)

    def _send(self, client: LoadClient) -> None:
        if self._is_loading and client.is_ready:
            number = self.take_number()
            client.in_flight += 1
            client.send(frames.write(frames.TEXT, self._plan.message(number)))

    def take_number(self, moment: float | None = None) -> int:
        """The number of a message that is sent now, or should have been at *moment*."""
        self._number += 1
        self.sent += 1
        self.sent_at[self._number] = time.perf_counter() if moment is None else moment
        return self._number

    def _heard(self, client: LoadClient, payload: bytes) -> None:
        """A message for a client that is ready."""
        number = number_in(payload)
        if number is None:
            return  # presence, a heartbeat
        if self.listener is not None:
            self.listener(number, payload)
            return
        moment = self.sent_at.pop(number, None)
        if moment is None:
            return  # a second answer to the same message
        client.in_flight -= 1
        if b'"error":' in payload:
            self.note_error(payload)
            if self._plan.rate is None and self._is_loading:
                loop = asyncio.get_running_loop()
                self._timers.add(loop.call_later(RETRY, self._send, client))
            return
        if self._is_loading:
            self.received += 1
            self.latencies.add(time.perf_counter() - moment)
            if self._plan.rate is None:
                self._send(client)

    def note_error(self, payload: bytes) -> None:
        """Count an error by its code."""
        try:
            code = json.loads(payload)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            code = "unreadable"
        self.errors[str(code)[:80]] += 1

    def _why_nothing(self) -> str:
        """Why there is nothing to measure."""
        if self._plan.mode == "connect":
            return _why_nobody(self.refused)
        if self.errors:
            code, count = self.errors.most_common(1)[0]
            return f"task {self._plan.task!r} answered with errors only: {code} ({count})"
        if self.lost:
            why, count = self.lost.most_common(1)[0]
            return f"the server ended the connections: {why} ({count})"
        if self._plan.mode == "fanout":
            return f"nobody heard the message; does task {self._plan.task!r} say it to its room?"
        return f"task {self._plan.task!r} answered nothing in {self._plan.seconds:g} s"

    # -- time -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._is_loading = True
        self._cpu = time.process_time()
        self._began = time.perf_counter()
        self._report({"phase": "load"})

    def _end(self) -> None:
        self._ended = time.perf_counter()
        self._cpu = time.process_time() - self._cpu
        self._is_loading = False
        self._report({"phase": "done"})

    async def _until(self, work: Any, within: float) -> None:
        """Wait for *work*, *within* seconds, or until `stop`; what is left of it is cancelled."""
        job = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stop.wait())
        done, _ = await asyncio.wait({job, stop}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        job.cancel()
        outcome = (await asyncio.gather(job, stop, return_exceptions=True))[0]
        if job in done and isinstance(outcome, Exception):
            raise outcome

    async def _last_answers(self) -> None:
        end = time.perf_counter() + LAST_ANSWERS
        while self.sent_at and time.perf_counter() < end and self.ready():
            await asyncio.sleep(TICK)

    async def _report_progress(self) -> None:
        """How far it is, some times a second."""
        while True:
            await asyncio.sleep(0.1)
            now = time.perf_counter()
            self._report(
                {
                    "phase": "progress",
                    "loading": self._is_loading,
                    "connected": len(self.ready()),
                    "seconds": now - self._began if self._is_loading else 0.0,
                    "received": self.received,
                }
            )


def _why_nobody(refused: Counter[str]) -> str:
    reasons = ", ".join(f"{why} ({count})" for why, count in refused.most_common(3))
    hint = "; give a good token with --token" if "close 4003" in refused else ""
    return f"no client got in: {reasons or 'there was no time'}{hint}"


def _tls_context(plan: Plan) -> ssl.SSLContext | None:
    if not plan.tls:
        return None
    context = ssl.create_default_context()
    if not plan.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
