"""The other end of `zephctl bench`: many WebSocket clients in a process of their own (`python -m zephserver.load`)."""
