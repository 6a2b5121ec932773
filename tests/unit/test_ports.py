"""Ports of tests that run side by side are never the same."""

import subprocess
import sys

from tests.support.ports import BLOCK, BLOCKS, FIRST, free_port

CODE = "from tests.support.ports import free_port; print(free_port()); input()"


def test_no_two_processes_share_a_block():
    mine = free_port()
    others = [
        subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]  # fmt: skip
    found = [mine, *(int(other.stdout.readline()) for other in others)]
    for other in others:
        other.communicate("\n")
    assert len({(port - FIRST) // BLOCK for port in found}) == 5
    assert all(FIRST <= port < FIRST + BLOCKS * BLOCK for port in found)


def test_a_port_is_not_given_again_at_once():
    found = [free_port() for _ in range(BLOCK // 2)]
    assert len(set(found)) == BLOCK // 2
