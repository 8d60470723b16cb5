"""Tests of the chat. Run them with: pip install 'zephserver[testing]' pytest && pytest"""

import archive
import chat_tasks
import pytest

from zephserver.testing import RequestFailed, run_task


@pytest.fixture(autouse=True)
def an_archive_of_the_test(tmp_path, monkeypatch):
    """What the tests say is not kept in chat.db."""
    monkeypatch.setattr(archive, "FILE", tmp_path / "chat.db")


def test_echo_answers_with_what_it_got():
    assert run_task(chat_tasks.Echo, {"a": 1}).reply == {"a": 1}


def test_what_one_says_the_others_in_the_room_hear(visit):
    ann, bob = visit(session="ann", room="lobby"), visit(session="bob", room="lobby")
    eve = visit(session="eve", room="elsewhere")

    ann.send("chat", {"text": "hello"})

    heard = bob.hear(task="chat")["data"]
    assert (heard["from"], heard["text"]) == ("ann", "hello")
    assert eve.so_far(task="chat") == []


@pytest.mark.parametrize("data", [None, {}, {"text": " "}, {"text": 3}])
def test_a_message_without_text_is_refused(visit, data):
    with pytest.raises(RequestFailed, match="a message needs some text"):
        visit(session="ann", room="lobby").request("chat", data)


def test_who_is_in_no_room_says_nothing(visit):
    with pytest.raises(RequestFailed, match="join the room first"):
        visit(session="ann").request("chat", {"text": "hello"})
