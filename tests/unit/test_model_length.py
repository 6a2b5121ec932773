"""The length of an engine's model, for keys whose max_tokens is "model"."""

import pytest

from tests.support.keys import row
from tests.support.until import until
from tests.unit.test_discovery import ActiveEndpoint, FakeEngine, models, server
from zeroproxy.config.schema import Auth, Config, Upstream
from zeroproxy.policy.rotation import Rotation
from zeroproxy.policy.server_detection import Discovery
from zeroproxy.policy.socket_addresses import resolve


class LengthEngine(FakeEngine):
    def __init__(self):
        super().__init__()
        self.lengths = []

    def set_endpoint(self, index, *, usage_request=None, model_len=None):
        if model_len is not None:
            self.lengths.append((index, model_len))
        else:
            super().set_endpoint(index, usage_request=usage_request)


def listed(length):
    found = models("m")
    found["data"][0]["max_model_len"] = length
    return found


async def watched(engine, url, preset, max_tokens):
    """A discovery of one endpoint, for one key."""
    discovery = Discovery(engine, Rotation(engine))
    upstream = Upstream(name="u", endpoints=(url,), preset=preset)
    groups = [(upstream, [ActiveEndpoint(0, await resolve(url))])]
    auth = Auth(key=(row("k", max_tokens=max_tokens),))
    discovery.watch(groups, Config(upstream=(upstream,), auth=auth))
    return discovery


@pytest.mark.parametrize("preset", ["", "vllm"])
async def test_the_engine_gets_the_length_of_its_model(preset):
    engine = LengthEngine()
    async with server(listed(4096)) as url:
        discovery = await watched(engine, url, preset, "model")
        await until(lambda: engine.lengths)
        await discovery.stop()
    assert engine.lengths == [(0, 4096)]


async def test_with_a_preset_nobody_asks_unless_a_key_needs_it():
    engine, asked = LengthEngine(), []
    async with server(listed(4096), asked=asked) as url:
        discovery = await watched(engine, url, "vllm", 100)
        await discovery.stop()
    assert engine.lengths == asked == []


async def test_an_engine_that_comes_back_with_another_model():
    engine, lengths = LengthEngine(), [4096, 2048]
    async with server(lambda: listed(lengths.pop(0))) as url:
        discovery = await watched(engine, url, "vllm", "model")
        await until(lambda: len(engine.lengths) == 1)
        discovery.begin_anew(0)
        await until(lambda: len(engine.lengths) == 2)
        await discovery.stop()
    assert engine.lengths == [(0, 4096), (0, 2048)]
