"""Real balancers in front that pass TCP on with the PROXY protocol: HAProxy, nginx, curl."""

import json
import shutil
import subprocess
import urllib.request

import pytest

from tests.support.certificates import certificates
from tests.support.haproxy_server import HaproxyServer
from tests.support.nginx_server import NginxStream
from tests.support.ports import free_port
from tests.support.proxy_process import ProxyProcess, upstream_toml
from tests.support.servers import missing
from tests.support.until import wait_until

CALLER = "127.0.0.7"


class Behind(ProxyProcess):
    """A proxy with a listener of its own for balancers, and one in the clear beside it."""

    def __init__(self, text, senders, more=""):
        super().__init__(text)
        self.behind = free_port()
        table = (
            f'{{ address = "127.0.0.1:{self.behind}", proxy_protocol = true, '
            f'proxy_from = {json.dumps(senders)}, allow_from = ["{CALLER}"] }}'
        )
        before = f'listen = "127.0.0.1:{self.port}"'
        written = self.path.read_text().replace(
            before, f'listen = ["127.0.0.1:{self.port}", {table}]'
        )
        self.log = self.path.parent / "access"
        self.path.write_text(f'{written}\n[log]\naccess = "jsonl:{self.log}"\n{more}')

    def callers(self, n):
        """Addresses in the access log, once it has `n` lines."""
        wait_until(lambda: self.log.exists() and self.log.read_text().count("\n") == n)
        return {json.loads(line).get("caller") for line in self.log.read_text().splitlines()}


def ask(url, source, *options):
    """Status of GET `url`/v1/models from an address of loopback, twice on one connection."""
    curl = shutil.which("curl")
    if not curl:
        missing("curl", "apt-get install curl")
    path = f"{url}/v1/models"
    done = subprocess.run(
        [curl, "-s", "-w", "%{http_code} ", "-o", "/dev/null", "--interface", source, *options,
         path, "-o", "/dev/null", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.split()


def haproxy(target, options):
    """It passes TCP on to HOST:PORT, as 127.0.0.1."""
    return HaproxyServer("source 127.0.0.1", f"server target {target} {options}", mode="tcp")


BALANCERS = {
    "haproxy v1": lambda at: haproxy(at, "send-proxy"),
    "haproxy v2": lambda at: haproxy(at, "send-proxy-v2"),
    "haproxy v2 with TLVs": lambda at: haproxy(
        at, "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,crc32c,unique-id,authority"
    ),
    "nginx": NginxStream,
}


@pytest.mark.parametrize("name", BALANCERS)
def test_the_callers_address_comes_through_a_balancer(sim, name):
    with Behind(upstream_toml(sim.url), ["127.0.0.1"]) as proxy:
        with BALANCERS[name](f"127.0.0.1:{proxy.behind}") as balancer:
            url = f"http://127.0.0.1:{balancer.port}"
            assert ask(url, CALLER) == ["200", "200"]
            assert ask(url, "127.0.0.8") == ["403", "403"], "not in allow_from"
        assert proxy.callers(4) == {CALLER, "127.0.0.8"}
        metrics = urllib.request.urlopen(f"{proxy.admin_url}/metrics").read().decode()
        assert 'outcome="downstream/head/network"' in metrics
        assert 'zeroproxy_proxy_protocol_refused_total{reason="sender"} 0.0' in metrics


def test_checks_of_a_balancer_are_served_as_its_own(sim):
    with Behind(upstream_toml(sim.url), ["127.0.0.1"]) as proxy:
        options = "send-proxy-v2 check check-send-proxy inter 50ms"
        with haproxy(f"127.0.0.1:{proxy.behind}", options) as balancer:
            assert ask(f"http://127.0.0.1:{balancer.port}", CALLER) == ["200", "200"]
        assert proxy.status()["proxy_protocol"]["signature"] == 0


def test_the_header_comes_before_tls(sim):
    pair = certificates().server
    tls = f'[server.tls]\ncert = "{pair.cert}"\nkey = "{pair.key}"\n'
    with Behind(upstream_toml(sim.url), ["127.0.0.1"], tls) as proxy:
        with haproxy(f"127.0.0.1:{proxy.behind}", "send-proxy-v2") as balancer:
            trust = ("--cacert", certificates().authority.ca)
            assert ask(f"https://127.0.0.1:{balancer.port}", CALLER, *trust) == ["200", "200"]
        assert proxy.callers(2) == {CALLER}


def test_curl_may_send_it_itself_and_a_stranger_may_not(sim):
    with Behind(upstream_toml(sim.url), [CALLER]) as proxy:
        url = f"http://127.0.0.1:{proxy.behind}"
        assert ask(url, CALLER, "--haproxy-protocol") == ["200", "200"]
        assert ask(url, CALLER)[0] == "400"
        assert ask(url, "127.0.0.9", "--haproxy-protocol")[0] == "000"
        found = proxy.status()["proxy_protocol"]
        assert (found["signature"], found["sender"] > 0) == (2, True)
