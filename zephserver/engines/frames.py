"""The frames that a server sends. Pure: no I/O, no clock."""

from __future__ import annotations

FIN, RSV1 = 0x80, 0x40


def write_frame(opcode: int, payload: bytes, *, rsv1: bool = False) -> bytes:
    """A whole frame (RFC 6455, 5.2), not masked as those of servers (5.1); *rsv1*: compressed (RFC 7692, 6)."""
    first, size = FIN | RSV1 * rsv1 | opcode, len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
