"""The client for pages, and new tokens for it: path('zephserver/', include('zephserver.django.urls'))."""

from __future__ import annotations

from django.urls import path

from zephserver.django import views

app_name = "zephserver"
urlpatterns = [
    path("token", views.token, name="token"),
    path("<str:name>", views.client, name="client"),
]
