"""The service that keeps one worker alive: starts its process, hears what it says, and tells why it ended."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from zephserver.core import metrics
from zephserver.core.errors import ZephError
from zephserver.core.events import WorkerDied, WorkerEnded, WorkerSaid, WorkerStarted
from zephserver.core.processes.lines import Lines
from zephserver.core.processes.plan import KILL_SHARE
from zephserver.core.service import Service
from zephserver.core.settings_kinds import LEVELS

if TYPE_CHECKING:
    from zephserver.core.processes.supervisor import Supervisor

LOOK = 1.0  # seconds between two looks whether the process lives; usually its end is noticed by its line
MODULE = "zephserver.core.processes.worker"
_UP = "Whether the worker has started, and can be asked: 1, or 0."
_STARTS = "How often a process was started in the place of the worker."
_DEATHS = "Processes of the worker that ended without being asked to."


class Slot(Service):
    """Place `number` for a worker. main() is the life of one process; each life is another one."""

    notify_ready: ClassVar[bool] = True
    number: ClassVar[int] = 0
    server: Supervisor

    def __init__(self) -> None:
        self.failure = ""  # why the worker is not ready though it runs
        self.is_up = False  # the worker has started, and answers on its control socket
        self._starts = 0
        self._ends: Counter[str] = Counter()  # how its processes ended that nobody had asked to
        self._lock = threading.Lock()  # for the process and the channel
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._lives = False  # main() runs
        self._killer: threading.Timer | None = None  # once the process was asked to end
        self._disabled = threading.Event()

    # -- the service ------------------------------------------------------------------------------------------------

    def main(self) -> None:
        """Start a process and stay with it until it ends. Raises ZephError when nobody had asked it to."""
        self.failure = ""
        with self._lock:
            self._lives = True
        try:
            if self._disabled.is_set():
                return
            process, channel = self._launch()
            pid = process.pid
            self.server.bus.publish(WorkerStarted(worker=self.number, pid=pid))
            try:
                self._attend(process, channel)
            finally:
                self._forget(process, channel)
            how = how_it_ended(process.returncode)
            if self._killer is not None:
                self.server.bus.publish(WorkerEnded(worker=self.number, pid=pid, how=how))
                self._ended_as_asked(process.returncode)
            else:
                self._ends[how] += 1
                self.server.bus.publish(WorkerDied(worker=self.number, pid=pid, how=how))
                self._died(f"worker {self.number} (pid {pid}) died: {self.failure or how}")
        finally:
            self._spare()
            self._disabled.clear()

    def disable(self) -> None:
        """Have the worker drain and stop."""
        self._disabled.set()
        self.end()

    def metrics(self) -> Iterator[metrics.Family]:
        """How often the process was started, and how it ended. Any thread."""
        who = ("worker", str(self.number))
        ends = [("", (who, ("how", how)), float(count)) for how, count in sorted(self._ends.items())]
        for name, kind, help, samples in (
            ("zephserver_worker_up", "gauge", _UP, [("", (who,), float(self.is_up))]),
            ("zephserver_worker_starts_total", "counter", _STARTS, [("", (who,), float(self._starts))]),
            ("zephserver_worker_deaths_total", "counter", _DEATHS, ends),
        ):
            yield metrics.Family(name, kind, help, samples)

    # -- any thread -------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Ask the process to end, and have it killed when it takes too long."""
        with self._lock:
            if self._lives and self._killer is None:
                limit = self.server.whole.shutdown_timeout * KILL_SHARE
                self._killer = threading.Timer(limit, self.send_signal, [signal.SIGKILL])
                self._killer.name, self._killer.daemon = f"killer of worker {self.number}", True
                self._killer.start()
                self._signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        with self._lock:
            self._signal(number)

    def watch(self, wanted: bool) -> None:
        """Have the worker tell every event, or only those that a log takes."""
        with self._lock:
            if self._channel is not None:
                with contextlib.suppress(OSError):  # its end is being noticed elsewhere
                    self._channel.sendall(json.dumps({"watch": wanted}).encode() + b"\n")

    # -- the thread of main() ---------------------------------------------------------------------------------------

    def _launch(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        # No folder of the caller on the module path: the settings file brings its own.
        command = [sys.executable, "-P", "-m", MODULE, str(self.server.whole.file), str(self.number)]
        with theirs:
            try:
                process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,  # its log, and its last words
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # Ctrl-C is for the process above, which sees to the others
                )
            except BaseException:
                ours.close()
                raise
        with contextlib.suppress(OSError):  # it has died already, which is noticed soon
            ours.sendall(json.dumps(self.server.plan_of(self.number).as_dict()).encode() + b"\n")
        with self._lock:
            self._starts += 1
            self._process, self._channel = process, ours
            if self._killer is not None or self._disabled.is_set():  # that was before there was a process
                self._signal(signal.SIGTERM)
        if self.server.crew.is_watching:
            self.watch(True)
        return process, ours

    def _attend(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        """Hear the process until it has ended."""
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        channel_lines, log_lines = Lines(), Lines()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            selector.register(channel, selectors.EVENT_READ)
            is_there = True
            while is_there:
                for key, _ in selector.select(LOOK):
                    if key.fileobj is channel:
                        data = _received(channel)
                        is_there = bool(data)
                        for line in channel_lines.feed(data):
                            self._heard(line)
                    elif self._read_log(process, log_lines) is False:
                        selector.unregister(process.stderr)
                is_there = is_there and process.poll() is None
        self.is_up = False
        self._reap(process)
        while self._read_log(process, log_lines):  # what it wrote before it ended; children of it may write on
            pass
        if rest := log_lines.rest():
            self._logged(rest)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a process that has closed its line."""
        try:
            process.wait(LOOK)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _read_log(self, process: subprocess.Popen[bytes], lines: Lines) -> bool | None:
        """Take what the process has written; False at its end, None when there is nothing now."""
        assert process.stderr is not None
        try:
            data = os.read(process.stderr.fileno(), 65_536)
        except BlockingIOError:
            return None
        for line in lines.feed(data):
            self._logged(line)
        return bool(data)

    def _logged(self, line: bytes) -> None:
        """A line of the worker's log, or something that was printed or cried where its log goes."""
        text = line.decode("utf-8", "replace")
        row = _json_object(text) if text.startswith('{"seq":') else None
        if row is None or row.get("level") not in LEVELS:
            if text.strip():
                self.server.log.write("WARNING", text, worker=self.number)
            return
        self.server.log.write(
            row["level"],
            str(row.get("text", "")),
            service=str(row.get("service", "")),
            trace=str(row.get("trace", "")),
            at=row.get("at"),
            fields=row.get("fields"),
            worker=self.number,
        )

    def _heard(self, line: bytes) -> None:
        """A word of the worker."""
        word = _json_object(line.decode()) or {}
        if "event" in word:
            self.server.heard(WorkerSaid(worker=self.number, event=word["event"]))
        if "lost" in word:
            text = f"{word['lost']} events are lost: they came faster than they could be told"
            self.server.heard(WorkerSaid(worker=self.number, event={"kind": "Lost", "text": text}))
        self.failure = word.get("failed") or word.get("ended") or self.failure
        if "ready" in word or "failed" in word:
            self.is_up = True
            self.ready()

    def _forget(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        with self._lock:
            self._process = self._channel = None
        channel.close()
        assert process.stderr is not None
        process.stderr.close()

    def _spare(self) -> None:
        """Nobody has to be killed any more."""
        with self._lock:
            killer, self._killer, self._lives = self._killer, None, False
        if killer is not None:
            killer.cancel()

    def _ended_as_asked(self, status: int) -> None:
        if status:
            self.server.exit_status = self.server.exit_status or 1
        self._disabled.wait()  # it may be asked before its turn, when the server stops

    def _died(self, what: str) -> None:
        if self.server.is_stopping:
            self._disabled.wait()
            return
        if not self.server.came_up:  # it would fail again
            self.server.request_stop(what, exit_status=1)
            self._disabled.wait()
            return
        raise ZephError(what)

    def _signal(self, number: int) -> None:
        """With the lock."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


def how_it_ended(status: int) -> str:
    """As in 'exit 1' and 'SIGKILL'."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _received(channel: socket.socket) -> bytes:
    """What has come, b'' at the end; one that dies with a word of ours unread resets the line."""
    try:
        return channel.recv(65_536)
    except OSError:
        return b""


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
