"""Real llama.cpp servers that are killed and stopped under load."""

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Semaphore

import pytest

from tests.support.outages import chat, endpoint, outcomes_of, post, see, until_up
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.real_servers import LlamaProcess, llama_files

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
INTERVAL = 2.0
HEALTH = f"{{ interval = {INTERVAL}, timeout = 0.9, wedge_after = 0 }}"
FOR_EVER, AT_ONCE = "slow_start = 86400.0", "slow_start = 0.0"
RUNNING = 4  # answers that run when the server dies; each server has 4 slots
LOOPS = 2  # callers that ask all the time
ASKED = 12


@pytest.fixture(scope="module")
def llamas() -> Iterator[tuple[LlamaProcess, LlamaProcess]]:
    files = llama_files()
    with LlamaProcess(*files) as one, LlamaProcess(*files) as other:
        yield one, other


@pytest.fixture
def proxy(llamas: tuple[LlamaProcess, LlamaProcess]) -> Iterator[ProxyProcess]:
    words = {"preset": '"llamacpp"', "health": HEALTH, "balance": '"round_robin"',
             "breaker": f"{{ {FOR_EVER}, open_for = 0.5 }}"}  # fmt: skip
    with ProxyProcess(upstream_toml(*(llama.url for llama in llamas), **words)) as process:
        yield process
        process.until_quiet()


def see_llama(proxy: ProxyProcess, tokens: int = 2, begun: Semaphore | None = None) -> str:
    """One request to the model, as its caller sees it (outages.see), with all of its tokens."""
    body = chat(tokens, model="smollm2", ignore_eos=True)
    return see(proxy, body, {"Content-Type": "application/json"}, begun)


@contextmanager
def load(proxy: ProxyProcess, pool: ThreadPoolExecutor) -> Iterator[list[Future[list[str]]]]:
    """Callers that ask until the block ends, and what they saw."""
    over = Event()

    def loop() -> list[str]:
        seen = []
        while not over.is_set():
            seen.append(see_llama(proxy))
        return seen

    try:
        yield (loops := [pool.submit(loop) for _ in range(LOOPS)])
    finally:
        over.set()
        for one in loops:
            one.result()


def all_of(loops: list[Future[list[str]]]) -> Counter[str]:
    return Counter(word for one in loops for word in one.result())


def failures(proxy: ProxyProcess, llama: LlamaProcess) -> int:
    """Answers of this server that its callers know to be lost."""
    return sum(n for outcome, n in outcomes_of(proxy, llama).items() if outcome != "ok")


def until_answered(proxy: ProxyProcess, llama: LlamaProcess, n: int) -> None:
    """Wait for so many more answers of this server."""
    before = outcomes_of(proxy, llama)["ok"]
    while outcomes_of(proxy, llama)["ok"] < before + n:
        assert see_llama(proxy, 1) == "done"


def share(proxy: ProxyProcess, llama: LlamaProcess) -> int:
    """How many of the next requests it gets."""
    before = outcomes_of(proxy, llama)["ok"]
    assert [see_llama(proxy, 1) for _ in range(ASKED)] == ["done"] * ASKED
    return outcomes_of(proxy, llama)["ok"] - before


def test_a_killed_llama_costs_only_the_answers_it_was_giving(llamas, proxy):
    killed, other = llamas
    with ThreadPoolExecutor(RUNNING + LOOPS) as pool:
        begun = Semaphore(0)
        asked = [pool.submit(see_llama, proxy, 64, begun) for _ in range(RUNNING)]
        for _ in asked:
            assert begun.acquire(timeout=60)
        with load(proxy, pool) as loops:
            killed.stop(signal.SIGKILL)
            until_up(proxy, killed, False)
            after = failures(proxy, killed)
            until_answered(proxy, other, ASKED)
        ends = Counter(one.result() for one in asked)
        assert set(ends) == {"done", "cut"}, ends
        assert ends["cut"] <= RUNNING // 2, "it had no more of them"
        seen = ends + all_of(loops)
        assert set(seen) <= {"done", "cut", "502"}, seen
        assert seen["cut"] + seen["502"] == after <= RUNNING // 2 + LOOPS, seen
        assert failures(proxy, killed) == after, "nobody fails once it is known to be out"
        assert failures(proxy, other) == 0
    killed.start()
    until_up(proxy, killed, True)
    begins = share(proxy, killed)
    assert begins <= ASKED // 4, "it begins with a small share"
    text = proxy.path.read_text()
    proxy.path.write_text(text.replace(FOR_EVER, AT_ONCE))
    post(proxy, "/-/reload")
    assert share(proxy, killed) > max(begins, ASKED // 3), "and has all of it in the end"


def test_a_stopped_llama_is_out_within_three_intervals_and_loses_nobody(llamas, proxy):
    stopped, other = llamas
    proxy.until(lambda s: endpoint(s, stopped)["health"]["well_in_a_row"] > 0)
    with ThreadPoolExecutor(LOOPS) as pool:
        with load(proxy, pool) as loops:
            proxy.until(lambda s: endpoint(s, stopped)["inflight"] > 0, 30)
            stopped.send(signal.SIGSTOP)
            found = until_up(proxy, stopped, False)
            assert 0 < found["health"]["out_after_s"] <= 3 * INTERVAL
            until_answered(proxy, other, ASKED)
            stopped.send(signal.SIGCONT)
            until_up(proxy, stopped, True)
        assert set(all_of(loops)) == {"done"}, (
            "who was on it when it stopped waits, and is answered"
        )
    assert failures(proxy, stopped) == failures(proxy, other) == 0
