"""The end of asyncio tasks: cancelled and waited for, or left behind in time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: Tasks that were cancelled and still clean up: the loop itself keeps no reference.
_abandoned: set[asyncio.Task[Any]] = set()


async def cancel(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait for their ends. Raises nothing of theirs: asyncio itself logs the
    failure of a task whose result nobody reads."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or TimeoutError after `seconds`. Its clean-up is not waited for:
    closing a TLS connection whose other end is stuck takes half a minute."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        abandon(task)
        raise
    if not task.done():
        abandon(task)
        raise TimeoutError
    return task.result()


def abandon(task: asyncio.Task[Any]) -> None:
    """Cancel a task without waiting for its end."""
    task.cancel()
    _abandoned.add(task)
    task.add_done_callback(forget)


def forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # else it would be logged as never retrieved
