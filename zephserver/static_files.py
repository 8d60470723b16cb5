"""Files of a folder over HTTP: what a small page needs, and no way out of the folder."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from zephserver.engines.interface import HttpResponse

LARGEST = 8 * 1_048_576  # bytes; the file is read on the event loop, and a larger one belongs behind a web server
NOT_FOUND = HttpResponse(404, b"not found\n")


class StaticFiles:
    """Serves the files below *folder* with their types and an ETag. Any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)

    def get(self, target: str, headers: Mapping[str, str]) -> HttpResponse:
        """The answer to GET *target*; a folder answers with its index.html. Hidden files do not exist."""
        path = self._find(target)
        if path is None:
            return NOT_FOUND
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                if found.st_size > LARGEST:
                    return HttpResponse(413, f"files of more than {LARGEST} bytes are not served\n".encode())
                etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
                # no-cache: the browser keeps the file and asks each time whether it is still the same.
                common = {"ETag": etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
                if _matches(headers.get("if-none-match", ""), etag):
                    return HttpResponse(304, b"", common)
                return HttpResponse(200, file.read(), common | {"Content-Type": _type(path)})
        except OSError:
            return NOT_FOUND

    def _find(self, target: str) -> str | None:
        parts = [unquote(part) for part in target.partition("?")[0].split("/") if part]
        if any(part.startswith(".") or "/" in part or "\0" in part for part in parts):
            return None
        path = os.path.realpath(os.path.join(self._folder, *parts))
        if os.path.isdir(path):
            path = os.path.realpath(os.path.join(path, "index.html"))
        inside = os.path.commonpath([self._folder, path]) == self._folder  # a symbolic link may lead out
        return path if inside and os.path.isfile(path) else None


def _matches(known: str, etag: str) -> bool:
    """Whether If-None-Match has it, by weak comparison (RFC 9110, 13.1.2): a proxy that compresses makes it weak."""
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in known.split(","))


def _type(path: str) -> str:
    kind, coding = mimetypes.guess_type(path)
    if path.endswith(".ts"):  # TypeScript, which has no type of its own: systems know others with that name
        kind = "text/plain"
    if kind is None or coding is not None:  # what is packed is served as it is
        kind = "application/octet-stream"
    is_text = kind.startswith("text/") or kind in ("application/javascript", "application/json", "image/svg+xml")
    return f"{kind}; charset=utf-8" if is_text else kind
