"""websocket-server, imported without letting it set up the logging of the whole program."""

from __future__ import annotations

import logging

_guard = logging.NullHandler()
logging.root.addHandler(_guard)  # its logging.basicConfig() does nothing where the root has a handler
try:
    from websocket_server.websocket_server import (  # type: ignore[import-untyped] # it has no types
        FIN,
        MASKED,
        OPCODE,
        OPCODE_CLOSE_CONN,
        OPCODE_PING,
        OPCODE_PONG,
        OPCODE_TEXT,
        PAYLOAD_LEN,
        PAYLOAD_LEN_EXT16,
        PAYLOAD_LEN_EXT64,
        WebSocketHandler,
        WebsocketServer,
    )
finally:
    logging.root.removeHandler(_guard)

__all__ = [
    "FIN",
    "MASKED",
    "OPCODE",
    "OPCODE_CLOSE_CONN",
    "OPCODE_PING",
    "OPCODE_PONG",
    "OPCODE_TEXT",
    "PAYLOAD_LEN",
    "PAYLOAD_LEN_EXT16",
    "PAYLOAD_LEN_EXT64",
    "WebSocketHandler",
    "WebsocketServer",
]
