"""The priority of the metering's threads: lower than the others'."""

from __future__ import annotations

import contextlib
import os
import threading


def yield_the_core() -> None:
    """Let the kernel prefer the other threads to the calling one where both want the same core."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
