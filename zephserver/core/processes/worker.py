"""python -m zephserver.core.processes.worker SETTINGS NUMBER DESCRIPTOR: one worker, as the process above starts it.

The number is for people who look at a list of processes; what the worker is to do comes over the descriptor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from zephserver.core import bootstrap
from zephserver.core.errors import ZephError
from zephserver.core.processes.channel import Channel
from zephserver.core.processes.plan import Plan, settings_of_worker
from zephserver.core.server import Server
from zephserver.core.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    """Be a worker until the process above wants no more of it, or is gone; the exit status."""
    path, _, descriptor = arguments
    channel = Channel.inherited(int(descriptor))
    try:
        plan = channel.plan()
    except EOFError:
        return 1
    channel.open()
    try:
        return _run(path, plan, channel)
    except ZephError as error:
        channel.tell(ended="; ".join(str(error).splitlines()))
        return 1
    finally:
        channel.close()


def _run(path: str, plan: Plan, channel: Channel) -> int:
    def on_started(server: Server, failure: ZephError | None) -> None:
        for service, level in plan.levels.items():
            if service:
                server.set_log_level(level, service)
        channel.follow(server.bus)
        if failure is None:
            channel.tell(ready=True)
        else:
            channel.tell(failed=str(failure))  # and the other services run on

    settings = settings_of_worker(load_settings(path), plan)
    return bootstrap.run(settings, on_started=on_started, capture_output=plan.captures_output)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # threads of stuck services and of C libraries must not run while Python takes itself apart
