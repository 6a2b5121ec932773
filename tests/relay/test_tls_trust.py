"""Verification of certificates: of endpoints, of callers, and of the proxy."""

import ssl

import pytest

from tests.support.certificates import certificates
from tests.support.script import get, ok, post
from tests.support.tls_script import down, exchange_over_tls, play, said, tls_counters, up
from zeroproxy._fast.engine.tls_context import Context
from zeroproxy.config.schema import Breaker
from zeroproxy.errors import TlsError

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


# ---------------------------------------------------------------- it works


@pytest.mark.parametrize("highest", [TLS_1_2, TLS_1_3])
def test_a_request_goes_through_tls_on_both_sides(highest):
    with play(down(highest) | up(highest=highest)) as script:
        request, answer = exchange_over_tls(script)
        assert b"X-Forwarded-Proto: https\r\n" in request
        assert answer.endswith(b"\r\n\r\nok")
        assert script.outcome() == "ok"
        assert tls_counters(script)["handshakes"] == {"downstream": 1, "upstream": 1}


def test_without_tls_in_front_the_request_says_http():
    with play(up()) as script:
        assert b"X-Forwarded-Proto: http\r\n" in exchange_over_tls(script)[0]


def test_a_name_is_announced_and_an_address_is_not():
    for host, announced in ((b"a.test", "a.test"), (b"127.0.0.1", None)):
        tls = up() | {"host": host}
        seen = []
        tls["endpoint"].sni_callback = lambda obj, name, context, seen=seen: seen.append(name)
        with play(tls) as script:
            assert exchange_over_tls(script)[1].endswith(b"ok")
        assert seen == [announced]


def test_http_1_1_is_what_is_spoken():
    c = certificates()
    tls = down() | up()
    tls["caller"].set_alpn_protocols(["h2", "http/1.1"])
    tls["endpoint"].set_alpn_protocols(["h2", "http/1.1"])
    with play(tls) as script:
        d = script.downstream()
        assert d.obj.selected_alpn_protocol() == "http/1.1"
        d.send(get())
        u = script.upstream()
        assert u.obj.selected_alpn_protocol() == "http/1.1"
        u.send(ok())
        assert d.receive().endswith(b"ok")
        tls["caller"] = c.authority.client()
        tls["caller"].set_alpn_protocols(["h2"])
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            script.downstream()


# ---------------------------------------------------------------- verification


def refused_endpoint(tls, **words):
    with play(tls, **words) as script:
        d = script.downstream()
        d.send(post())
        with pytest.raises((ssl.SSLError, OSError)):
            script.upstream()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert script.outcome() == "upstream/connecting/tls"
        assert tls_counters(script)["failures"]["upstream"]["certificate"] == 1
        e = script.engine.snapshot()["upstreams"][0]["endpoints"][0]
        assert (e["failures"], e["connect_failures"]) == (1, 1)
        return e["tls"]


def test_an_expired_certificate_is_refused():
    assert "expired" in refused_endpoint(up(certificates().expired), attempts=1)


def test_a_certificate_of_another_host_is_refused():
    said = refused_endpoint(up(certificates().elsewhere), attempts=1)
    assert said == "hostname mismatch"


def test_an_address_is_looked_for_among_the_addresses():
    tls = up(certificates().elsewhere) | {"host": b"127.0.0.1"}
    assert refused_endpoint(tls, attempts=1) == "IP address mismatch"


def test_an_unknown_authority_is_refused():
    said = refused_endpoint(up(certificates().unknown), attempts=1)
    assert "issuer" in said or "self-signed" in said or "verify" in said


def test_the_system_does_not_know_our_authority():
    assert refused_endpoint(up(ca=""), attempts=1)


def test_without_verify_anybody_may_answer():
    with play(up(certificates().unknown, ca="", verify=False)) as script:
        assert exchange_over_tls(script)[1].endswith(b"ok")


def test_the_name_of_the_server_may_be_another_than_the_host():
    with play(up(certificates().elsewhere)) as script:
        script.engine.set_tls(script.tls["client"], upstream=0, server_name=b"elsewhere.test")
        assert exchange_over_tls(script)[1].endswith(b"ok")


def test_the_breaker_counts_a_refused_certificate():
    breaker = Breaker(failures=2, slow_start=0.0)
    with play(up(certificates().expired), attempts=1, breaker=breaker) as script:
        for _ in range(2):
            d = script.downstream()
            d.send(post())
            with pytest.raises((ssl.SSLError, OSError)):
                script.upstream()
            assert d.receive().startswith(b"HTTP/1.1 502 ")
        (vital,) = script.engine.health_sample()
        assert vital["breaker"]["in_a_row"] == 2
        assert vital["breaker"]["state"] == "closed", "it is the only one"


def test_an_endpoint_that_speaks_no_tls_is_a_failed_handshake():
    with play(up(), attempts=1) as script:
        d = script.downstream()
        d.send(post())
        u = script.upstream(shake=False)
        u.sock.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert script.outcome() == "upstream/connecting/tls"
        assert "wrong version number" in said(script)


@pytest.mark.parametrize("highest", [TLS_1_2, TLS_1_3])
def test_an_endpoint_that_asks_for_a_certificate_gets_ours(highest):
    c = certificates()
    tls = up(cert=c.caller.cert, key=c.caller.key)
    tls["endpoint"] = c.server.server(client_ca=c.authority.ca, highest=highest)
    with play(tls) as script:
        assert exchange_over_tls(script)[1].endswith(b"ok")


@pytest.mark.parametrize("highest", [TLS_1_2, TLS_1_3])
def test_without_one_it_refuses_us_and_says_so(highest):
    c = certificates()
    tls = up()
    tls["endpoint"] = c.server.server(client_ca=c.authority.ca, highest=highest)
    with play(tls, attempts=1) as script:
        d = script.downstream()
        d.send(post())
        with pytest.raises(ssl.SSLError):
            script.upstream().receive()
        for peer in script.peers:
            if hasattr(peer, "push"):
                peer.push()
        assert d.receive().startswith(b"HTTP/1.1 502 ")
        assert script.outcome().endswith("/tls")
        assert "alert" in said(script)
        assert tls_counters(script)["failures"]["upstream"]["refused_by_peer"] == 1


@pytest.mark.parametrize("highest", [TLS_1_2, TLS_1_3])
def test_callers_need_a_certificate_where_there_is_an_authority_for_them(highest):
    c = certificates()
    tls = down(client_ca=c.authority.ca)
    tls["caller"] = c.authority.client(c.caller, highest)
    with play(tls) as script:
        assert exchange_over_tls(script)[1].endswith(b"ok")
        for pair in (None, c.unknown):
            tls["caller"] = c.authority.client(pair, highest)
            with pytest.raises(ssl.SSLError, match=r"(?i)alert|eof"):
                script.downstream().receive()
        assert tls_counters(script)["failures"]["downstream"]["certificate"] == 2


def test_files_that_cannot_be_used_are_named():
    c = certificates()
    with pytest.raises(TlsError, match=r"cert: .*/none\.pem: "):
        Context.server(cert="/none.pem".replace("/", str(c.folder) + "/"), key=c.server.key)
    with pytest.raises(TlsError, match=r"key: .*: key values mismatch"):
        Context.server(cert=c.server.cert, key=c.renewed.key)
    with pytest.raises(TlsError, match=r"ca: .*server\.key: "):
        Context.client(ca=c.server.key)
    with pytest.raises(TlsError, match=r"client_ca: "):
        Context.server(cert=c.server.cert, key=c.server.key, client_ca=c.server.key)
