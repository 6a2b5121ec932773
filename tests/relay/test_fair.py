"""What many do at once is done in parts: between two of them everybody else gets a turn."""

import itertools
import socket

from tests.support.exchanges import connected
from tests.support.script import SSE_HEAD, chunk, event, get, play
from zeroproxy._fast.engine.thread import MORE

CROWD = 300


def test_a_crowd_of_new_conns_is_let_in_by_parts():
    with play() as script:
        d, u = connected(script)
        u.send(SSE_HEAD + chunk(event()))
        d.receive()
        script.listener.listen(2 * CROWD)
        crowd = [socket.create_connection(script.listener.getsockname()) for _ in range(CROWD)]
        for sock in crowd:
            sock.sendall(get())
        u.put(chunk(event()))
        steps = [0]
        while script.engine.on_ready() & MORE:
            steps.append(script.engine.snapshot()["connections"]["accepted"] - 1)
        # A pass of the loop accepts 8 rounds of 16, and 16 more as the listener reports. A stream
        # waits for some of them, not for all.
        assert len(steps) > 2
        assert all(b - a <= 144 for a, b in itertools.pairwise(steps))
        assert d.receive() == chunk(event())
        assert script.engine.snapshot()["connections"]["accepted"] - 1 == CROWD
        for sock in crowd:
            sock.close()
