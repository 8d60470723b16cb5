"""The pages."""

from django import forms
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from chat.models import Room
from zephserver.django import say


class RoomForm(forms.Form):
    name = forms.CharField(max_length=40)


@require_safe
@login_required
def home(request):
    """The first room."""
    first, _ = Room.objects.get_or_create(name="lobby")
    return redirect("room", first.pk)


@require_safe
@login_required
def room(request, number):
    """One room; everything that moves in it comes over the WebSocket."""
    here = get_object_or_404(Room, pk=number)
    page = {"me": request.user.get_username(), "room": here.channel, "name": here.name, "login": reverse("login")}
    return render(request, "chat/room.html", {"room": here, "rooms": Room.objects.all(), "page": page})


@require_POST
@login_required
def new_room(request):
    """Make a room, or find it, and go there. Every open page hears of a new one, once it is in the database."""
    form = RoomForm(request.POST)
    if not form.is_valid():
        return redirect("home")
    found, is_new = Room.objects.get_or_create(name=form.cleaned_data["name"])
    if is_new:
        say("rooms", {"name": found.name, "url": reverse("room", args=[found.pk])}, everyone=True)
    return redirect("room", found.pk)


def sign_up(request):
    """A new user, who is logged in then."""
    form = UserCreationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        return redirect("home")
    return render(request, "registration/sign_up.html", {"form": form})
