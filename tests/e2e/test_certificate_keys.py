"""Certificates of callers as keys, with a real proxy and a real client."""

import os
import shutil
import signal
import subprocess

import pytest

from tests.support.certificates import certificates
from tests.support.keys import toml_key
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.servers import missing
from tests.support.until import wait_until
from zeroproxy.config.load import parse_config
from zeroproxy.config.secret_files import resolve
from zeroproxy.errors import ConfigError

TEAM = "spiffe://callers.test/team-a"


def tls(identity):
    c = certificates()
    return (
        f'[server.tls]\ncert = "{c.server.cert}"\nkey = "{c.server.key}"\n'
        f'client_ca = "{c.authority.ca}"\nidentity = "{identity}"\n'
    )


def certificate_key(name, tenant):
    return f'[[auth.key]]\ncertificate = "{name}"\ntenant = "{tenant}"\n'


def ask(proxy, pair, *options):
    """Status of GET /v1/models with this certificate."""
    curl = shutil.which("curl")
    if not curl:
        missing("curl", "apt-get install curl")
    shown = ("--cert", pair.cert, "--key", pair.key) if pair is not None else ()
    done = subprocess.run(
        [curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", *shown, *options, "--cacert",
         certificates().authority.ca, f"https://localhost:{proxy.port}/v1/models"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def outcomes(proxy):
    proxy.until_quiet()
    return {r["outcome"] for r in proxy.status()["requests"]}


def test_a_callers_certificate_is_its_key(sim):
    sign = certificates().authority.sign
    mine, other = sign("mine", f"URI:{TEAM}"), sign("other", "URI:spiffe://callers.test/team-b")
    keys = certificate_key(TEAM, "team-a") + toml_key("k", tenant="plain")
    with ProxyProcess(upstream_toml(sim.url) + keys, server=tls("san-uri")) as proxy:
        assert ask(proxy, mine) == "200"
        assert ask(proxy, other) == "401"
        assert ask(proxy, other, "-H", "x-api-key: k") == "200"
        assert ask(proxy, None) == "000", "client_ca demands a certificate"
        assert ask(proxy, certificates().unknown) == "000"
        assert ask(proxy, None, "-H", "x-api-key: k") == "000"
        assert outcomes(proxy) == {"ok", "downstream/head/refused"}
        text = proxy.path.read_text()
        proxy.path.write_text(text.replace(TEAM, "spiffe://callers.test/team-b"))
        os.kill(proxy.pid, signal.SIGHUP)
        wait_until(lambda: "reloaded" in proxy.errors.read_text())
        assert (ask(proxy, mine), ask(proxy, other)) == ("401", "200")


UPSTREAM = '[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:9"]\n'


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        (certificate_key("a", "t"), r"auth\.key\[0\]\.certificate", "needs server.tls.identity"),
        (tls("").replace("client_ca", "#").replace('""', '"cn"'), r"server\.tls\.identity",
         "needs client_ca"),
        (tls("dns"), r"server\.tls\.identity", "dns"),
        (tls("cn") + '[[auth.key]]\nname = "x"\n', r"auth\.key\[0\]\.sha256", "is missing"),
        (tls("cn") + certificate_key("a", "t") + f'sha256 = "{"0" * 64}"\n',
         r"auth\.key\[0\]\.certificate", "both are given"),
        (tls("cn") + certificate_key("a", "t") * 2, r"auth\.key\[1\]\.certificate", "there twice"),
        (tls("cn") + certificate_key("a\\tb", "t"), r"auth\.key\[0\]\.certificate", "control"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, key, problem):
    with pytest.raises(ConfigError, match=rf"{key}: .*{problem}"):
        parse_config(UPSTREAM + text)


def test_a_file_of_keys_may_have_certificates_too(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(certificate_key("a", "t").replace("auth.", ""))
    auth = f'[auth]\nkeys_file = "{file}"\n'
    assert resolve(parse_config(UPSTREAM + tls("cn") + auth)).auth.key[0].certificate == "a"
    with pytest.raises(ConfigError, match=r"needs server\.tls\.identity"):
        resolve(parse_config(UPSTREAM + auth))
