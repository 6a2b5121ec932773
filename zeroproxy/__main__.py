"""`zeroproxy`, and `python -m zeroproxy`, which is the same."""

import signal
import sys

from zeroproxy.early_signals import EARLY


def run() -> int:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EARLY)
    from zeroproxy.commands.main import main

    return main(mask=before)


if __name__ == "__main__":
    sys.exit(run())
