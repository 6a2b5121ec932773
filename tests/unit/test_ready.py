"""Readiness of a worker: serving, an endpoint reached, the first conns opened."""

from typing import Any

from zeroproxy.config.load import parse_config
from zeroproxy.server.worker import Worker

CONFIG = parse_config('[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:1"]\n')


class Fake:
    """An engine with one endpoint, and its readiness."""

    def __init__(self) -> None:
        self.reached: tuple[bool, list[str]] = (True, [])
        self.is_warm = False
        self.snapshots = 0

    def state(self) -> tuple[bool, list[str]]:
        return self.reached

    def snapshot(self) -> dict[str, Any]:
        self.snapshots += 1
        endpoint = {"url": "http://127.0.0.1:1", "pool": {"is_warm": self.is_warm}}
        return {"upstreams": [{"endpoints": [endpoint]}]}


def started() -> tuple[Worker, Fake]:
    worker, fake = Worker(CONFIG), Fake()
    worker.phase = "serving"
    worker.engine = worker.readiness = fake  # type: ignore[assignment]
    return worker, fake


def test_ready_waits_for_the_first_conns():
    worker, fake = started()
    assert worker.ready() == (
        False, ["http://127.0.0.1:1: its first connections are being opened"],
    )  # fmt: skip
    fake.is_warm = True
    assert worker.ready() == (True, [])


def test_once_warm_it_is_not_probed_again():
    """A pool that is being filled anew is no reason to send traffic elsewhere."""
    worker, fake = started()
    fake.is_warm = True
    worker.ready()
    fake.is_warm = False
    assert worker.ready() == (True, [])
    assert fake.snapshots == 1


def test_an_endpoint_out_of_reach_is_said_first():
    worker, fake = started()
    fake.reached = (False, ["no route"])
    assert worker.ready() == (False, ["no route"])
    worker.phase = "draining"
    assert worker.ready() == (False, ["the proxy is draining"])


def test_a_worker_without_an_engine_is_not_ready():
    assert Worker(CONFIG).ready() == (False, ["the proxy is starting"])
