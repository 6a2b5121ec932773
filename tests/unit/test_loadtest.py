"""The parts of `zeroproxy bench` that ask nobody: reading, counting, options."""

import argparse
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroproxy.errors import UsageError, ZeroproxyError
from zeroproxy.loadtest import options
from zeroproxy.loadtest import render as show
from zeroproxy.loadtest.dialects import DIALECTS, Ask, Events, Reading, dialect_of, error_text
from zeroproxy.loadtest.histogram import Histogram
from zeroproxy.loadtest.options import read_settings
from zeroproxy.loadtest.preflight import models_url
from zeroproxy.loadtest.results_json import compared
from zeroproxy.loadtest.runs import order_of_sides, share_of
from zeroproxy.loadtest.tally import Tally

# ---------------------------------------------------------------- events

WIRE = b'data: {"a":1}\n\n: ping\n\nevent: x\r\ndata: two\r\ndata: lines\r\n\r\ndata:[DONE]\n\n'
TOLD = [b'{"a":1}', b"two\nlines", b"[DONE]"]


@given(st.lists(st.integers(0, len(WIRE)), max_size=6))
def test_events_are_the_same_in_any_split(cuts):
    events, found, at = Events(), [], 0
    for cut in [*sorted(cuts), len(WIRE)]:
        found += events.feed(WIRE[at:cut])
        at = cut
    assert found == TOLD
    assert events.rest == b""


def test_an_event_that_has_not_ended_is_kept_back():
    events = Events()
    assert events.feed(b"data: 1\n\ndata: 2\n") == [b"1"]
    assert events.feed(b"\n") == [b"2"]


CHAT = [
    (b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', 0),
    (b'{"choices":[{"delta":{"content":"a"}}]}', 1),
    (b'{"choices":[{"delta":{"reasoning_content":"a"}}]}', 1),
    (b'{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}', 1),
    (b'{"choices":[{"delta":{},"finish_reason":"stop"}]}', 0),
    (b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}', 0),
]


@pytest.mark.parametrize(("data", "texts"), CHAT)
def test_only_what_a_caller_sees_is_an_event_with_text(data, texts):
    reading = Reading()
    DIALECTS["/chat/completions"].read(data, reading)
    assert (reading.texts, reading.is_done, reading.error) == (texts, False, "")


def test_usage_and_the_last_word_are_read_in_each_dialect():
    for path, wire in {
        "/chat/completions": [CHAT[-1][0], b"[DONE]"],
        "/completions": [CHAT[-1][0], b"[DONE]"],
        "/messages": [
            b'{"type":"message_start","message":{"usage":{"input_tokens":7}}}',
            b'{"type":"message_delta","usage":{"output_tokens":3}}',
            b'{"type":"message_stop"}',
        ],
    }.items():
        reading = Reading()
        for data in wire:
            assert not reading.is_done
            DIALECTS[path].read(data, reading)
        assert (reading.prompt, reading.tokens, reading.is_done) == (7, 3, True)


def test_each_dialect_asks_in_its_own_words():
    ask = Ask("m", "number {n}", 9)
    bodies = {path: dialect.body(ask, 4) for path, dialect in DIALECTS.items()}
    assert bodies["/completions"]["prompt"] == "number 4"
    assert bodies["/messages"]["messages"] == [{"role": "user", "content": "number 4"}]
    assert {path for path, body in bodies.items() if "stream_options" in body} == {
        "/chat/completions", "/completions",
    }  # fmt: skip
    whole = DIALECTS["/chat/completions"].body(Ask("m", "x", 9, streams=False), 1)
    assert (whole["stream"], "stream_options" in whole) == (False, False)


def test_a_dialect_is_chosen_by_how_the_path_ends():
    assert dialect_of("/v1/chat/completions/") is DIALECTS["/chat/completions"]
    assert dialect_of("/openai/v1/completions?v=1") is DIALECTS["/completions"]
    assert dialect_of("/v1/embeddings") is None


def test_what_an_error_says_is_found_in_every_shape():
    assert error_text({"error": {"message": "no"}}) == "no"
    assert error_text({"error": "no"}) == error_text({"detail": "no"}) == "no"
    assert error_text({"object": "error", "message": "no"}) == "no"
    assert error_text({"other": 1}) == '{"other":1}'


# ---------------------------------------------------------------- counting


def test_quantiles_are_off_by_a_quarter_of_a_percent_at_most():
    rng = random.Random(6)
    values = sorted(rng.lognormvariate(-3, 2) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for share in (0.5, 0.9, 0.99):
        true = values[math.ceil(share * len(values)) - 1]
        assert histogram.quantile(share) == pytest.approx(true, rel=0.0026)
    assert histogram.summary()["max"] == values[-1]


def test_nothing_and_very_long_have_a_place_in_a_histogram():
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    histogram.add(0.0, 3)
    histogram.add(1e9)
    assert (histogram.quantile(0.5), histogram.n, histogram.most) == (0.0, 4, 1e9)


def test_slices_add_up():
    parts = [Tally(started=3, answered=1), Tally(started=2, answered=1, abandoned=1)]
    parts[0].fail("cut", "first")
    parts[0].fail("cut", "second")
    for part in parts:
        part.times["ttft"].add(0.5)
    whole = Tally()
    for part in parts:
        whole.merge(part)
    assert (whole.started, whole.answered, whole.failed, whole.abandoned) == (5, 2, 2, 1)
    assert (whole.open, whole.messages, whole.times["ttft"].n) == (0, {"cut": "first"}, 2)


def test_tokens_per_second_are_events_times_the_tokens_each_has_by_usage():
    tally = Tally(answered=2, with_usage=2, texts=30, tokens=60, counted_texts=30)
    tally.inside.seconds, tally.inside.texts, tally.inside.tokens = 2.0, 20, 40
    assert tally.tokens_per_second(streams=True) == 20.0
    assert tally.tokens_per_second(streams=False) == 20.0
    tally.with_usage = 1
    assert tally.tokens_per_second(streams=True) == 10.0
    assert tally.tokens_per_second(streams=False) is None


# ---------------------------------------------------------------- turns


def test_two_sides_take_turns_so_that_a_drift_hits_both_alike():
    assert order_of_sides(1, 4) == [0]
    assert order_of_sides(2, 4) == [0, 1, 1, 0, 0, 1, 1, 0]


def settings_of(*words: str) -> options.Settings:
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    return read_settings(parser.parse_args(words))


def test_requests_and_seconds_are_dealt_out_to_the_slices():
    words = ("-u", "http://a", "--compare", "http://b", "--requests", "10", "--duration", "8")
    settings = settings_of(*words)
    loads = [share_of(settings, 5, turn) for turn in range(4)]
    assert [load.requests for load in loads] == [3, 3, 2, 2]
    assert {load.seconds for load in loads} == {2.0}
    assert share_of(settings_of("-u", "http://a", "--requests", "10"), 5, 0).requests == 10


def test_comparing_says_the_second_over_the_first():
    first, second = Tally(started=1, answered=1), Tally(started=1, answered=1)
    first.times["ttft"].add(0.100)
    second.times["ttft"].add(0.150)
    found = compared(first.summary(True), second.summary(True))
    assert found["ttft_s.max"]["ratio"] == pytest.approx(1.5)
    assert found["ttft_s.max"]["difference"] == pytest.approx(0.05)
    assert "gap_s.p50" not in found


# ---------------------------------------------------------------- options

URLS = {
    ("http://a:8000", "/v1/completions"): "http://a:8000/v1/completions",
    ("http://a:8000/v1/", "/v1/completions"): "http://a:8000/v1/completions",
    ("https://a/x", "/v1/completions"): "https://a/x/v1/completions",
    ("http://a/v1", "/completions"): "http://a/v1/completions",
    ("http://[::1]:1", "/v1/messages"): "http://[::1]:1/v1/messages",
    ("unix:/run/x", "/v1/messages"): "http://localhost/v1/messages",
}


@pytest.mark.parametrize(("base", "path"), URLS)
def test_base_and_path_are_joined_without_a_second_v1(base, path):
    assert options.request_url(base, path) == URLS[base, path]


def test_the_list_of_models_is_beside_the_path():
    assert models_url("http://a/x/v1/chat/completions") == "http://a/x/v1/models"
    assert models_url("http://a/completions") == "http://a/models"


WRONG = {
    ("-u", "ftp://a"): "want http://HOST:PORT",
    ("-u", "http://"): "want http://HOST:PORT",
    ("-u", "http://a:99999"): "want http://HOST:PORT",
    ("-u", "http://me:key@a"): "a key does not belong in the URL",
    ("-u", "http://a", "--concurrency", "8,x"): "want N or N,N,...",
    ("-u", "http://a", "--concurrency", "0"): "at least 1",
    ("-u", "http://a", "--duration", "nan"): "--duration: at least",
    ("-u", "http://a", "--max-tokens", "0"): "--max-tokens: at least 1",
    ("-u", "http://a", "--path", "/v1/embeddings"): "want one that ends in",
    ("-u", "http://a", "--prompt-file", "no/such"): "No such file",
    ("-u", "http://a", "--api-key-env", "NO_SUCH_VARIABLE"): "no key in NO_SUCH_VARIABLE",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_options_that_make_no_sense_are_a_sentence(words):
    with pytest.raises(UsageError) as wrong:
        settings_of(*words)
    assert isinstance(wrong.value, ZeroproxyError)
    assert WRONG[words] in str(wrong.value)


def test_each_side_has_its_key_and_none_is_in_what_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("ONE", "sk-one")
    (tmp_path / "key").write_text("sk-two\n")
    words = ("-u", "http://a", "--compare", "http://b", "--api-key-env", "ONE")
    same = settings_of(*words)
    assert {t.headers["Authorization"] for t in same.targets} == {"Bearer sk-one"}
    other = settings_of(*words, "--compare-api-key-file", str(tmp_path / "key"))
    assert other.targets[1].headers["Authorization"] == "Bearer sk-two"
    assert "sk-" not in str(other.as_dict())


def test_figures_are_written_for_people():
    assert show.duration(None) == "–"
    assert show.duration(0.00321) == "3.21 ms"
    assert show.duration(0.5, sign=True) == "+500.0 ms"
    assert show.duration(12.34) == "12.3 s"
    assert [show.number(v) for v in (None, 1234.5, 12.34, 1.234)] == ["–", "1,234", "12.3", "1.23"]
