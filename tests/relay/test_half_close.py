"""A caller that ends its sending behind a whole request: it has left (by default), or reads on."""

import pytest

from tests.support.exchanges import connected, streaming, waiting
from tests.support.script import SSE_HEAD, chunk, event, get, ok, play, post, split_head
from tests.support.settings import settings


@pytest.fixture
def serving():
    with play() as s:
        s.engine.set_switches(via=True, trust_forwarded=False, serve_half_close=True)
        yield s


def test_by_default_it_has_left():
    with play() as script:
        d, u = waiting(script)
        d.finish()
        assert u.is_closed()
        assert script.outcome() == "downstream/waiting/closed"


@pytest.mark.parametrize("request_", [get(), post(), get().replace(b"1.1", b"1.0")])
def test_where_it_is_served_it_gets_its_answer_and_the_conn_ends(serving, request_):
    """nc -N: request and FIN come together."""
    d = serving.downstream()
    d.put(request_)
    d.finish()
    u = serving.upstream()
    assert u.receive()
    u.send(ok(b"answer"))
    assert d.receive().endswith(b"answer")
    assert d.is_closed()
    assert serving.outcome() == "ok"


def test_a_stream_goes_on_to_its_end(serving):
    d, u = connected(serving)
    u.send(SSE_HEAD + chunk(event()))
    assert d.receive()
    d.finish()
    u.send(chunk(event()))
    assert d.receive()
    u.send(chunk(event(b"[DONE]")) + b"0\r\n\r\n")
    assert d.receive().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert d.is_closed()
    assert serving.outcome() == "ok"


def test_all_that_was_asked_ahead_is_served(serving):
    d = serving.downstream()
    d.put(get(b"/1") + get(b"/2"))
    d.finish()
    u = serving.upstream()
    for k in (b"/1", b"/2"):
        assert u.receive().startswith(b"GET " + k)
        u.send(ok(k))
        assert split_head(d.receive())[1] == k
    assert d.is_closed()
    assert [r["outcome"] for r in serving.records()] == ["ok", "ok"]


def test_one_in_the_queue_keeps_its_place(serving):
    serving.engine.set_upstream(0, settings=settings(max_inflight=1))
    first, second = serving.downstream(), serving.downstream()
    first.send(get(b"/1"))
    u = serving.upstream()
    second.put(get(b"/2"))
    second.finish()
    u.receive()
    u.send(ok())
    first.receive()
    assert u.receive().startswith(b"GET /2 ")
    u.send(ok())
    assert second.receive().startswith(b"HTTP/1.1 200 ")


def test_who_resets_has_left_all_the_same(serving):
    d, u = waiting(serving)
    d.reset()
    assert u.is_closed()
    assert serving.outcome() == "downstream/waiting/reset"


def test_who_closes_is_noticed_at_the_next_write(serving):
    d, u = streaming(serving)
    d.close()
    assert not u.is_closed()
    u.send(chunk(event()))
    assert u.is_closed()
    assert serving.outcome().startswith("downstream/relaying/")


def test_a_reload_changes_nothing_for_an_exchange_that_runs(serving):
    d, u = waiting(serving)
    serving.engine.set_switches(via=True, trust_forwarded=False, serve_half_close=False)
    d.finish()
    u.send(ok(b"answer"))
    assert d.receive().endswith(b"answer")


@pytest.mark.parametrize("part", [b"POST / HT", post(body=b"12345")[:-1]])
def test_half_a_request_is_never_served(serving, part):
    d = serving.downstream()
    d.send(part)
    d.finish()
    assert d.is_closed()
    assert not serving.has_connected()
