"""`zeroproxy bench` against the simulator, its counts against the simulator's accounts."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from itertools import count

import pytest
from aiohttp import web

from tests.support.sim_thread import SimThread
from tests.support.terminal import shown_by
from tests.support.until import until, wait_until
from zeroproxy.commands import main as cli
from zeroproxy.errors import ZeroproxyError
from zeroproxy.loadtest.command import prepare
from zeroproxy.loadtest.dialects import Ask
from zeroproxy.loadtest.loop import Load, Slice, Stop
from zeroproxy.loadtest.options import add_arguments, make_target, read_settings
from zeroproxy.loadtest.runs import open_session
from zeroproxy.sim import SimOptions, Simulator

LONG = 300.0  # seconds that no test waits for


@pytest.fixture
def sim():
    with SimThread(accounts=10_000) as running:
        yield running


@pytest.fixture
def bench(tmp_path, capsys):
    """Runs the command; answers with its status, the JSON, and what it printed."""

    def run(*words: str):
        path = tmp_path / "found.json"
        words = ("bench", "--duration", str(LONG), *words, "--json", str(path))
        status = cli.main(list(words))
        found = json.loads(path.read_text()) if path.exists() else None
        return status, found, capsys.readouterr()

    return run


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages"])
@pytest.mark.parametrize("whole", [(), ("--no-stream",)], ids=["events", "whole"])
def test_counts_are_those_of_the_server(sim, bench, path, whole):
    words = ("--requests", "30", "--concurrency", "4", "--max-tokens", "7", "--path", path)
    status, found, said = bench("-u", sim.url, *words, *whole)
    assert (status, found["schema"], found["interrupted"]) == (0, 1, False)
    (run,) = found["runs"]
    (side,) = run["sides"]
    # An account is written after the last byte of its answer.
    wait_until(lambda: all(a["finished"] for a in sim.sim.accounts.as_list()))
    trial, *accounts = sim.sim.accounts.as_list()
    assert len(accounts) == side["asked"] == side["answered"] == 30
    assert side["completion_tokens"] == sum(a["written"] for a in accounts) == 7 * 30
    assert side["prompt_tokens"] == sum(a["prompt"] for a in accounts)
    assert (side["tokens_by"], side["success_rate"], side["failures"]) == ("usage", 1.0, {})
    assert side["events_with_text"] == (0 if whole else 7 * 30)
    assert side["ttft_s"]["count"] == (0 if whole else 30)
    assert side["gap_s"]["count"] == (0 if whole else 6 * 30)
    assert side["total_s"]["count"] == 30
    assert "30 of 30 answered" in said.out
    assert trial["written"] == 7


def test_each_concurrency_is_reached_and_gets_its_own_figures(sim, bench):
    words = ("--requests", "12", "--concurrency", "1,3", "--max-tokens", "40")
    status, found, _ = bench("-u", f"{sim.url}/v1", *words)
    assert status == 0
    assert [run["concurrency"] for run in found["runs"]] == [1, 3]
    assert sim.stats.peak_running == 3
    assert sim.stats.begun == 1 + 2 * 12


def test_two_endpoints_are_asked_in_turns_and_compared(sim, bench):
    with SimThread(accounts=1000) as other:
        words = ("--requests", "10", "--concurrency", "2", "--max-tokens", "3")
        status, found, said = bench("-u", sim.url, "--compare", other.url, *words)
        assert other.stats.begun == sim.stats.begun == 11
    (run,) = found["runs"]
    assert status == 0
    for side in run["sides"]:
        assert (side["answered"], [s["asked"] for s in side["slices"]]) == (10, [3, 3, 2, 2])
    ratio = run["compared"]["ttft_s.p50"]["ratio"]
    first, second = (side["ttft_s"]["p50"] for side in run["sides"])
    assert ratio == pytest.approx(second / first)
    assert "ratio" in said.out


def test_a_window_that_closes_lets_answers_end(sim, bench):
    words = ("--duration", "0.3", "--concurrency", "3", "--max-tokens", "500")
    status, found, _ = bench("-u", sim.url, *words)
    (side,) = found["runs"][0]["sides"]
    assert status == 0
    assert side["asked"] == side["answered"] >= 3
    assert side["completion_tokens"] == 500 * side["answered"]
    assert sim.stats.aborted == 0


# ---------------------------------------------------------------- failures, by name

KINDS = {
    "status=503": "status 503",
    "garbage-head": "no HTTP",
    "half-head": "unanswered",
    "close-head": "unanswered",
    "reset-head": "unanswered",
    "no-content-type": "no events",
    "cut=3": "cut",
    "cut-mid-event=3": "cut",
    "clean-cut=3": "cut",
    "error-event=3": "error event",
    "stall=3": "timeout",
}


def settings_of(*words: str):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_settings(parser.parse_args(words))


async def slice_of(url: str, prompt: str, load: Load, *words: str):
    settings = settings_of("-u", url, *words)
    ask = Ask("", prompt, 9, settings.streams)
    piece = Slice(settings.targets[0], ask, load, Stop())
    async with open_session(settings.targets[0], settings) as session:
        return await piece.run(session, count(1))


@pytest.mark.parametrize("fault", KINDS)
async def test_a_failure_has_a_name_and_is_counted_once(fault):
    options = SimOptions(tokens_per_second=500, ttft=0.001, accounts=100)
    async with Simulator(options) as sim:
        timeout = "0.5" if "stall" in fault else str(LONG)
        load = Load(2, LONG, requests=4)
        tally = await slice_of(sim.url, f"!fault={fault} x", load, "--timeout", timeout)
        assert dict(tally.failures) == {KINDS[fault]: 4}
        assert (tally.started, tally.answered, tally.open) == (4, 0, 0)
        assert sim.stats.faults == 4
        if fault in ("clean-cut=3", "error-event=3", "stall=3"):
            await until(lambda: sum(a["written"] for a in sim.accounts.as_list()) == tally.texts)
            assert tally.texts == 12


WHOLE = {"cut=3": "cut", "error-event=3": "status 500", "status=429": "status 429"}


@pytest.mark.parametrize(("fault", "kind"), WHOLE.items())
async def test_whole_answers_fail_by_name_as_well(fault, kind):
    async with Simulator(SimOptions(tokens_per_second=500, ttft=0.001)) as sim:
        load = Load(1, LONG, requests=2)
        tally = await slice_of(sim.url, f"!fault={fault} x", load, "--no-stream")
    assert dict(tally.failures) == {kind: 2}


async def answering(handler):
    """A server of one handler; (runner, URL)."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, "http://{}:{}".format(*runner.addresses[0])


def events(*data: str) -> web.Response:
    text = "".join(f"data: {one}\n\n" for one in data)
    return web.Response(text=text, content_type="text/event-stream")


TEXT = '{"choices":[{"delta":{"content":"a"}}]}'


@pytest.mark.parametrize(
    ("wire", "kind"), [((TEXT,), "wrong ending"), ((TEXT, "{oops", "[DONE]"), "malformed")]
)
async def test_answers_that_end_wrongly_are_failures(wire, kind):
    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return events(*wire)

    runner, url = await answering(handle)
    try:
        tally = await slice_of(url, "x", Load(1, LONG, requests=1))
    finally:
        await runner.cleanup()
    assert dict(tally.failures) == {kind: 1}


# ---------------------------------------------------------------- what is found out before


async def test_a_server_that_does_not_know_stream_options_is_asked_without(sim):
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response({"data": [{"id": "first"}, {"id": "second"}]})
        asked = await request.json()
        if "stream_options" in asked:
            return web.json_response({"detail": "extra fields not permitted"}, status=422)
        return events(TEXT, "[DONE]")

    runner, url = await answering(handle)
    try:
        (ask,) = await prepare(settings_of("-u", url))
    finally:
        await runner.cleanup()
    assert (ask.wants_usage, ask.model) == (False, "first")


@pytest.mark.parametrize(
    ("words", "says"),
    [((), "give a key with --api-key-file"), (("--api-key-env", "HOME"), "the key was not taken")],
)
async def test_a_refused_key_is_told_apart_from_a_missing_one(words, says):
    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"error": "Unauthorized"}, status=401)

    runner, url = await answering(handle)
    try:
        with pytest.raises(ZeroproxyError, match=rf"returned 401 \(Unauthorized\): {says}"):
            await prepare(settings_of("-u", url, *words))
    finally:
        await runner.cleanup()


def test_an_unknown_model_names_those_there_are(sim, capsys):
    assert cli.main(["bench", "-u", sim.url, "--model", "gpt"]) == 1
    assert "it has no model gpt, but sim-1" in capsys.readouterr().err


def test_who_cannot_be_reached_is_named(capsys):
    assert cli.main(["bench", "-u", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == (
        "zeroproxy: http://127.0.0.1:1 cannot be reached: Connection refused\n"
    )


def run_bench(*words: str, **more):
    command = [sys.executable, "-m", "zeroproxy", "bench", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes, **more)


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


def test_too_few_descriptors_are_reported_before_the_first_request(sim):
    with run_bench("-u", sim.url, "--concurrency", "512", preexec_fn=few_files) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "512 requests at once need 576 file descriptors, and only 100 are allowed" in said
    assert sim.stats.connections == 0


# ---------------------------------------------------------------- the seed's scene, and signals


def test_512_at_once_all_get_their_answers(bench):
    with SimThread(max_running=512, tokens_per_second=10.0) as sim:
        words = ("--concurrency", "512", "--requests", "512", "--max-tokens", "30")
        status, found, _ = bench("-u", sim.url, *words)
        (side,) = found["runs"][0]["sides"]
        assert (status, side["answered"], side["completion_tokens"]) == (0, 512, 512 * 30)
        assert sim.stats.peak_running > 256


def test_ctrl_c_ends_well_and_shows_what_was_measured(tmp_path):
    path = tmp_path / "found.json"
    with SimThread(accounts=1) as sim:
        words = ("-u", sim.url, "--duration", str(LONG), "--json", str(path), "--max-tokens", "50")
        with run_bench(*words) as process:
            wait_until(lambda: sim.stats.finished > 20)
            process.send_signal(signal.SIGINT)
            shown, said = process.communicate(timeout=60)
        assert sim.stats.aborted == 0
    found = json.loads(path.read_text())
    (side,) = found["runs"][0]["sides"]
    assert (process.returncode, found["interrupted"], side["failed"]) == (130, True, 0)
    assert side["answered"] == side["asked"] > 0
    assert "TTFT" in shown
    assert "Ctrl-C once more" in said


def test_a_second_ctrl_c_gives_up_what_is_open():
    with SimThread(ttft=LONG, max_running=2) as sim:
        with run_bench("-u", sim.url, "--json", "-", "--model", "sim-1") as process:
            wait_until(lambda: sim.stats.begun > 0)
            process.send_signal(signal.SIGINT)  # in the trial: nothing was measured
            process.communicate(timeout=60)
        assert process.returncode == 130
    asyncio.run(second_interrupt())


async def second_interrupt() -> None:
    async with Simulator(SimOptions(ttft=LONG)) as sim:
        stop, target = Stop(), make_target(sim.url, "/v1/chat/completions", "")
        piece = Slice(target, Ask("", "x", 9), Load(3, LONG), stop)
        async with open_session(target, settings_of("-u", sim.url)) as session:
            running = asyncio.create_task(piece.run(session, count(1)))
            await asyncio.to_thread(wait_until, lambda: sim.stats.begun == 3)
            stop.ask()
            await asyncio.wait([running], timeout=0)
            assert not running.done()
            stop.ask()
            tally = await running
    assert (tally.started, tally.abandoned, tally.failed) == (3, 3, 0)


def test_progress_is_drawn_on_a_terminal_and_leaves_it_clean(sim):
    command = [sys.executable, "-m", "zeroproxy", "bench", "-u", sim.url, "--duration", "1.5"]
    status, shown = shown_by(command)
    assert status == 0
    text = shown.decode()
    assert "8 at once" in text
    assert " answered · TTFT " in text
    assert "whole answer" in text
    assert "Traceback" not in text
