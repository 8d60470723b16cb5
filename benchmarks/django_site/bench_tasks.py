"""The tasks that are measured."""

from django.contrib.auth import get_user_model

from zephserver import Task
from zephserver.django import login_required


@login_required
class Echo(Task):
    """Answers with what it got, on the event loop."""

    async def main(self):
        self.reply(self.data)


@login_required
class Query(Task):
    """Asks the database for the user, in a worker thread, and answers with what it got."""

    def main(self):
        get_user_model().objects.get(pk=self.request["user"].pk)
        self.reply(self.data)


@login_required
class Say(Task):
    """Hands on what it got to everybody in the room."""

    async def main(self):
        self.say(self.data)
