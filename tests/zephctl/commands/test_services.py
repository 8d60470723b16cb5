"""zephctl services: list, show, enable, disable, restart, reset, stack, wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.zephctl.conftest import Answer, Terminal, order
from zephserver.core.lifecycle import State
from zephserver.core.server import Server
from zephserver.testing import FakeClock, wait_until

Zephctl = Callable[..., Answer]
Serve = Callable[..., Server]

PUPPET, OTHER, SHY = "workers/Puppet", "workers/Other", "workers/Shy"


@pytest.fixture
def server(serve: Serve) -> Server:
    """A server with two services, of which the first fails at its first death."""
    return serve(SERVICE_LIST=[PUPPET, OTHER], SERVICE_OPTIONS={PUPPET: {"restart_intensity": 0}})


def fail(server: Server, text: str = "no luck") -> None:
    """Have the first service fail for good."""
    order(server, PUPPET, ValueError(text))
    wait_until(lambda: server.services.state(PUPPET) is State.FAILED, "the service fails")


def age(server: Server, seconds: float) -> None:
    """Let time pass on the server's clock."""
    assert isinstance(server.clock, FakeClock)
    server.clock.advance(seconds)


# -- list ---------------------------------------------------------------------------------------------------------


def test_list_in_json_has_the_promised_shape(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("services", "list", "-o", "json")

    since = [row["since"] for row in server.services.rows()]
    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json == {
        "schema": 1,
        "services": [
            {
                "name": PUPPET,
                "state": "ready",
                "available": False,
                "enabled": True,
                "since": since[0],
                "restarts": 0,
                "error": None,
            },
            {
                "name": OTHER,
                "state": "ready",
                "available": False,
                "enabled": True,
                "since": since[1],
                "restarts": 0,
                "error": None,
            },
        ],
    }
    assert list(answer.json["services"][0]) == ["name", "state", "available", "enabled", "since", "restarts", "error"]


def test_list_of_no_services_in_json_is_an_empty_list(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("services", "list", "-o", "json").json == {"schema": 1, "services": []}


def test_list_in_plain_lines(zephctl: Zephctl, server: Server) -> None:
    server.services.disable_service(OTHER)
    fail(server)

    answer = zephctl("services", "list")

    why = "it ended 1 times in 10 s; the last time: ValueError: no luck"
    assert answer == Answer(0, f"{PUPPET}\tfailed\tno\t0\t{why}\n{OTHER}\tavailable\tno\t0\t-\n", "")


def test_list_on_a_terminal(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("services", "list", "--color", "never", terminal=Terminal())

    assert [line.rstrip() for line in answer.stdout.splitlines()] == [
        "NAME             STATE   FOR   RESTARTS   ERROR",
        "───────────────────────────────────────────────",
        "workers/Puppet   ready   3 d          0   -",
        "workers/Other    ready   3 d          0   -",
    ]


def test_list_of_no_services_on_a_terminal_is_a_word(zephctl: Zephctl, serve: Serve) -> None:
    serve()

    assert zephctl("services", "list", terminal=Terminal()) == Answer(0, "", "no services\n")


def test_list_by_name(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("services", "list", "-o", "name").stdout == f"{PUPPET}\n{OTHER}\n"


def test_list_in_jsonl(zephctl: Zephctl, server: Server) -> None:
    lines = zephctl("services", "list", "-o", "jsonl").stdout.splitlines()

    assert [line.partition(",")[0] for line in lines] == [f'{{"name": "{PUPPET}"', f'{{"name": "{OTHER}"']


# -- show ---------------------------------------------------------------------------------------------------------


def test_show_in_json_has_everything(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("services", "show", PUPPET, "-o", "json")

    assert answer.status == 0
    assert answer.json == {
        "schema": 1,
        "name": PUPPET,
        "state": "ready",
        "available": False,
        "enabled": True,
        "since": server.services.rows()[0]["since"],
        "restarts": 0,
        "error": None,
        "status": "",
        "thread": f"service:{PUPPET}",
        "requires": [],
        "essential": False,
        "restart": "on-failure",
        "start_timeout": 30.0,
        "stop_timeout": 10.0,
        "traceback": "",
    }


def test_show_in_plain_lines_tells_the_moment_exactly(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("services", "show", PUPPET)

    since = server.services.rows()[0]["since"]
    assert answer == Answer(
        0,
        f"name\t{PUPPET}\nstate\tready\navailable\tno\nenabled\tyes\nsince\t{since}\nrestarts\t0\nerror\t-\n"
        f"status\t-\nthread\tservice:{PUPPET}\nrequires\t-\nessential\tno\nrestart\ton-failure\n"
        "start_timeout\t30\nstop_timeout\t10\ntraceback\t-\n",
        "",
    )


def test_show_on_a_terminal_has_the_traceback_of_a_failed_service(zephctl: Zephctl, server: Server) -> None:
    fail(server)

    answer = zephctl("services", "show", "Puppet", "--color", "never", terminal=Terminal())

    lines = [line.rstrip() for line in answer.stdout.splitlines()]
    assert answer.status == 3
    assert lines[:3] == ["name           workers/Puppet", "state          failed", "for            3 d"]
    assert "error          it ended 1 times in 10 s; the last time: ValueError: no luck" in lines
    assert "traceback      Traceback (most recent call last):" in lines
    assert lines[-1] == "               ValueError: no luck"


def test_show_of_a_service_that_does_not_run_is_exit_3(zephctl: Zephctl, server: Server) -> None:
    server.services.disable_service(PUPPET)

    answer = zephctl("services", "show", PUPPET, "-o", "json")

    assert answer.status == 3
    assert answer.json["state"] == "available"


@pytest.mark.parametrize(
    "words", [["show"], ["enable"], ["disable"], ["restart"], ["reset"], ["stack"], ["wait"], ["enable", "--no-wait"]]
)
def test_a_name_that_nobody_has_is_exit_4_and_says_who_there_is(
    zephctl: Zephctl, server: Server, words: list[str]
) -> None:
    answer = zephctl("services", *words, "nope")

    assert answer == Answer(4, "", f"zephctl: no service named 'nope'; SERVICE_LIST has: {PUPPET}, {OTHER}\n")


def test_a_class_that_several_services_have_is_asked_about(zephctl: Zephctl, serve: Serve, folder: Path) -> None:
    (folder / "more.py").write_text("from workers import Puppet as _P\nclass Puppet(_P): pass\n")
    serve(SERVICE_LIST=[PUPPET, "more/Puppet"])

    answer = zephctl("services", "show", "Puppet")

    assert answer == Answer(
        1, "", f"zephctl: 'Puppet' is the class of several services: {PUPPET}, more/Puppet; name one in full\n"
    )


# -- the verbs ----------------------------------------------------------------------------------------------------


def test_disable_stops_the_thread_and_enable_starts_it(zephctl: Zephctl, server: Server) -> None:
    disabled = zephctl("services", "disable", "Puppet")
    state = server.services.state(PUPPET)
    enabled = zephctl("services", "enable", "Puppet")

    assert disabled == Answer(0, "", f"{PUPPET}: disabled, available\n")
    assert state is State.AVAILABLE
    assert enabled == Answer(0, "", f"{PUPPET}: enabled, ready\n")
    assert server.services.state(PUPPET) is State.READY


def test_what_is_so_already_is_no_error(zephctl: Zephctl, server: Server) -> None:
    enabled = zephctl("services", "enable", PUPPET)
    reset = zephctl("services", "reset", PUPPET)
    server.services.disable_service(PUPPET)
    disabled = zephctl("services", "disable", PUPPET)

    assert enabled == Answer(0, "", f"{PUPPET}: was enabled already, ready\n")
    assert reset == Answer(0, "", f"{PUPPET}: had not failed, ready\n")
    assert disabled == Answer(0, "", f"{PUPPET}: was not running, available\n")


def test_restart_gives_a_service_a_new_thread(zephctl: Zephctl, server: Server) -> None:
    age(server, 60)
    before = server.services.rows()[0]["since"]

    answer = zephctl("services", "restart", "Puppet")

    assert answer == Answer(0, "", f"{PUPPET}: restarted, ready\n")
    assert server.services.rows()[0]["since"] >= before + 60


def test_restart_starts_a_service_that_was_disabled(zephctl: Zephctl, server: Server) -> None:
    server.services.disable_service(PUPPET)

    assert zephctl("services", "restart", PUPPET).status == 0
    assert server.services.state(PUPPET) is State.READY


def test_reset_tries_a_failed_service_again(zephctl: Zephctl, server: Server) -> None:
    fail(server)

    answer = zephctl("services", "reset", "Puppet")

    assert answer == Answer(0, "", f"{PUPPET}: reset and enabled, ready\n")


def test_enabling_a_failed_service_says_why_it_failed_and_how_to_reset_it(zephctl: Zephctl, server: Server) -> None:
    fail(server)

    answer = zephctl("services", "enable", "Puppet")

    assert answer == Answer(
        1,
        "",
        f"zephctl: service {PUPPET} has failed: it ended 1 times in 10 s; the last time: ValueError: no luck; "
        f"mend it, then: zephctl services reset {PUPPET}\n",
    )


@pytest.mark.parametrize("verb", ["enable", "disable", "restart", "reset"])
def test_a_verb_in_json_tells_the_service_and_whether_it_changed(zephctl: Zephctl, server: Server, verb: str) -> None:
    answer = zephctl("services", verb, PUPPET, "-o", "json")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.json["schema"] == 1
    assert answer.json["name"] == PUPPET
    assert answer.json["changed"] is (verb in ("disable", "restart"))


@pytest.mark.parametrize("verb", ["enable", "disable", "restart", "reset"])
def test_a_verb_says_nothing_when_quiet(zephctl: Zephctl, server: Server, verb: str) -> None:
    assert zephctl("services", verb, PUPPET, "-q") == Answer(0, "", "")


@pytest.fixture
def shy(serve: Serve) -> Server:
    """A server with a service that never says that it is ready, and is not enabled."""
    server = serve()
    server.services.create_service(SHY)
    return server


def test_enable_without_waiting_returns_while_the_service_starts(zephctl: Zephctl, shy: Server) -> None:
    answer = zephctl("services", "enable", "Shy", "--no-wait")

    assert answer == Answer(0, "", f"{SHY}: enabled, starting\n")


def test_wait_for_a_service_that_does_not_come_is_exit_8(zephctl: Zephctl, shy: Server) -> None:
    shy.services.enable_service(SHY)

    answer = zephctl("services", "wait", "Shy", "--timeout", "0.05")

    assert answer == Answer(8, "", f"zephctl: service {SHY} is not ready: it is starting\n")


def test_wait_for_a_service_that_is_ready_says_nothing(zephctl: Zephctl, server: Server) -> None:
    assert zephctl("services", "wait", "Puppet") == Answer(0, "", "")


def test_wait_for_a_service_that_nobody_enabled_does_not_wait(zephctl: Zephctl, server: Server) -> None:
    server.services.disable_service(PUPPET)

    answer = zephctl("services", "wait", "Puppet")

    assert answer == Answer(8, "", f"zephctl: service {PUPPET} is not ready: it is available\n")


# -- stack --------------------------------------------------------------------------------------------------------


def test_stack_shows_where_the_thread_is(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("services", "stack", "Puppet")

    assert (answer.status, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[-1] == "    while (order := self.orders.get()) is not None:"
    assert "workers.py" in answer.stdout


def test_stack_in_json_has_the_full_name(zephctl: Zephctl, server: Server) -> None:
    answer = zephctl("services", "stack", "Puppet", "-o", "json")

    assert list(answer.json) == ["schema", "name", "stack"]
    assert answer.json["name"] == PUPPET
    assert answer.json["stack"].endswith("while (order := self.orders.get()) is not None:\n")


def test_stack_of_a_service_without_a_thread_says_so(zephctl: Zephctl, server: Server) -> None:
    server.services.disable_service(PUPPET)

    answer = zephctl("services", "stack", PUPPET)

    assert answer == Answer(0, f"service {PUPPET} has no thread: it is available\n", "")


@pytest.mark.parametrize("verb", ["list", "show", "enable", "disable", "restart", "reset", "stack", "wait"])
def test_every_verb_without_a_server_is_exit_5(
    zephctl: Zephctl, write_settings: Callable[..., object], verb: str
) -> None:
    write_settings(SERVICE_LIST=[])

    answer = zephctl("services", verb, *([] if verb == "list" else ["Puppet"]))

    assert (answer.status, answer.stdout) == (5, "")
    assert answer.stderr.startswith("zephctl: no server listens on ")
    assert answer.stderr.count("\n") == 1
