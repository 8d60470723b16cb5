"""What the tests of the core share: a bench with services that do as they are told, and settings folders."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from zephserver.core.bus import EventBus
from zephserver.core.events import Event
from zephserver.core.lifecycle import State
from zephserver.core.managed_service import ServiceOptions
from zephserver.core.service_manager import ServiceManager
from zephserver.testing import FakeClock, wait_until

# No deadline: the machine may be busy with something else just then.
settings.register_profile(
    "core", deadline=None, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("core")

OVER = (State.DEAD, State.BACKOFF, State.FAILED, State.AVAILABLE)


class Puppet:
    """A service whose main() does what the test orders: return (None), raise (an exception) or call (a function)."""

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.lives: list[threading.Thread] = []

    def main(self) -> None:
        self.lives.append(threading.current_thread())
        while (order := self.orders.get()) is not None:
            if isinstance(order, BaseException):
                raise order
            order()

    def disable(self) -> None:
        self.orders.put(None)


class Call:
    """A call in a thread of its own, whose outcome is asked for later."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="call of a test", daemon=True)
        self.thread.start()

    def result(self, timeout: float = 10.0) -> Any:
        """What the call returned; raises what it raised."""
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "the call has not come back"
        if self._error is not None:
            raise self._error
        return self._value

    def stack(self) -> str:
        """Where the call is right now."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error


class Bench:
    """Service managers on a fake clock, and services that need no file."""

    Puppet = Puppet

    def __init__(self, module: ModuleType) -> None:
        self.clock = FakeClock()
        self.bus = EventBus(self.clock)
        self._module, self._gates = module, list[threading.Event]()
        self._managers: list[ServiceManager] = []

    def add(self, service: type) -> str:
        """Make a class importable; the name under which SERVICE_LIST knows it."""
        setattr(self._module, service.__name__, service)
        return f"{self._module.__name__}/{service.__name__}"

    def puppet(self, class_name: str = "Puppet", **attributes: Any) -> str:
        """A Puppet of that name, with more attributes."""
        return self.add(type(class_name, (Puppet,), attributes))

    def gate(self) -> threading.Event:
        """A gate that the test opens, and the bench at the latest, so that no thread stays behind it."""
        self._gates.append(threading.Event())
        return self._gates[-1]

    def manager(self, *names: str, options: dict[str, ServiceOptions] | None = None, **more: Any) -> ServiceManager:
        """A manager of these services."""
        manager = ServiceManager(self.bus, names, options, clock=self.clock, chance=lambda: 0.5, **more)
        self._managers.append(manager)
        return manager

    def call(self, function: Callable[[], Any]) -> Call:
        """Start a call beside the test."""
        return Call(function)

    def advance(self, seconds: float) -> None:
        """Let time pass and have every manager do what is due."""
        now = self.clock.advance(seconds)
        for manager in self._managers:
            manager.tick(now)

    def end(self, manager: ServiceManager, name: str, order: BaseException | None) -> State:
        """Order main() to raise or to return, and wait until it has; the state that follows."""
        manager.get_all_services()[name].orders.put(order)
        wait_until(lambda: manager.state(name) in OVER, f"{name} ends")
        return manager.state(name)

    def crash(self, manager: ServiceManager, name: str, text: str = "crash") -> State:
        """Have main() raise RuntimeError, and wait until it has; the state that follows."""
        return self.end(manager, name, RuntimeError(text))

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of a kind so far, also those that are still on their way to the readers."""
        return [event for event in self.bus.journal.after(0)[0] if isinstance(event, kind)]

    def close(self) -> None:
        """Open every gate and stop every service."""
        for gate in self._gates:
            gate.set()
        for manager in self._managers:
            manager.disable_all_services()


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Bench]:
    """Makes benches, of which the last one counts; the caller closes them."""

    def make() -> Bench:
        module = ModuleType("bench")
        monkeypatch.setitem(sys.modules, "bench", module)
        return Bench(module)

    return make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Iterator[Bench]:
    """A bench, cleared at the end."""
    bench = make_bench()
    yield bench
    bench.close()


@pytest.fixture
def write_settings(tmp_path: Path) -> Callable[..., Path]:
    """Write a zephsettings.py and return its path; trusted whatever the umask."""

    def write(text: str | bytes, name: str = "zephsettings.py") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o644)
        tmp_path.chmod(0o755)
        return path

    return write
