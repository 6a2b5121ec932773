"""Comments in silent streams, where they are for: real balancers that give up, official clients.

A long prefill is 2 s here, and the balancers wait for 1 s. The clients of npm are tried where Node
finds them (NODE_PATH, or a global installation)."""

import http.client
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import anthropic
import openai
import pytest

from tests.support.haproxy_server import HaproxyServer
from tests.support.nginx_server import NginxServer
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.sim_thread import SimThread

PREFILL, PATIENCE, EVERY = 2.0, "1s", 0.25
#: Servers send their head with the first token, or at once.
PROMPTS = {"late head": f"!fault=slow-head={PREFILL} say something", "early head": "say something"}
each_prompt = pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)


def ask(prompt: str) -> dict:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "sim-1", "max_tokens": 5, "stream": True, "messages": messages}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimThread]:
    with SimThread(ttft=PREFILL) as thread:
        yield thread


@pytest.fixture(scope="module")
def proxy(sim) -> Iterator[ProxyProcess]:
    with ProxyProcess(upstream_toml(sim.url), server=f"sse_keepalive = {EVERY}") as process:
        yield process
        process.until_quiet()


@pytest.fixture(scope="module")
def silent(sim) -> Iterator[ProxyProcess]:
    with ProxyProcess(upstream_toml(sim.url)) as process:
        yield process
        process.until_quiet()


def nginx(proxy: ProxyProcess, http_1_1: bool) -> NginxServer:
    lines = f"proxy_read_timeout {PATIENCE}; proxy_buffering off;"
    return NginxServer(proxy.url, lines + (" proxy_http_version 1.1;" if http_1_1 else ""))


BALANCERS = {
    "nginx": lambda proxy: nginx(proxy, http_1_1=False),
    "nginx 1.1": lambda proxy: nginx(proxy, http_1_1=True),
    "haproxy": lambda proxy: HaproxyServer(f"server s 127.0.0.1:{proxy.port}", timeout=PATIENCE),
}
each_balancer = pytest.mark.parametrize("name", BALANCERS)


def answer_through(port: int, prompt: str) -> tuple[int, bytes]:
    """Status, and a body that has come to its end."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        head = {"Content-Type": "application/json"}
        conn.request("POST", "/v1/chat/completions", json.dumps(ask(prompt)), head)
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


@each_balancer
def test_a_balancer_cuts_a_silent_prefill(silent, name):
    with BALANCERS[name](silent) as balancer:
        assert answer_through(balancer.port, PROMPTS["late head"])[0] == 504
        with pytest.raises(http.client.IncompleteRead):
            answer_through(balancer.port, PROMPTS["early head"])


@each_prompt
@each_balancer
def test_a_balancer_waits_for_a_prefill_with_comments(proxy, name, prompt):
    with BALANCERS[name](proxy) as balancer:
        status, body = answer_through(balancer.port, prompt)
    assert status == 200
    assert body.startswith(b": keep-alive\n\n: keep-alive\n\n")
    assert body.count(b'"content"') >= 5
    assert body.endswith(b"data: [DONE]\n\n")


# ---------------------------------------------------------------- official clients


@each_prompt
def test_the_openai_client_reads_past_comments(proxy, prompt):
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="k", max_retries=0) as client,
        client.chat.completions.create(**ask(prompt)) as chunks,
    ):
        text = [c.choices[0].delta.content for c in chunks if c.choices]
    assert "".join(t or "" for t in text)


@each_prompt
def test_the_anthropic_client_reads_past_comments(proxy, prompt):
    messages = ask(prompt)["messages"]
    with (
        anthropic.Anthropic(base_url=proxy.url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="sim-1", max_tokens=5, messages=messages) as stream,
    ):
        final = stream.get_final_message()
    assert final.usage.output_tokens == 5


def test_a_client_less_patient_than_the_prefill_waits_on(proxy, silent):
    """Its read timeout is one of silence."""
    patience = {"timeout": 1.0, "max_retries": 0, "api_key": "k"}
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", **patience) as client,
        client.chat.completions.create(**ask(PROMPTS["late head"])) as chunks,
    ):
        assert list(chunks)
    with (
        openai.OpenAI(base_url=f"{silent.url}/v1", **patience) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.chat.completions.create(**ask(PROMPTS["late head"]))


NEVER = "!fault=slow-head=600 say something"


@pytest.fixture(scope="module")
def breaking() -> Iterator[ProxyProcess]:
    """Its engine takes too long: first_byte comes before the first token."""
    with SimThread() as sim:
        timeouts = upstream_toml(sim.url, timeouts="{ first_byte = 1.0 }")
        with ProxyProcess(timeouts, server=f"sse_keepalive = {EVERY}") as process:
            yield process


def test_the_openai_client_raises_a_late_error(breaking):
    with (
        openai.OpenAI(base_url=f"{breaking.url}/v1", api_key="k", max_retries=0) as client,
        client.chat.completions.create(**ask(NEVER)) as chunks,
        pytest.raises(openai.APIError, match="did not answer in time"),
    ):
        list(chunks)


def test_the_anthropic_client_raises_a_late_error(breaking):
    messages = ask(NEVER)["messages"]
    with (
        anthropic.Anthropic(base_url=breaking.url, api_key="k", max_retries=0) as client,
        pytest.raises(anthropic.APIError, match="did not answer in time"),
        client.messages.stream(model="sim-1", max_tokens=5, messages=messages) as stream,
    ):
        stream.get_final_message()


# ---------------------------------------------------------------- npm

PROGRAM = """
const OpenAI = require("openai"), Anthropic = require("@anthropic-ai/sdk");
const [url, content] = process.argv.slice(1), messages = [{ role: "user", content }];
const options = { apiKey: "k", maxRetries: 0 };
(async () => {
  const openai = new OpenAI.OpenAI({ baseURL: url + "/v1", ...options });
  const chunks = await openai.chat.completions.create(
    { model: "sim-1", max_tokens: 5, stream: true, messages });
  let text = "";
  for await (const c of chunks) text += c.choices[0]?.delta.content ?? "";
  const anthropic = new Anthropic.Anthropic({ baseURL: url, ...options });
  const stream = anthropic.messages.stream({ model: "sim-1", max_tokens: 5, messages });
  const final = await stream.finalMessage();
  console.log(JSON.stringify({ text, tokens: final.usage.output_tokens }));
})().catch((error) => console.log(JSON.stringify({ error: error.message })));
"""


@pytest.fixture(scope="module")
def node():
    """Run PROGRAM against a URL; its findings."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("NO NODE: apt-get install nodejs npm")
    found = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
    paths = [os.environ.get("NODE_PATH", ""), found.stdout.strip()]
    env = {**os.environ, "NODE_PATH": os.pathsep.join(p for p in paths if p)}
    resolve = 'require.resolve("openai"); require.resolve("@anthropic-ai/sdk")'
    if subprocess.run(
        [program, "-e", resolve], env=env, capture_output=True, check=False
    ).returncode:
        pytest.skip("NO NPM CLIENTS: npm install -g openai @anthropic-ai/sdk")

    def run(url: str, prompt: str) -> dict:
        done = subprocess.run(
            [program, "-e", PROGRAM, url, prompt], env=env, capture_output=True, text=True,
            check=True, timeout=60,
        )  # fmt: skip
        return json.loads(done.stdout)

    return run


@each_prompt
def test_the_clients_of_npm_read_past_comments(proxy, node, prompt):
    found = node(proxy.url, prompt)
    assert found["tokens"] == 5
    assert found["text"]


def test_the_clients_of_npm_raise_a_late_error(breaking, node):
    assert "did not answer in time" in node(breaking.url, NEVER)["error"]


# ---------------------------------------------------------------- as an operator sees it


def test_the_record_has_the_real_status_and_the_metrics_count(breaking):
    before = breaking.status()["keepalive"]
    conn = http.client.HTTPConnection("127.0.0.1", breaking.port, timeout=30)
    conn.request("POST", "/v1/chat/completions", json.dumps(ask(NEVER)))
    answer = conn.getresponse()
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    conn.close()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert json.loads(cut.value.partial.rpartition(b"data: ")[2])["error"]["code"] == 504
    status = breaking.until_quiet()
    assert {r["status"] for r in status["requests"]} == {504}
    assert status["keepalive"]["early_heads"] == before["early_heads"] + 1
    assert status["keepalive"]["comments"] > before["comments"]
    assert b"zeroproxy_sse_early_heads_total" in breaking.fetch("/metrics")


def test_tcp_probes_silent_connections_on_both_sides(proxy):
    with urllib.request.urlopen(f"{proxy.url}/v1/models", timeout=30) as answer:
        assert answer.status == 200
    if shutil.which("ss") is None:
        pytest.skip("NO SS: apt-get install iproute2")
    conn = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    conn.request("GET", "/v1/models")
    conn.getresponse().read()
    found = subprocess.run(
        ["ss", "-tnop", "state", "established"], capture_output=True, text=True, check=True
    ).stdout
    conn.close()
    mine = [line for line in found.splitlines() if f"pid={proxy.pid}," in line]
    assert len([line for line in mine if "timer:(keepalive," in line]) >= 2
