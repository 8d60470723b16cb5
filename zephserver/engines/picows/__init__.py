"""The default engine: picows moves the frames, on the event loop of the WebSocket service."""
