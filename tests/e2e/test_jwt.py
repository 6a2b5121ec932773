"""Tokens end to end: a real issuer's set of keys, rotated, lost and found; official clients."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import aiohttp
import openai
import pytest
from aiohttp import web

from tests.support.issuers import AUDIENCE, SigningKey, key_set
from tests.support.keys import toml_key
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.until import until
from zeroproxy.commands.check import check
from zeroproxy.commands.source import Source
from zeroproxy.config.load import parse_config
from zeroproxy.embed import Proxy
from zeroproxy.errors import ConfigError
from zeroproxy.policy import key_sets

ISSUER = "https://issuer.test"


class Issuer:
    """An issuer's HTTP server. `keys`: of its set; `status`: of its answer."""

    def __init__(self, *keys):
        self.keys, self.status, self.n_asked = list(keys), 200, 0

    async def answer(self, _):
        self.n_asked += 1
        if self.status == 301:
            return web.Response(status=301, headers={"Location": "/elsewhere"})
        return web.Response(body=key_set(*self.keys), status=self.status)

    @asynccontextmanager
    async def serve(self):
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
        finally:
            await runner.cleanup()


def jwt_toml(jwks, **more):
    lines = ["[[auth.jwt]]", f'issuer = "{ISSUER}"', f'audience = "{AUDIENCE}"', f'jwks = "{jwks}"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    return "\n".join(lines) + "\n"


def config(sim, *tables):
    head = '[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = ""\n[metering]\nledger = ""\n'
    return parse_config(head + upstream_toml(sim.url) + "".join(tables))


async def ask(proxy, token):
    """Status of GET /v1/models."""
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{proxy.listen[0]}/v1/models", headers=headers) as answer:
            await answer.read()
            return answer.status


@pytest.fixture
def at_once(monkeypatch):
    """Unknown keys may cause a reading at any time."""
    monkeypatch.setattr(key_sets, "UNKNOWN_EVERY", 0.0)


def state(proxy):
    return proxy.snapshot()["auth"]["jwt"]


async def test_a_token_is_verified_once_and_counts_for_its_tenant(sim):
    key = SigningKey()
    issuer = Issuer(key)
    async with issuer.serve() as url:
        terms = {"tenant": "claim:org", "requests_per_minute": 5}
        async with Proxy(config(sim, jwt_toml(url, **terms), toml_key("k"))) as proxy:
            token = key.sign(org="red")
            assert [await ask(proxy, token) for _ in range(3)] == [200] * 3
            assert await ask(proxy, "k") == 200
            assert await ask(proxy, key.sign(org="red", jti="another")) == 200
            assert await ask(proxy, SigningKey().sign(org="red")) == 401
            found = state(proxy)
            assert (found["verified"], found["callers"]) == (2, 1)
            assert proxy.snapshot()["auth"]["tokens"]["questions"] == 3
            quotas = {q["tenant"]: q["used"] for q in proxy.snapshot()["auth"]["quotas"]}
            assert quotas == {"red": 4}, "both tokens are one caller"
            assert [await ask(proxy, token) for _ in range(2)] == [200, 429]
            shown = json.dumps(proxy.snapshot())
            assert token not in shown and token.split(".")[2] not in shown


async def test_many_at_once_cost_one_question(sim):
    key = SigningKey()
    async with Issuer(key).serve() as url, Proxy(config(sim, jwt_toml(url))) as proxy:
        token = key.sign()
        assert set(await asyncio.gather(*(ask(proxy, token) for _ in range(50)))) == {200}
        assert state(proxy)["verified"] <= 2


async def test_a_rotated_key_is_found_and_one_that_is_gone_ends_its_tokens(sim, at_once):
    old, new = SigningKey(kid="old"), SigningKey("RS256", kid="new")
    issuer = Issuer(old)
    async with issuer.serve() as url, Proxy(config(sim, jwt_toml(url))) as proxy:
        token = old.sign()
        assert await ask(proxy, token) == 200
        issuer.keys = [old, new]
        assert await ask(proxy, new.sign()) == 200
        assert await ask(proxy, token) == 200
        issuer.keys = [new]
        assert await ask(proxy, SigningKey(kid="nobody's").sign()) == 401, "the set is read for it"
        assert await ask(proxy, token) == 401
        assert await ask(proxy, new.sign()) == 200


async def test_without_the_issuer_old_keys_stay_and_unknown_ones_are_503(sim, at_once):
    key = SigningKey()
    issuer = Issuer(key)
    issuer.status = 500
    async with issuer.serve() as url, Proxy(config(sim, jwt_toml(url))) as proxy:
        assert await ask(proxy, key.sign()) == 503
        assert state(proxy)["issuers"][0]["error"] == "returned 500"
        for status in (301, 404):
            issuer.status = status
            assert await ask(proxy, key.sign()) == 503
        issuer.status = 200
        assert await ask(proxy, key.sign()) == 200
        issuer.status = 500
        assert await ask(proxy, SigningKey(kid="other").sign()) == 503
        assert await ask(proxy, key.sign(jti="2")) == 200


async def test_unknown_keys_do_not_flood_the_issuer(sim):
    issuer = Issuer(SigningKey())
    async with issuer.serve() as url, Proxy(config(sim, jwt_toml(url))) as proxy:
        await until(lambda: state(proxy)["issuers"][0]["keys"])
        found = [await ask(proxy, SigningKey(kid=f"k{n}").sign()) for n in range(5)]
        assert set(found) == {503}, "the set may be old"
        assert issuer.n_asked == 1


async def test_a_reload_brings_other_issuers_and_takes_tokens_away(sim, tmp_path, at_once):
    one, two = SigningKey(), SigningKey("EdDSA")
    path = tmp_path / "jwks"
    path.write_bytes(key_set(one))
    before = config(sim, jwt_toml(path), toml_key("k"))
    async with Proxy(before) as proxy:
        token = one.sign()
        assert await ask(proxy, token) == 200
        assert await proxy.reload(config(sim, jwt_toml(path), toml_key("k", priority=1)))
        assert await ask(proxy, token) == 200
        assert proxy.snapshot()["auth"]["tokens"]["questions"] == 1, "that verdict is kept"
        path.write_bytes(key_set(two))
        changed = await proxy.reload(config(sim, jwt_toml(path, leeway=0.0), toml_key("k")))
        assert "auth.jwt" in changed
        assert await ask(proxy, token) == 401
        assert await ask(proxy, two.sign()) == 200
        await proxy.reload(config(sim, toml_key("k")))
        assert await ask(proxy, two.sign()) == 401
        assert await ask(proxy, "k") == 200


@pytest.mark.parametrize("text", [None, "{}", "secret"])
async def test_a_file_that_is_no_set_stops_the_start(sim, tmp_path, text):
    path = tmp_path / "jwks"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"auth\.jwt\.jwks") as error:
        await Proxy(config(sim, jwt_toml(path))).start()
    assert "secret" not in str(error.value)


async def test_a_verdict_ends_with_its_token(sim, tmp_path):
    key = SigningKey()
    path = tmp_path / "jwks"
    path.write_bytes(key_set(key))
    async with Proxy(config(sim, jwt_toml(path, leeway=0.0))) as proxy:
        token = key.sign(exp=time.time() + 2)
        assert await ask(proxy, token) == 200
        await asyncio.sleep(2.1)
        assert await ask(proxy, token) == 401
        assert state(proxy)["refused"]["time"] == 1


def test_the_official_client_and_the_ledger(sim, tmp_path):
    key = SigningKey("RS256")
    path = tmp_path / "jwks"
    path.write_bytes(key_set(key))
    with ProxyProcess(upstream_toml(sim.url) + jwt_toml(path, models="claim:models")) as proxy:
        token = key.sign(sub="ci", models="sim-1")
        client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=token, max_retries=0)
        messages = [{"role": "user", "content": "hello"}]
        for _ in range(2):
            said = client.chat.completions.create(model="sim-1", messages=messages)
            assert said.choices[0].message.content
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="sim-2", messages=messages)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key=key.sign(exp=1)).models.list()
        proxy.until_quiet()
        tokens = {t["tenant"] for t in proxy.status()["tokens"]}
        assert tokens == {"ci"}


def test_check_reads_the_sets(tmp_path, capsys):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(key_set(SigningKey()))
    bad.write_text("{}")
    text = '[admin]\nlisten = ""\n[metering]\nledger = ""\n' + upstream_toml("http://127.0.0.1:9")
    path = tmp_path / "proxy.toml"
    for file, status, said in ((good, 0, "1 keys of"), (bad, 2, "is no JWKS")):
        path.write_text(text + jwt_toml(file))
        assert check(Source(str(path)), is_offline=True) == status
        assert said in capsys.readouterr().out
