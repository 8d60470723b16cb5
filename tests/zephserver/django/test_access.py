"""Who may run a task: permissions that stand in the database, for tasks in threads and on the loop."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission

from tests.zephserver.django.conftest import MakeDjangoSite, log_in
from zephserver.django import login_required, permission_required, user_passes_test
from zephserver.task import Task, TaskPing
from zephserver.testing import run_task


def in_the_database(user: Any) -> bool:
    """Asks the database."""
    return bool(type(user).objects.filter(pk=user.pk, is_staff=True).exists())


def raises(user: Any) -> bool:
    raise RuntimeError("no answer")


class Plain(Task):
    """Runs in a thread."""

    def main(self) -> None:
        self.reply("done")


class OnLoop(Task):
    """Runs on the loop."""

    async def main(self) -> None:
        self.reply("done")


def guarded(base: type[Task], name: str, decorator: Any) -> type[Task]:
    return decorator(type(name, (base,), {"__init__": lambda self, request: Task.__init__(self, request)}))  # type: ignore[no-any-return]


@pytest.mark.parametrize("base", [Plain, OnLoop])
def test_a_permission_is_looked_up_each_time(make_django_site: MakeDjangoSite, user: Any, base: type[Task]) -> None:
    task = guarded(base, "Change", permission_required(["auth.change_user", "auth.view_user"]))
    ann = make_django_site(task).join(log_in(user))
    permissions = Permission.objects.filter(codename__in=["change_user", "view_user"])
    before = ann.ask("Change")

    user.user_permissions.set(permissions)
    given = ann.ask("Change")
    user.user_permissions.remove(permissions[0])
    taken = ann.ask("Change")

    assert before["error"] == {"code": "access-denied", "message": "not allowed"}
    assert given["data"] == "done"
    assert taken["error"]["code"] == "access-denied"


@pytest.mark.parametrize("base", [Plain, OnLoop])
@pytest.mark.parametrize("is_staff", [True, False])
def test_a_test_may_ask_the_database(
    make_django_site: MakeDjangoSite, user: Any, base: type[Task], is_staff: bool
) -> None:
    user.is_staff = is_staff
    user.save()
    ann = make_django_site(guarded(base, "Staff", user_passes_test(in_the_database, "staff only"))).join(log_in(user))

    answer = ann.ask("Staff")

    assert ("data" in answer) is is_staff
    assert is_staff or answer["error"]["message"] == "staff only"


@pytest.mark.parametrize("base", [Plain, OnLoop])
@pytest.mark.parametrize(
    "decorator", [user_passes_test(raises), permission_required([]), permission_required("no.such_thing")]
)
def test_what_cannot_be_known_is_denied(
    make_django_site: MakeDjangoSite, user: Any, base: type[Task], decorator: Any
) -> None:
    ann = make_django_site(guarded(base, "Denied", decorator)).join(log_in(user))

    assert ann.ask("Denied")["error"]["code"] == "access-denied"


@pytest.mark.parametrize("base", [Plain, OnLoop])
def test_who_is_not_logged_in_is_told_so(make_django_site: MakeDjangoSite, user: Any, base: type[Task]) -> None:
    site = make_django_site(guarded(base, "Mine", login_required))

    assert site.join(log_in(user)).ask("Mine")["data"] == "done"
    assert site.join().ask("Mine")["error"] == {"code": "access-denied", "message": "log in first"}


def test_a_superuser_may_everything_and_an_inactive_one_nothing(user: Any) -> None:
    task = guarded(Plain, "Delete", permission_required("auth.delete_user"))
    user.is_superuser = True

    assert run_task(task, user=user).reply == "done"
    user.is_active = False
    assert run_task(task, user=user).error is not None


def test_a_task_without_such_a_test_is_not_made_in_a_thread() -> None:
    from zephserver.access import waits_when_made

    assert not waits_when_made(TaskPing)
    assert waits_when_made(guarded(OnLoop, "Change", permission_required("auth.change_user")))
