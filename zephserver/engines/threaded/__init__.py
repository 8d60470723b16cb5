"""The engine without compiled parts: websocket-server, with a thread for each connection."""
