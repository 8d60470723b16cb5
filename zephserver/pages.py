"""What the port answers to a GET that wants no WebSocket."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from zephserver.core import metrics
from zephserver.engines.interface import Handshake, HttpResponse
from zephserver.static_files import NOT_FOUND, StaticFiles

if TYPE_CHECKING:
    from zephserver.core.server import Server

OWN = Path(__file__).parent / "static"  # the JavaScript client; a file of the user's with the same name comes first
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Pages:
    """Health, metrics, the files of STATIC_FOLDER, and the JavaScript client. Loop only."""

    def __init__(self, server: Server) -> None:
        self._server = server
        folder = server.settings.static_folder
        self._files = [StaticFiles(folder) for folder in (folder, OWN) if folder is not None]

    def get(self, request: Handshake) -> HttpResponse:
        """The answer."""
        match request.path.partition("?")[0]:
            case "/healthz":
                return HttpResponse(200, b"ok\n")
            case "/readyz":
                why = self._server.not_ready
                return HttpResponse(503, f"not ready: {why}\n".encode()) if why else HttpResponse(200, b"ready\n")
            case "/metrics":
                return self._metrics(request)
        for files in self._files:
            response = files.get(request.path, request.headers)
            if response is not NOT_FOUND:
                return response
        return NOT_FOUND

    def _metrics(self, request: Handshake) -> HttpResponse:
        """For this machine, and for whoever shows METRICS_TOKEN."""
        token = self._server.settings.metrics_token
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        is_known = token is not None and hmac.compare_digest(shown.encode(), token.encode())
        if not is_known and not _is_local(request):
            return HttpResponse(403, b"show METRICS_TOKEN: Authorization: Bearer ...\n")
        return HttpResponse(200, metrics.write(self._server).encode(), {"Content-Type": METRICS_TYPE})


def _is_local(request: Handshake) -> bool:
    """Whether the request comes from this machine, and not through a proxy that may speak for anybody."""
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ip_address(request.address).is_loopback
    except ValueError:
        return False  # a UNIX socket is what a proxy connects to
