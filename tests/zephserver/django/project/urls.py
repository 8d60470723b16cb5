"""The addresses of the project."""

from django.contrib.auth import views
from django.http import HttpResponse
from django.template import engines
from django.urls import include, path

from zephserver.django import say


def page(request):
    template = engines["django"].from_string("{% load zephserver %}{% zephserver_client %}")
    return HttpResponse(template.render({}, request))


def speak(request):
    say("news", {"by": request.user.username}, room="lobby")
    return HttpResponse("said")


urlpatterns = [
    path("zephserver/", include("zephserver.django.urls")),
    path("login/", views.LoginView.as_view(), name="login"),
    path("logout/", views.LogoutView.as_view(next_page="/page"), name="logout"),
    path("page", page),
    path("speak", speak),
]
