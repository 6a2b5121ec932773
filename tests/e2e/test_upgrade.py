"""One proxy in the place of another: nothing is refused, reset or cut, everything is counted."""

import hashlib
import http.client
import json
import os
import select
import signal
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.test_process import chat, chat_answer
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.until import wait_until
from tests.support.upgrades import HELLO, Callers, Generations, asked, dial, get, put, upgrade

CHAT = "/v1/chat/completions"
SECRET = "sk-0123456789abcdef"
SHA256 = hashlib.sha256(SECRET.encode()).hexdigest()


@pytest.fixture
def handover(tmp_path):
    return f"unix:{tmp_path}/handover.sock"


@pytest.fixture
def old(sim, handover):
    with ProxyProcess(upstream_toml(sim.url), server=f'handover = "{handover}"') as process:
        yield process


def rows_of(ledger):
    with sqlite3.connect(ledger) as connection:
        return dict(connection.execute("SELECT outcome, count(*) FROM exchange GROUP BY outcome"))


def has_ended(pidfd):
    return bool(select.select([pidfd], [], [], 0)[0])


def load(callers, streams, tokens=200):
    """Short requests on conns of their own and on kept ones, and streams."""
    callers.add(3, chat(2, stream=False), ends=b"}")
    callers.add(3, chat(2, stream=False), ends=b"}", keeps=True)
    callers.add(streams, chat(tokens), ends=b"data: [DONE]\n\n")


def check_upgrades(old, n, streams):
    """`n` upgrades in a row under load: no caller sees anything, and the ledger has it all."""
    callers = Callers(old.port)
    with Generations(old) as generations:
        load(callers, streams)
        for _ in range(n):
            before = callers.answered
            generations.next()
            callers.await_answers(before + 10)
        callers.stop()
    assert callers.failures == []
    assert rows_of(old.ledger) == {"ok": callers.answered}


def test_upgrades_under_load_refuse_reset_and_cut_nothing(old):
    check_upgrades(old, int(os.environ.get("ZEROPROXY_TEST_UPGRADES", "3")),
                   int(os.environ.get("ZEROPROXY_TEST_STREAMS", "16")))  # fmt: skip


def test_the_command_prints_the_result_and_its_log_goes_where_the_old_one_wrote(old):
    with asked(old.port, CHAT, chat(600)) as response:
        done = upgrade(old.path)
        out, err = done.communicate(timeout=60)
        assert (done.returncode, err.count("\n")) == (0, err.count(" INFO "))
        pid = int(out.split()[1])
        pidfd = os.pidfd_open(pid)
        try:
            assert out == f"process {pid} serves; process {old.pid} finishes 1 connections\n"
            assert old.status()["phase"] == "serving"
            assert chat_answer(old.port).endswith(b"data: [DONE]\n\n")
            assert response.read().endswith(b"data: [DONE]\n\n")
            assert old.process.wait(30) == 0
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: has_ended(pidfd), 30)
        finally:
            if not has_ended(pidfd):
                os.kill(pid, signal.SIGKILL)
            os.close(pidfd)
    lines = [line.split(" ", 2)[2] for line in old.errors.read_text().splitlines()]
    assert lines.count("stopped") == 2
    assert f"process {pid} has taken over" in lines
    assert [line for line in lines if line.startswith("zeroproxy ")] == lines[:1] * 2


def test_unix_listeners_and_the_admin_port_go_over_with_their_names(sim, tmp_path, handover):
    data = str(tmp_path / "data.sock")
    text = upstream_toml(sim.url)
    with ProxyProcess(text, server=f'handover = "{handover}"') as old:
        old.path.write_text(
            old.path.read_text().replace(f'"127.0.0.1:{old.port}"',
                                         f'["127.0.0.1:{old.port}", "unix:{data}"]', 1)
        )  # fmt: skip
        with Generations(old) as generations:
            generations.next()  # binds the new address
            inode = Path(data).stat().st_ino
            generations.next()  # and the next one takes it
            assert Path(data).stat().st_ino == inode
            for _ in range(2):
                with socket.socket(socket.AF_UNIX) as caller:
                    caller.connect(data)
                    caller.sendall(
                        b"GET /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                    )
                    assert caller.recv(15) == b"HTTP/1.1 200 OK"
            assert old.status()["listen"][1] == f"unix:{data}"
            old.path.write_text(old.path.read_text().replace(f', "unix:{data}"', ""))
            generations.next()  # nobody listens there any more
            wait_until(lambda: not Path(data).exists(), 30)
            assert chat_answer(old.port).endswith(b"data: [DONE]\n\n")
        assert not Path(handover.removeprefix("unix:")).exists()


def test_quotas_and_drained_endpoints_go_over(sim, handover):
    key = f'[auth]\n[[auth.key]]\nname = "k"\nsha256 = "{SHA256}"\ntokens_per_minute = 600\n'
    text = upstream_toml(sim.url, "http://127.0.0.1:1") + key
    with ProxyProcess(text, server=f'handover = "{handover}"') as old:
        with asked(old.port, CHAT, chat(600), Authorization=f"Bearer {SECRET}") as response:
            assert response.read().endswith(b"data: [DONE]\n\n")
        drain = "/-/endpoint?url=http://127.0.0.1:1&drain=true"
        with asked(old.admin_port, drain) as response:
            assert response.status == 200
        before = old.status()["auth"]["quotas"][0]
        with Generations(old) as generations:
            generations.next()
            after = old.status()
            quota = after["auth"]["quotas"][0]
            assert before["used"] > 600 and quota["used"] == 0
            # A minute brings the whole quota; it fills on meanwhile.
            assert before["level"] <= quota["level"] < quota["per_minute"]
            assert [e["draining"] for e in after["upstreams"][0]["endpoints"]] == [False, True]


def test_a_second_upgrade_at_once_is_refused(old, handover):
    with dial(handover.removeprefix("unix:")) as first:
        put(first, HELLO)
        assert get(first)["kind"] == "offer"
        done = upgrade(old.path)
        _, err = done.communicate(timeout=60)
        assert done.returncode == 1
        assert err == (
            f"zeroproxy: not upgraded: another upgrade is under way, by process {os.getpid()}\n"
        )
        assert chat_answer(old.port).endswith(b"data: [DONE]\n\n")
    wait_until(lambda: "this process goes on" in old.errors.read_text())
    with Generations(old) as generations:
        generations.next()


@pytest.mark.parametrize("step", ["connected", "offer", "gone"])
def test_a_new_process_that_dies_leaves_the_old_one_as_it_was(old, handover, step):
    for _ in range(20):  # more often than there are places for listeners
        with dial(handover.removeprefix("unix:")) as new:
            if step != "connected":
                put(new, HELLO)
                assert get(new)["kind"] == "offer"
            if step == "gone":
                put(new, {"kind": "go"})
                assert get(new)["kind"] == "gone"
                # Nobody accepts now: this one waits in the backlog.
                waiting = socket.create_connection(("127.0.0.1", old.port), timeout=30)
        wait_until(lambda: chat_answer(old.port).endswith(b"data: [DONE]\n\n"))
        if step == "gone":
            waiting.sendall(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
            assert waiting.recv(15) == b"HTTP/1.1 200 OK"
            waiting.close()
    status = old.status()
    assert (status["phase"], status["fds"]["listener"]) == ("serving", 1)


def test_a_new_process_that_cannot_start_is_a_sentence(old):
    was = old.path.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        both = f'["127.0.0.1:{old.port}", "127.0.0.1:{port}"]'
        old.path.write_text(was.replace(f'"127.0.0.1:{old.port}"', both, 1))
        done = upgrade(old.path)
        _, err = done.communicate(timeout=60)
    assert done.returncode == 1
    assert err.splitlines()[-1] == (
        f"zeroproxy: not upgraded: cannot listen on 127.0.0.1:{port}: Address already in use"
    )
    old.path.write_text("nonsense = 1\n" + was)
    done = upgrade(old.path)
    assert "nonsense: unknown key" in done.communicate(timeout=60)[1]
    assert done.returncode == 2
    old.path.write_text(was)
    assert chat_answer(old.port).endswith(b"data: [DONE]\n\n")
    assert old.status()["phase"] == "serving"


def test_without_a_running_proxy_or_the_key_it_is_a_sentence(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(upstream_toml("http://127.0.0.1:1"))
    done = upgrade(path)
    assert done.communicate(timeout=60)[1] == (
        f"zeroproxy: {path}: server.handover is empty: the running proxy cannot be asked for its "
        "listeners\n"
    )
    assert done.returncode == 2
    path.write_text(f'[server]\nhandover = "unix:{tmp_path}/h"\n{path.read_text()}')
    done = upgrade(path)
    assert done.communicate(timeout=60)[1] == (
        f"zeroproxy: not upgraded: no proxy answers at unix:{tmp_path}/h: No such file or "
        "directory; one that runs must have been started with server.handover\n"
    )
    assert done.returncode == 1


def test_a_stop_behind_an_upgrade_lets_streams_go_on_as_any_stop_does(old):
    with asked(old.port, CHAT, chat(1000)) as response, Generations(old) as generations:
        generations.next()
        os.kill(old.pid, signal.SIGTERM)  # as systemd does, to all processes of the unit
        assert response.read().endswith(b"data: [DONE]\n\n")


def test_the_ledger_has_one_row_for_each_request_of_an_old_process_that_is_killed(old):
    """All but what one flush had not written yet."""
    for _ in range(5):
        chat_answer(old.port)
    wait_until(lambda: old.status()["metering"]["ledger"]["rows"] == 5)
    with asked(old.port, CHAT, chat(5000)) as response, Generations(old) as generations:
        generations.next()
        os.kill(old.pid, signal.SIGKILL)
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            response.read()
        old.process.wait()
        old.process.returncode = 0  # killed on purpose
        for _ in range(5):
            chat_answer(old.port)
    assert rows_of(old.ledger) == {"ok": 10}


def test_a_sink_gets_each_row_once_whoever_feeds_it(sim, handover, tmp_path):
    """Two processes that fed it at once would write rows twice, or lock each other out."""
    lines = tmp_path / "usage.jsonl"
    text = f'{upstream_toml(sim.url)}[metering]\nsinks = [{{ kind = "jsonl", path = "{lines}" }}]\n'

    def delivered():
        return [json.loads(line)["seq"] for line in lines.read_bytes().splitlines()]

    with ProxyProcess(text, server=f'handover = "{handover}"') as old:
        chat_answer(old.port)
        wait_until(lambda: lines.exists() and len(delivered()) == 1)
        with dial(handover.removeprefix("unix:")) as new:
            put(new, HELLO)
            get(new)
            put(new, {"kind": "go"})
            assert get(new)["kind"] == "gone"  # and dies
        chat_answer(old.port)
        wait_until(lambda: len(delivered()) == 2)
        with asked(old.port, CHAT, chat(300)) as response, Generations(old) as generations:
            generations.next()
            chat_answer(old.port)
            wait_until(lambda: len(delivered()) == 3)
            assert response.read().endswith(b"data: [DONE]\n\n")  # counted by the old one
            wait_until(lambda: len(delivered()) == 4)
        assert delivered() == [1, 2, 3, 4]
