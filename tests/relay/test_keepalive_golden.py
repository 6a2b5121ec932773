"""Every golden body of events, with comments put in where the engine falls silent. A caller parses
the same events, and the same is counted."""

import itertools
import re
import time

import pytest

from tests.support.editing import json_post
from tests.support.exchanges import waiting
from tests.support.script import SSE_HEAD, chunk, play
from tests.unit.test_meter_golden import SAMPLES

COMMENT = b": keep-alive\n\n"
KEPT = ("/completions", "/completion", "/messages", "/responses", "/generate", "/generate_stream")
EVENTS = [
    s for s in SAMPLES
    if (s.content_type or "").startswith("text/event-stream") and s.status == 200
    and s.path.endswith(KEPT) and not s.framing
]  # fmt: skip
COUNTED = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "exactness",
    "finish", "events", "bytes_out", "outcome",
)  # fmt: skip


def pieces(body: bytes) -> list[bytes]:
    """Cut behind the first event, inside the next, and behind one in the middle."""
    edges = [m.end() for m in re.finditer(rb"\n\n|\r\n\r\n|\r\r", body)]
    cuts = {edges[0], edges[0] + 5, edges[len(edges) // 2]} if edges else {len(body) // 2}
    at = [0, *sorted(c for c in cuts if c < len(body)), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(at)]


def parsed(body: bytes) -> list[tuple[str, str]]:
    """(name, data) of each event, after the HTML standard, 9.2.6."""
    found, name, data = [], "", []
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for line in re.split(r"\r\n|\n|\r", text):
        field, _, value = line.partition(":")
        if not line:
            if data:
                found.append((name, "\n".join(data)))
            name, data = "", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
    return found


def unchunked(raw: bytes) -> tuple[bytes, bool]:
    """The data, and if the last chunk has come."""
    found = b""
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        n = int(size, 16)
        assert rest[n : n + 2] == b"\r\n"
        if n == 0:
            return found, True
        found, raw = found + rest[:n], rest[n + 2 :]
    return found, False


def relayed(sample, after: float) -> tuple[bytes, bool, dict, int]:
    """The body as a caller gets it, its end, the record, and how many comments there are."""
    with play() as script:
        script.engine.set_keepalive(after)
        body = b"{}" if sample.path.endswith("_stream") else b'{"model":"m","stream":true}'
        d, u = waiting(script, json_post(body, sample.path.encode()))

        def fall_silent() -> bytes:
            if after:
                time.sleep(0.04)
                script.turn()
            return d.receive()

        found = fall_silent()
        u.send(SSE_HEAD)
        found += fall_silent()
        for piece in pieces(sample.body):
            u.send(chunk(piece))
            found += fall_silent()
        if sample.is_whole:
            u.send(b"0\r\n\r\n")
        u.close()
        found += d.receive()
        (record,) = script.records()
        n = script.engine.snapshot()["keepalive"]["comments"]
        data, is_ended = unchunked(found.partition(b"\r\n\r\n")[2])
        return data, is_ended, {key: record[key] for key in COUNTED if key in record}, n


@pytest.mark.parametrize("sample", EVENTS, ids=str)
def test_comments_change_nothing_but_themselves(sample):
    plain, ends, counted, none = relayed(sample, after=0.0)
    kept, kept_ends, kept_counted, n = relayed(sample, after=0.001)
    assert none == 0
    assert n >= 2  # before the engine's head, and behind it
    # Some of these servers send the same comment themselves.
    assert kept.count(COMMENT) == plain.count(COMMENT) + n
    assert kept.replace(COMMENT, b"") == plain.removeprefix(b"\xef\xbb\xbf").replace(COMMENT, b"")
    assert parsed(kept) == parsed(plain)
    if plain.startswith(b"\xef\xbb\xbf"):
        counted["bytes_out"] -= 3
    assert (kept_ends, kept_counted) == (ends, counted)
    assert {"completion_tokens", "exactness", "bytes_out"} <= counted.keys()
