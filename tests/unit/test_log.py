"""Lines on stderr: nothing waits for a reader that does not read."""

import logging
import os
import re

import pytest

from zeroproxy import log as module
from zeroproxy.log import StderrHandler, log, on_stderr


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def record(text, level=logging.INFO):
    return logging.LogRecord("zeroproxy", level, "", 0, text, None, None)


def read_all(fd):
    os.set_blocking(fd, False)
    found = b""
    while True:
        try:
            found += os.read(fd, 1 << 16)
        except BlockingIOError:
            return found.decode()


def test_a_line_has_its_time_and_its_level(pipe):
    handler = StderrHandler(pipe[1])
    handler.handle(record("here it is"))
    handler.handle(record("so what", logging.ERROR))
    handler.close()
    one, other = read_all(pipe[0]).splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO here it is", one)
    assert other.endswith("Z ERROR so what")


def test_who_logs_does_not_wait_for_a_reader_that_stalls(pipe, monkeypatch):
    monkeypatch.setattr(module, "CLOSE_PATIENCE", 0.05)
    handler = StderrHandler(pipe[1])
    for _ in range(3 * module.QUEUE_MAX):
        handler.handle(record("x" * 1000))
    assert handler.dropped >= module.QUEUE_MAX
    handler.close()
    assert handler._thread.is_alive(), "it is left behind"
    while handler._thread.is_alive():  # else it would write into the next test's pipe
        read_all(pipe[0])
        handler.close()


def test_dropped_lines_are_reported_when_it_is_read_again(pipe):
    handler = StderrHandler(pipe[1])
    for _ in range(2 * module.QUEUE_MAX):
        handler.handle(record("x" * 1000))
    assert handler.dropped > 0
    found = b""
    while b"lines were dropped: stderr was not read" not in found:
        found += os.read(pipe[0], 1 << 16)
    told = re.search(rb"(\d+) lines were dropped", found)
    assert 0 < int(told[1]) <= handler.dropped
    handler.close()


def test_a_program_that_embeds_the_proxy_has_no_handler_of_ours():
    assert not any(isinstance(h, StderrHandler) for h in logging.getLogger().handlers)
    assert [type(h) for h in log.handlers] == [logging.NullHandler]
    with on_stderr() as handler:
        assert handler in logging.getLogger().handlers
        assert log.isEnabledFor(logging.INFO)
    assert handler not in logging.getLogger().handlers
