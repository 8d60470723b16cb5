"""The engine for servers that meet at a Redis server."""
