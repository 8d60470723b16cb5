"""A load of one who speaks and many who listen."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from zephserver.load import frames
from zephserver.load.plan import MARK, Plan

if TYPE_CHECKING:
    from zephserver.load.run import Run

FIRST = 1.0  # seconds after which the first message has reached whom it will ever reach
LATEST = 5.0  # seconds that a message may take
TICK = 0.005  # seconds by which a sleep may be late
ANSWER = f'"id":"{MARK}'.encode()  # stands in an answer, not in what is said to a room
TASK = "zephbench"  # the name under which the operator speaks; the clients of a load listen to everything


class FanOut:
    """Says one message after the other to the room: when the last one has arrived everywhere, or at the plan's rate."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run, self._plan = run, plan
        self._listeners = len(run.ready())
        self._left: dict[int, int] = {}  # connections that a message has still to reach
        self._arrived = asyncio.Event()
        self._operator: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        run.listener = self.arrived

    async def run(self) -> None:
        """Speak until cancelled, or until it turns out that nobody hears it."""
        try:
            if not self._plan.task:
                self._operator = await asyncio.open_unix_connection(self._plan.control)
            first = await self._say()
            await self._wait_for(first, FIRST)
            heard = self._listeners - self._left.get(first, 0)
            if not heard:
                return
            self._listeners = heard  # all of them, or all but the one who speaks
            self._forget(first)
            if self._plan.rate is None:
                while True:
                    number = await self._say()
                    await self._wait_for(number, LATEST)
                    self._forget(number)
            began, count = time.perf_counter(), 0
            while True:
                count += 1
                await asyncio.sleep(began + count / self._plan.rate - time.perf_counter())
                due = began + count / self._plan.rate
                is_late = time.perf_counter() - due > TICK  # the server held up the message before: that counts
                await self._say(due if is_late else None)
                for late in [number for number in self._left if number < first + count - 10_000]:
                    self._forget(late)
        finally:
            if self._operator is not None:
                self._operator[1].close()

    def arrived(self, number: int, payload: bytes) -> None:
        """A message reached somebody, or its speaker heard that it was refused."""
        run = self._run
        sent_at = run.sent_at.get(number)
        if sent_at is None or number not in self._left:
            return
        if b'"error":' in payload:
            run.note_error(payload)
            self._left[number] = 0
        elif ANSWER in payload:
            return  # the speaker's own request was answered
        else:
            run.received += 1
            run.latencies.add(time.perf_counter() - sent_at)
            self._left[number] -= 1
        if self._left[number] <= 0:
            self._forget(number)
            self._arrived.set()

    async def _say(self, moment: float | None = None) -> int:
        """Send one message to the room."""
        number = self._run.take_number(moment)
        self._left[number] = self._listeners
        self._arrived.clear()
        if self._operator is None:
            speakers = self._run.ready()
            if speakers:
                speakers[0].send(frames.write(frames.TEXT, self._plan.message(number)))
            return number
        reader, writer = self._operator
        args = {"task": TASK, "data": json.dumps(self._plan.text(number)), "room": self._plan.room}
        writer.write(json.dumps({"id": number, "command": "say", "args": args}).encode() + b"\n")
        await reader.readline()
        return number

    async def _wait_for(self, number: int, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                while number in self._left:
                    await self._arrived.wait()
                    self._arrived.clear()
        except TimeoutError:
            pass

    def _forget(self, number: int) -> None:
        if self._left.pop(number, 0) <= 0:
            self._run.sent_at.pop(number, None)
