"""The names of 2015 and what they are called today."""

from __future__ import annotations

import pytest

from zephserver.core import legacy


@pytest.mark.parametrize("old", legacy.PATHS)
def test_every_old_path_is_explained_with_what_to_write_now(old: str) -> None:
    new = legacy.PATHS[old]

    advice = legacy.advice(old)

    assert advice is not None
    assert advice == (
        f"{old} is a name of 2015; write {new} now" if new else f"{old} is not needed any more; leave it out"
    )
    assert legacy.today(old) == (new or old)


def test_the_paths_that_the_specification_names_are_known() -> None:
    old = """
        zephserver.service.clientsocket_service/StartClientSocket zephserver.service.socket_service/StartSocket
        zephserver.service.routeur_service/RouteurService zephserver.service.roomhandler_service/RoomHandler
        zephserver.service.django_session_service/ZephSession zephserver.service.db_service/DbService
        zephserver.task.task_ping/TaskPing zephserver.task.task_interface/TaskInterface
    """

    assert set(legacy.PATHS) == set(old.split())
    assert set(legacy.SETTINGS) == {"heart_beat_period", "DJANGO"}


def test_a_name_of_today_is_left_as_it_is() -> None:
    assert legacy.today("mine.service/Service") == "mine.service/Service"
    assert legacy.advice("mine.service/Service") is None
