"""The addresses of the chat."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from chat import views

urlpatterns = [
    path("", views.home, name="home"),
    path("rooms/new", views.new_room, name="new-room"),
    path("rooms/<int:number>", views.room, name="room"),
    path("login", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("sign-up", views.sign_up, name="sign-up"),
]
