"""The same with Django Channels: a consumer behind AuthMiddlewareStack, with a layer in Redis."""

import json
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench_settings")
import django

django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - Django wants its settings first
from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.urls import path  # noqa: E402


class Peer(AsyncWebsocketConsumer):
    """{"room"} joins, {"task": "echo" | "query" | "say", "data"} does what the tasks of zephserver do."""

    room = ""

    async def connect(self):
        if self.scope["user"].is_authenticated:
            await self.accept()
        else:
            await self.close()

    async def receive(self, text_data=None, bytes_data=None):
        message = json.loads(text_data)
        task = message.get("task")
        if task is None:
            self.room = message["room"]
            await self.channel_layer.group_add(self.room, self.channel_name)
            await self.send(json.dumps({"msgtype": "joined", "room": self.room}))
            return
        answer = json.dumps({"task": task, "data": message["data"]})
        if task == "say":
            await self.channel_layer.group_send(self.room, {"type": "said", "text": answer})
            return
        if task == "query":
            await database_sync_to_async(get_user_model().objects.get)(pk=self.scope["user"].pk)
        await self.send(answer)

    async def said(self, event):
        await self.send(event["text"])

    async def disconnect(self, code):
        if self.room:
            await self.channel_layer.group_discard(self.room, self.channel_name)


application = ProtocolTypeRouter({"websocket": AuthMiddlewareStack(URLRouter([path("ws", Peer.as_asgi())]))})
