"""Seeds: the project's own cases and golden bodies, and what shared/ adds of real and of malicious
bytes, with choices in front. They are written into the build folder and nowhere else.

usage: seeds.py SHARED FOLDER
"""

import base64
import json
import sys
from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.support.golden import GOLDEN  # noqa: E402

OWN = ROOT / "tests" / "data" / "http"
#: Inputs longer than this are cut: what they teach is at their beginning.
LONGEST = 8192
#: Choices in front of a seed: plain ones, and some that switch every limit and way on.
HEAD_CHOICES = (b"\x00\x80", b"\x05\x40", b"\x02\xc0")
COUNT_CHOICES = (b"\x00\x01\x01", b"\x11\x07\x00", b"\x12\x03\x01", b"\x03\x09\x01")
REQUESTS = (
    b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}',
    b'{"stream":true,"stream_options":{"include_usage":true},"n":2}',
    b'{"stream_options":{"include_usage":false,"continuous_usage_stats":true},"stream":true}',
    b'{ "stream" : true , "stream_options" : null , "model" : "a\\u0062\\"c" }',
    b'[{"stream":true}]',
)
EVENTS = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"}}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: {"choices":[],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\ndata: [DONE]\n\n',
    b'event: message_delta\r\ndata: {"type":"message_delta","usage":{"output_tokens":7}}\r\n\r\n',
    b'data:{"token":{"id":1,"text":"a"},"details":{"generated_tokens":4,"prefill":[{},{}]}}\n\n',
    b'{"model":"m","prompt_eval_count":3,"eval_count":4,"done":true}\n',
)
#: Whole exchanges for the engine: each way to ask and to answer, with and without faults.
OPEN, PUSH, ACCEPT, READ, SERVE, ANSWER, RECEIVE = 0, 2, 7, 8, 9, 10, 4


def exchange(how: int, reply: int) -> bytes:
    steps = [(OPEN, how), (PUSH, 0), (ACCEPT, 0), (READ, 7), (SERVE, reply), (ANSWER, 0)]
    steps.append((RECEIVE, 7))
    return b"".join(bytes(step) for step in steps)


def engine_seeds() -> Iterator[bytes]:
    for how in range(0, 64, 9):
        for reply in range(8):
            once = exchange(how, reply | 0x20)
            yield bytes((0x80, how & 3, how, reply)) + once + exchange(how, 0x10)
            yield bytes((how & 15, 3, 0, 0)) + once * 2


def corpus(shared: Path) -> list[Path]:
    """The own cases, and those of other projects."""
    others = sorted((shared / "http").glob("*.jsonl"))
    return [*sorted(OWN.glob("*.jsonl")), *(p for p in others if not (OWN / p.name).exists())]


def messages(shared: Path, kind: str) -> Iterator[bytes]:
    for path in corpus(shared):
        for line in path.read_text().splitlines():
            case = json.loads(line)
            if case["kind"] == kind:
                yield base64.b64decode(case["raw"])[:LONGEST]


def bodies_of(shared: Path) -> Iterator[bytes]:
    for kind in ("request", "response"):
        for raw in messages(shared, kind):
            head, _, body = raw.partition(b"\r\n\r\n")
            if body and b"chunked" in head.lower():
                yield body


def recorded(shared: Path) -> Iterator[bytes]:
    """Golden bodies, answers of real servers, and the event streams of the corpus."""
    yield from (golden.body for golden in GOLDEN)
    for path in sorted((shared / "real").rglob("*")):
        if path.is_file() and path.suffix not in (".md", ".py"):
            yield path.read_bytes().partition(b"\r\n\r\n")[2][:LONGEST]
    for line in (OWN / "own_sse.jsonl").read_text().splitlines():
        writes = json.loads(line).get("writes", [])
        yield b"".join(map(base64.b64decode, writes))[:LONGEST]


def seeds(shared: Path) -> Iterator[tuple[str, bytes, tuple[bytes, ...]]]:
    """(target, what the peer sends, choices)."""
    yield from (("request_head", raw, HEAD_CHOICES) for raw in messages(shared, "request"))
    yield from (("response_head", raw, HEAD_CHOICES) for raw in messages(shared, "response"))
    yield from (("body", raw, HEAD_CHOICES) for raw in bodies_of(shared))
    for raw in (*recorded(shared), *EVENTS):
        yield "meter", raw, COUNT_CHOICES
        yield "strip", raw, COUNT_CHOICES
    yield from (("request_scan", raw, COUNT_CHOICES) for raw in REQUESTS)
    yield from (("engine", raw, (b"",)) for raw in engine_seeds())


def main() -> None:
    shared, folder = map(Path, sys.argv[1:])
    if not shared.is_dir():
        print(f"FEWER SEEDS: {shared} is missing", file=sys.stderr)
    for target, raw, choices in seeds(shared):
        (folder / target).mkdir(parents=True, exist_ok=True)
        for choice in choices:
            data = choice + raw
            (folder / target / sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main()
