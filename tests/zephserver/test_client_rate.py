"""How fast one client may talk: the token bucket of MESSAGE_RATE."""

from __future__ import annotations

from tests.zephserver.fakes import Stall


def test_within_the_burst_reading_goes_on() -> None:
    stall = Stall(rate=(10.0, 5.0))

    for _ in range(5):
        stall.hear(task="a")

    assert stall.connection.told == []


def test_beyond_the_burst_reading_pauses_until_there_is_a_token_again() -> None:
    stall = Stall(rate=(10.0, 5.0))

    for _ in range(6):
        stall.hear(task="a")
    assert stall.connection.told == ["pause"]
    stall.loop.advance(0.09)
    assert stall.connection.told == ["pause"]
    stall.loop.advance(0.02)

    assert stall.connection.told == ["pause", "resume"]
    assert stall.service.counters["rate"] == 1


def test_no_message_is_lost_by_a_pause() -> None:
    stall = Stall(rate=(10.0, 5.0))
    stall.be_ready()

    for number in range(20):  # the rest was read already when the pause began
        stall.hear(task="a", data=number)

    assert [data for _, data in stall.tasks()] == list(range(20))
    assert stall.connection.told == ["pause"]


def test_what_was_read_already_is_paid_for_later() -> None:
    stall = Stall(rate=(10.0, 1.0))
    for _ in range(11):  # ten too many: a debt of a second
        stall.hear(task="a")
    stall.loop.advance(0.2)

    stall.hear(task="a")

    assert stall.connection.told == ["pause", "resume", "pause"]
    stall.loop.advance(0.8)
    assert stall.connection.told == ["pause", "resume", "pause"]
    stall.loop.advance(0.2)
    assert stall.connection.told[-1] == "resume"


def test_over_a_long_time_the_rate_is_kept() -> None:
    stall = Stall(rate=(10.0, 5.0))
    stall.be_ready()
    served = 1

    for _ in range(1_000):  # ten seconds
        if not stall.connection.told or stall.connection.told[-1] == "resume":
            stall.hear(task="a")
            served += 1
        stall.loop.advance(0.01)

    assert 95 <= served <= 106


def test_tokens_do_not_pile_up_beyond_the_burst() -> None:
    stall = Stall(rate=(10.0, 5.0))
    stall.be_ready()
    stall.loop.advance(1_000)

    for _ in range(6):
        stall.hear(task="a")

    assert stall.connection.told == ["pause"]


def test_a_bad_message_costs_a_token_too() -> None:
    stall = Stall(rate=(10.0, 2.0))

    for _ in range(3):
        stall.client.received("hello")

    assert stall.connection.told == ["pause"]


def test_a_client_that_left_while_it_was_paused_is_not_resumed() -> None:
    stall = Stall(rate=(10.0, 1.0))
    stall.be_ready()
    stall.hear(task="a")

    stall.client.closed(1006, "")
    stall.loop.advance(10)

    assert stall.connection.told == ["pause"]


def test_without_a_rate_nothing_pauses() -> None:
    stall = Stall()
    stall.be_ready()

    for _ in range(1_000):
        stall.hear(task="a")

    assert stall.connection.told == []
