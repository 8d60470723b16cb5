"""Finding, trusting and running a settings file."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zephserver.core import settings_file
from zephserver.core.errors import SettingsError
from zephserver.core.settings_file import find_settings_file, interface_of, lock_of, refuse_untrusted, run_settings_file

Write = Callable[..., Path]


def test_a_file_that_is_named_is_taken(write_settings: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings("", "other.py")
    monkeypatch.chdir(path.parent)

    assert find_settings_file("other.py") == str(path)


def test_a_folder_may_be_named_instead(write_settings: Write) -> None:
    path = write_settings("")

    assert find_settings_file(str(path.parent)) == str(path)
    assert find_settings_file(folder=str(path.parent)) == str(path)


def test_the_variable_counts_when_nothing_is_named(write_settings: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings("")
    monkeypatch.setenv("ZEPHSETTINGS", str(path))

    assert find_settings_file() == str(path)


def test_what_is_named_wins_over_the_variable(write_settings: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings("")
    monkeypatch.setenv("ZEPHSETTINGS", "/nowhere.py")

    assert find_settings_file(folder=str(path.parent)) == str(path)


def test_the_current_folder_is_the_last_resort(write_settings: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings("", "zephserversettings.py")  # the other name of the documents
    monkeypatch.delenv("ZEPHSETTINGS", raising=False)
    monkeypatch.chdir(path.parent)

    assert find_settings_file() == str(path)


def test_a_missing_file_says_where_was_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHSETTINGS", str(tmp_path / "gone.py"))

    with pytest.raises(SettingsError, match=r"no settings file .*gone.py \(from \$ZEPHSETTINGS\)"):
        find_settings_file()
    with pytest.raises(SettingsError, match=r"no settings file .*other.py$"):
        find_settings_file("other.py")
    with pytest.raises(SettingsError, match=f"no zephsettings.py in {tmp_path}; go to its folder"):
        find_settings_file(folder=str(tmp_path))


def test_a_sticky_folder_is_trusted_and_a_world_writable_one_is_not(write_settings: Write) -> None:
    path = write_settings("")

    path.parent.chmod(0o1777)
    refuse_untrusted(str(path))
    path.parent.chmod(0o777)
    with pytest.raises(SettingsError, match=r"others may write to its folder \(mode 777\); .*chmod go-w"):
        refuse_untrusted(str(path))
    path.parent.chmod(0o775)
    refuse_untrusted(str(path))


def test_running_gives_the_names_and_the_source(write_settings: Write) -> None:
    path = write_settings("\ufeffA = 1\nHERE = __file__\n")

    names, source = run_settings_file(str(path))

    assert (names["A"], names["HERE"], names["__name__"]) == (1, str(path), "zephsettings")
    assert len(ast.parse(source).body) == 2


def test_modules_beside_the_file_can_be_imported(write_settings: Write) -> None:
    write_settings("B = 2\n", "beside_the_settings.py")
    path = write_settings("from beside_the_settings import B\n")

    run_settings_file(str(path))
    names, _ = run_settings_file(str(path))

    assert names["B"] == 2
    assert sys.path.count(str(path.parent)) == 1


def test_the_line_of_an_error_is_the_last_one_of_the_file_that_it_went_through(write_settings: Write) -> None:
    write_settings("def divide():\n\n\n    return 1 / 0\n", "helper_of_the_settings.py")
    path = write_settings("import helper_of_the_settings\nA = helper_of_the_settings.divide()\n")

    with pytest.raises(SettingsError, match=r"zephsettings.py:2: running it raised ZeroDivisionError"):
        run_settings_file(str(path))


def test_an_interrupt_of_the_user_is_not_a_fault_of_the_file(write_settings: Write) -> None:
    path = write_settings("raise KeyboardInterrupt\n")

    with pytest.raises(KeyboardInterrupt):
        run_settings_file(str(path))


def test_a_settings_error_of_the_file_itself_comes_through(write_settings: Write) -> None:
    path = write_settings("from zephserver.core.errors import SettingsError\nraise SettingsError(['mine'])\n")

    with pytest.raises(SettingsError, match=r"^mine$"):
        run_settings_file(str(path))


def test_no_limit_is_set_outside_the_main_thread(write_settings: Write) -> None:
    path = write_settings("A = 1\n")
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(run_settings_file(str(path))[0]["A"]))
    thread.start()
    thread.join(5)

    assert found == [1]


def test_an_alarm_of_the_host_program_is_left_alone(write_settings: Write) -> None:
    import signal

    def mine(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGALRM, mine)
    try:
        run_settings_file(str(write_settings("A = 1\n")))

        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_file_that_catches_everything_while_it_loops_is_ended_too(write_settings: Write) -> None:
    path = write_settings(
        "import time\nwhile True:\n    try:\n        time.sleep(9)\n    except Exception:\n        pass\n"
    )
    program = (
        "import sys; from zephserver.core import settings_file as f; f.TIME_LIMIT = 0.05\n"
        "try: f.run_settings_file(sys.argv[1])\n"
        "except f.SettingsError as error: print(error)\n"
    )

    try:
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=3)
    except subprocess.TimeoutExpired:
        pytest.fail("the file was not ended")

    assert "still running after 0.05 s; does it loop?" in done.stdout


def test_the_interface_of_the_commands_is_found_without_the_other_settings(write_settings: Write) -> None:
    path = write_settings("LOG_LEVEL = 'nonsense'\n")
    assert interface_of(str(path)) == str(path.parent / "interface.sock")

    write_settings("CONFIGURATION_NETWORK_INTERFACE_SERVER = '/run/a.sock'\n")
    assert interface_of(str(path)) == "/run/a.sock"

    write_settings("CONFIGURATION_NETWORK_INTERFACE_SERVER = 'a'\nCONFIGURATION_NETWORK_INTERFACE = 'b'\n")
    assert interface_of(str(path)) == str(path.parent / "b")


def test_the_interface_may_be_a_path_object_as_in_the_settings(write_settings: Write) -> None:
    path = write_settings("from pathlib import Path\nCONFIGURATION_NETWORK_INTERFACE = Path('b.sock')\n")

    assert interface_of(str(path)) == str(path.parent / "b.sock")


@pytest.mark.parametrize("value", ["8080", "''", "('127.0.0.1', 8080)", "None"])
def test_an_interface_that_is_no_path_is_refused(write_settings: Write, value: str) -> None:
    path = write_settings(f"CONFIGURATION_NETWORK_INTERFACE = {value}\n")

    with pytest.raises(SettingsError, match="expected the path of a UNIX socket, got"):
        interface_of(str(path))


def test_the_time_limit_is_ten_seconds() -> None:
    assert settings_file.TIME_LIMIT == 10.0


def test_the_lock_is_found_in_the_same_way(write_settings: Write) -> None:
    path = write_settings("PORT_ZEPH = 'wrong'\n")
    assert lock_of(str(path)) == str(path.parent / "server.lock")

    path = write_settings("LOCK_FILE = 'run/a.lock'\n")
    assert lock_of(str(path)) == str(path.parent / "run/a.lock")

    path = write_settings("LOCK_FILE = 7\n")
    with pytest.raises(SettingsError, match="LOCK_FILE: expected the path of a file, got 7"):
        lock_of(str(path))
