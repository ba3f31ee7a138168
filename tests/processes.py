"""Processes that tests start. They end with the process that runs the tests, however that ends.

The kernel sends the signal when the *thread* that started a process ends, so servers are started from one that lasts.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from app.git.process import tie_to_parent
from app.ops.embedded import Service

TIED = tie_to_parent("KILL")  # put before the arguments of a process
_starter = ThreadPoolExecutor(1, "starter")


async def start_service(start: Callable[..., Service], *arguments: Any) -> Service:
    """Start a database or a queue without blocking the event loop."""
    starting = partial(start, *arguments, tied_to_parent=True)
    return await asyncio.get_running_loop().run_in_executor(_starter, starting)


async def restart_service(service: Service) -> None:
    """Start a service that has ended anew, at the same address."""
    again = await asyncio.get_running_loop().run_in_executor(_starter, service.restart)
    service.process = again.process
