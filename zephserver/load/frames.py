"""WebSocket frames as a client writes and reads them (RFC 6455, 5.2). Pure: no I/O, no clock."""

from __future__ import annotations

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
MASK = b"\x00\x00\x00\x00"  # the payload stays as it is: nobody in between has to be kept from guessing it


def write(opcode: int, payload: bytes = b"") -> bytes:
    """One whole frame. Its mask changes nothing, so that writing costs the client nothing."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + MASK + payload


class Reader:
    """Bytes in, messages out. What a server sends is not checked: it is measured, not judged."""

    __slots__ = ("_fragments", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._fragments: list[bytes] = []

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Opcode and payload of every message that is whole now."""
        if self._tail:
            data = self._tail + data
        found, at, end = [], 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + size > end:
                break
            first, payload = data[at], data[start : start + size]
            at = start + size
            if first == 0x81:  # nearly all of them
                found.append((TEXT, payload))
            elif first & 0x0F >= CLOSE:
                found.append((first & 0x0F, payload))
            else:
                self._fragments.append(payload)
                if first & 0x80:
                    found.append((TEXT, b"".join(self._fragments)))
                    self._fragments = []
        self._tail = data[at:]
        return found
