"""bench/inference.py from its options to its exit status, with the simulator as the server."""

import json
import re

import pytest

from bench import inference, inference_load
from tests.support.sim_process import SimProcess

SHORT = 0.4


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Runs it with short turns; returns its exit status and what it wrote."""
    for name, value in (("COUNTED_AT", 4), ("COUNTED_FOR", SHORT), ("IDLE_FOR", SHORT),
                        ("WARM_FOR", SHORT)):  # fmt: skip
        monkeypatch.setattr(inference, name, value)
    monkeypatch.setattr(inference, "COUNTED", inference.COUNTED[:2])
    for name, value in (("LEAVE_AFTER", 5), ("LEAVERS", 3)):
        monkeypatch.setattr(inference, name, value)
        monkeypatch.setattr(inference_load, name, value)

    def run(*words: str) -> tuple[int, dict]:
        out = tmp_path / "found.json"
        monkeypatch.setattr("sys.argv", ["inference", *words, "--out", str(out)])
        return inference.main(), json.loads(out.read_text())

    return run


def test_it_measures_both_ways_and_the_counts_agree(measured, capsys):
    with SimProcess("m", tokens_per_second=500, ttft=0.01) as sim:
        words = ("--model", "m", "--url", sim.url, "--concurrency", "2", "--repeats", "2")
        status, found = measured(*words, "--seconds", str(SHORT), "--per-process", "1")
    said = capsys.readouterr().out
    assert (status, found["proxy_said"].count("Traceback")) == (0, 0), said
    assert [turn["side"] for turn in found["turns"]] == ["direct", "proxied", "proxied", "direct"]
    for turn in found["turns"]:
        assert len(turn["found"]) == 2  # load processes, of one caller each
        assert turn["counted"]["completion_tokens"] > 0
        assert turn["tokens_per_s"] > 0
        assert turn["cpu"]["zeroproxy"] > 0
    *whole, left = found["counts"]
    assert len(whole) == 1 + len(inference.COUNTED)
    for row in whole:
        assert row["difference"] == {"prompt_tokens": 0, "completion_tokens": 0}
        assert row["server"]["completion_tokens"] > 0
    assert left["must_agree"] is False
    assert re.search(r"zeroproxy, µs CPU/token", said)


def test_counts_that_differ_fail_it(measured, monkeypatch, capsys):
    monkeypatch.setattr(inference_load, "ledger_counts", lambda proxy: {})
    monkeypatch.setattr(inference, "COUNTED", ())
    with SimProcess("m", tokens_per_second=500, ttft=0.01) as sim:
        words = ("--model", "m", "--url", sim.url, "--concurrency", "1", "--repeats", "1")
        status, _ = measured(*words, "--seconds", str(SHORT))
    assert status == 1
    assert "the ledger differs" in capsys.readouterr().out


def test_a_server_that_never_gets_well_is_named(measured):
    words = ("--model", "m", "--url", "http://127.0.0.1:9", "--wait", "0.1")
    with pytest.raises(SystemExit, match=r"not healthy after 0\.1 s: sleep 60"):
        measured(*words, "--server", "sleep 60")
