"""The server of the folder, if it runs: how it is, and whether it is the one that the folder describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zephctl.app import App
from zephctl.doctor.finding import Finding, bad, ok, warn
from zephctl.scripts import RELOADER
from zephserver.core.errors import ControlDenied, ControlUnreachable, ZephError
from zephserver.version import __version__

if TYPE_CHECKING:
    from zephserver.core.settings_page import Settings


def ask(app: App) -> tuple[dict[str, Any] | None, list[Finding]]:
    """The status of the server, None when there is none to ask; and what is wrong with asking."""
    try:
        return app.client.call("status", timeout=min(app.timeout or 5.0, 5.0)), []
    except ControlDenied as error:
        return None, [bad("server", str(error), "run as its owner")]
    except ControlUnreachable as error:
        unheard = app.explained(error)
        if unheard is not error:
            return None, [bad("server", *str(unheard).split("; "))]
        return None, [ok("server", "does not run")]
    except ZephError as error:
        return None, [bad("server", str(error), "see its stacks: kill -USR1 PID, then zephctl tail-log")]


def look(app: App, settings: Settings, status: dict[str, Any]) -> Iterator[Finding]:
    """How a running server is."""
    if status["ready"]:
        yield ok("server", f"runs and is ready, pid {status['pid']}")
    else:
        why = f": {status['not_ready']}" if "not_ready" in status else ""
        yield bad("server", f"runs, pid {status['pid']}, and is not ready{why}", "see: zephctl services list")
    if status["version"] != __version__:
        yield warn("server", f"runs version {status['version']}, installed is {__version__}", "zephctl restart")
    if status.get("log_dropped"):
        yield warn("log", f"{status['log_dropped']} lines could not be written", "make room: df -h")
    try:
        services, theirs = app.client.call("services.list"), app.client.call("settings.show")
        peers = app.client.call("cluster.peers")
    except ZephError:  # it stops this very moment
        return
    for service in services:
        if service["error"] and service["state"] in ("dead", "failed", "stuck", "back-off", "not answering"):
            advice = f"zephctl services show {service['name']}"
            yield bad("services", f"{service['name']} is {service['state']}: {service['error']}", advice)
    for peer in peers:
        if peer["problem"]:
            yield warn("cluster", f"server {peer['name']}: {peer['problem']}", "zephctl cluster peers")
    running = {row["name"]: row["value"] for row in theirs}
    rows = _as_started(settings, status, running).rows()
    changed = [row["name"] for row in rows if running.get(row["name"], row["value"]) != _as_told(row["value"])]
    if changed:
        yield warn("settings", f"changed since the server started: {', '.join(changed)}", "zephctl restart")


def _as_started(settings: Settings, status: dict[str, Any], running: dict[str, Any]) -> Settings:
    """The settings with what the server was told when it was started: --workers, --dev."""
    if "workers" in status and "WORKERS" not in settings.lines:
        settings = settings.with_workers(status["workers"]["total"])
    if RELOADER in running["SERVICE_LIST"]:
        settings = settings.with_workers(1).with_service(RELOADER)
    return settings


def _as_told(value: Any) -> Any:
    """A value as it looks after its way through JSON."""
    import json

    return json.loads(json.dumps(value, default=str))
