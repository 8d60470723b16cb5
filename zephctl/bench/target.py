"""Which server `zephctl bench` puts its load on, and whether it may."""

from __future__ import annotations

import ipaddress
import os
import resource
from typing import Any
from urllib.parse import urlsplit

import click

from zephctl.app import App
from zephserver.core.errors import CommandFailed, ServiceNotLoaded, SettingsError, UnknownCommand

KEPT_FREE = 64  # descriptors for everything that is no connection
ANY = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # where one reaches a server that listens everywhere
LONGER = 120.0  # seconds that a token outlives the load


def most_clients() -> int:
    """How many connections this process may open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1_000_000 if limit == resource.RLIM_INFINITY else max(1, limit - KEPT_FREE)


def of_url(url: str, *, is_meant: bool) -> dict[str, Any]:
    """Where a plan finds the server of *url*. Raises UsageError for another machine, unless that *is_meant*."""
    if url.startswith("unix:"):
        return {"unix": url.removeprefix("unix:")}
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise click.UsageError(f"{url!r} is no address: {error}.") from None
    if parts.scheme not in ("ws", "wss") or not host:
        raise click.UsageError(f"{url!r} is no address of a WebSocket server, as in ws://127.0.0.1:8080/ws.")
    tls = parts.scheme == "wss"
    if not is_meant and not _is_here(host):
        raise click.UsageError(f"{host} is another machine. If it is yours and may be loaded, add --yes.")
    path = (parts.path or "/ws") + (f"?{parts.query}" if parts.query else "")
    return {"host": host, "port": port or (443 if tls else 80), "tls": tls, "path": path}


def of_server(app: App, port: int | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Where a plan finds the running server of this folder. Raises UsageError when it is not on loopback."""
    host = str(settings.get("HOST_ZEPH", ""))
    if host.startswith("unix:"):
        return {"unix": os.path.join(_folder(app), host.removeprefix("unix:"))}
    if port is None:
        raise CommandFailed(ServiceNotLoaded.code, "this server has no port; see: zephctl services list")
    host = ANY.get(host, host)
    tls = settings.get("TLS_CERTIFICATE") is not None
    if not _is_here(host):
        url = url_of({"host": host, "port": port, "tls": tls, "path": "/ws"})
        raise click.UsageError(f"The server listens on {host}, which is not loopback. Add --url {url} --yes.")
    # The certificate is not for 127.0.0.1, and whose server it is, its control socket has said.
    return {"host": host, "port": port, "tls": tls, "verify": False}


def url_of(target: dict[str, Any]) -> str:
    """As a person types it."""
    if target.get("unix"):
        return f"unix:{target['unix']}"
    host = f"[{target['host']}]" if ":" in target["host"] else target["host"]
    return f"ws{'s' if target.get('tls') else ''}://{host}:{target['port']}{target.get('path', '/ws')}"


def token_for(app: App, seconds: float) -> str | None:
    """A token when the server wants one and signs them itself."""
    try:
        token: str = app.client.call("token", user="bench", lifetime=seconds + LONGER)
    except CommandFailed as error:
        if error.code != UnknownCommand.code:
            raise
        return None
    return token


def _folder(app: App) -> str:
    """The folder of the settings, from which their paths are meant; the control socket usually lies there, too."""
    try:
        path = app.settings_file
    except SettingsError:
        path = app.interface
    return os.path.dirname(os.path.abspath(path))


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
