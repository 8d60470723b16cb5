"""Random schedules of servers that come, go, die and lose each other."""

from __future__ import annotations

import random

import pytest

from tests.scale import FULL
from tests.zephserver.cluster.world import World, orders_agree

ROUNDS = 10_000 if FULL else 40
ROOMS = ("kept 1", "kept 2", "plain 1", "plain 2")


def test_a_quiet_cluster_delivers_everything_once_and_in_one_order() -> None:
    for seed in range(ROUNDS):
        world, chance = World("abc", seed), random.Random(seed)
        world.run(1.0)
        for server in world.alive.values():
            for room in ROOMS:
                server.enter(room)
        world.run(1.0)
        said: dict[str, list[str]] = {room: [] for room in ROOMS}
        for number in range(100):
            world.run(chance.random() * 0.02)
            room = chance.choice(ROOMS)
            said[room].append(str(number))
            world.alive[chance.choice("abc")].say(room, str(number))
        world.run(2.0)

        for room in ROOMS:
            heard = [server.heard.get(room, []) for server in world.alive.values()]
            assert sorted(heard[0]) == sorted(said[room]), (seed, room)
            assert heard[0] == heard[1] == heard[2], (seed, room)
        assert not any(server.gaps for server in world.alive.values())


@pytest.mark.parametrize("how", ["kill", "drain", "kill and start", "drain and start"])
def test_what_the_living_say_is_heard_by_the_living(how: str) -> None:
    for seed in range(ROUNDS):
        world, chance = World("abcd", seed), random.Random(seed)
        world.run(1.0)
        for server in world.alive.values():
            for room in ROOMS:
                server.enter(room)
        world.run(1.0)
        said: dict[str, list[str]] = {room: [] for room in ROOMS}
        for number in range(200):
            world.run(chance.random() * 0.1)
            if number == 50:
                if how.startswith("kill"):
                    world.kill("d")
                else:
                    world.drain("d")
                if how.endswith("start"):
                    world.at(chance.random() * 2.0, lambda world=world: world.begin_again("d"))
            room = chance.choice(ROOMS)
            said[room].append(str(number))
            world.alive[chance.choice("abc")].say(room, str(number))
        world.run(8.0)

        living = [world.alive[name] for name in "abc"]
        for room in ROOMS:
            heard = [server.heard.get(room, []) for server in living]
            if room.startswith("kept") or not how.endswith("start"):  # who begins anew may not know all members yet
                for one in heard:
                    assert sorted(one, key=int) == sorted(said[room], key=int), (seed, room)
            if room.startswith("kept"):
                assert heard[0] == heard[1] == heard[2], (seed, room)
        assert not any(server.order.rows()["unsaid"] for server in living), seed


def talk(world: World, names: str, said: dict[str, list[str]], count: int) -> None:
    """Have members of these servers say the next numbers in each room, so many."""
    for _ in range(count):
        for room, numbers in said.items():
            numbers.append(str(len(numbers)))
            world.alive[world.chance.choice(names)].say(room, numbers[-1])
        world.run(world.chance.random() * 0.1)


@pytest.mark.parametrize("notices", [True, False])
@pytest.mark.parametrize("is_inside", [True, False])
def test_a_server_that_stood_still_goes_on_with_what_the_others_said(notices: bool, is_inside: bool) -> None:
    for seed in range(ROUNDS):
        world = World("abc", seed)
        world.run(1.0)
        for name in "abc" if is_inside else "bc":
            for room in ROOMS:
                world.alive[name].enter(room)
        world.run(1.0)
        said: dict[str, list[str]] = {room: [] for room in ROOMS}
        talk(world, "abc", said, 5)
        world.run(1.0)
        places = {room: history.place() for room in ROOMS if (history := world.alive["b"].histories.find(room))}
        for server in world.alive.values():
            server.moves.clear()
        world.freeze("a", 7.5, notices=notices)
        talk(world, "bc", said, 30)
        world.run(8.0)
        talk(world, "abc" if is_inside else "bc", said, 5)
        world.run(3.0)

        for room, place in places.items():
            for server in world.alive.values():
                is_told = not all(recovered for moved, _, _, recovered in server.moves if moved == room)
                heard = server.heard.get(room, [])
                assert len(set(heard)) == len(heard), (seed, room, server.name)
                if server.name != "a":
                    assert (sorted(heard, key=int), is_told) == (said[room], False), (seed, room, server.name)
                elif is_inside:  # it may have ordered itself what it heard late
                    assert sorted(heard, key=int) == said[room] or is_told, (seed, room)
                if server.order.view.is_mine(room):
                    missed = server.histories.since(room, *place, world.now)
                    assert len(missed or []) == 35, (seed, room, place, missed)


def test_trouble_of_any_kind_ends_with_one_order_and_nothing_twice() -> None:
    for seed in range(ROUNDS):
        world, chance = World("abc", seed), random.Random(seed)
        world.run(1.0)
        number = 0
        dead: list[str] = []
        for _ in range(chance.randrange(5, 40)):
            world.run(chance.random() * chance.choice((0.05, 1.0, 6.0)))
            living = world.moving()
            match chance.randrange(11) if living else 3:
                case 0 if len(living) > 1:
                    dead.append(chance.choice(living).name)
                    world.kill(dead[-1])
                case 1 if dead:
                    world.begin(dead.pop(chance.randrange(len(dead))))
                case 2:
                    world.split(*chance.choice((("a", "bc"), ("ab", "c"), ("b", "ac"), ("a", "b", "c"))))
                case 3:
                    world.heal()
                case 4:
                    world.freeze(chance.choice(living).name, chance.random() * 8.0, notices=chance.random() < 0.5)
                case 5 | 6:
                    chance.choice(living).enter(chance.choice(ROOMS))
                case 7:
                    chance.choice(living).leave(chance.choice(ROOMS))
                case _:
                    for _ in range(chance.randrange(1, 10)):
                        number += 1
                        chance.choice(living).say(chance.choice(ROOMS), str(number))
        world.heal()
        for name in dead:
            world.begin(name)
        world.run(20.0)
        for server in world.alive.values():
            for room in ROOMS:
                if room not in server.inside:
                    server.enter(room)
        world.run(3.0)
        before = {
            server.name: {room: len(server.heard.get(room, [])) for room in ROOMS} for server in world.alive.values()
        }
        said: dict[str, list[str]] = {room: [] for room in ROOMS}
        for _ in range(40):
            number += 1
            world.run(chance.random() * 0.02)
            room = chance.choice(ROOMS)
            said[room].append(str(number))
            world.alive[chance.choice("abc")].say(room, str(number))
        world.run(3.0)

        for room in ROOMS:
            lists = []
            for server in world.alive.values():
                assert room in server.inside, (seed, room, server.name)
                heard = server.heard.get(room, [])
                assert len(set(heard)) == len(heard), (seed, room, server.name, "twice")
                lists.append(heard[before[server.name][room] :])
                assert sorted(lists[-1], key=int) == said[room], (seed, room, server.name, lists[-1], said[room])
            assert orders_agree(*lists), (seed, room)
            if room.startswith("kept"):
                places = {
                    (history.epoch, history.offset, tuple(history.kept(world.now))[-40:] and history.offset)
                    for server in world.alive.values()
                    if (history := server.histories.find(room)) is not None
                }
                assert len(places) == 1, (seed, room, places)
