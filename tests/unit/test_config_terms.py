"""The configuration of terms of keys, and of what engines get to know of them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support.keys import toml_key
from zeroproxy.config.auth import NEVER
from zeroproxy.config.load import complete, parse_config
from zeroproxy.config.secret_files import resolve
from zeroproxy.errors import ConfigError
from zeroproxy.policy.server_detection import caps_to_model, longest_in
from zeroproxy.server.endpoints import settings_of

UPSTREAM = '[[upstream]]\nname = "gpu"\nendpoints = ["http://127.0.0.1:8000"]\n'
SECRET = "cache_salt_secret = 'sixteen-bytes-or-more'\n"


def config(terms="", auth="", upstream=""):
    key = toml_key("sk", name="ci")
    return parse_config(f"{UPSTREAM}{upstream}\n[auth]\n{auth}\n{key}{terms}", "x.toml")


def complaint(*args, **parts):
    with pytest.raises(ConfigError) as error:
        config(*args, **parts)
    return str(error.value)


def test_every_term_is_read():
    (key,) = config(
        'max_inflight = 4\nover_inflight = "wait"\nexpires = 2027-01-31T00:00:00+01:00\n'
        'disabled = true\nupstreams = ["gpu"]\nprompt_bytes = 1000\nn = 2\nmax_tokens = 4096\n'
        "max_tokens_default = 256\n"
    ).auth.key
    assert key.expires == datetime(2027, 1, 31, tzinfo=timezone(timedelta(hours=1)))
    assert (key.max_inflight, key.over_inflight, key.disabled) == (4, "wait", True)
    assert (key.upstreams, key.prompt_bytes, key.n) == (("gpu",), 1000, 2)
    assert (key.max_tokens, key.max_tokens_default) == (4096, 256)


def test_without_terms_nothing_is_limited():
    (key,) = config().auth.key
    assert key.expires == NEVER and key.max_tokens == key.n == key.max_inflight == 0
    assert not key.disabled and not caps_to_model(config())


def test_a_cap_may_be_the_models():
    found = config('max_tokens = "model"\n')
    assert found.auth.key[0].max_tokens == "model" and caps_to_model(found)


def test_a_time_may_be_a_text():
    (key,) = config('expires = "2027-01-31T00:00:00Z"\n').auth.key
    assert key.expires == datetime(2027, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ("expires = 2027-01-31T00:00:00\n", "x.toml:10: auth.key[0].expires: expected `datetime` "
         "with a timezone"),
        ("expires = 2027-01-31\n", "auth.key[0].expires: expected"),
        ('expires = "soon"\n', "auth.key[0].expires: "),
        ("max_inflight = -1\n", "auth.key[0].max_inflight: expected `int` >= 0"),
        ('over_inflight = "wait"\n', "x.toml:10: auth.key[0].over_inflight: is for requests above"),
        ('max_inflight = 1\nover_inflight = "drop"\n', "auth.key[0].over_inflight: "),
        ('upstreams = ["tpu"]\n', "x.toml:10: auth.key[0].upstreams[0]: no upstream is called tpu; "
         "there are gpu"),
        ("max_tokens = -1\n", "auth.key[0].max_tokens: "),
        ('max_tokens = "most"\n', "auth.key[0].max_tokens: "),
        ("max_tokens = 10\nmax_tokens_default = 11\n",
         "x.toml:11: auth.key[0].max_tokens_default: is more than max_tokens = 10"),
        ("n = 70000\n", "auth.key[0].n: expected `int` <= 65535"),
        ("max_token = 1\n", 'unknown key; did you mean "max_tokens"?'),
    ],
)  # fmt: skip
def test_errors_of_terms_name_their_place(terms, text):
    found = complaint(terms)
    assert text in found


def test_upstreams_of_a_file_of_keys_are_checked(tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(toml_key("sk", "key", upstreams=["tpu"]))
    found = parse_config(f'{UPSTREAM}\n[auth]\nkeys_file = "{file}"\n')
    with pytest.raises(ConfigError, match=r"key\[0\].upstreams\[0\]: no upstream is called tpu"):
        resolve(found)
    file.write_text(toml_key("sk", "key", upstreams=["gpu"], max_tokens="model"))
    assert resolve(found).auth.key[0].upstreams == ("gpu",)


# ---------------------------------------------------------------- engines


def test_engines_get_what_is_configured():
    found = config(auth=SECRET, upstream='engine_priority = "header"\ncache_salt = "key"')
    settings = settings_of(found.upstream[0])
    assert (settings.priority_field, settings.cache_salt) == ("vllm", "key")
    sglang = config(upstream='engine_priority = "header"\npreset = "sglang"')
    assert settings_of(sglang.upstream[0]).priority_field == "sglang"
    assert settings_of(config().upstream[0]).priority_field == "off"


@pytest.mark.parametrize(
    ("upstream", "auth", "text"),
    [
        ('cache_salt = "tenant"', "", "x.toml:4: upstream[0].cache_salt: needs auth.cache_salt"),
        ('cache_salt = "tenant"', "cache_salt_secret = 'short'\n",
         "auth.cache_salt_secret: is shorter than 16 characters, which can be guessed"),
        ('cache_salt = "tenant"', SECRET + "cache_salt_secret_file = 'x'\n", "both are given"),
        ('cache_salt = "user"', SECRET, "upstream[0].cache_salt: "),
        ('engine_priority = "header"\npreset = "llamacpp"', "",
         "x.toml:4: upstream[0].engine_priority: is for vLLM and SGLang, and preset is llamacpp"),
        ('engine_priority = "body"', "", "upstream[0].engine_priority: "),
    ],
)  # fmt: skip
def test_errors_of_what_engines_get_name_their_place(upstream, auth, text):
    assert text in complaint(auth=auth, upstream=upstream)


@pytest.mark.parametrize("line", ['cache_salt = "key"', 'engine_priority = "header"'])
def test_both_need_keys(line):
    with pytest.raises(ConfigError, match=r"there is no \[auth\]"):
        parse_config(f"{UPSTREAM}{line}\n")


def test_the_secret_comes_from_a_file_and_is_never_shown(tmp_path):
    file = tmp_path / "salt"
    file.write_text("a secret of more than sixteen\n")
    found = config(auth=f'cache_salt_secret_file = "{file}"', upstream='cache_salt = "tenant"')
    resolved = resolve(found)
    assert resolved.auth.cache_salt_secret == "a secret of more than sixteen"
    assert "sixteen" not in repr(resolved)
    file.write_text("short")
    with pytest.raises(ConfigError, match="cache_salt_secret_file: is shorter than 16") as error:
        resolve(found)
    assert str(file) in str(error.value)


def test_a_configuration_made_in_a_program_may_hold_a_time():
    found = complete(config("expires = 2027-01-31T00:00:00Z\n"))
    assert found.auth.key[0].expires.year == 2027


# ---------------------------------------------------------------- what a model holds


@pytest.mark.parametrize(
    ("models", "length"),
    [
        ([{"id": "a", "max_model_len": 4096}], 4096),
        ([{"id": "a", "max_model_len": 4096}, {"id": "lora", "max_model_len": None}], 4096),
        ([{"id": "a", "max_model_len": 1}, {"id": "b", "max_model_len": 2}], 2),
        ([{"id": "a"}], 0),
        ([{"id": "a", "max_model_len": "4096"}], 0),
        ([{"id": "a", "max_model_len": True}], 0),
        ([{"id": "a", "max_model_len": -1}], 0),
        ([{"id": "a", "max_model_len": 1 << 40}], 0),
    ],
)
def test_the_length_of_a_model_by_its_list(models, length):
    assert longest_in({"data": models}) == length


def test_a_list_that_is_none_has_no_length():
    assert longest_in(None) == longest_in({"data": 3}) == 0
