"""Several choices in one answer: a count is exact only if the server has reported all of them."""

import json

import pytest

from tests.probes.usage import MeterProbe

CHAT, COMPLETIONS = b"/v1/chat/completions", b"/v1/completions"
TIMES = {"cache_n": 0, "prompt_n": 4, "predicted_n": 3}


def usage(prompt, completion):
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def chat(index, text="x"):
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}


def metered(path, *events, n=1, is_whole=False):
    probe = MeterProbe("events", n=n, path=path)
    for event in events:
        probe.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    if is_whole:
        probe.feed(b"data: [DONE]\n\n")
    found = probe.end(is_whole)
    return found[0], found[1], found[4]


TOLD = {"choices": [], "usage": usage(4, 3), "timings": TIMES}


def test_a_cut_behind_the_first_choices_closing_usage_is_a_lower_bound():
    texts = [chat(0), chat(1), chat(0), chat(1), chat(0)]
    assert metered(CHAT, *texts, TOLD, n=2) == (4, 3, "lower_bound")
    assert metered(CHAT, *texts, TOLD, chat(1), n=2) == (4, 4, "lower_bound")
    assert metered(CHAT, *texts, TOLD, chat(1), TOLD, n=2, is_whole=True) == (4, 6, "exact")


def test_a_cut_behind_the_first_choices_timings_is_a_lower_bound():
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "timings": TIMES}
    assert metered(CHAT, chat(0), chat(1), last, n=2) == (4, 3, "lower_bound")
    assert metered(CHAT, chat(0), last) == (4, 3, "exact")


def test_a_closing_usage_of_all_choices_is_exact_without_its_end():
    whole = {"choices": [], "usage": usage(4, 9)}
    assert metered(CHAT, chat(0), chat(1), whole, n=2) == (4, 9, "exact")


@pytest.mark.parametrize("n", [1, 2])
def test_running_usage_of_every_choice_is_exact_where_it_is_cut(n):
    events = [chat(i) | {"usage": usage(4, 2)} for i in range(n)]
    assert metered(CHAT, *events, n=n) == (4, 2 * n, "exact")


@pytest.mark.parametrize(("n", "path"), [(2, CHAT), (1, COMPLETIONS)])
def test_one_text_of_several_choices_with_the_timings_of_the_first_is_not_trusted(n, path):
    probe = MeterProbe("json", n=n, path=path)
    choices = [{"index": i, "text": "x", "finish_reason": "length"} for i in range(2)]
    body = {"choices": choices, "usage": usage(4, 3), "timings": TIMES}
    probe.feed(json.dumps(body).encode())
    assert probe.end()[4] == "untrusted"
