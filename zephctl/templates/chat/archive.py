"""What was said, in the file chat.db, so that it outlives the server. Called by tasks in worker threads."""

import sqlite3
from contextlib import closing
from pathlib import Path

FILE = Path(__file__).with_name("chat.db")
KEPT = 10_000  # messages of all rooms together
SHOWN = 50  # messages that a page begins with


def add(room, said):
    """Keep a message; its number."""
    row = (room, said["from"], said["text"], said["at"])
    with closing(_open()) as database, database:
        number = database.execute("INSERT INTO said (room, name, text, at) VALUES (?, ?, ?, ?)", row).lastrowid
        database.execute("DELETE FROM said WHERE id <= ?", (number - KEPT,))
    return number


def last(room):
    """The newest messages of a room, oldest first."""
    query = "SELECT id, name, text, at FROM said WHERE room = ? ORDER BY id DESC LIMIT ?"
    with closing(_open()) as database:
        rows = database.execute(query, (room, SHOWN)).fetchall()
    return [{"id": id, "from": name, "text": text, "at": at} for id, name, text, at in reversed(rows)]


def _open():
    database = sqlite3.connect(FILE)
    # Not waiting for the disk: a killed server loses nothing, a power cut perhaps the last words.
    database.execute("PRAGMA synchronous = OFF")
    columns = "id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT, name TEXT, text TEXT, at REAL"
    database.execute(f"CREATE TABLE IF NOT EXISTS said ({columns})")
    database.execute("CREATE INDEX IF NOT EXISTS said_in_room ON said (room, id)")
    return database
