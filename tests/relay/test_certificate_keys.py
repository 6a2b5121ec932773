"""Keys by the name in the caller's certificate, instead of a secret."""

import base64
import hashlib
import hmac
import json
import ssl

import pytest
from msgspec.structs import replace

from tests.relay.test_keys import json_answer
from tests.support.certificates import Pair, certificates, openssl
from tests.support.keys import row, shows
from tests.support.script import get, ok, post, split_head
from tests.support.tls_script import down, play

TEAM = "spiffe://example.test/team-a"


def pair(name, *names):
    """A certificate of the caller's, signed by the authority that the listener trusts."""
    return certificates().authority.sign(name, *names)


def named(name, tenant="team"):
    return replace(row("", tenant=tenant), sha256="", certificate=name)


def secure(shown, highest=None):
    tls = down(highest, client_ca=certificates().authority.ca)
    return tls | {"caller": certificates().authority.client(shown, highest=highest)}


def tenant_of(script, d, extra=b""):
    """The tenant that a request counts for; "": it is refused."""
    d.send(get(extra=extra))
    if not script.has_connected():
        assert json_answer(d)[0] == 401
        (record,) = script.records()
        assert record["outcome"] == "downstream/head/refused"
        return ""
    u = script.upstream()
    assert b"certificate" not in u.receive().lower()
    u.send(ok(extra=b"Connection: close\r\n"))
    assert d.receive().startswith(b"HTTP/1.1 200 ")
    return script.records()[-1]["tenant"]


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("identity", "certificate"),
    [("cn", "caller-one"), ("san-uri", TEAM), ("san-dns", "one.callers.test"),
     ("san-dns", "two.callers.test")],
)  # fmt: skip
def test_a_name_of_the_certificate_is_a_key(identity, certificate, highest):
    names = (f"URI:{TEAM}", "DNS:ONE.callers.test", "DNS:two.callers.test")
    shown = pair("caller-one", *names)
    with play(secure(shown, highest)) as script:
        script.engine.set_keys([named(certificate)], identity=identity)
        d = script.downstream()
        assert [tenant_of(script, d) for _ in range(3)] == ["team"] * 3


@pytest.mark.parametrize(
    ("identity", "key"),
    [("cn", "other"), ("cn", TEAM), ("san-uri", "caller-two"), ("san-uri", TEAM + "/x"),
     ("san-uri", TEAM[:-1]), ("san-dns", "callers.test"), ("san-dns", TEAM), ("", "caller-two")],
)  # fmt: skip
def test_another_name_or_kind_of_name_is_none(identity, key):
    shown = pair("caller-two", f"URI:{TEAM}", "DNS:one.callers.test")
    with play(secure(shown)) as script:
        script.engine.set_keys([named(key)], identity=identity)
        assert tenant_of(script, script.downstream()) == ""


def test_a_key_that_is_shown_goes_first():
    with play(secure(pair("caller-three"))) as script:
        script.engine.set_keys([named("caller-three"), row("k", tenant="other")], identity="cn")
        d = script.downstream()
        assert tenant_of(script, d, shows("k")) == "other"
        assert tenant_of(script, d) == "team"
        assert tenant_of(script, d, shows("wrong")) == ""


def test_the_digest_of_a_name_is_no_key_that_can_be_sent():
    with play(secure(pair("caller-four"))) as script:
        key = named("caller-five")
        script.engine.set_keys([key], identity="cn")
        assert hashlib.sha256(b"\0certificate\0caller-five").hexdigest() == key.digest()
        assert tenant_of(script, script.downstream(), shows("caller-five")) == ""
        d = script.downstream()
        d.send(get(extra=b"Authorization: Bearer \0certificate\0caller-five\r\n"))
        assert json_answer(d)[0] == 400


def test_without_tls_there_is_no_name():
    with play({}) as script:
        script.engine.set_keys([named("caller")], identity="cn")
        assert tenant_of(script, script.downstream()) == ""


def test_a_reload_takes_a_name_away_and_brings_another_on_the_same_conn():
    names = ("DNS:one.callers.test", "DNS:two.callers.test")
    with play(secure(pair("caller-six", *names))) as script:
        d = script.downstream()
        for name, found in (("one", "a"), ("two", "b"), ("three", ""), ("one", "c")):
            script.engine.set_keys(
                [named(f"{name}.callers.test", found or "z")], identity="san-dns"
            )
            if not found:
                d = script.downstream()
            assert tenant_of(script, d) == found
            if not found:
                d = script.downstream()


@pytest.mark.parametrize("identity", ["cn", "san-uri", "san-dns"])
def test_a_certificate_without_such_a_name_has_no_key(identity):
    shown = pair("caller-seven", "IP:127.0.0.1")
    with play(secure(shown)) as script:
        script.engine.set_keys([named("127.0.0.1"), row("k")], identity=identity)
        assert tenant_of(script, script.downstream()) == ""


def test_of_two_common_names_none_counts(tmp_path):
    authority = certificates().authority
    two = replace_subject(authority, tmp_path, "/CN=caller-eight/CN=admin")
    with play(secure(two)) as script:
        script.engine.set_keys([named("caller-eight"), named("admin", "root")], identity="cn")
        assert tenant_of(script, script.downstream()) == ""


def test_names_that_hold_a_nul_or_a_blank_are_passed_over(tmp_path):
    """In one certificate, in front of a good one."""
    authority = certificates().authority
    extra = tmp_path / "names"
    names = (b"a://a\0.evil", b"a://" + b"x" * 100, b"a://b c", b"spiffe://a.test/good")
    body = b"".join(bytes([0x86, len(name)]) + name for name in names)
    extra.write_text(f"subjectAltName=DER:{(bytes([0x30, 0x81, len(body)]) + body).hex(':')}\n")
    shown = replace_subject(authority, tmp_path, "/CN=nul", extra)
    with play(secure(shown)) as script:
        script.engine.set_keys([named("a://a", "evil"), named("spiffe://a.test/good")],
                               identity="san-uri")  # fmt: skip
        assert tenant_of(script, script.downstream()) == "team"


def replace_subject(authority, folder, subject, extra=None):
    """A certificate with this subject, and the extensions of a file."""
    made = Pair(str(folder / "odd.pem"), str(folder / "odd.key"))
    request = str(folder / "odd.csr")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            made.key, "-out", request, "-subj", subject)  # fmt: skip
    more = ("-extfile", str(extra)) if extra is not None else ()
    openssl("x509", "-req", "-in", request, "-CA", authority.ca, "-CAkey", authority._key,
            "-CAcreateserial", "-out", made.cert, "-days", "2", *more)  # fmt: skip
    return made


@pytest.mark.parametrize("value", ["dns", "CN", None])
def test_what_is_no_identity_is_refused(value):
    with (
        play({}) as script,
        pytest.raises((TypeError, ValueError), match="identity"),
    ):
        script.engine.set_keys([row("k")], identity=value)


def test_the_salt_of_a_certificates_key_is_its_own():
    """cache_salt = "key" by the key's digest: of the name, where no secret is."""
    secret = b"a secret of sixteen bytes"
    digest = hashlib.sha256(b"\0certificate\0caller-one").digest()
    want = hmac.new(secret, b"key:" + digest, hashlib.sha256).digest()
    with play(secure(pair("caller-one")), cache_salt="key") as script:
        script.engine.set_keys(
            [named("caller-one"), named("caller-two")], identity="cn", salt_secret=secret
        )
        d = script.downstream()
        d.send(post(body=b"{}"))
        u = script.upstream()
        _, body = split_head(u.receive())
        assert json.loads(body)["cache_salt"] == base64.urlsafe_b64encode(want)[:43].decode()
        u.send(ok())
        assert d.receive().startswith(b"HTTP/1.1 200 ")
