"""Finding, trusting and running a settings file. Imports next to nothing: zephserver-stop starts through here."""

from __future__ import annotations

import os
import stat
import sys

from zephserver.core.errors import SettingsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = ("zephsettings.py", "zephserversettings.py")  # the documents use both
VARIABLE = "ZEPHSETTINGS"
INTERFACE = "./interface.sock"  # default of CONFIGURATION_NETWORK_INTERFACE(_SERVER)
LOCK = "./server.lock"  # default of LOCK_FILE
TIME_LIMIT = 10.0  # seconds that a settings file may take to run


def find_settings_file(settings: str | None = None, folder: str | None = None) -> str:
    """The absolute path of the settings file: --settings, else --folder, else $ZEPHSETTINGS, else the current folder.

    Raises SettingsError, saying where was looked.
    """
    if settings is None and folder is None:
        settings = os.environ.get(VARIABLE) or None
        whence = f" (from ${VARIABLE})"
    else:
        whence = ""
    if settings is not None:
        path = os.path.abspath(settings)
        if os.path.isdir(path):
            return find_settings_file(folder=path)
        if not os.path.exists(path):
            raise SettingsError([f"there is no settings file {path}{whence}"])
        return path
    base = os.path.abspath(folder or os.curdir)
    for name in NAMES:
        path = os.path.join(base, name)
        if os.path.lexists(path):
            return path
    raise SettingsError([f"there is no {NAMES[0]} in {base}; go to its folder, name it with --settings, "
                         "or make one with: zephctl new chat"])  # fmt: skip


def refuse_untrusted(path: str) -> None:
    """Raise SettingsError if *path* could have been written by anybody but this user or root: it is run as code."""
    faults = []
    user = os.geteuid()
    try:
        for place, what in ((os.path.dirname(path), "its folder"), (path, "it")):
            found = os.stat(place)
            if found.st_uid not in (user, 0):
                faults.append(f"{path}: {what} belongs to uid {found.st_uid}, you are uid {user}; "
                              f"mend it with: chown {user} {place}")  # fmt: skip
            # A folder may belong to a group (umask 002 makes them so), and a sticky one lets nobody replace our file.
            in_folder = stat.S_ISDIR(found.st_mode)
            writers = found.st_mode & (stat.S_IWOTH if in_folder else stat.S_IWGRP | stat.S_IWOTH)
            if writers and not (in_folder and found.st_mode & stat.S_ISVTX):
                faults.append(f"{path}: others may write to {what} (mode {stat.S_IMODE(found.st_mode):o}); "
                              f"mend it with: chmod go-w {place}")  # fmt: skip
        if not stat.S_ISREG(os.stat(path).st_mode):
            faults.append(f"{path}: not a plain file")
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
    if faults:
        raise SettingsError(faults)


def run_settings_file(path: str) -> tuple[dict[str, Any], bytes]:
    """Run the file and return its names and its source. Raises SettingsError with file:line.

    The folder of the file comes first on the module path while and after it runs, for services and tasks live there.
    """
    refuse_untrusted(path)
    try:
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        text = f": {error.text.strip()}" if error.text else ""
        raise SettingsError([f"{path}:{error.lineno or 1}: {error.msg}{text}"]) from error
    except (OSError, ValueError) as error:
        raise SettingsError([f"{path}:1: cannot be read as Python: {error}"]) from error
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    names: dict[str, Any] = {"__name__": "zephsettings", "__file__": path}
    with _TimeLimit(path):
        try:
            exec(code, names)
        except _StillRunning as error:
            raise SettingsError([str(error)]) from None
        except (SettingsError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit too: a settings file that exits must not end the caller
            raise SettingsError([f"{path}:{_line_in(error, path)}: running it raised {error!r}"]) from error
    return names, source


def interface_of(path: str) -> str:
    """The absolute path of the control socket that the commands use, without reading the rest of the settings."""
    names, _ = run_settings_file(path)
    server = names.get("CONFIGURATION_NETWORK_INTERFACE_SERVER", INTERFACE)
    interface = names.get("CONFIGURATION_NETWORK_INTERFACE", server)
    return _absolute(path, "CONFIGURATION_NETWORK_INTERFACE", interface, "a UNIX socket")


def lock_of(path: str) -> str:
    """The absolute path of the lock file, in the same way."""
    names, _ = run_settings_file(path)
    return _absolute(path, "LOCK_FILE", names.get("LOCK_FILE", LOCK), "a file")


def _absolute(path: str, setting: str, value: object, what: str) -> str:
    """A path of the settings file *path*, from whose folder relative ones are taken."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value:
        raise SettingsError([f"{path}: {setting}: expected the path of {what}, got {value!r}"])
    return os.path.normpath(os.path.join(os.path.dirname(path), value))


class _TimeLimit:
    """Ends a settings file that loops for ever. Works in the main thread only, where signals are delivered."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._on = False

    def __enter__(self) -> None:
        # Not the module signal, whose enums would take a tenth of our start-up.
        import _signal as signal  # type: ignore[import-not-found]

        try:
            if signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
                return
            signal.signal(signal.SIGALRM, self._too_long)
            signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
            self._on = True
        except ValueError:  # not the main thread
            pass

    def __exit__(self, *error: object) -> None:
        if self._on:
            import _signal as signal

            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _too_long(self, number: int, frame: Any) -> None:
        while frame is not None and frame.f_code.co_filename != self._path:
            frame = frame.f_back
        line = frame.f_lineno if frame is not None else 1
        raise _StillRunning(f"{self._path}:{line}: still running after {TIME_LIMIT:g} s; does it loop?")


class _StillRunning(BaseException):
    """Not an Exception: a file that loops may catch those."""


def _line_in(error: BaseException, path: str) -> int:
    """The last line of *path* that the error went through."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
