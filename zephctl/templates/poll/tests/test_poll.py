"""Tests of the poll. Run them with: pip install 'zephserver[testing]' pytest && pytest"""

import ballots
import pytest

from zephserver.testing import RequestFailed


@pytest.fixture(autouse=True)
def votes_of_the_test(tmp_path, monkeypatch):
    """What the tests vote is not kept in votes.json."""
    monkeypatch.setattr(ballots, "FILE", tmp_path / "votes.json")


def test_a_vote_is_confirmed_and_counted(visit):
    ann = visit(session="ann", room="poll")

    assert ann.request("vote", {"option": "Pizza"}) == {"mine": "Pizza"}

    poll = ann.request("poll")
    assert (poll["mine"], poll["counts"]["Pizza"], sum(poll["counts"].values())) == ("Pizza", 1, 1)


def test_everybody_who_looks_at_the_poll_hears_of_a_vote(visit):
    ann, bob = visit(session="ann", room="poll"), visit(session="bob", room="poll")

    ann.send("vote", {"option": "Noodles"})

    heard = bob.hear(task="vote")["data"]
    assert (heard["by"], heard["counts"]["Noodles"]) == ("ann", 1)


def test_who_votes_again_changes_the_mind(visit):
    ann = visit(session="ann", room="poll")
    ann.request("vote", {"option": "Noodles"})

    ann.request("vote", {"option": "Pizza"})

    counts = ann.request("poll")["counts"]
    assert (counts["Noodles"], counts["Pizza"]) == (0, 1)


@pytest.mark.parametrize("data", [None, {}, {"option": "Soup"}])
def test_what_nobody_asked_about_is_refused(visit, data):
    with pytest.raises(RequestFailed, match="unknown-option"):
        visit(session="ann", room="poll").request("vote", data)


def test_votes_outlive_the_service():
    before = ballots.Ballots()
    before.vote("ann", "Pizza")

    assert ballots.Ballots().of("ann") == "Pizza"
    assert before.clear().startswith("all votes are gone")
    assert ballots.Ballots().counts() == {}
