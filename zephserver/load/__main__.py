"""`python -m zephserver.load`: reads a plan, a line of JSON, from stdin; tells its progress and its result on stdout.

The end of stdin stops it early. So it never outlives whoever started it, however that ended.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from typing import Any

from zephserver.load.plan import Plan
from zephserver.load.run import LoadFailed, Run


def main() -> int:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it, and ends our stdin
    gc.disable()  # a pause of the one who measures would count as the server's
    plan = Plan.read(sys.stdin.buffer.readline().decode())
    try:
        result = asyncio.run(_run(plan))
    except LoadFailed as error:
        _report({"failed": str(error)})
        return 1
    except BrokenPipeError:  # nobody wants to know any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    _report({"result": result})
    return 0


async def _run(plan: Plan) -> dict[str, Any]:
    run = Run(plan, _report)
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()

    def read_on() -> None:
        if not os.read(stdin, 4_096):
            loop.remove_reader(stdin)
            run.stop.set()

    loop.add_reader(stdin, read_on)
    return await run.run()


def _report(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
