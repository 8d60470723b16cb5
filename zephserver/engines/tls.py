"""TLS with the defaults of today."""

from __future__ import annotations

import ssl

from zephserver.core.settings_page import Settings


def make_tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS 1.2 and newer with Python's choice of ciphers, or None without a certificate. Raises OSError."""
    if settings.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # a WebSocket needs HTTP/1.1; browsers would otherwise try HTTP/2
    load_certificate(context, settings)
    return context


def load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    """Read certificate and key, for the handshakes that come.

    Raises OSError when they are missing or do not fit; then those of before stay.
    """
    if settings.tls_certificate is not None:
        # First into a context that nobody uses: OpenSSL takes a certificate before it refuses the key that is not its.
        for tried in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
            tried.load_cert_chain(settings.tls_certificate, settings.tls_key)
