"""Names are looked up in threads that hold nobody up: each other, the loop, the exit."""

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest

from tests.support.until import until
from zeroproxy.policy import resolver
from zeroproxy.policy.resolver import look_up


class Resolver:
    """Answers for nobody until `goes` is set."""

    def __init__(self, monkeypatch) -> None:
        self.goes, self.asked = threading.Event(), []
        monkeypatch.setattr(resolver, "get_addresses", self.ask)

    def ask(self, host: str, port: int):
        self.asked.append(host)
        if host != "quick":
            self.goes.wait()
        if host == "bad":
            raise OSError(-2, "no such name")
        return [(2, ("10.0.0.1", port))]


@pytest.fixture
def silent(monkeypatch):
    found = Resolver(monkeypatch)
    yield found
    found.goes.set()


async def test_a_silent_resolver_fails_in_time_and_is_asked_once(silent, monkeypatch):
    monkeypatch.setattr(resolver, "TIMEOUT", 0.01)
    for _ in range(3):
        with pytest.raises(OSError, match=r"no answer within 0\.01 s"):
            await look_up("slow", 1)
    assert silent.asked == ["slow"]
    monkeypatch.setattr(resolver, "TIMEOUT", 60.0)
    assert await look_up("quick", 1) == [(2, ("10.0.0.1", 1))]
    late = asyncio.ensure_future(look_up("slow", 1))
    await asyncio.sleep(0)
    silent.goes.set()
    assert await late == [(2, ("10.0.0.1", 1))], "the answer is for whoever asks meanwhile"
    assert silent.asked == ["slow", "quick"]
    await until(lambda: not resolver._running)
    with pytest.raises(OSError, match="no such name"):
        await look_up("bad", 1)


async def test_there_are_so_many_threads_and_no_more(silent, monkeypatch):
    monkeypatch.setattr(resolver, "AT_ONCE", 2)
    monkeypatch.setattr(resolver, "TIMEOUT", 60.0)
    asks = [asyncio.ensure_future(look_up(f"slow{k}", 1)) for k in range(5)]
    await until(lambda: len(silent.asked) == 2)
    silent.goes.set()
    assert len(await asyncio.gather(*asks)) == 5


async def test_an_address_needs_no_thread(silent):
    silent.goes.set()
    before = threading.active_count()
    for host in ("127.0.0.1", "::1"):
        await look_up(host, 1)
    assert threading.active_count() == before


def test_the_exit_waits_for_no_name(tmp_path):
    """The resolver never answers, for a start with 24 names: it serves, and stops."""
    names = ", ".join(f'"http://name{k}.example:1"' for k in range(24))
    config = tmp_path / "x.toml"
    config.write_text(
        f'[server]\nlisten = "unix:{tmp_path}/s"\n[admin]\nlisten = ""\n[metering]\nledger = ""\n'
        f'[[upstream]]\nname = "u"\nendpoints = [{names}]\ndns_ttl = 0.1\n'
    )
    code = f"""
        import logging, os, signal, socket, threading
        from zeroproxy.config.load import load_config
        from zeroproxy.policy import resolver
        from zeroproxy.commands.main import serve

        resolver.TIMEOUT = 0.2
        socket.getaddrinfo = lambda *_, **__: threading.Event().wait()

        class Watch(logging.Handler):
            def emit(self, record):
                if " listens on " in record.getMessage():
                    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

        logging.getLogger("zeroproxy").addHandler(Watch())
        raise SystemExit(serve(load_config({str(config)!r}), lambda: load_config({str(config)!r})))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].endswith(" INFO stopped")
    assert sum("cannot resolve" in line for line in lines) == 24, "each once"
