"""Short-lived tokens for pages that cannot show the session cookie: signed with SECRET_KEY, and no session in them."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY
from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac

from zephserver.core.errors import SessionExpired
from zephserver.django import options
from zephserver.django.logins import Login, find_user, hash_of, mark_of, with_login

SALT = "zephserver.django.token"


def token_for(request: Any) -> str | None:
    """A token for the user of a request, good for TOKEN_LIFETIME seconds to connect with; None for an anonymous user.

    The connection ends with the session of the request, as one by cookie does.
    """
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    session = request.session
    claims = {
        "u": str(user.pk),
        "b": session.get(BACKEND_SESSION_KEY, ""),
        "h": _seal(hash_of(user)),
        "m": mark_of(session.session_key, user),
        "e": int(session.get_expiry_date().timestamp()),
        "t": round(time.time(), 3),  # what signing notes has no fractions
    }
    return str(signing.dumps(claims, salt=SALT))


def find_by_token(text: str) -> Any | None:
    """The user that a token names, None for a text that is none. Raises SessionExpired for one that was good once."""
    try:
        claims = signing.loads(text, salt=SALT, max_age=options.read().token_lifetime)
    except signing.SignatureExpired:
        raise SessionExpired("the token has expired") from None
    except (signing.BadSignature, ValueError):
        return None
    sealed = claims["h"]
    user = find_user(claims["u"], claims["b"], lambda user: constant_time_compare(sealed, _seal(hash_of(user))))
    if user is None:
        return None
    issued = float(claims.get("t", 0))  # 0: by the version before
    login = Login(claims["b"], hash_of(user), claims["m"], expires=float(claims["e"]), issued=issued)
    return with_login(user, login)


def _seal(hash: str) -> str:
    """What a token says of the password: neither it nor the hash that a session has."""
    return str(salted_hmac(SALT, hash, algorithm="sha256").hexdigest()[:32])
