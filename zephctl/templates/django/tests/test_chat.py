"""Tests of the chat. Run them with: python manage.py test"""

from chat.models import Room
from chat.tasks import Chat
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client, TestCase, TransactionTestCase

from zephserver.testing import connect, run_task, server_of


def make_user(name):
    return get_user_model().objects.create_user(name)


class OneTask(TestCase):
    """A task without a server."""

    def test_what_one_says_is_kept_and_told_to_the_room(self):
        ann, room = make_user("ann"), Room.objects.create(name="lobby")

        run = run_task(Chat, {"text": " hello "}, user=ann, room=room.channel)

        self.assertEqual(room.messages.get().text, "hello")
        self.assertEqual([run.said[0]["room"], run.said[0]["data"]["from"]], [room.channel, "ann"])

    def test_who_is_not_logged_in_says_nothing(self):
        self.assertEqual(run_task(Chat, {"text": "hello"}, room="room-1").error.code, "access-denied")


class Pages(TestCase):
    """Plain Django."""

    def test_a_page_is_for_who_is_logged_in(self):
        room = Room.objects.create(name="lobby")
        self.assertRedirects(self.client.get(f"/rooms/{room.pk}"), f"/login?next=/rooms/{room.pk}")

        self.client.force_login(make_user("ann"))

        self.assertContains(self.client.get(f"/rooms/{room.pk}"), "data-token=")

    def test_who_signs_up_is_logged_in(self):
        words = {"username": "eve", "password1": "a good one", "password2": "a good one"}

        self.assertRedirects(self.client.post("/sign-up", words), "/", target_status_code=302)


class WholeServer(TransactionTestCase):
    """The real server in this process, with the database of the test."""

    def test_the_others_in_the_room_hear_it_and_who_logs_out_is_gone(self):
        room = Room.objects.create(name="lobby")
        browsers = {name: Client() for name in ("ann", "bob")}
        for name, browser in browsers.items():
            browser.force_login(make_user(name))

        with server_of(settings.BASE_DIR, ALLOWED_ORIGINS=None) as server:  # the client calls itself a page of its own
            cookies = {name: f"sessionid={browser.cookies['sessionid'].value}" for name, browser in browsers.items()}
            ann = connect(server, room=room.channel, headers={"Cookie": cookies["ann"]})
            with connect(server, room=room.channel, headers={"Cookie": cookies["bob"]}) as bob:
                ann.send("chat", {"text": "hello"})
                self.assertEqual(bob.hear(task="chat")["data"]["from"], "ann")

                browsers["ann"].post("/logout")

                with self.assertRaisesRegex(AssertionError, "hung up with 4003 your session has ended"):
                    ann.hear(task="nothing")
            ann.close()
