"""Presets fill in what is left out, and nothing else."""

from typing import get_args

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.config.presets import PRESETS
from zeroproxy.config.schema import PresetName, Upstream
from zeroproxy.errors import ConfigError
from zeroproxy.policy.wedge import counters_in


def upstream(more: str) -> Upstream:
    text = f'[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:1"]\n{more}\n'
    return parse_config(text).upstream[0]


def test_the_names_are_those_of_the_configuration():
    assert set(get_args(PresetName)) == set(PRESETS)


@pytest.mark.parametrize(
    ("preset", "path"),
    [("", "/health"), ("vllm", "/health"), ("tgi", "/health"), ("sglang", "/v1/models"),
     ("llamacpp", "/health"), ("fastchat", "/v1/models"), ("ollama", "/api/version"),
     ("ktransformers", "/v1/models"), ("openai", "/v1/models")],
)  # fmt: skip
def test_each_knows_its_probe(preset, path):
    assert upstream(f'preset = "{preset}"').health.path == path


def test_what_is_written_wins():
    found = upstream('preset = "sglang"\nhealth = { path = "/health", interval = 9.0 }')
    assert (found.health.path, found.health.interval) == ("/health", 9.0)
    found = upstream('preset = "llamacpp"\npool = { max_idle = 9 }')
    assert found.pool.max_idle == 9
    assert upstream('preset = "llamacpp"').pool.max_idle == 2
    assert upstream('preset = "vllm"\npool = { prewarm = 0 }').pool.prewarm == 0
    assert upstream('preset = "llamacpp"').pool.idle_timeout == upstream("").pool.idle_timeout


@pytest.mark.parametrize(
    ("preset", "pool", "warm", "idle"),
    [("vllm", "", 8, 256), ("sglang", "", 8, 256), ("tgi", "", 8, 256), ("llamacpp", "", 0, 2),
     ("openai", "", 0, 256), ("vllm", "max_idle = 4", 4, 4), ("vllm", "max_idle = 0", 0, 0),
     ("llamacpp", "prewarm = 5", 5, 5), ("llamacpp", "prewarm = 1", 1, 2)],
)  # fmt: skip
def test_what_is_kept_warm_never_contradicts_what_is_written(preset, pool, warm, idle):
    found = upstream(f'preset = "{preset}"\npool = {{ {pool} }}').pool
    assert (found.prewarm, found.max_idle) == (warm, idle)


def test_what_is_written_in_contradiction_is_refused():
    with pytest.raises(ConfigError, match=r"prewarm: is larger than pool\.max_idle"):
        upstream('preset = "vllm"\npool = { prewarm = 3, max_idle = 2 }')


def test_an_empty_path_stays_empty():
    assert upstream('preset = "ollama"\nhealth = { path = "" }').health.path == ""


@pytest.mark.parametrize("preset", [name for name, p in PRESETS.items() if p.counters])
def test_counters_are_summed_over_labels_and_the_rest_is_left_out(preset):
    known = PRESETS[preset].counters[0]
    page = f'{known}{{a="1"}} 2\n{known}{{a="2"}} 3\nother_total 9\n{known}{{a="3"}} NaN\n'
    assert counters_in(page, PRESETS[preset]) == {known: 5.0}


@pytest.mark.parametrize("page", ["", "<html>", "vllm:generation_tokens_total oops\n", "\0" * 99])
def test_a_page_that_is_none_says_nothing(page):
    assert counters_in(page, PRESETS["vllm"]) == {}


def test_ollama_gets_its_own_name_as_host():
    assert upstream('preset = "ollama"').host == "endpoint"
    assert upstream('preset = "ollama"\nhost = "caller"').host == "caller"
    assert upstream('preset = "vllm"').host == "caller"
    for good in ("models.internal", "models.internal:80", "10.0.0.1", "[::1]", "[::1]:8000"):
        assert upstream(f'host = "{good}"').host == good
    for bad in ("a b", "::1", ":80", "a:b", "a/b", "a:99999", ""):
        with pytest.raises(ConfigError, match=r"upstream\[0\]\.host"):
            upstream(f'host = "{bad}"')
