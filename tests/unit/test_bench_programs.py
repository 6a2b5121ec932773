"""The programs of the bench do what its figures rest on: they serve, relay and check every byte."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
STEP_MS = 20

pytestmark = pytest.mark.skipif(
    not BENCH.is_dir() or not shutil.which("gcc"), reason="NO BENCH or no gcc: nothing to compile"
)
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bin")
    command = [sys.executable, str(BENCH / "driver" / "programs.py"), str(folder)]
    subprocess.run(command, check=True, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(BENCH)})
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def run(*command: object) -> "subprocess.Popen[bytes]":
        words = [str(word) for word in command]
        running.append(subprocess.Popen(words, stdout=subprocess.PIPE))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def await_listener(address: str) -> None:
    """The relay ends a conn whose backend is not there yet; the generator calls that a failure."""
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as conn, contextlib.suppress(OSError):
            conn.connect(address.removeprefix("unix:"))
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens at {address}")


@pytest.fixture
def backend(programs: Path, start: Start, tmp_path: Path) -> str:
    """Its address. A unix socket needs no free port; the generator retries until it is there."""
    address = f"unix:{tmp_path}/backend"
    start(programs / "backend", "--listen", address, "--step-ms", STEP_MS)
    await_listener(address)
    return address


@pytest.fixture
def relay(programs: Path, start: Start, backend: str, tmp_path: Path) -> str:
    address = f"unix:{tmp_path}/relay"
    start(programs / "relay", "--listen", address, "--upstream", backend)
    return address


@pytest.fixture
def load(programs: Path) -> Callable[..., Any]:
    def run(target: str, **options: object) -> Any:
        asked = {"seconds": 0.5, "warmup": 1, "ramp": 0.1, "conns": 8, **options}
        words = [word for name, value in asked.items() for word in (f"--{name}", str(value))]
        command = [str(programs / "generator"), "--target", target, *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(params=["backend", "relay"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_every_event_arrives_in_order_direct_and_through_the_floor(
    target: str, load: Callable[..., Any]
) -> None:
    report = load(target, events=20, usage=1)
    assert report["failures_by_kind"] == {}
    assert report["not_answered"] == 0
    assert 0 < report["events"] <= 8 * (1000 / STEP_MS + 2) * max(1, report["seconds"]) * 1.2
    assert report["requests"] > 0
    assert report["delay_us"]["count"] == report["events"]


def test_a_fixed_number_of_exchanges_gives_a_fixed_number_of_events(
    target: str, load: Callable[..., Any]
) -> None:
    report = load(target, events=16, conns=4, lives=3, seconds=30, stall=30)
    staggered = sum(16 * place // 4 for place in (1, 2, 3, 4))
    failures = report["failures_by_kind"]
    failures.pop("connect", None)  # while the listener was not there yet
    assert failures == {}
    assert (report["requests"], report["events"]) == (12, staggered + 4 * 2 * 16)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "requests"},
        {"mode": "requests", "rate": 200},
        {"mode": "requests", "body": 3_000_000},
        {"mode": "connects"},
    ],
    ids=["kept alive", "paced", "large bodies", "connects"],
)
def test_json_answers_are_whole_direct_and_through_the_floor(
    target: str, load: Callable[..., Any], options: dict[str, object]
) -> None:
    report = load(target, **options)
    assert report["failures_by_kind"] == {}
    assert report["requests"] > 0
    assert report["bytes_out"] >= int(str(options.get("body", 0)))


def test_callers_that_hang_up_are_no_failures_and_come_back(
    target: str, load: Callable[..., Any]
) -> None:
    report = load(target, events=1000, leave=3)
    assert report["failures_by_kind"] == {}
    assert report["requests"] > 0
    assert report["conns_made"] > 0
    assert report["answer_us"]["count"] == 0


def test_even_exchanges_are_all_as_long_as_each_other(
    target: str, load: Callable[..., Any]
) -> None:
    report = load(target, events=16, conns=4, lives=3, seconds=30, stall=30, even=1)
    assert (report["failures"], report["requests"], report["events"]) == (0, 12, 12 * 16)


def bytes_of_an_exchange(address: str, events: int) -> int:
    with socket.socket(socket.AF_UNIX) as conn:
        conn.connect(address.removeprefix("unix:"))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-events: {events}\r\n"
        body = b'{"stream":true}'
        conn.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        got = b""
        while not got.endswith(b"\r\n0\r\n\r\n"):
            got += conn.recv(65536) or pytest.fail(f"cut: {got!r}")
        return len(got)


def test_padded_events_are_that_much_longer_and_still_checked(
    programs: Path, start: Start, backend: str, load: Callable[..., Any], tmp_path: Path
) -> None:
    padded = f"unix:{tmp_path}/padded"
    start(programs / "backend", "--listen", padded, "--step-ms", STEP_MS, "--pad", 100)
    await_listener(padded)
    assert bytes_of_an_exchange(padded, 3) == bytes_of_an_exchange(backend, 3) + 3 * 100
    report = load(padded, events=20)
    assert report["failures_by_kind"] == {}
    assert report["events"] > 0
    refused = start(programs / "backend", "--listen", padded, "--pad", 257)
    assert refused.wait(timeout=10) != 0


def test_the_list_of_models_is_one(backend: str) -> None:
    path = backend.removeprefix("unix:")
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as conn:
            try:
                conn.connect(path)
            except OSError:
                time.sleep(0.02)
                continue
            conn.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: conn.recv(65536), b""))
            break
    assert json.loads(said.partition(b"\r\n\r\n")[2])["data"][0]["object"] == "model"


def test_idle_conns_stay_open_and_silent(target: str, load: Callable[..., Any]) -> None:
    report = load(target, mode="idle", conns=50)
    assert (report["failures"], report["not_answered"]) == (0, 0)
    assert (report["requests"], report["bytes_in"], report["conns_made"]) == (0, 0, 0)


def test_a_target_that_is_not_there_is_a_failure_with_a_name(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    report = load(f"unix:{tmp_path}/nobody", warmup=0)
    assert set(report["failures_by_kind"]) == {"connect"}


# ------------------------------------------------ wrong answers, each with the name it must get

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def event(sequence: int) -> bytes:
    return chunk(b'data: {"choices":[{"delta":{"content":" #%06d@0001"}}]}\n\n' % sequence)


DONE, LAST = chunk(b"data: [DONE]\n\n"), b"0\r\n\r\n"
USAGE = chunk(b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n')
GOOD = HEAD + event(0) + event(1) + DONE + LAST
WRONG = {
    "nothing at all": (b"", "unanswered"),
    "no HTTP": (b"SPDY/3 200\r\n\r\n", "head"),
    "another status": (GOOD.replace(b"200 OK", b"502 No"), "status"),
    "no framing": (b"HTTP/1.1 200 OK\r\n\r\n" + event(0), "framing"),
    "two framings": (GOOD.replace(b"chunked", b"chunked\r\nContent-Length: 9"), "framing"),
    "a broken chunk size": (HEAD + b"zz\r\n", "chunk"),
    "a chunk without its end": (GOOD.replace(b"\n\n\r\n", b"\n\n\n\n", 1), "chunk"),
    "a lost event": (HEAD + event(1) + DONE + LAST, "order"),
    "a doubled event": (HEAD + event(0) + event(0) + DONE + LAST, "order"),
    "too few events": (HEAD + event(0) + DONE + LAST, "order"),
    "too many events": (HEAD + event(0) + event(1) + event(2) + DONE + LAST, "order"),
    "a strange event": (HEAD + chunk(b"data: hello\n\n"), "event"),
    "usage nobody asked for": (HEAD + event(0) + event(1) + USAGE + DONE + LAST, "usage"),
    "no DONE": (HEAD + event(0) + event(1) + LAST, "done"),
    "an event after DONE": (HEAD + event(0) + event(1) + DONE + event(2) + LAST, "done"),
    "no last chunk": (GOOD.removesuffix(LAST), "cut"),
    "an end in mid-event": (GOOD[:120], "cut"),
    "bytes after the end": (GOOD + b"x", "surplus"),
}


def answer_all(listener: socket.socket, answer: bytes) -> None:
    """Answer every conn with the same bytes, then close it, until the listener is shut."""
    while True:
        try:
            conn, _ = listener.accept()
        except OSError:
            return
        with conn:
            while b'"}]}' not in conn.recv(65536):
                pass
            conn.sendall(answer)
            conn.shutdown(socket.SHUT_WR)


def answered(answer: bytes, load: Callable[..., Any], folder: Path, **more: object) -> Any:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/wrong")
        listener.listen()
        thread = threading.Thread(target=answer_all, args=(listener, answer))
        thread.start()
        try:
            options = {"conns": 1, "events": 2, "seconds": 0.2, "warmup": 0, "ramp": 0}
            return load(f"unix:{folder}/wrong", **{**options, **more})
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_a_failure_with_a_name(
    name: str, load: Callable[..., Any], tmp_path: Path
) -> None:
    answer, kind = WRONG[name]
    assert set(answered(answer, load, tmp_path)["failures_by_kind"]) == {kind}


def test_the_good_answer_that_the_wrong_ones_are_made_of_passes(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    report = answered(GOOD, load, tmp_path, lives=1, seconds=30)
    assert (report["failures"], report["requests"], report["events"]) == (0, 1, 2)
