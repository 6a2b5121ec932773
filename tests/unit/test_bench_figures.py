"""Figures that the bench makes of readings: counts of tools, the gate, pictures and the page."""

import importlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import Any

import pytest

BENCH = Path("bench").resolve()
ROW: dict[str, Any] = {
    "per_second": 25000.0, "to_floor": 1.05, "pss_full_mib": 44.0, "pss_per_conn_kib": 3.0,
    "descriptors": 1000, "failures": 0, "flags": [], "delay_p50_added_us": 10.0,
    "delay_p99_added_us": 900.0, "answer_p50_added_us": 10.0, "answer_p99_added_us": 20.0,
}  # fmt: skip
MACHINE = {"cpu": "<Xeon & co>", "cores": 2, "kernel": "6", "commit": "abc", "versions": {}}


@pytest.fixture
def load(monkeypatch):
    """Imports a module of the bench, which runs from its own folder."""
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # one of them changes it
    return importlib.import_module


def row(contestant: str, cpu: float, **more: Any) -> dict[str, Any]:
    figures = {"cpu_us_per_unit": cpu, "cpu_us_range": [cpu - 1, cpu + 1]}
    return {"contestant": contestant, **ROW, **figures, **more}


def scenario(name: str, conns: int, *rows: dict[str, Any]) -> dict[str, Any]:
    about = {"name": name, "mode": "streams", "conns": conns, "unit": "event"}
    return {"scenario": about, "rows": list(rows), "trials": []}


def results(*scenarios: dict[str, Any]) -> dict[str, Any]:
    return {"machine": MACHINE, "seconds": 4.0, "repeats": 3, "scenarios": list(scenarios)}


def proxies(name: str, conns: int, rate: float = 25000.0) -> dict[str, Any]:
    direct = row("direct", 1.0, cpu_us_per_unit=None, cpu_us_range=None, delay_p99_added_us=0.0)
    figures = [row("floor", 11.0, per_second=rate), row("zeroproxy", 12.0, per_second=rate)]
    return scenario(name, conns, direct, *figures)


# ---------------------------------------------------------------- counts


def test_system_calls_are_read_by_name(load, tmp_path):
    text = """\
syscall               calls
---------------- ----------
recvfrom               2020
sendto                 2010
---------------- ----------
total                  4030
"""
    (tmp_path / "strace").write_text(text)
    assert load("driver.syscalls").read(tmp_path) == {"recvfrom": 2020, "sendto": 2010}


def test_instructions_of_all_processes_are_added(load, tmp_path):
    (tmp_path / "callgrind.1").write_text("events: Ir\nsummary: 100\n")
    (tmp_path / "callgrind.2").write_text("events: Ir\ntotals: 11\n")
    (tmp_path / "callgrind.3").write_text("")
    assert load("driver.callgrind").read(tmp_path) == {"instructions": 111}


def test_the_counted_function_has_the_name_that_callgrind_looks_for(load):
    import fnmatch

    from zeroproxy._fast.engine import thread as drive

    names = subprocess.run(["nm", drive.__file__], capture_output=True, text=True).stdout.split()
    if not names:
        pytest.skip("nm, of binutils, is not there or finds no names")
    assert fnmatch.filter(names, load("driver.callgrind").PLANE)


# ---------------------------------------------------------------- the gate


def table() -> Any:
    from rich.table import Table

    return Table("", "", "", "", "", "")


@pytest.mark.parametrize(("now", "beyond"), [(1000, 0), (1050, 0), (1051, 1), (500, 0)])
def test_more_instructions_than_allowed_are_beyond(load, now, beyond):
    baseline = {"allowed_growth": 0.05, "instructions": {"zeroproxy": {"event": 1000}}}
    found = {"zeroproxy": {"event": now}}
    assert load("check").compare_instructions(table(), baseline, found) == beyond


def test_a_ratio_beyond_its_bound_fails_and_so_does_one_that_is_missing(load):
    check = load("check")
    taken = {"contestant": check.GATED, "ratio": 1.12, "ratio_95": [1.05, 1.2]}
    found = {"scenarios": [{"scenario": "streams-64", "rows": [taken]}]}
    for bounds, beyond in (
        ({"streams-64": 1.15}, 0),
        ({"streams-64": 1.10}, 1),
        ({"streams-64": 1.15, "requests-64": 1.25}, 1),
    ):
        assert check.compare_ratios(table(), {"ratio_bounds": bounds}, found) == beyond


def test_the_baseline_in_the_repository_is_complete():
    baseline = json.loads((BENCH / "baseline.json").read_text())
    assert set(baseline["instructions"]["zeroproxy"]) == {"event", "request"}
    assert all(count > 100 for count in baseline["instructions"]["zeroproxy"].values())
    assert all(baseline["made"][fact] for fact in ("cpu", "python", "compiler", "valgrind"))
    assert 0 < baseline["allowed_growth"] <= 0.05


# ---------------------------------------------------------------- scenarios


def test_a_group_is_its_scenarios_and_none_of_them_runs_by_itself(load):
    scenarios = load("driver.scenarios")
    for rows in scenarios.GROUPS.values():
        for one in rows:
            assert one.name in scenarios.BY_NAME
            assert one.name not in scenarios.DEFAULT
    assert {one.nominal for one in scenarios.GROWTH} == {10_000.0}


# ---------------------------------------------------------------- pictures


def texts(svg: str) -> list[str]:
    return [e.text or "" for e in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_every_contestant_is_in_the_picture_and_what_it_is_called_is_escaped(load):
    found = load("driver.pictures").all_pictures(results(proxies("streams-<64>", 64)))
    assert [picture.name for picture in found] == ["cpu", "delay", "memory"]
    for picture in found:
        said = texts(picture.text)
        assert {"floor", "zeroproxy"} <= set(said)
        assert "direct" not in said
        assert any("streams-<64>" in one for one in said)


def test_a_bar_that_would_hide_the_others_is_cut_and_says_its_value(load):
    pictures = load("driver.pictures")
    slow = row("litellm", 2400.0, flags=["SATURATED: 3% of the load"], failures=2)
    found = proxies("streams-64", 64)
    found["rows"].append(slow)
    said = texts(pictures.cpu(results(found)).text)
    assert "2,400 · 1.05 × floor · saturated, 2 failures" in said


def test_curves_have_a_line_per_contestant(load):
    pictures = load("driver.pictures")
    found = [proxies(f"saturation-{n}", n, rate=50.0 * n) for n in (128, 256, 512)]
    found += [proxies(f"growth-{n}", n) for n in (250, 1000)]
    names = [picture.name for picture in pictures.all_pictures(results(*found))]
    assert names == ["saturation", "growth-cpu", "growth-memory"]
    (line, _) = pictures.curve(results(*found), "saturation-", "per_second", "delay_p99_added_us")
    assert line.points == [(6400.0, 900.0), (12800.0, 900.0), (25600.0, 900.0)]


@pytest.mark.parametrize(
    ("most", "ticks"), [(10, [0, 2, 4, 6, 8, 10]), (0.9, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, [0, 1])]
)
def test_ticks_are_round_and_reach_the_end(load, most, ticks):
    assert load("driver.svg").nice(most) == pytest.approx(ticks)


def test_ticks_of_a_logarithmic_axis_enclose_the_values(load):
    ticks = load("driver.svg").decades(0.03, 40.0)
    assert ticks[0] <= 0.03
    assert ticks[-1] >= 40.0


def test_the_page_holds_pictures_and_figures_of_several_files(load, tmp_path):
    paths = []
    for k, name in enumerate(("streams-64", "streams-512")):
        paths.append(tmp_path / f"{k}.json")
        paths[-1].write_text(json.dumps(results(proxies(name, 64))))
    out = tmp_path / "out"
    command = [sys.executable, str(BENCH / "report.py"), *map(str, paths), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    page = (out / "report.html").read_text()
    assert "&lt;Xeon &amp; co&gt;" in page
    assert page.count("<svg") == 3
    assert all(f"<h3>{name}</h3>" in page for name in ("streams-64", "streams-512"))
    assert {p.name for p in out.glob("*.svg")} == {"cpu.svg", "delay.svg", "memory.svg"}


def test_results_of_another_commit_are_not_put_together(load, tmp_path):
    one, other = tmp_path / "1.json", tmp_path / "2.json"
    one.write_text(json.dumps(results(proxies("streams-64", 64))))
    other.write_text(json.dumps({**results(), "machine": {**MACHINE, "commit": "def"}}))
    with pytest.raises(SystemExit, match="another commit"):
        load("report").read([one, other])


def test_a_contestant_is_disturbed_by_others_not_by_its_own_threads(load):
    processes = load("driver.processes")
    one = processes.Thread
    before = {1: one(5.0, 1.0), 2: one(0.5, 9.0)}
    # The loop's thread waited 0.4 s, of which its flusher ran 0.3 s; how the flusher waited is its
    # own affair.
    after = {1: one(9.0, 1.4), 2: one(0.7, 12.0), 3: one(0.1, 0.0)}
    assert processes.waited(before, after) == pytest.approx(0.1)
    assert processes.waited(before, {1: one(9.0, 1.1), 2: one(0.7, 12.0)}) == 0.0
    assert processes.waited({}, {}) == 0.0


def test_turns_divide_inside_a_round_and_say_how_sure_the_median_is(load):
    turns = load("turns")
    drift = [{"floor": k, "zeroproxy": k * 1.2} for k in (10.0, 20.0, 5.0, 40.0)]
    row = turns.summary([drift[:2], drift[2:]], "zeroproxy", "floor")
    assert row["ratio"] == pytest.approx(1.2)
    assert row["ratio_95"] == pytest.approx((1.2, 1.2))
    noisy = [{"floor": 10.0, "zeroproxy": 10.0 + k % 5} for k in range(100)]
    low, high = turns.summary([noisy[:50], noisy[50:]], "zeroproxy", "floor")["ratio_95"]
    assert 1.0 < low <= 1.2 <= high < 1.4


def test_starts_that_differ_make_a_median_less_sure_than_their_rounds_do(load):
    turns = load("turns")
    starts = [[{"floor": 10.0, "zeroproxy": 10.0 + k}] * 50 for k in range(6)]
    low, high = turns.summary(starts, "zeroproxy", "floor")["ratio_95"]
    assert high - low > 0.2
    low, high = turns.summary([[one for rounds in starts for one in rounds]], "zeroproxy", "floor")[
        "ratio_95"
    ]
    assert high - low <= 0.15


def test_turns_are_for_loads_that_can_be_cut_short(load):
    turns, scenarios = load("turns"), load("driver.scenarios")
    for name in ("streams-512", "requests-64"):
        whole = scenarios.BY_NAME[name]
        assert 0 < turns.short(whole).warmup < whole.warmup
        assert turns.short(whole).conns == whole.conns
    with pytest.raises(SystemExit, match="idle: turns are for"):
        turns.short(scenarios.BY_NAME["idle"])


def test_each_start_has_events_of_another_length_the_same_ones_in_every_run(load):
    trial = load("driver.trial")
    place = trial.Place({}, 0, 1, 1024, 0.5)
    pads = [trial.padded(place, n).pad for n in range(10)]
    assert pads[0] == place.pad == 0
    assert len(set(pads)) == 10
    assert max(pads) < 128


def test_files_put_together_say_how_many_trials_each_had(load):
    found = {"machine": MACHINE, "seconds": 3.0, "repeats": 1, "scenarios": [
        scenario("streams-512", 512, row("floor", 10.0, repeats=5)),
        scenario("streams-4000", 4000, row("floor", 10.0, repeats=1)),
    ]}  # fmt: skip
    assert load("driver.pictures").subtitle(found).endswith("median of 1 to 5 × 3 s")
