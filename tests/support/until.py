"""Waiting for a condition that another task, thread or process makes true; a failure names it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from time import monotonic, sleep


def words_of(condition: Callable[..., object]) -> str:
    """The source of a condition, and the values of the names that it takes from its test."""
    try:
        source = " ".join(inspect.getsource(condition).split())
        found = inspect.getclosurevars(condition).nonlocals
    except (OSError, TypeError):
        return repr(condition)
    return "\n".join((source, *(f"{name} = {value!r:.300}" for name, value in found.items())))


async def until(condition: Callable[[], object], seconds: float = 100.0) -> None:
    """Return when `condition` holds; fail after `seconds`."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not true within {seconds} s: {words_of(condition)}"
        await asyncio.sleep(0.001)


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """The same without a loop: for a test that is no coroutine, and for a thread."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not true within {seconds} s: {words_of(condition)}"
        sleep(0.01)
