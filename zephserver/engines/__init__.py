"""What moves the bytes of the WebSocket connections: the interface, and one file per engine."""
