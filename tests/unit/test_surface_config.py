"""upstream.surface: what is accepted, what each entry means, and the manual's list of it."""

import re
from pathlib import Path

import orjson
import pytest

from zeroproxy.commands.check_report import Findings
from zeroproxy.commands.check_surface import SHOWN, compare, routes_in
from zeroproxy.config.load import parse_config
from zeroproxy.config.presets import PRESETS
from zeroproxy.config.schema import Config, Surface, Upstream
from zeroproxy.config.surface import NEEDED, methods_at, parse_path, passes, rules_of
from zeroproxy.errors import ConfigError
from zeroproxy.server.config_diff import plan
from zeroproxy.server.stage_surfaces import settings_of

GOOD = '[[upstream]]\nname = "a"\nendpoints = ["http://127.0.0.1:1"]\n'
MANUAL = Path("docs/surface.md").read_text()


def config(lines, more=""):
    return parse_config(f"{GOOD}{more}[upstream.surface]\n{lines}\n")


# ---------------------------------------------------------------- entries


def test_every_preset_is_in_the_union():
    assert set(NEEDED) == set(PRESETS) - {""}
    assert rules_of("inference") == rules_of(entry for each in NEEDED.values() for entry in each)


def test_the_manual_lists_what_each_preset_needs():
    table = MANUAL.partition("## Paths")[2].partition("is there for load balancers")[0]
    rows = dict(re.findall(r"^\| (all presets|`\w+`) \| (.*) \|$", table, re.M))
    assert list(rows) == ["all presets", *(f"`{name}`" for name in list(NEEDED)[1:])]
    for cell, needed in zip(rows.values(), NEEDED.values(), strict=True):
        assert cell == " · ".join(f"`{entry}`" for entry in needed)


def test_the_manual_lists_the_defaults():
    fields = MANUAL.partition("## Header fields")[2].partition("## Members")[0]
    assert set(re.findall(r"`([a-z][a-z*-]+)`", fields)) == set(Surface().strip_headers)
    members = MANUAL.partition("## Members")[2].partition("They\n")[0]
    assert re.findall(r"`([a-z_*]+)`", members) == list(Surface().refuse_fields)


def test_no_path_that_changes_an_engine_or_shows_its_inside_is_in_it():
    rules = rules_of("inference")
    for path in ("/metrics", "/tokenize", "/sleep", "/collective_rpc", "/v1/load_lora_adapter",
                 "/update_weights", "/slots", "/props", "/lora-adapters", "/api/pull",
                 "/api/delete", "/api/create", "/flush_cache", "/docs", "/openapi.json",
                 "/start_profile", "/scale_elastic_ep", "/generate_from_file"):  # fmt: skip
        assert methods_at(rules, path) == set(), path


@pytest.mark.parametrize(
    ("entries", "method", "path", "is_passed"),
    [
        (["POST /a"], "POST", "/a", True),
        (["POST /a"], "GET", "/a", False),
        (["POST /a"], "OPTIONS", "/a", True),
        (["GET /a"], "HEAD", "/a", True),
        (["HEAD /a"], "GET", "/a", False),
        (["/a"], "DELETE", "/a", True),
        (["/a"], "WEBSOCKET", "/a", True),
        (["WEBSOCKET /a"], "WEBSOCKET", "/a", True),
        (["WEBSOCKET /a"], "GET", "/a", False),
        (["GET /a", "POST /a"], "POST", "/a", True),
        (["GET /a", "/a"], "PUT", "/a", True),
        (["/a", "GET /a"], "PUT", "/a", True),
        (["GET /a/*"], "GET", "/a/b/c", True),
        (["GET /a/*"], "GET", "/a/", False),
        (["GET /a/*"], "GET", "/a", False),
        (["GET /*"], "GET", "/x/y", True),
        (["GET /*"], "GET", "/", False),
        (["inference", "POST /tokenize"], "POST", "/tokenize", True),
        (["inference", "POST /tokenize"], "POST", "/v1/completions", True),
        ("all", "PATCH", "/anything%2F", True),
    ],
)
def test_what_an_entry_means(entries, method, path, is_passed):
    assert passes(rules_of(entries), method, path) == is_passed


def test_the_engine_gets_methods_by_path():
    surface = Surface(paths=("GET /a", "POST /a", "/b", "GET /b", "WEBSOCKET /c/*"))
    assert settings_of(surface).paths == {
        "/a": ("GET", "POST"), "/b": (), "/c/*": ("WEBSOCKET",)
    }  # fmt: skip
    assert settings_of(Surface(paths="all")).paths is None
    assert parse_path("/a b c".replace(" ", "+")) == ("", "/a+b+c")


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('paths = "infer"', 'paths: "infer" is neither "inference", "all" nor a list of paths'),
        ('paths = "POST /a"', 'paths: "POST /a" is neither "inference", "all" nor a list'),
        ("paths = []", 'paths: has no path: nobody could ask anything; "all" passes every path'),
        ("paths = 3", "paths: expected"),
        ('paths = ["/a", "all"]', 'paths[1]: "all" stands alone: paths = "all"'),
        ('paths = ["/a", "/b", "/a"]', "paths[2]: /a is there twice"),
        ('paths = ["FETCH /a"]', 'paths[0]: "FETCH" is none of GET, HEAD, POST, PUT, DELETE'),
        ('paths = ["post /a"]', 'paths[0]: "post" is none of GET'),
        ('paths = ["POST a"]', 'paths[0]: "POST a" is neither "METHOD /path", "/path" nor'),
        ('paths = [""]', 'paths[0]: "" is neither'),
        ('paths = ["POST  /a"]', 'paths[0]: "POST " is none of'),
        ('paths = ["/a%2Fb"]', 'paths[0]: "/a%2Fb" has a character that no path here matches'),
        ('paths = ["/a;b"]', 'paths[0]: "/a;b" has a character'),
        ('paths = ["/a?b"]', 'paths[0]: "/a?b" has a character'),
        ('paths = ["/\u00e9"]', 'paths[0]: "/\u00e9" has a character'),
        ('paths = ["/a//b"]', 'paths[0]: "/a//b" has an empty or dot segment'),
        ('paths = ["/a/../b"]', 'paths[0]: "/a/../b" has an empty or dot segment'),
        ('paths = ["/a/./*"]', 'paths[0]: "/a/./*" has an empty or dot segment'),
        ('paths = ["/a*"]', 'paths[0]: "/a*" has a * that is not its last segment'),
        ('paths = ["/*/a"]', 'paths[0]: "/*/a" has a * that is not its last segment'),
        (f'paths = ["/{"a" * 1024}"]', "paths[0]: is longer than 1024 bytes"),
        ('strip_headers = ["x y"]', 'strip_headers[0]: "x y" is no name of a header field'),
        ('strip_headers = ["*"]', 'strip_headers[0]: "*" is no name of a header field'),
        ('strip_headers = ["x-*-y"]', 'strip_headers[0]: "x-*-y" is no name'),
        ('strip_headers = ["Content-Length"]', "strip_headers[0]: Content-Length cannot be"),
        ('keep_headers = ["abc"]', 'keep_headers[0]: "abc" is no name of a header field of 4 to'),
        ("refuse_fields = ['a\"b']", 'refuse_fields[0]: "a"b" is no name of a member'),
        ("refuse_fields = ['a\\b']", "refuse_fields[0]:"),
        (f'refuse_fields = ["{"a" * 41}"]', "refuse_fields[0]:"),
        (f"refuse_fields = {[f'f{i}' for i in range(65)]}", "refuse_fields: more than 64 names"),
        ("refuse = []", 'refuse: unknown key; did you mean "refuse_fields"?'),
    ],
)
def test_what_cannot_be_is_named(lines, error):
    with pytest.raises(ConfigError) as caught:
        config(lines)
    assert f"upstream[0].surface.{error}" in str(caught.value)


def test_names_of_all_upstreams_together_are_bounded():
    first = f"[upstream.surface]\nrefuse_fields = {[f'a{i}' for i in range(40)]}\n"
    second = GOOD.replace('"a"', '"b"') + 'models = ["b"]\n'
    with pytest.raises(ConfigError, match="more than 64 names in all upstreams"):
        config(f"refuse_fields = {[f'b{i}' for i in range(40)]}", first + second)
    assert config(f"refuse_fields = {[f'A{i}' for i in range(40)]}", first + second)


def test_a_key_passes_all_or_nothing_more():
    key = '[[auth.key]]\nsha256 = "' + "0" * 64 + '"\nsurface = "%s"\n'
    assert parse_config(GOOD + key % "all").auth.key[0].surface == "all"
    with pytest.raises(ConfigError, match=r"auth\.key\[0\]\.surface"):
        parse_config(GOOD + key % "inference")


# ---------------------------------------------------------------- defaults and reloads


def test_files_and_programs_have_the_same_default():
    made = Config(upstream=(Upstream(name="a", endpoints=("http://127.0.0.1:1",)),))
    assert made.upstream[0].surface == parse_config(GOOD).upstream[0].surface == Surface()
    assert Surface().paths == "inference"


def test_a_reload_may_change_all_of_it():
    old, new = parse_config(GOOD), config('paths = "all"\nstrip_headers = []\nrefuse_fields = []')
    assert plan(old, new) == [
        "upstream[0].surface.paths",
        "upstream[0].surface.strip_headers",
        "upstream[0].surface.refuse_fields",
    ]


# ---------------------------------------------------------------- check

PAGE = orjson.dumps({
    "paths": {
        "/v1/responses/{response_id}": {"get": {}, "delete": {}, "parameters": []},
        "/v1/models": {"get": {}},
        "/sleep": {"post": {}},
        "/x\u001b[31m": {"get": {}},
        "no path": {"get": {}},
    }
})  # fmt: skip


def told(page, surface=None):
    findings = Findings()
    upstream = Upstream(name="a", endpoints=("http://h:1",), surface=surface or Surface())
    compare(findings, upstream, "http://h:1", page)
    assert findings.errors == 0
    return [message for _, _, message in findings.rows]


def test_check_lists_the_routes_that_pass_and_those_that_do_not():
    assert told(PAGE) == [
        "http://h:1: 3 of 4 routes of /openapi.json pass",
        "passes: GET /v1/responses/{response_id}, DELETE /v1/responses/{response_id}, "
        "GET /v1/models",
        "does not: POST /sleep",
    ]
    assert told(PAGE, Surface(paths="all"))[0].startswith("http://h:1: 4 of 4 routes")
    assert told(PAGE, Surface(paths=("PUT /",)))[1:] == [
        "does not: GET /v1/responses/{response_id}, DELETE /v1/responses/{response_id}, "
        "GET /v1/models, POST /sleep"
    ]


@pytest.mark.parametrize(
    "page", [None, b"", b"<html>", b"[]", b"{}", b'{"paths":[]}', b'{"paths":{"/a":3}}', PAGE[:-9]]
)
def test_a_page_that_is_none_is_passed_over(page):
    assert told(page) == []


def test_a_page_of_many_routes_is_cut():
    page = orjson.dumps({"paths": {f"/r{i}": {"get": {}} for i in range(5000)}})
    assert len(routes_in(page)) == 2000
    assert told(page)[1].endswith(f" and {2000 - SHOWN} more")
