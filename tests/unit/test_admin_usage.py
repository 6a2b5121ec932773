"""GET /usage of the admin listener, over a ledger that was written by hand."""

import asyncio
import contextlib
import csv
import io
import threading

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.support.ledgers import new_ledger, record, write
from zeroproxy.admin import usage as admin_usage
from zeroproxy.admin.app import create_app

T0 = 1_793_523_600 * 10**9  # 2026-11-01T09:00:00Z


class Source:
    """Nothing but a ledger; the rest of a source is test_admin_app.py's."""

    def __init__(self, path: str) -> None:
        self.path = path

    def snapshot(self):
        return {}

    def ready(self):
        return True, []

    def drain(self):
        pass

    def ledger_path(self):
        return self.path


@pytest.fixture
async def source(tmp_path):
    path = tmp_path / "usage.sqlite"
    with contextlib.closing(new_ledger(path)) as ledger:
        write(ledger, [
            record(T0, model="a", tenant="x", tokens=(10, 5, 0, 0)),
            record(T0 + 60 * 10**9, model="b", tenant="x,\r\n", tokens=(1, 1, 0, 0)),
        ])  # fmt: skip
    return Source(str(path))


@pytest.fixture
async def client(source):
    async with TestClient(TestServer(create_app(source))) as found:
        yield found


async def test_it_is_the_report_of_the_command(client):
    response = await client.get("/usage")
    assert (response.status, response.content_type) == (200, "application/json")
    found = await response.json()
    assert found["by"] == ["model"]
    assert [(row["model"], row["total_tokens"]) for row in found["rows"]] == [("a", 15), ("b", 2)]
    assert found["totals"]["requests"] == 2


async def test_parameters_group_and_pick(client):
    response = await client.get(
        "/usage?by=model,tenant&model=b&since=2026-11-01T09:00:30Z&format=csv"
    )
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    body = (await response.read()).decode()
    (row,) = csv.DictReader(io.StringIO(body, newline=""))
    assert (row["model"], row["tenant"], row["requests"]) == ("b", "x,\r\n", "1")


async def test_an_offset_may_be_escaped_or_not(client):
    for since in ("2026-11-01T10:00:30+01:00", "2026-11-01T10:00:30%2B01:00"):
        found = await (await client.get(f"/usage?since={since}")).json()
        assert [row["model"] for row in found["rows"]] == ["b"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("by=nothing", "by"), ("by=", "by"), ("since=yesterday", "since"), ("until=", "until"),
        ("format=xml", "format"), ("modle=a", "modle"), ("by=model&by=day", "by"),
        ("since=1h&until=2h", "until"), ("ledger=/x", "ledger"),
    ],
)  # fmt: skip
async def test_a_bad_parameter_is_named(client, query, name):
    response = await client.get(f"/usage?{query}")
    assert response.status == 400
    error = (await response.json())["error"]
    assert (error["code"], error["parameter"]) == (400, name)
    assert error["message"].startswith(f"{name}: ")


async def test_more_rows_than_the_proxy_can_spare_time_for_are_refused(client, monkeypatch):
    monkeypatch.setattr(admin_usage, "MOST_ROWS", 1)
    assert (await client.get("/usage?by=upstream")).status == 200
    response = await client.get("/usage?by=model")
    error = (await response.json())["error"]
    assert (response.status, error["parameter"]) == (400, "by")
    assert "more than 1 rows" in error["message"]


async def test_without_a_ledger_it_is_a_sentence(client, source):
    source.path = ""
    response = await client.get("/usage?by=nothing")
    assert response.status == 404
    assert (await response.json())["error"]["message"] == (
        "no ledger is kept here; metering.ledger turns it on"
    )


async def test_a_source_that_knows_of_no_ledger_has_none():
    class Bare:
        snapshot, ready, drain = Source.snapshot, Source.ready, Source.drain

    async with TestClient(TestServer(create_app(Bare()))) as client:
        assert (await client.get("/usage")).status == 404


async def test_a_ledger_that_cannot_be_read_is_a_sentence(client, source):
    source.path += ".no"
    response = await client.get("/usage")
    assert response.status == 503
    assert "there is no ledger" in (await response.json())["error"]["message"]


async def test_the_loop_runs_on_while_the_ledger_is_read_and_one_reads_at_a_time(
    client, monkeypatch
):
    go_on, inside, most = threading.Event(), [], []
    real = admin_usage.usage

    def slow(*arguments):
        inside.append(1)
        most.append(len(inside))
        go_on.wait(60)
        inside.pop()
        return real(*arguments)

    monkeypatch.setattr(admin_usage, "usage", slow)
    asked = [asyncio.ensure_future(client.get("/usage")) for _ in range(3)]
    for _ in range(5):
        assert (await client.get("/healthz")).status == 200
    assert not any(each.done() for each in asked)
    go_on.set()
    assert [(await each).status for each in asked] == [200] * 3
    assert most == [1, 1, 1]
