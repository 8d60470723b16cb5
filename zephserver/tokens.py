"""Signed tokens that let a user connect: JSON Web Tokens (RFC 7519) with HMAC-SHA256.

A web application in any language can sign them; `zephctl token` does it in a shell. Claims: `sub` is the user's id,
`name` the name that others see (the id without), `exp` when the token ends.
"""

from __future__ import annotations

import time

import jwt

from zephserver.core.errors import SessionExpired
from zephserver.core.settings_kinds import SHORTEST_SECRET
from zephserver.session_manager import User, user_of

ALGORITHM = "HS256"  # the only one that is accepted: what a token says of its own algorithm counts for nothing
LIFETIME = 60.0  # seconds: a token is for one connect, not for a day
LEEWAY = 5.0  # seconds by which two clocks may differ


class BadToken(Exception):
    """It is no token, not signed by this secret, or names no user."""


def _checked(secret: str) -> str:
    """The secret, if it is one. Raises ValueError: without it anybody could sign."""
    if len(secret) < SHORTEST_SECRET:
        raise ValueError(f"a secret has {SHORTEST_SECRET} characters or more; see TOKEN_SECRET")
    return secret


def sign(secret: str, id: str | int, username: str | None = None, lifetime: float = LIFETIME) -> str:
    """A token for a user, good for *lifetime* seconds. Raises ValueError for a secret that is none."""
    now = time.time()
    claims = {"sub": str(id), "iat": int(now), "exp": int(now + lifetime)}
    if isinstance(id, int):
        claims["id"] = id  # `sub` is text (RFC 7519, 4.1.2), and 7 and '7' are two users
    if username is not None:
        claims["name"] = username
    return jwt.encode(claims, _checked(secret), ALGORITHM)


def read(secret: str, token: str) -> User:
    """The user whom a token names. Raises SessionExpired for one that was good once, BadToken for any other."""
    try:
        claims = jwt.decode(
            token,
            _checked(secret),
            [ALGORITHM],
            leeway=LEEWAY,
            options={"require": ["exp", "sub"], "verify_aud": False},
        )
    except jwt.ExpiredSignatureError:
        raise SessionExpired("the token has expired") from None
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise BadToken(str(error)) from None
    id = claims.get("id", claims["sub"])
    user = user_of(id, claims.get("name", str(id)))
    if user is None:
        raise BadToken("the user it names is none")
    return user
