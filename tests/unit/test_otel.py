"""Records become spans at a collector; a collector that fails costs spans and nothing else."""

import socket
import subprocess
import sys

import pytest

from tests.support.otlp_receiver import Receiver, plain
from tests.support.records import FakeEngine
from zeroproxy._version import __version__
from zeroproxy.config.schema import Otel
from zeroproxy.errors import ConfigError
from zeroproxy.metering.flusher import Flusher
from zeroproxy.metering.otel.sink import OtelSink, open_otel

BEGAN = 1_760_000_000_123_456_789
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = "00f067aa0ba902b7"
SHORT = 0.2  # seconds: the limit where a collector is meant to fail
AMPLE = 60  # seconds: the limit where it is not, however busy the machine
SECRET = "Bearer k-123456"


def record(**changes):
    """A record as the flusher hands it on: a streamed chat that went well."""
    return {
        "serial": 7, "id": "00000000000000aa-7", "count": 1, "time_ns": BEGAN,
        "queue_ns": 250_000_000, "connect_ns": 1_000_000, "ttft_ns": 500_000_000,
        "total_ns": 2_000_000_001, "gap_mean_ns": 1, "gap_max_ns": 2, "bytes_in": 100,
        "bytes_out": 9000, "events": 12, "status": 200, "tried": 1, "upstream": "vllm",
        "endpoint": "http://127.0.0.1:8000", "outcome": "ok", "method": "POST",
        "exactness": "exact", "path": "/v1/chat/completions", "model": "qwen",
        "request_id": "req-1", "tenant": "team-a", "finish": "done", "trace_id": TRACE,
        "span_id": SPAN, "parent_span_id": PARENT, "streamed": True, "prompt_tokens": 11,
        "completion_tokens": 22, "cached_tokens": 3, "reasoning_tokens": 4,
    } | changes  # fmt: skip


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def dead_url():
    """A port nobody listens on, for as long as the test has it bound."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces"


def export(receiver, batch, **config):
    """(the requests that the collector received for one batch, the sink, closed)."""
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=AMPLE, **config))
    sink.write(batch)
    sink.close()
    return receiver.next_request(), sink


def spans_of(request):
    return [s for r in request.resource_spans for c in r.scope_spans for s in c.spans]


def adds_up(state, written):
    kept = state["queued"] + state["sent"] + state["dropped"]
    assert state["dropped"] == state["undelivered"] + state["no_room"]
    assert kept + state["unsampled"] == written


def test_a_span_carries_the_records_ids_and_times(receiver):
    (_, request), sink = export(receiver, [record()])
    (span,) = spans_of(request)
    assert span.trace_id.hex() == TRACE
    assert span.span_id.hex() == SPAN
    assert span.parent_span_id.hex() == PARENT
    assert span.start_time_unix_nano == BEGAN
    assert span.end_time_unix_nano == BEGAN + 2_000_000_001
    assert span.kind == span.SPAN_KIND_SERVER
    assert span.name == "chat qwen"
    assert span.status.code == span.status.STATUS_CODE_UNSET
    assert span.flags & 0x300 == 0x300  # the parent is known to be remote
    assert sink.state()["sent"] == 1


def test_a_span_carries_the_conventions_attributes(receiver):
    (_, request), _ = export(receiver, [record()])
    (span,) = spans_of(request)
    assert plain(span.attributes) == {
        "http.request.method": "POST", "url.path": "/v1/chat/completions",
        "http.response.status_code": 200, "server.address": "127.0.0.1", "server.port": 8000,
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "qwen",
        "gen_ai.response.model": "qwen", "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 22, "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 4, "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.5, "zeroproxy.outcome": "ok",
        "zeroproxy.exactness": "exact", "zeroproxy.tenant": "team-a",
        "zeroproxy.request_id": "req-1", "zeroproxy.upstream": "vllm", "zeroproxy.finish": "done",
        "zeroproxy.tried": 1, "zeroproxy.events": 12, "zeroproxy.record_id": "00000000000000aa-7",
        "zeroproxy.queue.duration": 0.25, "zeroproxy.connect.duration": 0.001,
    }  # fmt: skip


def test_the_resource_says_who_it_is(receiver):
    (_, request), _ = export(receiver, [record()], service_name="edge")
    resource = plain(request.resource_spans[0].resource.attributes)
    assert resource["service.name"] == "edge"
    assert resource["service.version"] == __version__
    assert resource["service.instance.id"]
    assert request.resource_spans[0].scope_spans[0].scope.name == "zeroproxy"


def test_batches_are_compressed_and_carry_the_headers(receiver):
    (fields, _), _ = export(receiver, [record()], headers={"Authorization": SECRET})
    assert fields["content-encoding"] == "gzip"
    assert fields["authorization"] == SECRET


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"outcome": "upstream/waiting/timeout", "status": 504}, True),
        ({"outcome": "ourselves/queued/overload", "status": 503}, True),
        ({"outcome": "downstream/relaying/closed"}, False),
        ({"outcome": "downstream/head/malformed", "status": 400}, False),
    ],
)
def test_only_what_the_operator_can_mend_is_an_error(receiver, changes, failed):
    (_, request), _ = export(receiver, [record(**changes)])
    (span,) = spans_of(request)
    assert (span.status.code == span.status.STATUS_CODE_ERROR) is failed
    assert plain(span.attributes)["error.type"] == changes["outcome"]


def test_a_record_without_a_trace_begins_one(receiver):
    untraced = record(parent_span_id=PARENT, trace_id="", span_id="")
    bare = {k: v for k, v in record().items() if k not in ("trace_id", "span_id", "streamed")}
    broken = record(trace_id="g" * 32, span_id="0" * 16, parent_span_id="short")
    (_, request), _ = export(receiver, [untraced, bare, broken])
    spans = spans_of(request)
    assert len({s.trace_id for s in spans}) == len({s.span_id for s in spans}) == 3
    assert all(any(s.trace_id) and any(s.span_id) and not s.parent_span_id for s in spans)


def test_the_callers_decision_goes_before_the_share(receiver):
    kept, left = "0" * 31 + "1", "0" * 16 + "f" * 16
    batch = [
        record(trace_id=kept),
        record(trace_id=left),
        record(trace_id=left, trace_sampled=True, span_id="1" * 16),
        record(trace_id=kept, trace_sampled=False),
    ]
    (_, request), sink = export(receiver, batch, sample=0.5)
    assert [s.trace_id.hex() for s in spans_of(request)] == [kept, left]
    assert sink.state()["unsampled"] == 2
    adds_up(sink.state(), 4)


def test_a_record_that_stands_for_many_is_no_span(receiver):
    (_, request), sink = export(receiver, [record(outcome="overflow", count=40), record()])
    assert len(spans_of(request)) == 1
    assert sink.state()["summed"] == 40


def test_ten_thousand_spans_arrive_once_each(receiver):
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=AMPLE), queue_max=10_000)
    for start in range(0, 10_000, 1000):
        sink.write([record(span_id=f"{n + 1:016x}") for n in range(start, start + 1000)])
    sink.close()
    seen = []
    while len(seen) < 10_000:
        seen += [s.span_id.hex() for s in receiver.next_spans()]
    assert sorted(seen) == [f"{n + 1:016x}" for n in range(10_000)]
    assert sink.state() == {
        "queued": 0, "sent": 10_000, "undelivered": 0, "no_room": 0, "dropped": 0,
        "unsampled": 0, "summed": 0, "failing": False,
    }  # fmt: skip


def test_the_flusher_takes_it_as_a_sink(receiver):
    engine = FakeEngine()
    engine.ring.append(record(serial=1))
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=AMPLE))
    flusher = Flusher(engine, None, [("otel", sink)])
    flusher.start()
    flusher.stop()
    assert [s.name for s in receiver.next_spans()] == ["chat qwen"]


# ---------------------------------------------------------------- collectors that fail


def test_a_silent_collector_holds_up_neither_write_nor_close(receiver):
    receiver.hold.set()
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=SHORT), queue_max=8)
    sink.write([record()] * 8)
    receiver.next_request()  # the first batch has left the queue, and no answer will come
    sink.write([record()] * 100)
    sink.close()
    assert not receiver.release.is_set()
    state = sink.state()
    assert state["sent"] == 0
    assert state["dropped"] == 108
    adds_up(state, 108)


@pytest.mark.timeout(25)  # the SDK by itself would wait for 30 seconds
def test_a_collector_that_drips_does_not_hold_up_close(receiver):
    receiver.drip = True
    receiver.hold.set()
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=SHORT), queue_max=8)
    sink.write([record()] * 8)
    receiver.next_request()
    sink.close()
    assert sink.state()["undelivered"] == 8
    adds_up(sink.state(), 8)


def test_spans_that_do_not_fit_are_counted_while_the_collector_is_silent(receiver):
    receiver.hold.set()
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=AMPLE), queue_max=8)
    sink.write([record()] * 8)
    receiver.next_request()
    sink.write([record()] * 100)
    state = sink.state()
    assert (state["queued"], state["no_room"]) == (16, 92)
    adds_up(state, 108)
    receiver.hold.clear()
    receiver.release.set()  # the connection breaks; the library sends the batch again
    sink.close()
    assert sink.state()["sent"] == 16


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_a_collector_that_refuses_is_reported_once(receiver, caplog, status):
    receiver.status = status
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=SHORT), queue_max=4)
    sink.write([record()] * 4)
    receiver.next_request()
    sink.write([record()] * 2)
    sink.close()
    state = sink.state()
    assert (state["sent"], state["dropped"], state["failing"]) == (0, 6, True)
    assert caplog.text.count("takes no spans") == 1


def test_a_collector_that_comes_back_is_served_again(receiver, caplog):
    receiver.status = 400
    sink = OtelSink(Otel(endpoint=receiver.url, timeout=AMPLE), queue_max=2)
    sink.write([record()] * 2)
    receiver.next_request()
    receiver.status = 200
    sink.write([record()] * 2)
    sink.close()
    assert (sink.state()["sent"], sink.state()["undelivered"]) == (2, 2)
    assert "takes spans again" in caplog.text


def test_a_collector_that_is_down_raises_nothing_and_tells_no_secret(dead_url, caplog):
    config = Otel(endpoint=dead_url, timeout=SHORT, headers={"authorization": SECRET})
    sink = OtelSink(config)
    sink.write([record()] * 3)
    sink.close()
    sink.close()
    sink.write([record()])
    state = sink.state()
    assert (state["sent"], state["undelivered"], state["no_room"]) == (0, 3, 1)
    said = caplog.text
    assert dead_url in said
    assert "3 spans were dropped" in said
    assert SECRET not in said + repr(config)


# ---------------------------------------------------------------- the entry point


def test_it_is_off_unless_an_endpoint_is_set():
    assert open_otel(Otel()) is None


def test_it_opens_where_an_endpoint_is_set(receiver):
    sink = open_otel(Otel(endpoint=receiver.url))
    assert isinstance(sink, OtelSink)
    sink.close()


def test_without_the_packages_they_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(ConfigError, match=r"otel\.endpoint: .*pip install 'opentelemetry-exporter"):
        open_otel(Otel(endpoint="http://127.0.0.1:4318/v1/traces"))


def test_nothing_of_opentelemetry_is_imported_while_it_is_off():
    code = (
        "import sys; from zeroproxy.config.schema import Otel;"
        "from zeroproxy.metering.otel import sink as otel;"
        "assert otel.open_otel(Otel()) is None;"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
