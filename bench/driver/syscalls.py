"""System calls per unit, by name, as strace counts them."""

import time
from pathlib import Path

from driver.counting import Counts, Tool

OUT = "strace"
PATIENCE = 20.0  # strace writes after the process has ended


def prefix(folder: Path) -> tuple[str, ...]:
    """-D: the process started is the contestant itself, so that signals reach it."""
    out = folder / OUT
    out.touch(mode=0o666)
    return ("strace", "-D", "-f", "-c", "-U", "name,calls", "-o", str(out))


def read(folder: Path) -> Counts:
    """Lines of `name calls`, between two rules; the last line is their sum."""
    until = time.monotonic() + PATIENCE
    while not (lines := (folder / OUT).read_text().splitlines()) or "total" not in lines[-1]:
        if time.monotonic() > until:
            raise RuntimeError("strace has written no summary")
        time.sleep(0.05)
    rows = [line.split() for line in lines[:-1]]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


STRACE = Tool("strace", prefix, read)
