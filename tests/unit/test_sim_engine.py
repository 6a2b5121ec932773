"""The simulator's scheduler, cranked by a clock of the test's own; and callers that leave."""

import asyncio
import json

import aiohttp
import pytest

from tests.support.until import until
from zeroproxy.sim import SimOptions, Simulator, Stats
from zeroproxy.sim.scheduler import Job, Scheduler


class Clock:
    """A loop's clock and timers, moved by hand."""

    def __init__(self):
        self.now = 0.0
        self.timers = []

    def time(self):
        return self.now

    def call_at(self, when, callback):
        timer = Timer(self, when, callback)
        self.timers.append(timer)
        return timer

    def run_until(self, when):
        while due := sorted((t for t in self.timers if t.when <= when), key=lambda t: t.when):
            self.timers.remove(due[0])
            self.now = max(self.now, due[0].when)
            due[0].callback()
        self.now = when


class Timer:
    def __init__(self, clock, when, callback):
        self.clock, self.when, self.callback = clock, when, callback

    def cancel(self):
        if self in self.clock.timers:
            self.clock.timers.remove(self)


class Engine:
    """A scheduler that steps once a second."""

    def __init__(self, **options):
        self.clock, self.stats = Clock(), Stats()
        options = {"tokens_per_second": 1.0, "ttft": 0.0, **options}
        self.scheduler = Scheduler(SimOptions(**options), self.stats, self.clock)

    def submit(self, *totals, prefill=0.0):
        job = Job(list(totals), prefill)
        self.scheduler.submit(job)
        return job


def test_each_step_gives_every_choice_one_token():
    engine = Engine()
    a, b = engine.submit(3), engine.submit(2, 2)
    engine.clock.run_until(0.5)
    assert (list(a.inbox), list(b.inbox)) == ([0], [0, 1])
    engine.clock.run_until(9)
    assert (list(a.inbox), list(b.inbox)) == ([0, 0, 0], [0, 1, 0, 1])
    assert (engine.stats.running, engine.stats.generated_tokens) == (0, 7)


def test_no_timer_is_set_while_nothing_runs():
    engine = Engine()
    assert engine.clock.timers == []
    engine.submit(1)
    assert len(engine.clock.timers) == 1
    engine.clock.run_until(1)
    assert engine.clock.timers == []


def test_the_first_token_of_a_lone_request_comes_when_its_prefill_is_over():
    engine = Engine()
    job = engine.submit(2, prefill=0.3)
    engine.clock.run_until(0.299)
    assert not job.inbox
    engine.clock.run_until(0.301)
    assert len(job.inbox) == 1
    engine.clock.run_until(1.299)
    assert len(job.inbox) == 1
    engine.clock.run_until(1.301)
    assert len(job.inbox) == 2


def test_a_prefill_joins_the_steps_of_those_that_run():
    engine = Engine()
    engine.submit(10)
    engine.clock.run_until(0.5)
    late = engine.submit(2, prefill=0.1)
    engine.clock.run_until(0.99)
    assert not late.inbox
    engine.clock.run_until(1.0)
    assert len(late.inbox) == 1


def test_a_request_is_prefilled_while_another_still_is():
    engine = Engine()
    engine.submit(1, prefill=5.0)
    quick = engine.submit(1, prefill=0.5)
    engine.clock.run_until(0.5)
    assert len(quick.inbox) == 1


def test_those_that_find_no_slot_wait_in_order():
    engine = Engine(max_running=2)
    jobs = [engine.submit(2) for _ in range(4)]
    assert (engine.stats.running, engine.stats.waiting) == (2, 2)
    engine.clock.run_until(1)
    assert [len(j.inbox) for j in jobs] == [2, 2, 0, 0]
    engine.clock.run_until(3)
    assert [len(j.inbox) for j in jobs] == [2, 2, 2, 2]
    assert engine.stats.peak_running == 2


def test_one_that_leaves_frees_its_slot_at_once():
    engine = Engine(max_running=1)
    gone, heir = engine.submit(100), engine.submit(1)
    engine.clock.run_until(0.5)
    engine.scheduler.leave(gone, finished=False)
    assert (engine.stats.running, engine.stats.waiting, engine.stats.aborted) == (1, 0, 1)
    engine.clock.run_until(1)
    assert len(heir.inbox) == 1


def test_one_that_leaves_the_line_is_never_run():
    engine = Engine(max_running=1)
    engine.submit(1)
    gone = engine.submit(1)
    engine.scheduler.leave(gone, finished=False)
    engine.clock.run_until(9)
    assert (list(gone.inbox), engine.stats.waiting) == ([], 0)


def test_a_late_step_does_not_shift_the_next_but_a_very_late_one_does():
    engine = Engine()
    job = engine.submit(9)
    engine.clock.run_until(0)
    engine.clock.now = 1.4
    engine.clock.run_until(1.4)
    assert len(job.inbox) == 2
    engine.clock.run_until(2.0)
    assert len(job.inbox) == 3
    engine.clock.now = 7.0
    engine.clock.run_until(7.0)
    assert len(job.inbox) == 4
    engine.clock.run_until(8.0)
    assert len(job.inbox) == 5


@pytest.mark.parametrize(
    "wrong", [{"tokens_per_second": 0}, {"max_running": 0}, {"min_length": 9, "max_length": 8}]
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        SimOptions(**wrong)


# ---------------------------------------------------------------- callers that leave


@pytest.mark.parametrize("streams", [True, False])
async def test_a_caller_that_leaves_frees_its_slot_for_the_next(streams):
    body = {"messages": [{"content": "x"}], "max_tokens": 1_000_000, "stream": streams}
    options = SimOptions(tokens_per_second=200.0, ttft=0.0, max_running=1)
    async with Simulator(options) as sim, aiohttp.ClientSession(sim.url) as http:
        asking = asyncio.ensure_future(http.post("/v1/chat/completions", json=body))
        await until(lambda: sim.stats.running == 1)
        queued = asyncio.ensure_future(
            http.post("/v1/chat/completions", json={**body, "max_tokens": 1})
        )
        await until(lambda: sim.stats.waiting == 1)
        if streams:
            response = await asking
            await response.content.readuntil(b"finish_reason")
            response.close()
        else:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        async with await queued as response:
            await response.read()
        await until(lambda: sim.stats.finished == 1)
        assert (sim.stats.aborted, sim.stats.running, sim.stats.waiting) == (1, 0, 0)


async def test_what_an_aborted_caller_was_sent_is_counted_as_sent():
    body = {"messages": [{"content": "one two"}], "max_tokens": 1_000_000, "stream": True}
    async with Simulator(SimOptions(tokens_per_second=500.0)) as sim:
        reader, writer = await asyncio.open_connection(*sim.url[7:].split(":"))
        data = json.dumps(body).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(data) + data)
        await until(lambda: sim.stats.completion_tokens >= 5)
        writer.write_eof()
        sent = (await reader.read()).count(b'"delta":{"content":')
        await until(lambda: sim.stats.aborted == 1)
        # The role chunk's delta begins with "role", so each content delta is one token.
        assert sim.stats.completion_tokens == sent
        assert sim.stats.prompt_tokens == 2
        assert sim.stats.generated_tokens - sent <= 1
        writer.close()
        await writer.wait_closed()


async def test_the_end_of_the_block_cuts_what_still_runs():
    body = {"messages": [{"content": "x"}], "max_tokens": 1_000_000, "stream": True}
    async with aiohttp.ClientSession() as http:
        async with Simulator(SimOptions(tokens_per_second=200.0)) as sim:
            response = await http.post(f"{sim.url}/v1/chat/completions", json=body)
            await until(lambda: sim.stats.completion_tokens > 1)
        with pytest.raises(aiohttp.ClientError):
            await response.read()
        assert (sim.stats.aborted, sim.stats.open_connections) == (1, 0)
