"""How the live view looks on terminals of all sizes: exact pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.text import Text

from zephctl.drawing import ASCII, UNICODE
from zephctl.top.numbers import Link, Numbers, Service, Task
from zephctl.top.scene import Scene
from zephctl.top.state import Action, Pane, Sort
from zephctl.top.view import lines

NOW = 1_000_000.0
NUMBERS = Numbers(
    running=True,
    ready=True,
    pid=4242,
    version="1.2",
    uptime=3 * 86_400,
    cpu=0.124,
    memory=54e6,
    threads=14,
    connections=1_024,
    rooms=12,
    users=1_020,
    received=1_204.0,
    sent=9_880.0,
    waiting=3,
    task_threads=8,
    services=(
        Service("zephserver.session_manager/SimpleSessionManager", "ready", NOW - 3 * 86_400, 0, None, 0.0),
        Service("zephserver.router/Router", "ready", NOW - 600, 2, None, 0.031),
        Service("shop.mail/Mailer", "failed", NOW - 40, 5, "no relay", None),
    ),
    all_tasks=Task("", 120.0, 0.0012, 0.0081, 3, 9),
    tasks=(Task("chat", 20.0, None, None, 0, 9), Task("echo", 100.0, 0.0011, 0.0042, 3, 0)),
)


@pytest.fixture
def scene() -> Scene:
    """A server with history: its load rose."""
    scene = Scene(UNICODE, numbers=NUMBERS, now=NOW, time="12:43:06")
    for step in range(1, 91):
        past = Task("", 15.0 * step, None, None, 0, 0)
        services = (Service("zephserver.router/Router", "ready", 0.0, 0, None, step / 80),)
        scene.history.add(
            Numbers(
                running=True,
                cpu=step / 10,
                connections=step,
                received=8.0 * step,
                sent=4.0,
                all_tasks=past,
                services=services,
            )
        )
    return scene


def picture(scene: Scene, width: int, height: int) -> str:
    """The screen as text, without the spaces at the ends of its lines."""
    shown = lines(scene, width, height)
    assert len(shown) == height
    assert {line.cell_len for line in shown} == {width}
    return "\n".join(line.plain.rstrip() for line in shown).rstrip() + "\n"


def styles(line: Text, word: str) -> set[str]:
    """The styles that a word of the line has."""
    at = line.plain.index(word)
    return {str(span.style) for span in line.spans if span.start <= at < span.end} | ({str(line.style)} - {""})


def test_a_usual_terminal(scene: Scene) -> None:
    assert (
        picture(scene, 80, 24)
        == """\
 zephserver 1.2 · pid 4242 · up 3 d                             ready  12:43:06
 cpu                             ▁▃▄▆▇█ messages in                     ▁▃▄▆▇█
 12.4 %                    ▁▂▄▅▇███████ 1,204/s                   ▁▂▄▅▇███████
 connections                     ▁▃▄▆▇█ messages out              ████████████
 1,024                     ▁▂▄▅▇███████ 9,880/s                   ████████████
 rooms 12 · users 1,020 · tasks waiting 3 · memory 54 MB · cluster single node

 SERVICE               STATE           FOR RESTARTS      CPU
 SimpleSessionManager  ready           3 d        0    0.0 %
 Router                ready        10 min        2    3.1 %          ▁▂▃▄▅▆▇█
 Mailer                failed         40 s        5        -

 TASK        CALLS/S      P50      P99 RUNNING  FAILED
 all tasks       120  1.20 ms  8.10 ms       3       9              ▁▁▂▃▄▅▅▆▇█
 chat           20.0        -        -       0       9
 echo            100  1.10 ms  4.20 ms       3       0







 q quit ? help s sort / filter r restart e enable d disable l log p pause
"""
    )


def test_what_is_quicker_than_the_server_can_tell_is_shown_as_that(scene: Scene) -> None:
    quick = Task("echo", 100.0, 0.0001, 0.00011, 0, 0)
    scene.numbers = replace(NUMBERS, tasks=(quick,))

    assert " echo            100 <0.10 ms  0.11 ms       0       0" in picture(scene, 80, 24)


def test_a_tiny_terminal_has_what_matters_most(scene: Scene) -> None:
    assert (
        picture(scene, 40, 10)
        == """\
 zephserver 1.2         ready  12:43:06
 cpu 12.4 % in 1,204/s clients 1,024
 SERVICE          STATE            CPU
 SimpleSessionMa… ready          0.0 %
 Router           ready          3.1 %
 Mailer           failed             -
 TASK        CALLS/S  FAILED
 all tasks       120       9
 chat           20.0       9
 q quit ? help s sort / filter
"""
    )


def test_a_large_terminal_has_whole_names_and_high_pictures(scene: Scene) -> None:
    shown = picture(scene, 200, 60).splitlines()

    assert shown[0].startswith(" zephserver 1.2 · pid 4242 · up 3 d")
    assert shown[0].endswith("ready  12:43:06")
    assert [line[:12].strip() for line in shown[1:12]] == [
        "", "cpu", "12.4 %", "", "", "", "connections", "1,024", "", "", "",
    ]  # fmt: skip
    assert shown[3].endswith("▁▂▃▄▅▆▇████████")
    assert shown[5].endswith("▇" + "█" * 23)
    assert shown[15].startswith(" zephserver.session_manager/SimpleSessionManager  ready           3 d")
    assert shown[-1].startswith(" q quit ? help")


@pytest.mark.parametrize("width", [1, 2, 7, 20, 39, 60, 119, 120, 300])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 11, 14, 23, 40, 100])
@pytest.mark.parametrize("pane", list(Pane))
def test_any_size_is_filled_exactly(scene: Scene, width: int, height: int, pane: Pane) -> None:
    scene.state.pane = pane
    scene.log = [(f"line {n}", "INFO") for n in range(200)]

    picture(scene, width, height)


def test_a_server_without_web_sockets(scene: Scene) -> None:
    scene.numbers = Numbers(running=True, ready=True, version="1.2", pid=7, cpu=0.1, services=NUMBERS.services[2:])

    assert (
        picture(scene, 60, 14)
        == """\
 zephserver 1.2 · pid 7 · up 0 s            ready  12:43:06
 cpu                            ▁▁▁▂▃▃▄▄▅▅▆▆▇▇█     10.0 %
 memory - · cluster single node · threads 0
 SERVICE  STATE       RESTARTS      CPU
 Mailer   failed             5        -








 Mailer: no relay
"""
    )


def test_without_services_there_is_only_the_head(scene: Scene) -> None:
    scene.numbers = Numbers(running=True, ready=True)

    assert "SERVICE" in picture(scene, 80, 24)


# -- states -------------------------------------------------------------------------------------------------------


def test_states_and_troubles_have_colours(scene: Scene) -> None:
    shown = lines(scene, 80, 24)

    assert "green" in styles(shown[9], "ready")
    assert "bold red" in styles(shown[10], "failed")
    assert "yellow" in styles(shown[9], " 2 ")
    assert "red" in styles(shown[14], " 9")
    assert "green reverse" in styles(shown[0], "ready")


def test_the_selected_service_is_marked_and_its_error_told(scene: Scene) -> None:
    scene.state.selected = "shop.mail/Mailer"

    shown = lines(scene, 80, 24)

    assert "reverse" in styles(shown[10], "Mailer")
    assert "reverse" not in styles(shown[8], "Simple")
    assert shown[-1].plain.rstrip() == " Mailer: no relay"


def test_a_server_that_is_away_is_told(scene: Scene) -> None:
    scene.away = "no answer since 12:43:00"

    shown = lines(scene, 80, 24)

    assert "no answer  12:43:06" in shown[0].plain
    assert "bold red reverse" in styles(shown[0], "no answer")
    assert shown[-1].plain.rstrip() == " no answer since 12:43:00"
    assert "Router" in shown[9].plain


@pytest.mark.parametrize(
    ("more", "word"),
    [({"ready": False}, "not ready"), ({"stopping": True}, "stopping"), ({"ready": True}, "ready")],
)
def test_the_head_says_how_the_server_is(scene: Scene, more: dict[str, bool], word: str) -> None:
    scene.numbers = Numbers(**({"running": True} | more))

    assert f" {word}  12:43:06" in lines(scene, 80, 24)[0].plain


def test_a_paused_view_says_so(scene: Scene) -> None:
    scene.state.is_paused = True

    assert " paused  12:43:06" in lines(scene, 80, 24)[0].plain


def test_losses_have_a_line_of_their_own(scene: Scene) -> None:
    scene.numbers = Numbers(running=True, refused={"rate": 12.0, "origin": 0.5}, log_dropped=1_500)

    shown = lines(scene, 80, 24)

    assert shown[4].plain.rstrip() == " refused or held up: origin 0.5/s, rate 12.0/s · log lines dropped: 1,500"
    assert styles(shown[4], "rate") == {"yellow"}


def test_links_to_other_servers_are_counted_and_the_bad_ones_named(scene: Scene) -> None:
    links = (Link("b", True, 0, 0, 0, 0), Link("c", False, 12_000, 2.5, 0, 0), Link("d", True, 0, 0, 3, 4))
    scene.numbers = Numbers(running=True, links=links)

    shown = [line.plain.rstrip() for line in lines(scene, 80, 24)]

    assert shown[3] == " memory - · cluster 2 of 3 links up · threads 0"
    assert shown[4] == " c: down, 12 kB wait since 2.5 s · d: 7 events lost"


def test_what_comes_from_the_server_cannot_speak_to_the_terminal(scene: Scene) -> None:
    evil = Service("a/\x1b[31mE\nvil", "ready", NOW, 0, "\x1b[2J", 0.0)
    scene.numbers = Numbers(running=True, services=(evil,), tasks=(), refused={"\x1b]0;x": 1.0})
    scene.log, scene.log_of, scene.state.pane = [("\x1b[2J\tx", "INFO")], "a/\x1b[5m", Pane.LOG

    shown = picture(scene, 80, 24)

    assert "\x1b" not in shown
    assert "\\x1b[31mE\\nvil" in shown


# -- many services, a log, and words ------------------------------------------------------------------------------


def test_a_long_list_scrolls_to_the_selected_service(scene: Scene) -> None:
    many = tuple(Service(f"a/Service{n}", "ready", NOW, 0, None, 0.0) for n in range(50))
    scene.numbers = Numbers(running=True, services=many)
    scene.state.selected = "a/Service30"

    shown = picture(scene, 80, 16)

    assert "SERVICE 26-35 of 50" in shown
    assert "Service30 " in shown
    assert "Service24 " not in shown


def test_the_order_stands_in_the_title(scene: Scene) -> None:
    scene.state.sort = Sort.BUSY

    assert "SERVICE (busiest first)" in picture(scene, 80, 24)


def test_two_services_of_one_class_have_their_whole_names(scene: Scene) -> None:
    twins = tuple(Service(f"{module}/Twin", "ready", NOW, 0, None, 0.0) for module in "ab")
    scene.numbers = Numbers(running=True, services=twins)

    shown = picture(scene, 80, 24)

    assert "a/Twin" in shown
    assert "b/Twin" in shown


def test_a_log_takes_the_place_of_the_tasks(scene: Scene) -> None:
    scene.state.pane, scene.log_of = Pane.LOG, "zephserver.router/Router"
    scene.log = [(f"12:43:0{n}.000 INFO     line {n}", "ERROR" if n == 9 else "INFO") for n in range(10)]

    shown = lines(scene, 80, 20)

    assert "TASK" not in picture(scene, 80, 20)
    assert shown[-2].plain.rstrip() == " 12:43:09.000 INFO     line 9"
    assert "red" in styles(shown[-2], "line 9")
    assert any(line.plain.startswith(" LOG of Router ──────") for line in shown)


def test_an_empty_log_says_so(scene: Scene) -> None:
    scene.state.pane, scene.log_of = Pane.LOG, "zephserver.router/Router"

    assert " no lines yet" in picture(scene, 80, 24)


def test_a_question_takes_the_last_line(scene: Scene) -> None:
    scene.state.question = Action("restart", "zephserver.router/Router")

    assert picture(scene, 80, 24).splitlines()[-1] == " restart Router? y/n"


def test_a_filter_is_seen_while_it_is_typed_and_afterwards(scene: Scene) -> None:
    scene.state.filter, scene.state.is_typing = "rou", True
    assert picture(scene, 80, 24).splitlines()[-1] == " filter: rou_"

    scene.state.is_typing = False
    shown = picture(scene, 80, 24).splitlines()
    assert shown[-1] == " filter: rou  q quit ? help s sort / filter r restart e enable d disable l log"
    assert "Mailer" not in "".join(shown)


def test_news_take_the_last_line(scene: Scene) -> None:
    scene.notice, scene.notice_style = "Router: restarted, ready", "green"

    shown = lines(scene, 80, 24)

    assert shown[-1].plain.rstrip() == " Router: restarted, ready"
    assert styles(shown[-1], "Router") == {"green"}


def test_the_keys_are_explained(scene: Scene) -> None:
    scene.state.pane = Pane.HELP

    shown = picture(scene, 80, 24)

    assert "  ↑ ↓    select a service; j and k do, too" in shown
    assert shown.splitlines()[-1] == " any key goes back"


def test_everything_can_be_drawn_in_ascii(scene: Scene) -> None:
    scene.glyphs = ASCII
    for pane in Pane:
        scene.state.pane = pane
        assert picture(scene, 80, 24).isascii()
        assert picture(scene, 40, 10).isascii()
