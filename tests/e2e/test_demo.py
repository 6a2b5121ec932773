"""The demo, as a new user starts it."""

import os
import signal
import subprocess
import sys

import pytest

DEMO = [sys.executable, "-m", "zeroproxy", "demo"]


def test_it_shows_its_table_and_exits_0():
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    table = {cells[0].strip(): [c.strip() for c in cells[1:]] for cells in rows}
    assert table["tokens received"] == ["216", "216"]
    assert table["tokens metered by the proxy"] == ["", "216"]
    assert table["TTFT, median"][1].endswith(" ms")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_all_of_it_with_0(number):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if line.startswith("tokens, as they arrive"):
                break
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert "tokens metered" not in rest
