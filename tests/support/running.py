"""A stand-in for the worker, as server/apply_config.py needs it: an engine without endpoints."""

from types import SimpleNamespace

from tests.support.settings import LIMITS
from zeroproxy._fast.engine.engine import Engine
from zeroproxy.config.schema import Config
from zeroproxy.policy.tokens import Tokens
from zeroproxy.server.endpoints import EndpointSet
from zeroproxy.server.tls import Tls


class Running(SimpleNamespace):
    def share_keys(self, indices: dict[str, int]) -> None:
        self.keys = indices


def from_nothing(config: Config) -> Running:
    engine = Engine(limits=LIMITS)
    tls = Tls()
    endpoint_set = EndpointSet(engine, tls)
    endpoint_set.add_upstreams(config)
    return Running(
        engine=engine, endpoint_set=endpoint_set, tls=tls, tokens=Tokens(engine, lambda _: {}),
        config=None, keys={}, bound=[],
    )  # fmt: skip
