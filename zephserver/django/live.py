"""Tells the server when a session ends or a user changes, so that open connections follow at once.

What tells nobody, such as `User.objects.filter(...).update(...)` or a session that runs out, the server finds by itself
within SESSION_CHECK_INTERVAL.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.base import SessionBase
from django.db.models.signals import class_prepared, post_delete, post_save

from zephserver.django.logins import is_signed_cookie, mark_of
from zephserver.django.publishing import after_commit, deliver

COMMAND = "django.ended"
_UNINTERESTING = frozenset({"last_login"})  # is saved at each login
_WATCHED = "_zephserver_watches"


def connect() -> None:
    """Hear of the ends of sessions, and of changes of users. Once or many times."""
    user_logged_out.connect(_logged_out, dispatch_uid="zephserver.logged_out")
    class_prepared.connect(_watch_model, dispatch_uid="zephserver.models")
    for model in apps.get_models():
        _watch_model(model)
    watch_sessions(importlib.import_module(settings.SESSION_ENGINE).SessionStore)


def _watch_model(sender: Any, **more: Any) -> None:
    """Django tells of each class by itself: a proxy of the user's model, or a model with more fields, counts too.

    Not of all models at once: where somebody listens, Django deletes row by row.
    """
    if issubclass(sender, get_user_model()):
        post_save.connect(_saved, sender=sender, dispatch_uid="zephserver.saved")
        post_delete.connect(_deleted, sender=sender, dispatch_uid="zephserver.deleted")


def watch_sessions(store: type[Any]) -> None:
    """Have every delete() of a session told: by a logout, by flush(), and by cycle_key() when a password changes.

    Sessions of Django's engines have no signal for that, and one of the model would make `clearsessions` load every
    session that has run out.
    """
    if vars(store).get(_WATCHED):
        return
    setattr(store, _WATCHED, True)
    store.delete = _watched(store.delete)
    if getattr(store, "adelete", None) is not getattr(SessionBase, "adelete", None):  # the others call delete()
        store.adelete = _watched_async(store.adelete)


def tell(using: str | None = None, **words: list[str]) -> None:
    """Tell the server, after the commit."""
    after_commit(functools.partial(deliver, COMMAND, words), using)


def _watched(delete: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(delete)
    def delete_and_tell(self: Any, session_key: str | None = None) -> Any:
        key, is_wanted = session_key or self.session_key, _may_be_somebodys(self, session_key)
        answer = delete(self, session_key)
        if key and is_wanted:
            tell(_alias_of(self), marks=[mark_of(key, None)])
        return answer

    return delete_and_tell


def _watched_async(delete: Callable[..., Any]) -> Callable[..., Any]:
    from asgiref.sync import sync_to_async

    @functools.wraps(delete)
    async def delete_and_tell(self: Any, session_key: str | None = None) -> Any:
        key, is_wanted = session_key or self.session_key, _may_be_somebodys(self, session_key)
        answer = await delete(self, session_key)
        if key and is_wanted:
            await sync_to_async(tell)(_alias_of(self), marks=[mark_of(key, None)])
        return answer

    return delete_and_tell


def _may_be_somebodys(session: Any, key: str | None) -> bool:
    """Not that of a visitor who logs in: Django gives it a new key, and no connection is known by the old one."""
    is_cycled = key is not None and session.session_key not in (None, key)
    return not is_cycled or SESSION_KEY in getattr(session, "_session_cache", {SESSION_KEY: ""})


def _alias_of(session: Any) -> str | None:
    """The database that the session is in, None for one that is elsewhere."""
    from django.db import router

    model = getattr(session, "model", None)
    return router.db_for_write(model) if model is not None else None


def _logged_out(sender: Any, request: Any, user: Any, **more: Any) -> None:
    """A session in a signed cookie is deleted nowhere; its user's connections come back if they still may."""
    if user is not None and is_signed_cookie():
        tell(user._state.db, marks=[mark_of(None, user)])


def _saved(
    sender: Any, instance: Any, created: bool, raw: bool, using: str, update_fields: Any = None, **more: Any
) -> None:
    is_boring = update_fields is not None and set(update_fields) <= _UNINTERESTING
    if not (created or raw or is_boring):
        tell(using, users=[_id_of(instance)])


def _deleted(sender: Any, instance: Any, using: str, **more: Any) -> None:
    tell(using, users=[_id_of(instance)])


def _id_of(user: Any) -> str:
    """Of the user's model, also for a model made of it, which may have a key of its own."""
    return str(getattr(user, get_user_model()._meta.pk.attname))
