"""API keys through a real process: official clients, reloads under a stream, no secret shown."""

import json
import subprocess
import sys
import urllib.error
import urllib.request

import anthropic
import openai
import pytest

from tests.support.keys import digest, toml_key
from tests.support.proxy_process import ProxyProcess, upstream_toml

MESSAGES = [{"role": "user", "content": "say something"}]
ONE, TWO, OWN, TOKEN = "sk-first-key", "sk-second-key", "upstream-secret", "admin-secret"


class ProxyWithKeys(ProxyProcess):
    """A proxy with an admin token, an upstream key and a file of keys."""

    def __init__(self, sim, keys, **more):
        super().__init__("", **more)
        self.keys, self.token = self.path.with_name("keys.toml"), self.path.with_name("token")
        self.access = self.path.with_name("access.jsonl")
        self.own = self.path.with_name("upstream_key")
        self.keys.write_text(keys)
        self.token.write_text(TOKEN + "\n")
        self.own.write_text(OWN)
        self.path.write_text(
            f'[server]\nlisten = "127.0.0.1:{self.port}"\n'
            f'[admin]\nlisten = "127.0.0.1:{self.admin_port}"\ntoken_file = "{self.token}"\n'
            f'[auth]\nkeys_file = "{self.keys}"\n'
            f'[log]\naccess = "jsonl:{self.access}"\n'
            f'[metering]\nledger = "{self.ledger}"\n'
            + upstream_toml(sim.url, api_key_file=json.dumps(str(self.own)))
        )

    def ask_admin(self, path, token=TOKEN, method="GET"):
        """(status, body)"""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.admin_url + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def fetch(self, path):
        status, body = self.ask_admin(path)
        if status != 200:
            raise urllib.error.URLError(str(status))
        return body

    def reload(self, keys):
        self.keys.write_text(keys)
        status, body = self.ask_admin("/-/reload", method="POST")
        return status, json.loads(body)


def file_key(key, **more):
    return toml_key(key, "key", **more)


@pytest.fixture
def proxy(sim):
    keys = file_key(ONE, name="one", tenant="team", models=["sim-1"])
    with ProxyWithKeys(sim, keys) as process:
        yield process
        process.until_quiet()


def client(proxy, key):
    return openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=key, max_retries=0)


def claude(proxy, key):
    return anthropic.Anthropic(base_url=proxy.url, api_key=key, max_retries=0)


def chat(c, model="sim-1", tokens=3):
    return c.chat.completions.create(model=model, messages=MESSAGES, max_tokens=tokens)


def test_the_official_clients_are_let_in_and_kept_out(proxy):
    with client(proxy, ONE) as c:
        assert chat(c).usage.completion_tokens == 3
        assert c.models.list().data[0].id == "sim-1"
        with pytest.raises(openai.PermissionDeniedError):
            chat(c, model="sim-2")
    with client(proxy, "sk-wrong") as c:
        with pytest.raises(openai.AuthenticationError) as found:
            chat(c)
        assert found.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            c.models.list()
    with claude(proxy, ONE) as c:
        c.messages.create(model="sim-1", max_tokens=3, messages=MESSAGES)
    with claude(proxy, "wrong") as c, pytest.raises(anthropic.AuthenticationError):
        c.messages.create(model="sim-1", max_tokens=3, messages=MESSAGES)


def test_exhausted_quotas_are_rate_limits_to_the_clients(sim):
    keys = file_key(ONE, requests_per_minute=1) + file_key(TWO, tokens_per_minute=1)
    with ProxyWithKeys(sim, keys) as proxy:
        for key, kind in ((ONE, "requests"), (TWO, "tokens")):
            with client(proxy, key) as c:
                chat(c, tokens=50)
                proxy.until(lambda s: not s["counters"]["permits"])
                with pytest.raises(openai.RateLimitError) as found:
                    chat(c)
            assert found.value.type == kind
            assert int(found.value.response.headers["retry-after"]) >= 1
        with claude(proxy, ONE) as c, pytest.raises(anthropic.RateLimitError):
            c.messages.create(model="sim-1", max_tokens=3, messages=MESSAGES)
        text = proxy.fetch("/metrics").decode()
        assert (
            'zeroproxy_quota_refused_total{key="key1",quota="tokens",tenant="default"} 1.0' in text
        )


def test_keys_come_and_go_by_reload_while_a_stream_runs(proxy):
    with (
        client(proxy, ONE) as c,
        c.chat.completions.create(
            model="sim-1", messages=MESSAGES, stream=True, max_tokens=3000
        ) as chunks,
    ):
        next(iter(chunks))
        status, body = proxy.reload(file_key(TWO, tenant="others"))
        assert (status, body["changed"]) == (200, ["auth.key"])
        with pytest.raises(openai.AuthenticationError):
            chat(c)
        with client(proxy, TWO) as other:
            chat(other, tokens=2)
        assert sum(1 for _ in chunks) > 2000
    proxy.until(lambda s: {t["tenant"] for t in s["tokens"]} == {"team", "others"})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("[[key]]\nsha256 = 3\n", "keys.toml:2: key[0].sha256: expected `str`"),
        (f'\n[[key]]\nsha256 = "{ONE}"\n', "keys.toml:3: key[0].sha256: expected the 64 hex"),
        ("[[key]]\nname = 'a'\n", "keys.toml:1: key[0].sha256: is missing"),
        (file_key(ONE) + "rpm = 3\n", "keys.toml:3: key[0].rpm: unknown key"),
        (file_key(ONE) * 2, "keys.toml:4: key[1].sha256: is there twice"),
        (None, "keys.toml: auth.keys_file: cannot be read"),
    ],
)
def test_a_wrong_file_of_keys_leaves_the_old_ones_in_force(proxy, keys, says):
    if keys is None:
        proxy.keys.unlink()
        status, body = proxy.ask_admin("/-/reload", method="POST")
        body = json.loads(body)
    else:
        status, body = proxy.reload(keys)
    assert status == 422
    assert says in body["error"]["message"]
    assert ONE not in body["error"]["message"]
    with client(proxy, ONE) as c:
        chat(c)


def test_an_empty_file_of_keys_keeps_everybody_out(proxy):
    assert proxy.reload("")[0] == 200
    with client(proxy, ONE) as c, pytest.raises(openai.AuthenticationError):
        chat(c)


def test_the_whole_table_cannot_be_taken_away_while_it_runs(proxy):
    text = proxy.path.read_text()
    proxy.path.write_text(text.replace(f'[auth]\nkeys_file = "{proxy.keys}"\n', ""))
    status, body = proxy.ask_admin("/-/reload", method="POST")
    assert status == 422
    assert "auth: cannot change" in json.loads(body)["error"]["message"]
    with client(proxy, "x") as c, pytest.raises(openai.AuthenticationError):
        chat(c)


def test_every_admin_path_but_two_asks_for_the_token(proxy):
    for path in ("/", "/status", "/metrics", "/usage", "/nowhere"):
        for token in ("", "wrong", TOKEN + "x", TOKEN[:-1]):
            assert proxy.ask_admin(path, token)[0] == 401, path
    for path in ("/-/reload", "/-/drain", "/-/endpoint?url=x&drain=true"):
        assert proxy.ask_admin(path, "", "POST")[0] == 401
    for path in ("/healthz", "/readyz"):
        assert proxy.ask_admin(path, "")[0] == 200
    assert proxy.ask_admin("/status")[0] == 200
    proxy.token.write_text("another")
    assert proxy.ask_admin("/-/reload", method="POST")[0] == 200
    assert proxy.ask_admin("/status")[0] == 401
    assert proxy.ask_admin("/status", "another")[0] == 200
    proxy.token.write_text(TOKEN)
    assert proxy.ask_admin("/-/reload", "another", "POST")[0] == 200


def test_usage_is_the_tenants(proxy):
    with client(proxy, ONE) as c:
        chat(c, tokens=5)
    proxy.until(lambda s: s["metering"]["ledger"]["rows"] >= 1)
    body = json.loads(proxy.ask_admin("/usage?by=tenant")[1])
    assert [row["tenant"] for row in body["rows"]] == ["team"]


def test_no_secret_is_shown_anywhere(proxy, sim):
    with client(proxy, ONE) as c:
        chat(c)
    with client(proxy, "sk-unknown-key") as c, pytest.raises(openai.AuthenticationError):
        chat(c)
    proxy.ask_admin("/status", "wrong-admin-token")
    proxy.reload(file_key(ONE, name="one") + file_key(TWO))
    proxy.reload(f'[[key]]\nsha256 = "{TWO}"\n')
    proxy.until(lambda s: s["metering"]["ledger"]["rows"] >= 2)
    said = b"".join(
        [proxy.fetch(path) for path in ("/status", "/metrics", "/usage?by=tenant")]
        + [file.read_bytes() for file in (proxy.errors, proxy.access)]
        + [file.read_bytes() for file in proxy.ledger.parent.glob(proxy.ledger.name + "*")]
    )
    assert b"team" in said
    secrets = [ONE, TWO, OWN, TOKEN, "sk-unknown-key", "wrong-admin-token"]
    secrets += [digest(key).hex() for key in (ONE, TWO)]
    for secret in secrets:
        assert secret.encode() not in said, secret


def test_check_says_what_stands_open(sim, tmp_path):
    path = tmp_path / "proxy.toml"
    listen = '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "0.0.0.0:0"\ninsecure = true\n'
    path.write_text(listen + toml_key(ONE) + upstream_toml(sim.url))
    found, _ = run("check", "-c", str(path))
    assert "admin.insecure" in found and "whoever reaches 0.0.0.0:0 may drain" in found
    assert "1 keys of 1 tenants" in found


def run(*words):
    done = subprocess.run(
        [sys.executable, "-m", "zeroproxy", *words], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def test_a_new_key_and_its_lines_fit_each_other(sim):
    lines, shown = run("key", "--name", "ci", "--tenant", "t", "--model", "sim-1", "--rpm", "60")
    key = shown.rpartition(" ")[2].strip()
    assert key.startswith("zp-")
    assert key not in lines
    with ProxyProcess(lines + upstream_toml(sim.url)) as proxy:
        with client(proxy, key) as c:
            chat(c)
        proxy.until_quiet()
    assert run("key", "--in-file")[0].startswith("[[key]]\n")
