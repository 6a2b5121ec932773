"""Instructions per unit, by valgrind's callgrind: a figure that does not move with the machine.

User space only: the kernel's share, most of the cost, is not in it.
"""

import re
from pathlib import Path

from driver.counting import LOADS_ALONE, Counts, Tool

#: Function of the data plane's thread (engine/thread.pyx), as its compiled name is matched.
PLANE = "__pyx_pw_*PlaneThread_*run"


def prefix(folder: Path) -> tuple[str, ...]:
    out = f"--callgrind-out-file={folder}/callgrind.%p"
    return ("valgrind", "-q", "--tool=callgrind", "--trace-children=yes", out)


def plane_prefix(folder: Path) -> tuple[str, ...]:
    return (*prefix(folder), f"--toggle-collect={PLANE}")


def read(folder: Path) -> Counts:
    """The sum over all processes that callgrind followed."""
    found = 0
    for out in folder.glob("callgrind.*"):
        summary = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        found += int(summary[1]) if summary else 0
    return {"instructions": found}


CALLGRIND = Tool("valgrind", prefix, read)
#: Of zeroproxy only, and of it only the data plane. Work by the clock (the ledger, health) would
#: make a count move by more than the gate allows.
CALLGRIND_PLANE = Tool("valgrind", plane_prefix, read, LOADS_ALONE)
