"""An engine that works in a thread of its own: nobody cranks it, and what Python does meanwhile is
nobody's business."""

import contextlib
import ctypes
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.breakers import terms
from tests.support.keys import row
from tests.support.script import Script, get, ok, play
from tests.support.settings import endpoint, routes, settings
from zeroproxy._fast.engine.thread import BREAKER_CHANGED

PATIENCE = 20.0

#: Both ends of 50 exchanges, in a process of its own; prints when they are done.
BOTH_ENDS = """
import socket, sys
port, origin_fd, told = (int(word) for word in sys.argv[1:])
origin = socket.socket(fileno=origin_fd)
origin.settimeout(20)
import os
with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
    server = None
    for k in range(50):
        caller.sendall(b"GET /%d HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n" % k)
        if server is None:
            server, _ = origin.accept()
            server.settimeout(20)
        assert b"/%d " % k in server.recv(65536)
        server.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        assert caller.recv(65536).endswith(b"ok")
os.write(told, b"done")
"""


@contextlib.contextmanager
def started(*, endpoints: int = 1, **upstream: object) -> Iterator[Script]:
    """A Script whose engine is not cranked; its sockets wait for what comes."""
    script = Script({}, dict(upstream), endpoints)
    for source in script.sources:
        source.settimeout(PATIENCE)
    script.engine.start()
    try:
        yield script
    finally:
        script.close()
    script.demand_zero()


def call(script: Script) -> socket.socket:
    return socket.create_connection(script.listener.getsockname(), timeout=PATIENCE)


def accepted(script: Script, endpoint: int = 0) -> socket.socket:
    found, _ = script.sources[endpoint].accept()
    found.settimeout(PATIENCE)
    return found


def read_to(sock: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        part = sock.recv(65536)
        assert part, found
        found += part
    return found


def readable(fd: int, seconds: float = PATIENCE) -> bool:
    return bool(select.select([fd], [], [], seconds)[0])


def test_exchanges_pass_and_nobody_cranks():
    with started() as script, call(script) as caller:
        caller.sendall(get(b"/one"))
        with accepted(script) as server:
            for k in range(3):
                assert read_to(server, b"\r\n\r\n").startswith((b"GET /one ", b"GET /more "))
                server.sendall(ok(b"answer %d" % k))
                assert read_to(caller, b"answer %d" % k)
                caller.sendall(get(b"/more"))
            read_to(server, b"\r\n\r\n")
        # It was idle and has died silently: a new one takes over.
        with accepted(script) as server:
            read_to(server, b"\r\n\r\n")
            server.sendall(ok(b"after all"))
            read_to(caller, b"after all")


def test_a_thread_that_keeps_the_interpreter_delays_nobody():
    """The interpreter's lock is held from before the first exchange until after the last: were it
    needed for anything, this would never end well."""
    done, told = os.pipe()
    with started() as script:
        origin = script.sources[0].fileno()
        port = script.listener.getsockname()[1]
        words = [sys.executable, "-c", BOTH_ENDS, str(port), str(origin), str(told)]
        with subprocess.Popen(words, pass_fds=(origin, told)) as helper:
            os.close(told)
            said = ctypes.create_string_buffer(16)
            # PyDLL, unlike CDLL, keeps the lock during the call.
            n = ctypes.PyDLL(None).read(done, said, 16)
        assert said.raw[:n] == b"done"
        assert helper.returncode == 0
        script.engine.await_records(50, seconds=PATIENCE)
        assert len(script.engine.records(100)) == 50
    os.close(done)


def test_the_thread_beats_while_it_works_and_no_longer():
    """It is asked without the plane lock, which a thread that hangs may hold."""

    def beats_on(engine) -> bool:
        before, until = engine.beat(), time.monotonic() + PATIENCE
        while engine.beat() == before:
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
        return True

    with play() as script:
        assert script.engine.beat() == -1
    with started() as script:
        assert beats_on(script.engine)
        with script.engine.exclusive:
            # The thread waits for the lock, as it would behind a call that never ends.
            script.engine.beat()
            time.sleep(0.05)
            before = script.engine.beat()
            time.sleep(0.05)
            assert script.engine.beat() == before
        assert beats_on(script.engine)


def test_whoever_awaits_records_sleeps_until_an_exchange_ends():
    woken = threading.Event()

    def consume() -> None:
        script.engine.await_records(1, seconds=1e6)
        woken.set()

    with started() as script, call(script) as caller:
        consumer = threading.Thread(target=consume)
        consumer.start()
        caller.sendall(get(b"/"))
        with accepted(script) as server:
            read_to(server, b"\r\n\r\n")
            assert not woken.wait(0.05)
            server.sendall(ok(b"answer"))
            assert woken.wait(PATIENCE)
        (record,) = script.engine.records(10)
        assert record["outcome"] == "ok"
        consumer.join()
        consumer = threading.Thread(target=consume)
        consumer.start()
        script.engine.wake_consumer()
        consumer.join()


def test_the_engine_may_be_called_from_any_thread_while_exchanges_pass():
    stop = threading.Event()
    failures: list[BaseException] = []

    def knock(k: int) -> None:
        engine = script.engine
        try:
            while not stop.is_set():
                assert engine.snapshot()["counters"]["bugs"] == 0
                engine.set_endpoint(0, weight=1 + k)
                with engine.exclusive:
                    engine.set_routes(routes(("m", 0)), default=0)
                    engine.set_models(b"{}" if k else None)
                engine.set_keys(None)
                assert engine.health_sample()[0]["index"] == 0
                assert engine.busy() >= 0
        except BaseException as error:
            failures.append(error)

    with started() as script:
        threads = [threading.Thread(target=knock, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        with call(script) as caller:
            caller.sendall(get(b"/0"))
            with accepted(script) as server:
                for k in range(300):
                    assert read_to(server, b"\r\n\r\n").startswith(b"GET /%d " % k)
                    server.sendall(ok(b"answer %d." % k))
                    read_to(caller, b"answer %d." % k)
                    caller.sendall(get(b"/%d" % (k + 1)))
                read_to(server, b"\r\n\r\n")
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(script.engine.records(1000)) >= 300


def test_exclusively_nothing_happens_between_two_calls():
    with started() as script:
        engine = script.engine
        with engine.exclusive, call(script) as caller:
            caller.sendall(get())
            assert not readable(script.sources[0].fileno(), 0.2)
            assert engine.busy() == 0
        accepted(script).close()


def test_alone_ends_with_an_exception_too():
    with started() as script:
        with pytest.raises(ZeroDivisionError), script.engine.exclusive:
            1 / 0  # noqa: B018
        with call(script) as caller:
            caller.sendall(get())
            accepted(script).close()


def test_a_call_that_admits_a_request_wakes_the_thread():
    with started(max_inflight=1) as script, call(script) as first, call(script) as second:
        first.sendall(get())
        server = accepted(script)
        read_to(server, b"\r\n\r\n")
        second.sendall(get())
        while script.engine.snapshot()["upstreams"][0]["queued"] == 0:
            time.sleep(0.001)
        script.engine.set_upstream(0, settings=settings(max_inflight=2))
        accepted(script).close()
        server.close()


def test_a_breaker_that_moves_notifies_once():
    words = {"endpoints": 2, "balance": "round_robin", "breaker": terms(failures=1, open_for=60.0)}
    with started(**words) as script, call(script) as caller:
        notified = script.engine.notify_fileno()
        script.engine.on_ready()
        assert not readable(notified, 0)
        caller.sendall(get())
        with accepted(script) as server:
            read_to(server, b"\r\n\r\n")
            server.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
            assert readable(notified)
            assert script.engine.on_ready() == BREAKER_CHANGED
            assert not readable(notified, 0)
            assert script.engine.on_ready() == 0


def test_closing_cuts_what_runs_and_ends_the_thread():
    with started() as script, call(script) as caller:
        caller.sendall(get())
        with accepted(script) as server:
            read_to(server, b"\r\n\r\n")
            script.engine.close()
            assert "zeroproxy-plane" not in {t.name for t in threading.enumerate()}
            assert server.recv(1) == b""
        (record,) = script.engine.records(10)
        assert record["outcome"]
        script.engine.close()


def test_draining_ends_idle_connections_at_once():
    with started() as script, call(script) as caller:
        caller.sendall(get())
        with accepted(script) as server:
            read_to(server, b"\r\n\r\n")
            server.sendall(ok(b"there"))
            read_to(caller, b"there")
            script.engine.drain()
            assert caller.recv(1) == b""


def test_out_of_descriptors_it_does_not_start_and_may_be_tried_again():
    script = Script({}, {}, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (script.listener.fileno(), hard))
    try:
        with pytest.raises(OSError, match="out of descriptors"):
            script.engine.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert script.engine.notify_fileno() == -1
    script.engine.start()
    with call(script) as caller:
        caller.sendall(get())
        script.sources[0].settimeout(PATIENCE)
        accepted(script).close()
    script.close()
    script.demand_zero()


def test_an_engine_is_started_once():
    with started() as script:
        with pytest.raises(RuntimeError, match="once"):
            script.engine.start()
        script.engine.close()
        with pytest.raises(RuntimeError, match="once"):
            script.engine.start()


def exchange_over_sockets(caller, server):
    caller.sendall(get())
    assert server.recv(65536)
    server.sendall(ok())
    assert caller.recv(65536).endswith(b"ok")


@contextlib.contextmanager
def one_exchange_ended(**upstream):
    with started(**upstream) as script, call(script) as caller:
        caller.settimeout(5)
        caller.sendall(get())
        server, _ = script.sources[0].accept()
        with server:
            server.settimeout(5)
            assert server.recv(65536)
            server.sendall(ok())
            assert caller.recv(65536).endswith(b"ok")
            yield script, caller, server


def test_bytes_pass_while_a_snapshot_is_made_python(monkeypatch):
    """A12: /status with 1,000 endpoints held up every stream for up to 311 ms."""
    passed = []
    with one_exchange_ended() as (script, caller, server):

        def label(*args):
            exchange_over_sockets(caller, server)
            passed.append(args)
            return "done"

        with monkeypatch.context() as patch:
            patch.setattr("zeroproxy._fast.engine.status_values.outcome_label", label)
            assert script.engine.snapshot()["requests"][0]["outcome"] == "done"
        assert len(passed) == 1


def test_bytes_pass_while_a_change_is_prepared():
    """E2: 10,000 tenants stopped every stream for 1.9 s."""
    with one_exchange_ended() as (script, caller, server):
        with script.engine.change() as change:
            change.set_keys([])
            exchange_over_sockets(caller, server)
        caller.sendall(get())
        assert caller.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_snapshot_of_many_endpoints_and_tenants_is_whole():
    """It is made of many slices: each endpoint and each share once."""
    with one_exchange_ended() as (script, _, _):
        addr = script._sockaddr(script.sources[0])
        for k in range(100):
            script.engine.add_endpoint(0, settings=endpoint(k, addr))
        script.engine.set_keys([row(f"k{k}", tenant=f"t{k}", tokens=9) for k in range(2000)])
        found = script.engine.snapshot()
        urls = [e["url"] for e in found["upstreams"][0]["endpoints"]]
        assert urls == ["http://up0", *(f"http://h:{k}" for k in range(100))]
        assert [v["index"] for v in script.engine.health_sample()] == list(range(101))
        quotas = {q["tenant"] for q in found["auth"]["quotas"]}
        assert quotas == {f"t{k}" for k in range(2000)}
