"""The load that a server reports: the gauges of each kind, and the servers that are read."""

import msgspec
import pytest

from tests.support.until import until
from tests.support.ward import Ward
from zeroproxy._fast.engine.settings_types import LOAD_MOST
from zeroproxy.config.presets import PRESETS
from zeroproxy.policy.reported_load import load_in

numbers = msgspec.structs.astuple

PAGES = {
    "vllm": (
        "# HELP vllm:num_requests_running Running\n# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 4.0\n'
        'vllm:num_requests_waiting{engine="0",model_name="m"} 2.0\n'
        'vllm:num_requests_waiting{engine="1",model_name="m"} 0.0\n'
        'vllm:num_requests_waiting_by_reason{engine="0",model_name="m"} 9.0\n'
        'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\n'
        'vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5\n',
        (7.0, 2.0, 0.5, 6.0),
    ),
    "sglang": (
        'sglang:num_running_reqs{tp_rank="0"} 5.0\nsglang:num_queue_reqs{tp_rank="0"} 1.0\n'
        'sglang:token_usage{tp_rank="0"} 0.75\n',
        (5.0, 1.0, 0.75, 6.0),
    ),
    "tgi": ("tgi_queue_size 4\ntgi_batch_current_size 8\n", (8.0, 4.0, -1.0, 6.0)),
    "llamacpp": (
        "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n",
        (2.0, 1.0, -1.0, 6.0),
    ),
}


@pytest.mark.parametrize("kind", PAGES)
def test_the_gauges_of_each_kind_of_server_are_read(kind):
    page, expected = PAGES[kind]
    assert numbers(load_in(page, PRESETS[kind], 6.0)) == expected


@pytest.mark.parametrize("value", ["+Inf", "1e300"])
def test_a_number_that_no_server_has_is_cut(value):
    page = (
        f"vllm:num_requests_running {value}\nvllm:num_requests_waiting {value}\n"
        f"vllm:kv_cache_usage_perc {value}\n"
    )
    assert numbers(load_in(page, PRESETS["vllm"], 6.0)) == (LOAD_MOST, LOAD_MOST, LOAD_MOST, 6.0)


def test_an_older_name_of_the_cache_is_known():
    page = "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.5\n"
    assert numbers(load_in(page, PRESETS["vllm"], 6.0)) == (1.0, 0.0, 0.5, 6.0)


@pytest.mark.parametrize(
    "page", ["", "no metrics", "vllm:num_requests_waiting 3\n", "vllm:num_requests_running NaN\n"]
)
def test_a_page_that_does_not_say_what_runs_says_nothing(page):
    assert load_in(page, PRESETS["vllm"], 6.0) is None


async def test_only_fastest_asks_and_what_is_said_lasts_three_intervals():
    async with Ward() as ward:
        ward.server.pages[b"/metrics"] = PAGES["vllm"][0].encode()
        ward.watch(preset='"vllm"')
        await ward.rounds(3)
        assert b"/metrics" not in ward.server.asked
        ward.watch(preset='"vllm"', balance='"fastest"')
        await until(lambda: len(ward.engine.loads) > 1)
        assert numbers(ward.engine.loads[0]) == (7.0, 2.0, 0.5, pytest.approx(0.15))
        ward.watch(preset='"vllm"', balance='"round_robin"')
        await ward.rounds(1)
        asked = ward.server.asked.count(b"/metrics")
        await ward.rounds(3)
        assert ward.server.asked.count(b"/metrics") == asked


async def test_a_server_is_asked_for_what_it_says_it_is():
    async with Ward("llamacpp") as ward:
        ward.server.pages[b"/metrics"] = PAGES["llamacpp"][0].encode()
        ward.watch(balance='"fastest"')
        await until(lambda: len(ward.engine.loads) > 0)
        assert numbers(ward.engine.loads[0])[:3] == (2.0, 1.0, -1.0)


async def test_a_server_without_the_page_is_well_all_the_same():
    async with Ward() as ward:
        ward.watch(preset='"vllm"', balance='"fastest"')
        await until(lambda: ward.server.asked.count(b"/metrics") > 1)
        assert ward.seen()["up"]
        assert not ward.engine.loads
