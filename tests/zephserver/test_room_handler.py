"""Rooms and who hears what, with clients that take notes and a loop whose time the test moves."""

from __future__ import annotations

import threading

import pytest

from tests.zephserver.fakes import Hall, joined, left, users, welcomed
from zephserver.core.errors import RoomFull, TooManyRooms


@pytest.fixture
def hall() -> Hall:
    """A room handler whose users are gone as soon as they leave."""
    return Hall(LEAVE_DELAY=0)


def test_every_connection_gets_a_cid_of_its_own(hall: Hall) -> None:
    cids = {hall.enter("ann").cid for _ in range(1_000)}

    assert len(cids) == 1_000
    assert all(len(cid) == 16 and cid.isalnum() for cid in cids)


# -- who comes --------------------------------------------------------------------------------------------------------


def test_the_first_in_a_room_is_welcomed_and_hears_who_is_there(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    hall.settle()

    assert ann.news() == [welcomed(), users("ann")]
    assert ann.rooms == ["r"]
    assert hall.handler.rooms() == ["r"]


def test_the_others_hear_who_joins_at_once_and_the_list_soon(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    ann.news()

    bob = hall.enter("bob", "r")
    at_once = ann.news(), bob.news()
    hall.settle()

    assert at_once == ([joined("bob")], [welcomed(), users("ann", "bob")])
    assert (ann.news(), bob.news()) == ([users("ann", "bob")], [users("ann", "bob")])


def test_many_changes_make_one_list(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    ann.news()

    for number in range(20):
        hall.enter(number, "r")
    hall.settle()

    heard = ann.news()
    assert heard == [joined(str(number)) for number in range(20)] + [users("ann", *map(str, range(20)))]
    hall.loop.advance(100)
    assert ann.news() == []


def test_an_answered_join_carries_its_id(hall: Hall) -> None:
    ann = hall.enter("ann")

    hall.handler.join(ann, "r", 7)

    assert ann.news() == [welcomed(id=7), users("ann")]


def test_joining_twice_is_answered_twice_and_changes_nothing(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news(), bob.news()

    hall.handler.join(bob, "r", "again")
    hall.settle()

    assert (ann.news(), bob.news()) == ([], [welcomed(id="again"), users("ann", "bob")])
    assert bob.rooms == ["r"]


def test_the_second_connection_of_a_user_is_no_news_to_the_others(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news(), bob.news()

    again = hall.enter("bob", "r")
    hall.settle()

    assert (ann.news(), bob.news()) == ([], [])
    assert again.news() == [welcomed(), users("ann", "bob")]
    assert hall.handler.members("r") == [ann, bob, again]


def test_anonymous_users_are_listed_each(hall: Hall) -> None:
    first = hall.enter(None, "r")
    first.news()

    second = hall.enter(None, "r")
    hall.settle()

    assert first.news() == [joined("anonymous"), users("anonymous", "anonymous")]
    hall.handler.depart(second)
    hall.settle()
    assert first.news() == [left("anonymous"), users("anonymous")]


def test_two_users_of_the_same_name_are_two(hall: Hall) -> None:
    hall.enter(1, "r", name="ann")

    hall.enter(2, "r", name="ann")

    assert hall.handler.user_list("r") == ["ann", "ann"]


def test_the_number_1_and_the_text_1_are_two_users(hall: Hall) -> None:
    number, text = hall.enter(1, "r"), hall.enter("1", "r")

    assert hall.targets(users=[1]) == [number]
    assert hall.targets(users=["1"]) == [text]
    assert hall.handler.user_count("r") == 2


def test_a_connection_may_be_in_so_many_rooms_and_no_more() -> None:
    hall = Hall(ROOMS_PER_CLIENT=2)
    ann = hall.enter("ann", "a", "b")

    with pytest.raises(TooManyRooms, match="you are in 2 rooms"):
        hall.handler.join(ann, "c")

    assert (ann.rooms, sorted(hall.handler.rooms())) == (["a", "b"], ["a", "b"])
    hall.handler.join(ann, "a")  # where it is already
    hall.handler.leave(ann, "a")
    hall.handler.join(ann, "c")
    assert ann.rooms == ["b", "c"]


def test_a_room_holds_so_many_connections_and_no_more() -> None:
    hall = Hall(ROOM_MEMBERS=2, LEAVE_DELAY=0)
    ann, bob, carl = hall.enter("ann", "r"), hall.enter("bob", "r"), hall.enter("carl")

    with pytest.raises(RoomFull, match="2 connections"):
        hall.handler.join(carl, "r")

    assert (carl.rooms, hall.handler.members("r")) == ([], [ann, bob])
    hall.handler.join(bob, "r")  # who is in it already
    hall.handler.depart(ann)
    hall.handler.join(carl, "r")
    assert hall.handler.members("r") == [bob, carl]


# -- large rooms ------------------------------------------------------------------------------------------------------


def test_a_room_beyond_the_presence_limit_is_not_told_who_comes_and_goes() -> None:
    hall = Hall(PRESENCE_LIMIT=2, LEAVE_DELAY=0)
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news(), bob.news()

    carl, dora = hall.enter("carl", "r"), hall.enter("dora", "r")
    hall.handler.leave(dora, "r")
    hall.settle()

    assert (ann.news(), bob.news()) == ([], [])
    assert carl.news() == [welcomed(), users("ann", "bob", total=3)]
    assert dora.news() == [welcomed(), users("ann", "bob", total=4)]


def test_a_room_that_is_small_again_is_told_again() -> None:
    hall = Hall(PRESENCE_LIMIT=2, LEAVE_DELAY=0)
    ann, bob, carl = hall.enter("ann", "r"), hall.enter("bob", "r"), hall.enter("carl", "r")
    hall.settle(), ann.news(), bob.news()

    hall.handler.leave(carl, "r")
    hall.settle()

    assert ann.news() == bob.news() == [left("carl"), users("ann", "bob")]


def test_a_list_never_has_more_names_than_the_presence_limit() -> None:
    hall = Hall(PRESENCE_LIMIT=2)
    people = [hall.enter(number, "r") for number in range(50)]  # all of them before the list was sent

    hall.settle()

    lists = [word for one in people for word in one.news() if word["msgtype"] == "user_list"]
    assert max(len(word["data"]) for word in lists) == 2
    assert lists[-1]["total"] == 50


# -- who goes ---------------------------------------------------------------------------------------------------------


def test_only_the_last_connection_of_a_user_is_missed(hall: Hall) -> None:
    ann, bob, again = hall.enter("ann", "r"), hall.enter("bob", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news()

    hall.handler.depart(bob)
    hall.settle()
    after_one = ann.news()
    hall.handler.depart(again)
    hall.settle()

    assert after_one == []
    assert ann.news() == [left("bob"), users("ann")]


def test_who_leaves_a_room_hears_nothing_of_it(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news(), bob.news()

    hall.handler.leave(bob, "r")
    hall.settle()

    assert bob.news() == []
    assert ann.news() == [left("bob"), users("ann")]
    assert bob.rooms == []


def test_leaving_a_room_that_one_is_not_in_is_nothing(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r"), hall.enter("bob")
    ann.news()

    hall.handler.leave(bob, "r")
    hall.handler.leave(bob, "nowhere")
    hall.settle()

    assert ann.news() == []
    assert hall.handler.rooms() == ["r"]


def test_a_room_is_gone_with_its_last_member(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    hall.handler.leave(ann, "r")

    assert hall.handler.rooms() == []
    assert hall.handler.members("r") == []
    assert hall.handler.user_list("r") == []
    assert hall.handler.stats() == {"rooms": 0}


def test_rooms_do_not_hear_of_each_other(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    ann.news()

    hall.enter("bob", "other")
    hall.settle()

    assert ann.news() == []
    assert hall.handler.stats() == {"rooms": 2}


def test_who_departs_leaves_every_room_and_is_forgotten(hall: Hall) -> None:
    ann, bob = hall.enter("ann", "r", "s"), hall.enter("bob", "r", "s")
    hall.settle(), ann.news()

    hall.handler.depart(bob)
    hall.settle()

    assert ann.news() == [left("bob"), left("bob", "s"), users("ann"), users("ann", room="s")]
    assert hall.targets(all=True) == [ann]
    assert hall.targets(cid=bob.cid) == []
    assert hall.targets(users=["bob"]) == []
    assert len(hall.handler.connections_of("bob")) == 0


def test_departing_twice_is_departing_once(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    hall.handler.depart(ann)
    hall.handler.depart(ann)

    assert hall.targets(all=True) == []


def test_the_connections_of_a_user_are_counted(hall: Hall) -> None:
    ann = hall.enter("ann", "r")
    hall.enter("ann", "s")
    hall.enter(None, "r")

    assert len(hall.handler.connections_of("ann")) == 2
    hall.handler.depart(ann)
    assert len(hall.handler.connections_of("ann")) == 1
    assert len(hall.handler.connections_of("nobody")) == 0
    assert len(hall.handler.connections_of(None)) == 0


def test_who_left_a_room_still_is_a_user(hall: Hall) -> None:
    ann = hall.enter("ann", "r")

    hall.handler.leave(ann, "r")

    assert hall.targets(users=["ann"]) == [ann]
    assert len(hall.handler.connections_of("ann")) == 1


# -- who may come back ------------------------------------------------------------------------------------------------


def test_who_comes_back_in_time_was_never_gone() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news()

    hall.handler.depart(bob)
    listed = hall.handler.user_list("r")
    hall.loop.advance(2.9)
    again = hall.enter("bob", "r")
    hall.loop.advance(100)

    assert listed == ["ann", "bob"]
    assert ann.news() == []
    assert again.news() == [welcomed(), users("ann", "bob")]


def test_who_does_not_come_back_in_time_has_left() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news()

    hall.handler.depart(bob)
    hall.loop.advance(2.9)
    before = ann.news()
    hall.loop.advance(1)

    assert before == []
    assert ann.news() == [left("bob"), users("ann")]


def test_every_absence_has_its_own_time() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann, bob, carl = hall.enter("ann", "r"), hall.enter("bob", "r"), hall.enter("carl", "r")
    hall.settle(), ann.news()

    hall.handler.depart(bob)
    hall.loop.advance(2)
    hall.handler.depart(carl)
    again = hall.enter("bob", "r")
    hall.handler.depart(again)
    hall.loop.advance(2)
    before = ann.news()
    hall.loop.advance(2)

    assert before == []
    assert ann.news() == [left("carl"), left("bob"), users("ann")]


def test_who_says_that_it_leaves_has_left_at_once() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann, bob = hall.enter("ann", "r"), hall.enter("bob", "r")
    hall.settle(), ann.news()

    hall.handler.leave(bob, "r")

    assert ann.news() == [left("bob")]


def test_an_anonymous_user_has_left_at_once() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann, nobody = hall.enter("ann", "r"), hall.enter(None, "r")
    hall.settle(), ann.news()

    hall.handler.depart(nobody)

    assert ann.news() == [left("anonymous")]


def test_a_room_does_not_outlive_its_last_connection() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann = hall.enter("ann", "r")

    hall.handler.depart(ann)
    rooms = hall.handler.rooms()
    bob = hall.enter("bob", "r")
    hall.loop.advance(100)

    assert rooms == []
    assert bob.news() == [welcomed(), users("bob")]


def test_a_user_who_comes_back_under_another_name_is_listed_by_it() -> None:
    hall = Hall(LEAVE_DELAY=3)
    ann, bob = hall.enter("ann", "r"), hall.enter(7, "r", name="bob")
    hall.settle(), ann.news()

    hall.handler.depart(bob)
    hall.enter(7, "r", name="robert")

    assert hall.handler.user_list("r") == ["ann", "robert"]


def test_when_all_have_gone_nothing_is_kept() -> None:
    hall = Hall(LEAVE_DELAY=3)
    people = [hall.enter(number if number % 2 else None, "r", f"r{number}") for number in range(20)]

    for one in people:
        hall.handler.depart(one)
    hall.loop.advance(10)

    handler = hall.handler
    assert (handler._rooms, handler._users, handler._clients) == ({}, {}, {})
    assert (len(handler._announcer._leaving), handler._announcer._changed) == (0, set())
    assert len([timer for timer in hall.loop.timers if not timer.is_over]) == 1  # the one that always looks what is due


# -- the service -----------------------------------------------------------------------------------------------------


def test_the_questions_may_be_asked_while_people_come_and_go(hall: Hall) -> None:
    ended, faults = threading.Event(), list[BaseException]()

    def ask() -> None:
        try:
            while not ended.is_set():
                hall.targets(room="r"), hall.targets(all=True), hall.targets(users=["u1"])
                hall.handler.user_list("r"), hall.handler.rooms(), hall.handler.stats(), list(hall.handler.metrics())
        except BaseException as error:
            faults.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(30):
        members = [hall.enter(f"u{number}", "r", f"r{number}") for number in range(10)]
        for member in members:
            hall.handler.depart(member)
        hall.loop.advance(1)
    ended.set()
    asking.join()

    assert faults == []


def test_the_service_waits_until_it_is_disabled_and_can_be_enabled_again(hall: Hall) -> None:
    service = hall.handler

    for _ in range(3):
        thread = threading.Thread(target=service.main)
        thread.start()
        assert thread.is_alive()
        service.disable()
        thread.join(5)

        assert not thread.is_alive()


def test_a_disable_that_overtakes_main_is_not_forgotten(hall: Hall) -> None:
    service = hall.handler

    service.disable()

    service.main()  # returns


def test_a_service_that_ends_frees_everything_but_the_histories() -> None:
    hall = Hall(ROOM_HISTORY={"*": (10, 60)})
    ann = hall.enter("ann", "r")
    hall.handler.say({"task": "news", "data": 1, "room": "r"})

    hall.handler.depart(ann)
    hall.handler.close()

    handler = hall.handler
    assert (handler._rooms, handler._users, handler._clients) == ({}, {}, {})
    assert len(handler._histories) == 1
    assert handler.say({"task": "news", "data": 1, "room": "r"}) == 0
