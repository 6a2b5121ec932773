"""A collector: OTLP over HTTP on loopback, as the protocol demands, kept in memory."""

from __future__ import annotations

import gzip
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

POLL = 0.02  # seconds between two looks whether it shall end
ANSWER_LIMIT = 60  # seconds a test may wait for what must come


class Receiver:
    """`status` is what it answers; while `hold` is set it takes requests and sends no answer, or,
    with `drip`, sends a head that never ends."""

    def __init__(self) -> None:
        self.status = 200
        self.hold = threading.Event()
        self.drip = False
        self.release = threading.Event()
        self.requests: queue.Queue[tuple[dict[str, str], ExportTraceServiceRequest]] = queue.Queue()
        handler = type("Handler", (Handler,), {"receiver": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL,), daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def next_request(self) -> tuple[dict[str, str], ExportTraceServiceRequest]:
        return self.requests.get(timeout=ANSWER_LIMIT)

    def next_spans(self) -> list[Any]:
        _, request = self.next_request()
        return [s for r in request.resource_spans for c in r.scope_spans for s in c.spans]

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        fields = {name.lower(): value for name, value in self.headers.items()}
        receiver = self.receiver
        # Both as they are now: the test goes on as soon as it has the request.
        held, status = receiver.hold.is_set(), receiver.status
        if self.path != "/v1/traces" or fields["content-type"] != "application/x-protobuf":
            status = 400
        receiver.requests.put((fields, ExportTraceServiceRequest.FromString(body)))
        if held:
            self._say_nothing()
            return
        self.send_response(status)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _say_nothing(self) -> None:
        self.close_connection = True
        if self.receiver.drip:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
            while not self.receiver.release.wait(POLL):
                self.wfile.write(b".")
        self.receiver.release.wait()

    def log_message(self, *_: object) -> None:
        pass


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes of a span or a resource as a dict."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}
