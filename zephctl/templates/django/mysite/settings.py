"""Settings of Django."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).parent.parent

# A secret of the environment makes it a real site; without one it is for this machine only.
SECRET_KEY = os.environ.get("SECRET_KEY", "")
DEBUG = not SECRET_KEY
if DEBUG:
    SECRET_KEY = "for development on this machine, where it is no secret"
elif len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("SECRET_KEY is too short; make one with: openssl rand -hex 32")

ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")
SITE_ORIGIN = os.environ.get("SITE_ORIGIN")
CSRF_TRUSTED_ORIGINS = [SITE_ORIGIN] if SITE_ORIGIN else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = bool(SITE_ORIGIN and SITE_ORIGIN.startswith("https://"))
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SESSION_COOKIE_SECURE else None

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "zephserver.django",
    "chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ],
        },
    },
]

if os.environ.get("POSTGRES_HOST"):
    DATABASE = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["POSTGRES_HOST"],
        "PORT": os.environ.get("POSTGRES_PORT", "5432"),
        "NAME": os.environ.get("POSTGRES_DB", "chat"),
        "USER": os.environ.get("POSTGRES_USER", "chat"),
        "PASSWORD": os.environ.get("POSTGRES_PASSWORD", "chat"),
    }
else:  # the tests have a file of their own, which all threads of a server see
    DATABASE = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "TEST": {"NAME": BASE_DIR / "test.sqlite3"},
    }
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if os.environ.get("REDIS_URL"):
    CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}
    }
    SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "login", "home", "login"

STATIC_URL, STATIC_ROOT = "static/", BASE_DIR / "static"
LANGUAGE_CODE, TIME_ZONE, USE_TZ = "en-gb", "UTC", True

# Where browsers find the WebSocket: behind one nginx under the path /ws, without one on its own port.
ZEPHSERVER = {
    "SETTINGS": BASE_DIR / "zephsettings.py",
    "URL": "/ws" if SITE_ORIGIN else f":{os.environ.get('PORT', '8080')}/ws",
    "ANONYMOUS": False,
}
