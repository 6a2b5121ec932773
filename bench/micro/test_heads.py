"""Heads and chunked bodies, with h11 and httptools beside them.

Ours are timed in a C loop, as the data plane calls them. The others are called from Python, as a
program that uses them would: that call is their cost as well."""

from collections.abc import Callable
from typing import Any

import h11
import httptools
import pytest

from bench.micro.samples import BACK, EVENTS, HOP, LIMITS, REQUEST, RESPONSE, chunked
from tests.probes import http1 as probe

N = 2000  # calls per round of ours
FEW = 50  # of the others
CHUNK = chunked(b"x" * 4096)


class Silent:
    """httptools reports to it."""

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_body(self, data: bytes) -> None:
        pass


def times(n: int, work: Callable[[], object]) -> Callable[[], None]:
    def loop() -> None:
        for _ in range(n):
            work()

    return loop


def by_httptools(parser: Any, data: bytes) -> None:
    parser(Silent()).feed_data(data)


def by_h11(role: Any, data: bytes) -> None:
    connection = h11.Connection(role)
    if role is h11.CLIENT:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    assert isinstance(connection.next_event(), h11.Request | h11.Response)


@pytest.mark.parametrize("who", ["zeroproxy", "httptools", "h11"])
def test_request_heads(cost: Callable[..., None], who: str) -> None:
    """request head parsed"""
    if who == "zeroproxy":
        cost(who, lambda: probe.time_request(REQUEST, LIMITS, N), N)
    elif who == "httptools":
        cost(who, times(FEW, lambda: by_httptools(httptools.HttpRequestParser, REQUEST)), FEW)
    else:
        cost(who, times(FEW, lambda: by_h11(h11.SERVER, REQUEST)), FEW)


@pytest.mark.parametrize("who", ["zeroproxy", "httptools", "h11"])
def test_response_heads(cost: Callable[..., None], who: str) -> None:
    """response head parsed"""
    if who == "zeroproxy":
        cost(who, lambda: probe.time_response(RESPONSE, LIMITS, N), N)
    elif who == "httptools":
        cost(who, times(FEW, lambda: by_httptools(httptools.HttpResponseParser, RESPONSE)), FEW)
    else:
        cost(who, times(FEW, lambda: by_h11(h11.CLIENT, RESPONSE)), FEW)


def test_heads_written_for_the_way_there(cost: Callable[..., None]) -> None:
    """request head written anew"""
    cost("zeroproxy", lambda: probe.time_rewrite(REQUEST, LIMITS, HOP, N), N)


def test_heads_written_for_the_way_back(cost: Callable[..., None]) -> None:
    """response head written anew"""
    cost("zeroproxy", lambda: probe.time_rewrite_back(RESPONSE, LIMITS, BACK, N), N)


@pytest.mark.parametrize("who", ["zeroproxy", "httptools", "h11"])
def test_chunked_bodies(cost: Callable[..., None], who: str) -> None:
    """KB of chunked body, 4 KB chunks"""
    chunks(cost, who, CHUNK, 4096)


@pytest.mark.parametrize("who", ["zeroproxy", "httptools", "h11"])
def test_chunks_of_one_event(cost: Callable[..., None], who: str) -> None:
    """KB of chunked body, an event each"""
    chunks(cost, who, chunked(EVENTS[0]), len(EVENTS[0]))


def chunks(cost: Callable[..., None], who: str, chunk: bytes, size: int) -> None:
    kb = size / 1024
    if who == "zeroproxy":
        cost(who, lambda: probe.time_unframe(chunk, N), N * kb)
    elif who == "httptools":
        parser = httptools.HttpResponseParser(Silent())
        parser.feed_data(RESPONSE)
        cost(who, times(FEW, lambda: parser.feed_data(chunk)), FEW * kb)
    else:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(RESPONSE)
        connection.next_event()

        def feed() -> None:
            connection.receive_data(chunk)
            while connection.next_event() is not h11.NEED_DATA:
                pass

        cost(who, times(FEW, feed), FEW * kb)
