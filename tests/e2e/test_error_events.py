"""The official clients read the error event with which a cut stream ends (R8)."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai
import pytest
from openai.types.responses import ResponseErrorEvent

from tests.support.proxy_process import ProxyProcess, upstream_toml

WHY = "the inference server closed the connection before the response was complete"
FIRST = {
    "/v1/chat/completions": b'data: {"id":"c","object":"chat.completion.chunk","created":1,'
    b'"model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n',
    "/v1/responses": b'event: response.output_text.delta\ndata: {"type":'
    b'"response.output_text.delta","sequence_number":0,"item_id":"i","output_index":0,'
    b'"content_index":0,"delta":"x","logprobs":[]}\n\n',
    "/v1/messages": b'event: ping\ndata: {"type":"ping"}\n\n',
}


class Dying(BaseHTTPRequestHandler):
    """Answers GET well, and ends its conn behind the first event of a stream."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        first = FIRST[self.path.partition("?")[0]]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(first), first))
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def dying_server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def url():
    with dying_server() as server, ProxyProcess(upstream_toml(server)) as proxy:
        yield proxy.url


def test_openai_responses_gets_its_error_event(url):
    got = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        stream = client.responses.create(model="m", input="x", stream=True)
        with pytest.raises(openai.APIConnectionError):
            got.extend(iter(lambda: next(stream), None))
    first, last = got
    assert first.delta == "x"
    assert isinstance(last, ResponseErrorEvent)
    assert (last.type, last.sequence_number, last.message) == ("error", 1, WHY)
    assert (last.code, last.param) == ("server_error", None)


def test_openai_chat_raises_what_the_event_says(url):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(openai.APIError, match=WHY):
            list(stream)


def test_anthropic_raises_what_the_event_says(url):
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError, match=WHY) as caught:
            list(
                client.messages.create(
                    model="m", max_tokens=1, stream=True,
                    messages=[{"role": "user", "content": "x"}],
                )
            )  # fmt: skip
        assert caught.value.body["error"]["type"] == "api_error"
