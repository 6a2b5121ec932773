"""The process ends with an error when the kernel refuses to wait for reports."""

import signal
import subprocess
import sys

import pytest

ENGINE = """
import os, time
from tests.support.settings import LIMITS
from zeroproxy._fast.engine.engine import Engine

engine = Engine(limits=LIMITS)
"""

# A caller's connection wakes the thread.
THREAD = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
listener.setblocking(False)
engine.listen(listener.fileno())
engine.start()
time.sleep(0.2)
os.close(engine.fileno())
caller = socket.create_connection(listener.getsockname())
time.sleep(60)
"""

HAND = """
os.close(engine.fileno())
while True:
    engine.on_ready()
"""


@pytest.mark.parametrize("how", ["thread", "hand"])
def test_a_broken_epoll_set_ends_the_process_with_a_sentence(how):
    """A data plane that cannot wait serves nobody: it must not spin, and a supervisor must see
    it."""
    code = ENGINE + (HAND if how == "hand" else THREAD)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == -signal.SIGABRT
    (line,) = ended.stderr.splitlines()
    assert line.startswith("zeroproxy: the data plane cannot wait for its connections: ")
