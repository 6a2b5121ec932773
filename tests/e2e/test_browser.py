"""Pages of other origins in a real browser: Chromium, headless."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.keys import toml_key
from tests.support.proxy_process import ProxyProcess, upstream_toml

pytestmark = pytest.mark.timeout(300)
FIRST = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
REST = b'data: {"choices":[{"index":0,"delta":{"content":"two"}}]}\n\ndata: [DONE]\n\n'

PAGE = """<!doctype html><meta charset="utf-8"><title>t</title><script>
const PROXY = %s, found = {};
async function ask(key, more) {
  return await fetch(PROXY + "/v1/chat/completions", {method: "POST",
    headers: {"Authorization": "Bearer " + key, "Content-Type": "application/json",
              "X-Stainless-Lang": "js"},
    body: JSON.stringify({model: "m", stream: true, messages: [], ...more})});
}
async function stream() {
  const response = await ask("sk-page", {}), reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = decoder.decode((await reader.read()).value);
  found.first = text;
  await fetch("/seen", {method: "POST"});
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    text += decoder.decode(value);
  }
  found.text = text;
  found.id = response.headers.get("x-request-id");
}
async function refused(name, key) {
  const response = await ask(key, {});
  found[name] = {status: response.status, body: await response.json(),
                 later: response.headers.get("retry-after")};
}
(async () => {
  for (const [name, step] of [["stream", stream], ["key", () => refused("key", "sk-wrong")],
                              ["quota", () => refused("quota", "sk-page")]]) {
    try { await step(); } catch (error) { found[name + "_error"] = String(error); }
  }
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


class Handler(BaseHTTPRequestHandler):
    """Answers nothing in the log; a body is read whole."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, content: bytes, kind: str = "text/html") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port of a server with this handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Stage:
    """State that the page, its server and the inference server share."""

    def __init__(self) -> None:
        self.page = b""
        self.seen, self.done = threading.Event(), threading.Event()
        self.found: dict = {}

    def page_server(self) -> type[Handler]:
        stage = self

        class Pages(Handler):
            def do_GET(self) -> None:
                self.answer(stage.page)

            def do_POST(self) -> None:
                body = self.body()
                if self.path == "/seen":
                    stage.seen.set()
                else:
                    stage.found = json.loads(body)
                    stage.done.set()
                self.answer(b"ok")

        return Pages

    def inference_server(self) -> type[Handler]:
        """One event, and the rest once the page has read it; with CORS fields of its own."""
        stage = self

        class Inference(Handler):
            def do_GET(self) -> None:
                self.answer(b"{}", "application/json")

            def do_POST(self) -> None:
                self.body()
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                self.chunk(FIRST)
                stage.seen.wait(200)
                self.chunk(REST)
                self.chunk(b"")

            def chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

        return Inference


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        problem = "chromium is not installed"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(f"NOT TESTED: {problem}")
    return found


@contextmanager
def browsing(url: str, folder: str) -> Iterator[None]:
    """The browser with this page open."""
    command = [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-dev-shm-usage", f"--user-data-dir={folder}", "--remote-debugging-port=0", url,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def browse(tmp_path, origins: str) -> dict:
    """The findings of a page, and of its server's port in `origins` (a format)."""
    chromium()
    stage = Stage()
    with serving(stage.page_server()) as page, serving(stage.inference_server()) as inference:
        text = (
            f"[server.cors]\norigins = {origins.format(page=page)}\n"
            + toml_key("sk-page", requests_per_minute=1)
            + upstream_toml(f"http://127.0.0.1:{inference}")
        )
        with ProxyProcess(text) as proxy:
            stage.page = (PAGE % json.dumps(proxy.url)).encode()
            with browsing(f"http://127.0.0.1:{page}/", str(tmp_path / "profile")):
                assert stage.done.wait(120), "the page did not end"
            stage.seen.set()
            proxy.until_idle()
    return stage.found


@pytest.mark.parametrize("origins", ['["http://127.0.0.1:{page}"]', '["*"]'])
def test_a_page_of_another_origin_streams_with_a_key(tmp_path, origins):
    found = browse(tmp_path, origins)
    assert found["first"] == FIRST.decode()
    assert found["text"] == (FIRST + REST).decode()
    assert len(found["id"]) == 32
    assert found["key"]["status"] == 401
    assert "key" in found["key"]["body"]["error"]["message"]
    assert found["quota"]["status"] == 429
    assert int(found["quota"]["later"]) > 0
    assert not [name for name in found if name.endswith("_error")]


def test_a_page_of_an_origin_that_is_not_listed_reads_nothing(tmp_path):
    found = browse(tmp_path, '["https://app.example"]')
    errors = ("stream_error", "key_error", "quota_error")
    assert found == dict.fromkeys(errors, "TypeError: Failed to fetch")
