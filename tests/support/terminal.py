"""The output of a program on a terminal."""

import os
import pty
import subprocess


def shown_by(command: list[str]) -> tuple[int, bytes]:
    """Run it to its end: (exit status, all it has written)."""
    main, follower = pty.openpty()
    shown = b""
    with os.fdopen(main, "rb", buffering=0) as screen:
        process = subprocess.Popen(command, stdout=follower, stderr=follower)
        os.close(follower)
        try:
            while part := screen.read(65536):
                shown += part
        except OSError:  # errno of a terminal whose other side is gone
            pass
        return process.wait(timeout=60), shown
