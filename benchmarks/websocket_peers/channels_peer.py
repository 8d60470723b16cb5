"""An asynchronous consumer of Django Channels on daphne; its layer stays in memory, or is in the Redis of REDIS_URL."""

from __future__ import annotations

import os
from typing import Any

import django
import work
from django.conf import settings

# Room for every message of a fan-out: with the usual 100 it would drop what it is measured for.
layer = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 100_000}}
if "REDIS_URL" in os.environ:
    layer["BACKEND"] = os.environ["LAYER"]
    layer["CONFIG"]["hosts"] = [os.environ["REDIS_URL"]]
settings.configure(
    SECRET_KEY="for a benchmark",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": layer},
)
django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 - Django wants its settings first
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from daphne.endpoints import build_endpoint_description_strings  # noqa: E402
from daphne.server import Server  # noqa: E402
from django.urls import path  # noqa: E402


class Peer(AsyncWebsocketConsumer):
    room = ""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        task, message = work.read(text_data or "")
        if task is None:
            self.room = message["room"]
            await self.channel_layer.group_add(self.room, self.channel_name)
            await self.send(work.joined(self.room))
        elif task == "say":
            await self.channel_layer.group_send(self.room, {"type": "said", "text": work.answer(message)})
        elif task == "threaded":
            await self.send(await sync_to_async(work.answer, thread_sensitive=False)(message))
        else:
            await self.send(work.answer(message))

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int) -> None:
        if self.room:
            await self.channel_layer.group_discard(self.room, self.channel_name)


application = ProtocolTypeRouter({"websocket": URLRouter([path("ws", Peer.as_asgi())])})
Server(application=application, endpoints=build_endpoint_description_strings(host="127.0.0.1", port=work.PORT)).run()
