"""Row H1 of the reliability plan: broken settings files are told clearly, with file and line, all faults at once."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zephserver.core import settings_file
from zephserver.core.errors import SettingsError
from zephserver.core.settings import load_settings

Write = Callable[..., Path]
GOOD = "SERVICE_LIST = []\n"
CLUSTER = (
    GOOD + "N = {'address': '::1'}\n"
    "CLUSTER_SERVER_LIST = [{'hostname': 'a', 'port': 1} | N, {'hostname': 'b', 'port': 2} | N]\n"
)
SYNTAX = [
    ("SERVICE_LIST = [\n", r":1: '\[' was never closed"),
    ("A = 1\nif True\n    B = 2\n", r":2: expected ':'"),
    ("A = 1\n  B = 2\n", r":2: unexpected indent"),
    ("A = 'no end\n", r":1: unterminated string literal"),
    (b"A = 'Orl\xe9ans'\n", r":\d+: .*[Uu][Tt][Ff]-8"),  # Latin-1 that does not say so
    (b"# -*- coding: klingon -*-\n", r":\d+: .*klingon"),
    (b"A = 1\0\n", r":\d+: .*null byte"),
    (GOOD.encode("utf-16"), r":\d+: "),
    ("return 3\n", r":1: 'return' outside function"),
    (b"\x7fELF\x02\x01\x01\0\0", r":\d+: "),
]
RUNNING = [
    ("A = 1\nraise ValueError('no')\n", r":2: running it raised ValueError\('no'\)"),
    ("\n\nimport nowhere_at_all\n", r":3: running it raised ModuleNotFoundError"),
    ("A = B\n", r":1: running it raised NameError"),
    ("import sys\nsys.exit(0)\n", r":2: running it raised SystemExit\(0\)"),
    ("A = 1\nwhile True: A += 1\n", r":2: still running after 0.05 s; does it loop\?"),
    ("def f(): f()\nf()\n", r":1: running it raised RecursionError"),
    ("A = 1 / 0\n", r":1: running it raised ZeroDivisionError"),
]
VALUES = [
    ("", r": SERVICE_LIST is missing: .*\[\] runs none"),
    ("SERVICE_LIST = 'a/B'\n", r":1: SERVICE_LIST: expected a list of 'path.to.module/ClassName', got 'a/B'"),
    ("SERVICE_LIST = ['a.B']\n", r":1: SERVICE_LIST: expected 'path.to.module/ClassName', got 'a.B'"),
    ("SERVICE_LIST = [\n    'a/B',\n    'a/B',\n]\n", r":1: SERVICE_LIST: .*a/B is there twice"),
    (GOOD + "SERVICE_OPTIONS = []\n", r":2: SERVICE_OPTIONS: expected a dict"),
    (GOOD + "SERVICE_OPTIONS = {'a/B': {'restart': 'never'}}\n", r":2: SERVICE_OPTIONS: 'a/B' is not in SERVICE_LIST"),
    ("SERVICE_LIST = ['a/Bat']\nSERVICE_OPTIONS = {'a/Bad': {}}\n", r":2: SERVICE_OPTIONS: .*did you mean a/Bat\?"),
    ("SERVICE_LIST = ['a/B']\nSERVICE_OPTIONS = {'a/B': {'restarts': 1}}\n", r":2: .*no option 'restarts'"),
    (
        "SERVICE_LIST = ['a/B']\nSERVICE_OPTIONS = {'a/B': {'requires': ['c/D']}}\n",
        r":2: .*requires 'c/D', which is not in SERVICE_LIST",
    ),
    (
        "SERVICE_LIST = ['a/B', 'c/D']\nSERVICE_OPTIONS = {'a/B': {'requires': ['c/D']}, 'c/D': {'requires': ['a/B']}}",
        r":2: .*require each other: (a/B -> c/D -> a/B|c/D -> a/B -> c/D)",
    ),
    ("SERVICE_LIST = ['a/B']\nSERVICE_OPTIONS = {'a/B': {'requires': ['a/B']}}\n", r":2: .*each other: a/B -> a/B"),
    (GOOD + "TASKS_PATH = {'ok': 3}\n", r":2: TASKS_PATH: task 'ok': expected"),
    (GOOD + "LOCK_FILE = 3\n", r":2: LOCK_FILE: expected the path of a file, got 3"),
    (GOOD + "LOCK_FILE = 'a\\0b'\n", r":2: LOCK_FILE: expected the path of a file"),
    (
        GOOD + "import pathlib\nTLS_CERTIFICATE = __file__; TLS_KEY = pathlib.Path('a\\0b')\n",
        r":3: TLS_KEY: expected the path",
    ),
    (GOOD + "LOCK_FILE = 'gone/x.lock'\n", r":2: LOCK_FILE: there is no folder .*gone; make it with: mkdir -p"),
    (GOOD + "LOG_LEVEL = 'LOUD'\n", r":2: LOG_LEVEL: expected a level such as 'INFO', got 'LOUD'"),
    (GOOD + "LOG_FORMAT = 'xml'\n", r":2: LOG_FORMAT: expected 'text' or 'json', got 'xml'"),
    (GOOD + "LOG_BACKUPS = -1\n", r":2: LOG_BACKUPS: expected a whole number, 0 or more, got -1"),
    (GOOD + "LOG_MAX_BYTES = '50 MB'\n", r":2: LOG_MAX_BYTES: expected a whole number, 1 or more, got '50 MB'"),
    (
        GOOD + "CONFIGURATION_NETWORK_INTERFACE_SERVER = '127.0.0.1:8090'\n",
        r":2: CONFIGURATION_NETWORK_INTERFACE_SERVER: .*TCP is refused because",
    ),
    (
        GOOD + "CONFIGURATION_NETWORK_INTERFACE = ('localhost', 8090)\n",
        r":2: CONFIGURATION_NETWORK_INTERFACE: .*TCP is refused because",
    ),
    (
        GOOD + f"CONFIGURATION_NETWORK_INTERFACE_SERVER = '/{'x' * 120}'\n",
        r":2: .*the path has 121 bytes and a UNIX socket takes 107",
    ),
    (GOOD + "PORT_ZEPH = '8080'\n", r":2: PORT_ZEPH: expected a port from 0 to 65535, got '8080'"),
    (GOOD + "SAME_DOMAIN = 'yes'\n", r":2: SAME_DOMAIN: expected True or False, got 'yes'"),
    (GOOD + "START_TIMEOUT = None\n", r":2: START_TIMEOUT: expected a number of seconds, more than 0.*, got None"),
    (GOOD + "START_TIMEOUT = 10 ** 400\n", r":2: START_TIMEOUT: expected a number of seconds"),
    (GOOD + "MESSAGE_RATE = 100\n", r":2: MESSAGE_RATE: expected \(messages a second, burst\)"),
    (GOOD + "ALLOWED_ORIGINS = '*'\n", r":2: ALLOWED_ORIGINS: expected a list of texts, got '\*'"),
    (GOOD + "TLS_KEY = __file__\n", r"TLS_CERTIFICATE and TLS_KEY go together; one of them is missing"),
    (GOOD + "TLS_KEY = TLS_CERTIFICATE = 'gone.pem'\n", r":2: TLS_KEY: .*gone.pem cannot be read"),
    (GOOD + "STATIC_FOLDER = 'gone'\n", r":2: STATIC_FOLDER: there is no folder .*gone"),
    (GOOD + "WEBSOCKET_ENGINE = 'twisted'\n", r":2: WEBSOCKET_ENGINE: expected 'picows' or 'threaded'"),
    (
        GOOD + "WEBSOCKET_ENGINE = 'threaded'\nTLS_CERTIFICATE = TLS_KEY = __file__\n",
        r":2: WEBSOCKET_ENGINE: the engine 'threaded' has no TLS; put a proxy with TLS in front, or use 'picows'",
    ),
    (
        GOOD + "WEBSOCKET_ENGINE = 'threaded'\nHOST_ZEPH = '0.0.0.0'\n",
        r":3: HOST_ZEPH: the engine 'threaded' listens on loopback only, and 0.0.0.0 is not; .*THREADED_ALLOW_REMOTE",
    ),
    (GOOD + "CLUSTER_SERVER_LIST = ['a']\n", r":2: CLUSTER_SERVER_LIST: expected \{'hostname'"),
    (CLUSTER + "CLUSTER_NODE = 'c'\n", r":4: CLUSTER_NODE: 'c' is not in CLUSTER_SERVER_LIST; which of a, b is this"),
    (CLUSTER + "CLUSTER_NODE = 'a'\nCLUSTER_ENGINE = 'nets'\n", r":5: CLUSTER_ENGINE: "),
    (CLUSTER.replace("::1", "192.0.2.1") + "CLUSTER_NODE = 'a'\n", r": CLUSTER_SECRET: 192.0.2.1 can be reached by"),
    (GOOD + "CLUSTER_SECRET = 'short'\n", r":2: CLUSTER_SECRET: expected 32 characters or more"),
    (GOOD + "LOCKFILE = 'x'\n", r":2: LOCKFILE: unknown setting; did you mean LOCK_FILE\?"),
    (GOOD + "TASK_PATH = {}\n", r":2: TASK_PATH: unknown setting; did you mean TASKS_PATH\?"),
    (
        GOOD + "class Odd:\n    def __repr__(self): raise ValueError\nLOG_LEVEL = Odd()\n",
        r":4: LOG_LEVEL: expected a level such as 'INFO'",
    ),
]


@pytest.fixture
def alarm() -> Iterator[None]:
    """SIGALRM as a program has it that does not use it; pytest-timeout does."""
    timer, handler = signal.setitimer(signal.ITIMER_REAL, 0), signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *timer)


def faults_of(path: Path) -> list[str]:
    """The faults of a broken file; each names it, and none reads like a traceback."""
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    for fault in caught.value.faults:
        assert fault.startswith(str(path.parent))
        assert "\n" not in fault
        assert "Traceback" not in fault
        assert 'File "' not in fault
    return caught.value.faults


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize(("text", "expected"), SYNTAX + RUNNING + VALUES)
def test_a_broken_file_is_told_with_its_line(
    write_settings: Write, monkeypatch: pytest.MonkeyPatch, text: str | bytes, expected: str
) -> None:
    if "still running" in expected:
        monkeypatch.setattr(settings_file, "TIME_LIMIT", 0.05)
    path = write_settings(text)

    faults = faults_of(path)

    assert len(faults) == (2 if "gone.pem" in expected else 1)
    assert re.search(re.escape(str(path)) + ".*" + expected, "\n".join(faults))


def test_all_faults_of_values_are_told_at_once(write_settings: Write) -> None:
    path = write_settings("PORT_ZEPH = -1\nLOG_LEVEL = 'LOUD'\nLOCKFILE = 'x'\nTASKS_PATH = []\n")

    faults = faults_of(path)

    assert [fault.partition("py:")[2].partition(":")[0] for fault in faults] == [
        " SERVICE_LIST is missing", "4", "2", "1", "3",
    ]  # fmt: skip


def test_faults_between_settings_are_told_together_with_the_others(write_settings: Write) -> None:
    path = write_settings(GOOD + "PORT_ZEPH = -1\nLOCK_FILE = 'gone/x.lock'\nSTATIC_FOLDER = 'gone'\n")

    faults = faults_of(path)

    assert len(faults) == 3


@pytest.mark.parametrize("name", ["json.py", "socket.py", "random/__init__.py"])
def test_a_module_that_shadows_pythons_own_is_named(write_settings: Write, name: str) -> None:
    path = write_settings(GOOD)
    (path.parent / name).parent.mkdir(exist_ok=True)
    (path.parent / name).write_text("")

    faults = faults_of(path)

    shadow = path.parent / name.partition("/")[0]
    assert faults[0].startswith(f"{shadow}: hides Python's own module {shadow.stem!r} from every library; rename it")


@pytest.mark.parametrize(("mode", "what"), [(0o664, "it"), (0o646, "it"), (0o666, "it")])
def test_a_file_that_others_may_write_is_refused(write_settings: Write, mode: int, what: str) -> None:
    path = write_settings("print('must not run')\n")
    path.chmod(mode)

    assert faults_of(path) == [
        f"{path}: others may write to {what} (mode {mode:o}); mend it with: chmod go-w {path}",
    ]


def test_a_folder_that_everybody_may_write_is_refused(write_settings: Write) -> None:
    path = write_settings(GOOD)
    path.parent.chmod(0o777)

    assert faults_of(path) == [
        f"{path}: others may write to its folder (mode 777); mend it with: chmod go-w {path.parent}"
    ]


def test_a_file_of_another_user_is_refused(write_settings: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings("print('must not run')\n")
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
        os.chown(path.parent, 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    faults = faults_of(path)

    assert len(faults) == 2
    assert "its folder belongs to uid" in faults[0]
    assert re.search(r"it belongs to uid \d+, you are uid \d+; mend it with: chown \d+ ", faults[1])


@pytest.mark.parametrize("kind", ["folder", "fifo", "nothing"])
def test_what_is_no_plain_file_is_refused_and_nothing_hangs(tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "zephsettings.py"
    if kind == "folder":
        path.mkdir(0o755)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)

    faults = faults_of(path)

    expected = "cannot be read: No such file or directory" if kind == "nothing" else "not a plain file"
    assert faults == [f"{path}: {expected}"]


def test_several_workers_and_a_unix_socket_are_told_together_with_where(tmp_path: Path) -> None:
    path = tmp_path / "zephsettings.py"
    path.write_text("SERVICE_LIST = []\nWORKERS = 2\nHOST_ZEPH = 'unix:x.sock'\n")
    path.chmod(0o644)

    with pytest.raises(SettingsError) as broken:
        load_settings(path)

    assert broken.value.faults == [
        f"{path}:3: HOST_ZEPH: several workers share a port, not a UNIX socket; name an address, or start one worker"
    ]
