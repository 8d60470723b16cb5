"""Makes the database with users who are logged in; prints the cookie of each."""

import json
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench_settings")
import django

django.setup()

from datetime import timedelta  # noqa: E402 - Django wants its settings first

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.utils.crypto import get_random_string  # noqa: E402

call_command("migrate", verbosity=0)
User = get_user_model()
User.objects.bulk_create(User(username=f"user {n}", password=f"!{n}") for n in range(int(sys.argv[1])))
end, sessions, store = timezone.now() + timedelta(days=1), [], SessionStore()
for user in User.objects.all():
    data = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    sessions.append(Session(session_key=get_random_string(32), session_data=store.encode(data), expire_date=end))
Session.objects.bulk_create(sessions)
print(json.dumps([f"sessionid={session.session_key}" for session in sessions]))
