"""The share of a core that the flusher takes while callers need all of it."""

import pytest

from tests.support.records import FakeEngine, sums
from zeroproxy.metering import flusher as module
from zeroproxy.metering.cpu_budget import FULL, LONGEST, SHARE, CpuBudget, pause_after
from zeroproxy.metering.flusher import BATCH, Flusher
from zeroproxy.metering.ledger import Ledger


@pytest.mark.parametrize("own", [0.0, 0.001, 0.2])
def test_while_the_loop_has_time_to_spare_nothing_is_held_back(own):
    assert pause_after(1.0, FULL - 0.01 + own, own) == 0.0


@pytest.mark.parametrize("own", [0.001, 0.01, 0.03])
def test_where_the_loop_fills_a_core_the_thread_keeps_to_its_share(own):
    pause = pause_after(0.3, 0.3 + own, own)
    assert own / (own + pause) == pytest.approx(SHARE)


def test_a_rest_is_bounded_and_nothing_done_needs_none():
    assert pause_after(1.0, 1.9, 0.9) == LONGEST
    assert pause_after(1.0, 1.0, 0.0) == 0.0


def test_the_time_since_the_last_call_is_what_counts():
    seen = iter([(10.0, 5.0, 1.0), (11.0, 6.01, 1.01), (12.0, 6.02, 1.02)])
    budget = type("Clocked", (CpuBudget,), {"_read": staticmethod(lambda: next(seen))})()
    assert budget.pause() == pytest.approx(0.01 / SHARE - 0.01)
    assert budget.pause() == 0.0


class Weary(CpuBudget):
    """The loop is always full: after each batch a long rest."""

    def pause(self):
        return 60.0


def test_one_batch_then_a_pause_and_the_end_takes_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "INTERVAL", 0.001)
    monkeypatch.setattr(module, "CpuBudget", Weary)
    path, n = tmp_path / "usage.sqlite", 3 * BATCH
    engine = FakeEngine(slots=n)
    engine.finish(n + 7)
    ledger = Ledger(path)
    flusher = Flusher(engine, ledger, [])
    found = flusher._flush(Weary())
    assert found == 60.0
    # The batch, and the totals of what the ring did not hold.
    assert sums(path)[0] == BATCH + 7
    flusher.start()
    flusher.stop()
    assert sums(path) == (n + 7, (n + 7) * (n + 8) // 2)
