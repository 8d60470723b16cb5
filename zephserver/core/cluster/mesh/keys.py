"""The keys that CLUSTER_SECRET stands for. Pure: no I/O, no clock."""

from __future__ import annotations

import hashlib
import hmac

# Derived, so that the secret itself is on no wire, and another use of the same secret gives another key (RFC 5869).
_PURPOSE = b"zephserver cluster curve25519 1"


def private_key(secret: str) -> bytes:
    """The 32 bytes of the Curve25519 key that all servers with this secret share."""
    extracted = hmac.digest(b"zephserver", secret.encode(), hashlib.sha256)
    return hmac.digest(extracted, _PURPOSE + b"\x01", hashlib.sha256)
