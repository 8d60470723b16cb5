"""What strangers can reach: port, certificate, secrets, origins, proxies."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zephctl.doctor.certificate import last_day
from zephctl.doctor.finding import Finding, bad, ok, warn

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings
from zephserver.core.settings_together import is_loopback

SIMPLE = "zephserver.session_manager/SimpleSessionManager"
WEBSOCKET = "zephserver.websocket_client/WebsocketClient"
LONG_ENOUGH = 32  # characters of a secret; RFC 7518, 3.2
LETTERS = 10  # different characters below which a secret was typed, not drawn
GUESSED = ("secret", "password", "changeme", "change-me", "example", "default", "12345")
SOON = 21 * 86_400.0  # seconds before the end of a certificate; renewal usually tries from 30 days on


def look(settings: Settings, status: dict[str, Any] | None, *, is_running: bool) -> Iterator[Finding]:
    """All that can be said without a visitor; *status* is the answer of a server that runs, if it answers."""
    if WEBSOCKET in settings.service_list:
        if status is not None or not is_running:
            yield _port(settings, status)
        yield from _tls(settings)
        yield from _open_to_all(settings)
        yield from _proxies(settings)
    yield from _secrets(settings)


def _port(settings: Settings, status: dict[str, Any] | None) -> Finding:
    host, port = settings.host_zeph, settings.port_zeph
    if status is not None and status.get("port") is not None:
        return ok("port", f"our server listens on {host}:{status['port']}")
    if host.startswith("unix:"):
        return ok("port", f"listens on the socket {host.removeprefix('unix:')}, not on a port")
    if port == 0:
        return ok("port", "a free one is picked")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return _no_port(f"{host}:{port}", error)
    return ok("port", f"{host}:{port} is free")


def _no_port(where: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return bad("port", f"{where} is taken by another program", "see who: ss -ltnp; or set another PORT_ZEPH")
    if error.errno in (errno.EACCES, errno.EPERM):
        return bad("port", f"{where} is not for this user", "set a PORT_ZEPH above 1023, or use: zephctl unit")
    return bad("port", f"{where}: {error.strerror or error}", "set HOST_ZEPH to an address of this machine")


def _tls(settings: Settings) -> Iterator[Finding]:
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        if not is_loopback(settings.host_zeph):
            advice = "set TLS_CERTIFICATE and TLS_KEY, or listen on 127.0.0.1 behind a proxy with TLS"
            yield warn("tls", f"{settings.host_zeph} is reached without TLS: anybody on the way can read along", advice)
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
        left = last_day(certificate.read_text(encoding="ascii", errors="replace")) - time.time()
    except (OSError, ValueError) as error:
        yield bad("tls", f"{certificate} and {key} cannot be used: {error}", "name a PEM chain and its private key")
        return
    days = f"{left / 86_400:.0f} days"
    if left <= 0:
        yield bad("tls", f"{certificate} has expired", "renew it, then: zephctl restart")
    elif left < SOON:
        yield warn("tls", f"{certificate} expires in {days}", "renew it; kill -HUP loads the new one")
    else:
        yield ok("tls", f"{certificate} is good for {days}")
    yield from _key_mode(key)


def _key_mode(key: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(os.stat(key).st_mode)
    if mode & 0o007:
        yield bad("tls", f"everybody may read {key} (mode {mode:o})", f"chmod 600 {key}")


def _open_to_all(settings: Settings) -> Iterator[Finding]:
    if SIMPLE in (settings.my_session_handler, *settings.service_list) and not is_loopback(settings.host_zeph):
        advice = "use TokenSessionManager or a session manager of your own: docs/how-to/sessions.md"
        yield warn("sessions", f"SimpleSessionManager believes everybody, and {settings.host_zeph} is open", advice)
    if settings.allowed_origins is not None and "*" in settings.allowed_origins:
        advice = "name the pages in ALLOWED_ORIGINS; None lets in the same host only"
        yield warn("origins", "ALLOWED_ORIGINS has '*': any page may connect with the cookies of its visitor", advice)
    else:
        yield ok(
            "origins", "the same host" if settings.allowed_origins is None else ", ".join(settings.allowed_origins)
        )


def _proxies(settings: Settings) -> Iterator[Finding]:
    wide = [str(one) for one in settings.trusted_proxies if not isinstance(one, str) and one.prefixlen == 0]
    if wide:
        yield bad("proxies", f"TRUSTED_PROXIES has {wide[0]}: everybody can claim any address", "name the proxies only")
    elif settings.trusted_proxies:
        yield ok("proxies", f"{', '.join(map(str, settings.trusted_proxies))}, {settings.proxy_header}")


def _secrets(settings: Settings) -> Iterator[Finding]:
    for name in ("token_secret", "cluster_secret", "metrics_token"):
        value = getattr(settings, name)
        if value is None:
            continue
        why = _weakness(value)
        if why:
            yield bad("secrets", f"{name.upper()} {why}", "make one with: openssl rand -hex 32")
        else:
            yield ok("secrets", f"{name.upper()} is long enough")


def _weakness(secret: str) -> str:
    if len(secret) < LONG_ENOUGH:
        return f"has {len(secret)} characters, fewer than {LONG_ENOUGH}"
    if len(set(secret)) < LETTERS:
        return f"has only {len(set(secret))} different characters"
    if any(word in secret.lower() for word in GUESSED):
        return "can be guessed"
    return ""
