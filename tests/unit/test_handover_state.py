"""State that is handed over, between two workers that never start."""

import asyncio
from types import SimpleNamespace

import pytest

from tests.support.keys import row
from tests.support.settings import LIMITS
from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.schema import Config, Endpoint, Upstream
from zeroproxy.server.endpoints import EndpointSet, resolve_all
from zeroproxy.server.handover_messages import Gone, Quota
from zeroproxy.server.handover_state import collect, restore

URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2")


def worker(name="a", urls=URLS, keys=("k",)):
    engine = Engine(limits=LIMITS)
    config = Config(upstream=(Upstream(name=name, endpoints=tuple(Endpoint(url=u) for u in urls)),))
    endpoint_set = EndpointSet(engine)
    endpoint_set.add_upstreams(config)
    endpoint_set.change(config, asyncio.run(resolve_all(config)))
    rows = [row(key, tokens=600) for key in keys]
    indices = engine.set_keys(rows)
    drained = []
    return SimpleNamespace(
        engine=engine, endpoint_set=endpoint_set, config=config,
        key_indices={key.sha256: k for key, k in zip(rows, indices, strict=True)},
        drained=drained, drain_endpoint=lambda url, drain: drained.append((url, drain)),
    )  # fmt: skip


def levels(one):
    return [round(q["level"]) for q in one.engine.quotas()]


def test_it_goes_from_one_to_the_other_by_names():
    old, new = worker(keys=("k", "gone")), worker(urls=URLS[1:], keys=("new", "k"))
    old.engine.set_quota_level(0, quota="tokens", level=100.0)
    old.endpoint_set.drain(URLS[1], True)
    gone = collect(old)
    assert (gone.busy, gone.drained) == (0, [URLS[1]])
    assert not any(row("k").sha256 in str(quota) for quota in gone.quotas)
    gone.learned[1]["said_max"] = 7
    restore(new, gone)
    found = new.engine.learned()
    assert [(one["url"], one["said_max"]) for one in found] == [(URLS[1], 7)]
    assert levels(new)[0] == 600
    assert 100 <= levels(new)[1] < 200
    assert new.drained == [(URLS[1], True)]


def test_another_upstreams_endpoint_is_another_endpoint():
    old, new = worker("a"), worker("b")
    gone = collect(old)
    gone.learned[0]["said_max"] = 7
    restore(new, gone)
    assert [one["said_max"] for one in new.engine.learned()] == [0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"learned": [{"upstream": "a"}]},
        {"learned": [{"upstream": "a", "url": URLS[0], "limit": "many"}]},
        {"learned": [{"upstream": "a", "url": URLS[0], "more": 1}]},
        {"quotas": [Quota("?", "bytes", 1.0)]},
    ],
)
def test_values_that_do_not_fit_are_a_line_and_no_more(wrong, caplog):
    new = worker()
    good = {"busy": 0, "learned": [], "quotas": [], "drained": []}
    for quota in wrong.get("quotas", []):
        quota.key = collect(new).quotas[0].key
    restore(new, Gone(**{**good, **wrong, "drained": ["u"]}))
    assert "not all that the old process had learned can be used" in caplog.text
    assert new.drained == [("u", True)]
    assert levels(new) == [600]
