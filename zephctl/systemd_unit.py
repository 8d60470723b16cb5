"""A systemd unit for the server of a folder: notified, watched, and kept from everything it does not need."""

from __future__ import annotations

import getpass
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zephserver.core.settings_file import VARIABLE

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings

NAME = re.compile(r"[A-Za-z0-9:_.@-]{1,200}")  # systemd.unit(5), without backslashes
WATCHDOG = 30  # seconds without a word after which systemd ends a server that hangs
SPARE_FILES = 64  # beside those of connections, as the server itself counts

# What an ordinary manager may not grant needs no root: systemd.exec(5) says which lines a user's manager can follow.
FOR_ANYBODY = """\
NoNewPrivileges=true
LockPersonality=true
RestrictRealtime=true
RestrictSUIDSGID=true
RestrictNamespaces=true
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0027"""
FOR_ROOT = """\
ProtectSystem=strict
ProtectHome=read-only
PrivateDevices=true
ProtectClock=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectControlGroups=true
ProtectProc=invisible
RemoveIPC=true"""


def name_of(folder: Path) -> str:
    """The name of a service in this folder."""
    return re.sub(r"[^A-Za-z0-9:_.@-]+", "-", folder.name).strip("-") or "zephserver"


def unit(settings: Settings, name: str, *, for_user: bool = False) -> str:
    """The unit as text. It starts the zephserver-start that belongs to this Python."""
    low_port = settings.port_zeph and settings.port_zeph < 1024 and not settings.host_zeph.startswith("unix:")
    capability = "CAP_NET_BIND_SERVICE" if low_port and not for_user else ""
    lines = [
        "[Unit]",
        f"Description=zephserver {name}",
    ]
    if not for_user:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += [
        # Five starts in a minute, then the trouble is not one that another start mends.
        "StartLimitIntervalSec=60",
        "StartLimitBurst=5",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
    ]
    if not for_user:
        lines += [f"User={_owner(settings)}"]
    lines += [
        f"WorkingDirectory={_plain(settings.folder)}",
        f"Environment={_quoted(f'{VARIABLE}={settings.file}')}",
        "Environment=PYTHONUNBUFFERED=1",
        f"ExecStart={_quoted(_program()).replace('$', '$$')}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartSec=1",
        "# Usage (2) and settings (6): the next start would end the same way.",
        "RestartPreventExitStatus=2 6",
        f"WatchdogSec={WATCHDOG}",
        f"TimeoutStartSec={_seconds(max(1, len(settings.service_list)) * settings.start_timeout + 10)}",
        f"TimeoutStopSec={_seconds(settings.shutdown_timeout + 10)}",
        f"LimitNOFILE={(settings.max_connections or 10_000) + SPARE_FILES}",
        "",
        "# Sandbox; what is left open: systemd-analyze security",
        *FOR_ANYBODY.split("\n"),
    ]
    if not for_user:
        lines += [*FOR_ROOT.split("\n"), *_private_tmp(settings)]
        lines += [f"ReadWritePaths={_quoted(folder)}" for folder in _writable(settings)]
        lines += [f"CapabilityBoundingSet={capability}", f"AmbientCapabilities={capability}"]
    lines += ["", "[Install]", f"WantedBy={'default.target' if for_user else 'multi-user.target'}"]
    return "\n".join(lines) + "\n"


def _writable(settings: Settings) -> list[Path]:
    """The folders that the server writes to: its own, and those of lock, sockets and log."""
    paths = [settings.lock_file, settings.configuration_network_interface_server]
    if isinstance(settings.log_path, Path):
        paths.append(settings.log_path)
    if settings.host_zeph.startswith("unix:"):
        paths.append(settings.folder / settings.host_zeph.removeprefix("unix:"))
    folders = dict.fromkeys([settings.folder, *(path.parent for path in paths)])
    return [folder for folder in folders if not any(other in folder.parents for other in folders)]


def _private_tmp(settings: Settings) -> list[str]:
    """A /tmp of its own, unless it is in /tmp that the server lives."""
    shared = (Path("/tmp"), Path("/var/tmp"))
    if any(place == folder or place in folder.parents for folder in _writable(settings) for place in shared):
        return []
    return ["PrivateTmp=true"]


def _owner(settings: Settings) -> str:
    """Who owns the folder, and so may run what is in it."""
    try:
        return settings.folder.owner()
    except (KeyError, OSError):
        return getpass.getuser()


def _program() -> str:
    """zephserver-start of this installation."""
    beside = Path(sys.executable).parent / "zephserver-start"
    return str(beside) if beside.exists() else (shutil.which("zephserver-start") or str(beside))


def _plain(value: object) -> str:
    """As systemd reads a line that is one path: only % means something, the start of a specifier."""
    return str(value).replace("%", "%%")


def _quoted(value: object) -> str:
    """As systemd reads a word: blanks end it, unless it is in quotes."""
    text = _plain(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(c.isspace() or c in "'\\\"" for c in text) else text


def _seconds(value: float) -> str:
    return f"{value:g}" if value < 1e6 else "infinity"
