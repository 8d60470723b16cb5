"""{% load zephserver %}{% zephserver_client %}: the JavaScript client in a page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django import template
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from zephserver.django import options
from zephserver.django.tokens import token_for

register = template.Library()


@register.simple_tag(takes_context=True)
def zephserver_client(context: Any) -> Any:
    """Two script elements, after which `zephserver.connect({room: '...'})` makes a Zephclient. No inline script."""
    request = context.get("request")
    if request is None:
        raise ImproperlyConfigured(
            "zephserver_client needs the request; add 'django.template.context_processors.request' to TEMPLATES"
        )
    try:
        client, connect = (reverse("zephserver:client", args=[name]) for name in ("zephclient.min.js", "connect.js"))
    except NoReverseMatch:
        raise ImproperlyConfigured(
            "zephserver_client needs its URLs; add path('zephserver/', include('zephserver.django.urls'))"
        ) from None
    url, is_elsewhere = address_of(options.read().url, request)
    token = token_for(request)
    return format_html(
        '<script src="{}"></script>\n<script src="{}" data-url="{}"{}{}></script>',
        client,
        connect,
        url,
        format_html(' data-token="{}"', token) if token else "",
        format_html(' data-token-url="{}"', reverse("zephserver:token")) if is_elsewhere else "",
    )


def address_of(url: str, request: Any) -> tuple[str, bool]:
    """The whole address of the WebSocket, and whether it is on another host than the page, where no cookie goes."""
    if url.startswith(("ws://", "wss://")):
        return url, urlsplit(url).hostname != urlsplit(f"//{request.get_host()}").hostname
    scheme = "wss" if request.is_secure() else "ws"
    if url.startswith(":"):
        host = urlsplit(f"//{request.get_host()}").hostname or ""
        return f"{scheme}://{f'[{host}]' if ':' in host else host}{url}", False
    return f"{scheme}://{request.get_host()}{url}", False
