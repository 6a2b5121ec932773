"""Indices of tenants: given to others when nothing refers to them any more."""

from collections import Counter

import pytest

from tests.relay.test_totals import count_model, counted
from tests.support.exchanges import waiting
from tests.support.keys import row, shows
from tests.support.script import ok, play, post

MOST = 65534


def test_a_process_may_see_any_number_of_tenants():
    """E2: after some 65,500 names ever seen every reload failed for good."""
    with play() as script:
        for k in range(40):
            script.engine.set_keys([row(f"k{n}", tenant=f"{k}-{n}") for n in range(2000)])
            script.records()
        count_model([script.downstream(), None], script, b"m", shows("k7"))
        assert [r["tenant"] for r in script.records()] == ["39-7"]


def test_too_many_at_once_are_refused_before_anything_is_changed():
    with play() as script:
        script.engine.set_keys([row("k", tenant="t")])
        rows = [row(f"k{n}", tenant=f"t{n}") for n in range(MOST + 1)]
        with pytest.raises(ValueError, match="too many tenants"):
            script.engine.set_keys(rows)
        conns = [script.downstream(), None]
        count_model(conns, script, b"m", shows("k"))
        assert [r["tenant"] for r in script.records()] == ["t"]


def test_a_tenant_that_left_is_billed_to_the_end_and_then_gone():
    with play(ring_slots=2) as script:
        script.engine.set_keys([row(f"k{n}", tenant=f"old{n}") for n in range(200)])
        conns = [script.downstream(), None]
        for n in range(200):
            count_model(conns, script, b"m", shows(f"k{n}"))
        # Two records in the ring, 198 overflowed, none of it taken: every index is still its own.
        for _ in range(3):
            script.engine.set_keys([row(f"k{n}", tenant=f"new{n}") for n in range(200)])
        assert [r["tenant"] for r in script.records()] == ["old0", "old1"]
        taken = Counter(r["tenant"] for r in script.engine.take_overflow())
        assert taken == {f"old{n}": 1 for n in range(2, 200)}
        for _ in range(2):
            script.engine.set_keys([row(f"k{n}", tenant=f"last{n}") for n in range(200)])
        assert not any(tenant.startswith("old") for _, tenant in counted(script))
        for n in range(200):
            count_model(conns, script, b"m", shows(f"k{n}"))
        names = {r["tenant"] for r in script.records()}
        names |= {r["tenant"] for r in script.engine.take_overflow()}
        assert names == {f"last{n}" for n in range(200)}
        assert counted(script) == {("m", f"last{n}"): 5 for n in range(200)}


def test_an_exchange_that_runs_keeps_its_tenants_name():
    with play() as script:
        script.engine.set_keys([row("k", tenant="mine")])
        down, up = waiting(script, post(extra=shows("k")))
        for k in range(5):
            script.engine.set_keys([row(f"k{n}", tenant=f"{k}-{n}") for n in range(300)])
            script.records()
        up.send(ok())
        assert down.receive()
        assert [r["tenant"] for r in script.records()] == ["mine"]
