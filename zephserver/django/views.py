"""What the pages of a Django project fetch: the JavaScript client, and a new token when it connects again."""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from zephserver.django.tokens import token_for

FILES = {
    "zephclient.js": ("zephserver", "static"),
    "zephclient.min.js": ("zephserver", "static"),
    "zephclient.esm.js": ("zephserver", "static"),
    "connect.js": ("zephserver", "django", "client"),
}


@require_safe
@never_cache
def token(request: HttpRequest) -> Any:
    """A token for the user of the page; null for an anonymous one. Pages of other origins cannot read it."""
    return JsonResponse({"token": token_for(request)})


@require_safe
def client(request: HttpRequest, name: str) -> Any:
    """A file of the JavaScript client, as it came with this version."""
    if name not in FILES:
        raise Http404(f"no file {name}")
    content, tag = _read(name)
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponseNotModified()
    else:
        response = HttpResponse(content, content_type="text/javascript; charset=utf-8")
    response["ETag"] = tag
    response["Cache-Control"] = "max-age=300"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@functools.cache
def _read(name: str) -> tuple[bytes, str]:
    """The file and its ETag."""
    package, *folders = FILES[name]
    content = importlib.resources.files(package).joinpath(*folders, name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'
