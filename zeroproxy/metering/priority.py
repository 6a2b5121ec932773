"""What a thread of the metering is to the others: less than they."""

from __future__ import annotations

import contextlib
import os
import threading


def yield_the_core() -> None:
    """Let the kernel prefer the other threads to the calling one where both want the same core."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
