"""A Dockerfile and a compose file for the server of a folder."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from zephserver.version import __version__

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings

HOME = "/srv/app"
OUTSIDE = ("0.0.0.0", "::")  # what a container has to listen on to be reached


def files(settings: Settings, name: str) -> dict[str, str]:
    """The files and their text."""
    return {
        "Dockerfile": _dockerfile(settings),
        ".dockerignore": "\n".join([".git", ".venv", "__pycache__", "*.sock", "*.lock", "*.log*"]) + "\n",
        "compose.yaml": _compose(settings, name),
    }


def advice(settings: Settings) -> list[str]:
    """What has to be different in the settings before a container is of use."""
    lines = ["then: docker compose up --build"]
    if settings.host_zeph not in OUTSIDE:
        lines.append(f"HOST_ZEPH is {settings.host_zeph!r}: a container is reached only with HOST_ZEPH = '0.0.0.0'")
    if settings.log_path != "-":
        lines.append("LOG_PATH names a file: with LOG_PATH = '-' docker logs has the lines")
    return lines


def _dockerfile(settings: Settings) -> str:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    file = settings.file.name if settings.file is not None else "zephsettings.py"
    return f"""\
FROM python:{python}-slim

# The server runs as a user who may write to its own folder only.
RUN useradd --system --home-dir {HOME} --create-home zeph
RUN pip install --no-cache-dir zephserver=={__version__}
WORKDIR {HOME}
COPY --chown=zeph:zeph . .
RUN if [ -f requirements.txt ]; then pip install --no-cache-dir -r requirements.txt; fi && chmod -R go-w .

USER zeph
ENV ZEPHSETTINGS={HOME}/{file} PYTHONUNBUFFERED=1
EXPOSE {settings.port_zeph or 8080}
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["zephctl", "wait", "--timeout", "3"]
# Foreground, so that signals and the exit status are the container's.
ENTRYPOINT ["zephserver-start"]
"""


def _compose(settings: Settings, name: str) -> str:
    port = settings.port_zeph or 8080
    files = (settings.max_connections or 10_000) + 64
    return f"""\
name: {json.dumps(name.lower().replace(":", "-").replace("@", "-").replace(".", "-"))}
services:
  server:
    build: .
    init: true
    restart: on-failure
    ports:
      - "127.0.0.1:{port}:{port}"
    # A little more than SHUTDOWN_TIMEOUT, so that connections are drained.
    stop_grace_period: {settings.shutdown_timeout + 10:g}s
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    ulimits:
      nofile: {files}
"""
