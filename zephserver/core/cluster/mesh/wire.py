"""How the ends of a link name themselves, and what they both have to speak. Pure: no I/O, no clock."""

from __future__ import annotations

VERSION = 2
GUEST = "\x01guest"  # the name of all that are no servers; no server has it, for it cannot be printed


def identity(name: str, life: str) -> str:
    """What a socket calls itself at the other end."""
    return f"{name}\0{life}"


def parse_identity(said: bytes) -> tuple[str, str]:
    """Name and life. Raises ValueError for bytes that are no text."""
    name, _, life = said.decode().partition("\0")
    return name, life


def refusal(node: str, version: object) -> str:
    """Why the server *node* does not speak with somebody of this version; '' when it does."""
    return "" if version == VERSION else f"{node} speaks version {VERSION}, not {version}"
