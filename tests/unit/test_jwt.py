"""Tokens: what is accepted, the terms they bring, and attacks."""

import asyncio
import hashlib
import hmac
import json
import time

import pytest
from msgspec.structs import replace

from tests.support.issuers import AUDIENCE, ISSUER, SigningKey, b64, key_set
from zeroproxy.config.jwt import Jwt
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError
from zeroproxy.policy.jwt_verifier import Refused, UnknownKey, verify
from zeroproxy.policy.key_sets import KeySet, read_set

ALL = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
KEYS = {alg: SigningKey(alg, kid=alg) for alg in ALL}
KEY = KEYS["ES256"]
SETTINGS = Jwt(issuer=ISSUER, audience=AUDIENCE, jwks="/nowhere", algorithms=ALL)


def sets(settings=SETTINGS, keys=None):
    found = KeySet(settings, lambda: None)
    found.keys = read_set(key_set(*(keys or KEYS.values())))
    return {settings.issuer: found}


def accepted(token, settings=SETTINGS, keys=None):
    return verify(token, sets(settings, keys)).key


def refused(token, refusal="invalid", settings=SETTINGS, keys=None):
    with pytest.raises(Refused) as error:
        verify(token, sets(settings, keys))
    assert error.value.refusal == refusal
    assert token not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("alg", ALL)
def test_each_algorithm_is_verified(alg):
    key = accepted(KEYS[alg].sign())
    assert (key.name, key.tenant, key.models) == ("caller", "caller", ())


def test_without_a_kid_all_keys_that_fit_are_tried():
    others = SigningKey("ES256", kid="other")
    assert accepted(KEY.sign({"kid": None}), keys=[others, KEY]).name == "caller"
    assert refused(SigningKey("ES256").sign({"kid": None}), keys=[others, KEY]) == "signature"


# ---------------------------------------------------------------- attacks


def signed_by_hand(header, claims, secret):
    text = f"{b64(header)}.{b64(claims)}"
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "admin", "exp": 4e9}


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 5, ["RS256"], {}])
def test_no_algorithm_is_none(alg):
    assert refused(f"{b64({'alg': alg, 'kid': 'ES256'})}.{b64(CLAIMS)}.{b64(b'x')}")
    assert refused(f"{b64({'kid': 'ES256'})}.{b64(CLAIMS)}.{b64(b'x')}") == "algorithm"


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_secret(alg):
    """Confusion of keys: the public key as the secret of an HMAC."""
    key = KEYS["RS256"]
    for secret in (key.pem(), key.pem().strip(), json.dumps(key.public()).encode(), b""):
        token = signed_by_hand({"alg": alg, "kid": key.kid}, CLAIMS, secret)
        assert refused(token) == "algorithm"
        token = signed_by_hand({"alg": "RS256", "kid": key.kid}, CLAIMS, secret)
        assert refused(token)


def test_a_shared_secret_in_the_set_is_passed_over():
    secret = {"kty": "oct", "k": b64(b"secret" * 8), "kid": "oct", "alg": "HS256"}
    found = read_set(json.dumps({"keys": [secret, KEY.public()]}).encode())
    assert [key.kid for key in found] == ["ES256"]
    with pytest.raises(ValueError, match="no public key"):
        read_set(json.dumps({"keys": [secret]}).encode())


def test_an_algorithm_that_the_configuration_leaves_out_is_refused():
    assert refused(KEYS["ES384"].sign(), settings=replace(SETTINGS, algorithms=("ES256",)))


def test_the_key_decides_its_algorithm():
    """A key of a set is for one algorithm; RSA keys without one are for all of RSA's."""
    rs, ps = KEYS["RS256"], KEYS["PS256"]
    with pytest.raises(UnknownKey):
        verify(ps.sign({"kid": rs.kid}), sets())
    with pytest.raises(UnknownKey):
        verify(KEY.sign({"kid": rs.kid}), sets())
    plain = KeySet(SETTINGS, lambda: None)
    plain.keys = read_set(json.dumps({"keys": [ps.public(alg="")]}).encode())
    assert verify(ps.sign(), {ISSUER: plain}).key.name == "caller"


@pytest.mark.parametrize(
    "kid",
    ["../../../dev/null", "/etc/passwd", "x' UNION SELECT 'k", "one; ls", "http://evil.test/k",
     "\0", "ES256\0", "es256", "", "*", "ES256 "],
)  # fmt: skip
def test_a_kid_is_a_name_and_nothing_else(kid):
    forged = SigningKey("ES256", kid=kid)
    with pytest.raises((UnknownKey, Refused)):
        verify(forged.sign(), sets())


@pytest.mark.parametrize("kid", [5, None, ["ES256"], {"a": 1}, "k" * 513])
def test_a_kid_of_another_form_is_refused(kid):
    token = f"{b64({'alg': 'ES256', 'kid': kid})}.{b64(CLAIMS)}.{b64(b'x' * 64)}"
    assert refused(token) in ("kid", "form")


def test_keys_that_a_token_brings_are_not_looked_at():
    forged = SigningKey("ES256", kid=KEY.kid)
    for header in (
        {"jwk": forged.public()}, {"jku": "https://evil.test/jwks"}, {"x5u": "https://evil.test"},
        {"x5c": [b64(b"certificate")]}, {"jku": "file:///etc/passwd"},
    ):  # fmt: skip
        assert refused(forged.sign(header)) == "signature"
        assert accepted(KEY.sign(header)).name == "caller"


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"typ": "JWE"}, {"typ": "secevent+jwt"}],
)
def test_a_header_that_asks_for_more_is_refused(header):
    assert refused(KEY.sign(header))


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_these_types_are_tokens(typ):
    assert accepted(KEY.sign({"typ": typ})).name == "caller"


@pytest.mark.parametrize(
    ("claims", "refusal"),
    [
        ({"exp": time.time() - 60}, "time"),
        ({"exp": 0}, "time"),
        ({"exp": None}, "invalid"),
        ({"exp": "soon"}, "invalid"),
        ({"exp": float("inf")}, "invalid"),
        ({"exp": float("nan")}, "invalid"),
        ({"exp": {}}, "invalid"),
        ({"nbf": time.time() + 600}, "time"),
        ({"nbf": "x"}, "invalid"),
        ({"iat": time.time() + 600}, "time"),
        ({"aud": None}, "invalid"),
        ({"aud": "other"}, "invalid"),
        ({"aud": []}, "invalid"),
        ({"aud": ["other", "another"]}, "invalid"),
        ({"aud": {"zeroproxy": 1}}, "invalid"),
        ({"aud": "zeroproxy "}, "invalid"),
        ({"iss": None}, "invalid"),
        ({"iss": ISSUER + "/"}, "invalid"),
        ({"iss": "https://evil.test"}, "invalid"),
        ({"iss": [ISSUER]}, "invalid"),
        ({"sub": None}, "invalid"),
        ({"sub": ""}, "invalid"),
        ({"sub": ["caller"]}, "invalid"),
        ({"sub": "x" * 2000}, "invalid"),
    ],
)
def test_a_claim_that_is_wrong_or_missing_refuses(claims, refusal):
    refused(KEY.sign(**claims), refusal)


def test_clocks_may_differ_by_the_leeway():
    now = time.time()
    assert accepted(KEY.sign(exp=now - 10, nbf=now + 10, iat=now + 10)).name == "caller"
    strict = replace(SETTINGS, leeway=0.0)
    refused(KEY.sign(exp=now - 1), "time", strict)
    refused(KEY.sign(nbf=now + 60), "time", strict)
    found = verify(KEY.sign(exp=now + 100), sets())
    assert now + 129 < found.until < now + 131
    assert verify(KEY.sign(exp=4e12), sets()).until < now + 86500


def test_a_token_that_was_changed_is_refused():
    head, claims, signature = KEY.sign().split(".")
    other = KEY.sign(sub="admin").split(".")
    assert refused(f"{head}.{other[1]}.{signature}") == "signature"
    assert refused(f"{head}.{claims}.{signature[:-8]}AAAAAAAA")
    assert refused(f"{head}.{claims}.")
    assert refused(f"{head}.{claims}.{b64(bytes(64))}"), "CVE-2022-21449: r = s = 0"


GOOD = '{"alg":"ES256"}'


@pytest.mark.parametrize(
    ("header", "claims"),
    [("[]", "{}"), ("{}", "[]"), ("null", "null"), ("[" * 3000, "{}"), ("\xff", "{}"),
     (GOOD, "[" * 3000 + "]" * 3000), (GOOD, b"\xff\xfe"), (GOOD, '{"iss":' + "1" * 5000 + "}"),
     (GOOD, '{"iss":"a","iss":"b"'), (GOOD, "")],
)  # fmt: skip
def test_what_is_no_token_is_refused(header, claims):
    refused(f"{b64(header)}.{b64(claims)}.{b64('x')}")
    refused(f"{header if isinstance(header, str) else '.'}.{b64('{}')}.x")


def test_two_issuers_do_not_sign_for_each_other():
    other = SigningKey("ES256", kid=KEY.kid)
    mine, theirs = SETTINGS, replace(SETTINGS, issuer="https://other.test")
    both = sets(mine) | sets(theirs, [other])
    assert verify(KEY.sign(), both).key.name == "caller"
    assert verify(other.sign(iss="https://other.test"), both).key.name == "caller"
    for token in (other.sign(), KEY.sign(iss="https://other.test")):
        with pytest.raises(Refused):
            verify(token, both)


# ---------------------------------------------------------------- terms


def test_claims_name_the_caller_its_tenant_and_its_models():
    settings = replace(
        SETTINGS, name="claim:client_id", tenant="claim:org.team", models="claim:models",
        priority=2, requests_per_minute=5, tokens_per_minute=7, allow_from=("10.0.0.0/8",),
    )  # fmt: skip
    key = accepted(KEY.sign(client_id="ci", org={"team": "red"}, models=["b", "a", "b"]), settings)
    assert (key.name, key.tenant, key.models) == ("ci", "red", ("a", "b"))
    assert (key.priority, key.requests_per_minute, key.tokens_per_minute) == (2, 5, 7)
    assert key.allow_from == ("10.0.0.0/8",)
    assert (
        accepted(KEY.sign(client_id=7, models="a b", **{"org.team": "x"}), settings).tenant == "x"
    )


@pytest.mark.parametrize(
    "claims",
    [{"models": []}, {"models": ""}, {"models": None}, {"models": {}}, {"models": [1]},
     {"models": [""]}, {"models": ["x" * 257]}, {"models": ["m"] * 257},
     {"models": "m", "org": None}, {"models": "m", "org": {}},
     {"models": "m", "org": ""}, {"models": "m", "org": True}],
)  # fmt: skip
def test_nobody_gets_more_for_saying_less(claims):
    settings = replace(SETTINGS, tenant="claim:org", models="claim:models")
    refused(KEY.sign(**{"org": "o", **claims}), settings=settings)


def test_a_name_that_labels_cannot_have_stays_one_of_its_own():
    one, two = (accepted(KEY.sign(sub=sub)) for sub in ("auth0|a@b.test", "auth0_a_b.test"))
    assert two.name == "auth0_a_b.test"
    assert one.name.startswith("auth0_a_b.test-") and one.name != two.name
    assert one.digest() != two.digest()
    long = accepted(KEY.sign(sub="x" * 200)).name
    assert len(long) == 64


def test_a_caller_is_the_same_whatever_its_token_unless_its_terms_differ():
    settings = replace(SETTINGS, models="claim:models")
    first, second = (accepted(KEY.sign(models="a", jti=k), settings) for k in "12")
    assert first.digest() == second.digest()
    more = accepted(KEY.sign(models="a b"), settings)
    assert more.digest() != first.digest()


def test_constants_may_stand_for_claims():
    key = accepted(KEY.sign(), replace(SETTINGS, name="staff", tenant="all"))
    assert (key.name, key.tenant) == ("staff", "all")


# ---------------------------------------------------------------- sets of keys


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1]}', b"\xff", b"[" * 100_000,
     b'{"keys":[{"kty":"RSA"}]}', b'{"keys":[{"kty":"EC","crv":"P-256","x":"!","y":"!"}]}'],
)  # fmt: skip
def test_what_is_no_set_is_refused(data):
    with pytest.raises(ValueError, match=r"JWKS|no public key"):
        read_set(data)


def test_keys_that_may_not_sign_are_passed_over():
    small = {**KEYS["RS256"].public(), "n": b64(b"\x81" + bytes(127)), "kid": "small"}
    odd = [KEY.public(use="enc", kid="enc"), KEY.public(d="AA", kid="private"), small,
           KEY.public(kid=5), {"kty": "EC"}, 7, KEY.public()]  # fmt: skip
    assert [k.kid for k in read_set(json.dumps({"keys": odd}).encode())] == ["ES256"]


async def test_a_set_that_cannot_be_read_leaves_the_old_one(tmp_path):
    path, lost = tmp_path / "jwks", []
    found = KeySet(replace(SETTINGS, jwks=str(path)), lambda: lost.append(1))
    path.write_bytes(key_set(KEY))
    await found.renew()
    assert ([k.kid for k in found.keys], found.error) == (["ES256"], "")
    path.write_bytes(b"{}")
    await found.renew()
    assert [k.kid for k in found.keys] == ["ES256"]
    assert "JWKS" in found.error
    assert lost == []
    path.write_bytes(key_set(KEY, KEYS["RS256"]))
    await found.renew()
    assert (len(found.keys), found.error, lost) == (2, "", [])
    path.write_bytes(key_set(KEYS["RS256"]))
    await found.renew()
    assert lost == [1], "a key that is gone may have been stolen"


async def test_unknown_keys_cause_one_reading_in_a_while(tmp_path):
    path = tmp_path / "jwks"
    path.write_bytes(key_set(KEY))
    found = KeySet(replace(SETTINGS, jwks=str(path)), lambda: None)
    since = time.monotonic()
    assert await asyncio.gather(*(found.renew_for_unknown(since) for _ in range(3))) == [True] * 3
    path.write_bytes(key_set(KEY, KEYS["RS256"]))
    assert not await found.renew_for_unknown(time.monotonic())
    assert len(found.keys) == 1


# ---------------------------------------------------------------- configuration

TEXT = """
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:9"]
[[auth.jwt]]
issuer = "https://issuer.test"
audience = "zeroproxy"
"""


def config(more, text=TEXT):
    return parse_config(f"{text}{more}\n")


def test_an_issuer_is_enough_without_a_key():
    (one,) = config('jwks = "https://issuer.test/jwks"').auth.jwt
    assert (one.audiences(), one.algorithms) == (("zeroproxy",), ("RS256", "ES256", "EdDSA"))
    assert config('jwks = "http://127.0.0.1:80/jwks"\naudience = ["a", "b"]',
                  TEXT.replace('audience = "zeroproxy"\n', "")).auth.jwt[0].audiences()  # fmt: skip


@pytest.mark.parametrize(
    ("more", "key"),
    [('jwks = "http://issuer.test/jwks"', "jwks"), ('jwks = "jwks.json"', "jwks"),
     ('jwks = "http://127.0.0.1.evil.test/"', "jwks"), ("", "jwks"),
     ('jwks = "https://u:p@issuer.test/"', "jwks"), ('jwks = "https://"', "jwks"),
     ('jwks = "https://issuer.test:x/"', "jwks"), ('jwks = "https://[/"', "jwks"),
     ('jwks = "/k"\nalgorithms = ["HS256"]', "algorithms"),
     ('jwks = "/k"\nalgorithms = []', "algorithms"),
     ('jwks = "/k"\nalgorithms = ["none"]', "algorithms"), ('jwks = "/k"\nname = "claim:"', "name"),
     ('jwks = "/k"\ntenant = "a b"', "tenant"), ('jwks = "/k"\nmodels = "m"', "models"),
     ('jwks = "/k"\nallow_from = ["x"]', "allow_from"), ('jwks = "/k"\nleeway = 9999', "leeway")],
)  # fmt: skip
def test_what_is_wrong_is_named(more, key):
    with pytest.raises(ConfigError, match=rf"auth\.jwt\[0\]\.{key}"):
        config(more)


def test_an_issuer_is_there_once():
    with pytest.raises(ConfigError, match=r"auth\.jwt\[1\]\.issuer: is there twice"):
        config(
            'jwks = "/k"\n[[auth.jwt]]\nissuer = "https://issuer.test"\naudience = "a"\njwks = "/k"'
        )
