"""`zeroproxy`, and `python -m zeroproxy`, which is the same."""

import signal
import sys

#: Signals that end a process by default. They are blocked ahead of the imports, which take longest;
#: commands that are no proxy unblock them (commands/main.py).
EARLY = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run() -> int:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EARLY)
    from zeroproxy.commands.main import main

    return main(mask=before)


if __name__ == "__main__":
    sys.exit(run())
