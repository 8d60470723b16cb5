"""What a service is: three methods, a name, and a few wishes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from zephserver.core.errors import ServiceNotLoaded
from zephserver.core.origin import is_of_the_user, origin_of

if TYPE_CHECKING:
    from zephserver.core.server import Server


class ServiceLike(Protocol):
    """Any class with these methods is a service; no base class is needed."""

    def main(self) -> None:
        """Do the work. Runs in the service's own thread, like run() of a thread."""

    def disable(self) -> None:
        """Make main() end soon. Called from another thread; the manager waits for the thread of main()."""


class Service:
    """A base class for services that want more than the three methods.

    `server` is the server that runs it, from the moment main() is called. A service that sets `notify_ready = True`
    counts as started only when it calls `ready()`, from any thread; the others are ready when their thread runs.
    `requires`, `essential` and the like may be set here as well as in SERVICE_OPTIONS, which wins. While `not_ready`
    says why, the server is not ready though all its services are.
    """

    notify_ready: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    not_ready: str = ""
    server: Server
    _notifier: Notifier | None = None

    def main(self) -> None:
        """Do the work until disable() is called."""
        raise NotImplementedError(f"{type(self).__name__} has no main()")

    def disable(self) -> None:
        """Make main() end soon. Any thread."""

    def ready(self) -> None:
        """Tell the service manager that the service does its work now. Any thread, any number of times."""
        if self._notifier is not None:
            self._notifier.ready()

    def status(self, text: str) -> None:
        """A short word about what the service is doing, shown by `zephctl services show`. Any thread."""
        if self._notifier is not None:
            self._notifier.status(text)


class Notifier(Protocol):
    """How a service speaks to its manager during one run of main()."""

    def ready(self) -> None:
        """The service does its work now."""

    def status(self, text: str) -> None:
        """What the service is doing."""


@dataclass(frozen=True, slots=True)
class ServicePath:
    """A name of the form 'path.to.module/ClassName', taken apart."""

    module: str
    class_name: str

    @classmethod
    def parse(cls, name: object) -> ServicePath:
        """Raises ValueError with what is wrong."""
        if not isinstance(name, str):
            raise ValueError(f"expected text like 'path.to.module/ClassName', got {name!r}")
        module, slash, class_name = name.partition("/")
        parts = [*module.split("."), class_name]
        if not slash or not all(part.isidentifier() for part in parts):
            raise ValueError(f"expected 'path.to.module/ClassName', got {name!r}")
        return cls(module, class_name)


def load_class(name: str) -> type[Any]:
    """Import the class that *name* ('path.to.module/ClassName') points to.

    Raises ServiceNotLoaded when there is no such module or class; what the module itself raises comes through as the
    cause. SystemExit is caught too: a module must not be able to end the server by being imported.
    """
    path = ServicePath.parse(name)
    try:
        module = importlib.import_module(path.module)
    except (Exception, SystemExit) as error:
        raise ServiceNotLoaded(name, _why_not_imported(path.module, error)) from error
    found = getattr(module, path.class_name, None)
    if not isinstance(found, type):
        raise ServiceNotLoaded(name, f"module {path.module} has no class {path.class_name!r}")
    return found


def _why_not_imported(module: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return f"there is no module {error.name!r} in the settings folder or installed"
    origin = origin_of(error, is_of_the_user)
    why = str(origin) if origin.file is not None else f"importing {module} raised {origin.what}"
    return " ".join(why.split())


def load_service(name: str) -> type[Any]:
    """As load_class(), and make sure that it has the methods of a service."""
    found = load_class(name)
    missing = [method for method in ("main", "disable") if not callable(getattr(found, method, None))]
    if missing:
        raise ServiceNotLoaded(name, f"class {found.__name__} has no method {' and no '.join(missing)}")
    return found
