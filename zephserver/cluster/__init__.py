"""Rooms and users across the servers of a cluster: who is where, and one order for the messages of each room."""
