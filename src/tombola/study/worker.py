"""Worker process of a study on this machine: `python -m tombola.study.worker`, a worker of Dask.

It reads one line of JSON: `scheduler`, an address; `security`, of which Dask makes its `Security`; `name`; and
`scratch`, a folder. Then it runs what the scheduler sends, see `tombola.study.worker_steps`. It ends at once when its
parent does, in the middle of a step too: what is half-written is a draft, and swept.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from typing import Any

import dask
from distributed import Worker
from distributed.security import Security

from tombola.study.dask_settings import RARELY


def _end_with_the_parent() -> None:
    sys.stdin.read()
    # Nobody is there any more who would want the rest.
    os._exit(1)


async def _serve(given: dict[str, Any]) -> None:
    # Steps know how much memory they need; Dask must not pause them.
    async with Worker(
        given["scheduler"],
        name=given["name"],
        nthreads=1,
        memory_limit=0,
        heartbeat_interval="5s",
        local_directory=given["scratch"],
        security=Security(**given["security"]),
        dashboard_address="127.0.0.1:0",
    ) as worker:
        await worker.finished()


def main() -> None:
    """Work until the parent ends."""
    # The keyboard's interrupt goes to all processes of a terminal; the parent has the last word.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # Pages about a worker nobody asks for, and looks at what it does take time from the steps.
    dask.config.set({"distributed.worker.http.routes": [], "distributed.worker.profile.enabled": False, **RARELY})
    asyncio.run(_serve(given))


if __name__ == "__main__":
    main()
