"""Which of several counts holds, and what is no count at all."""

import json

import pytest

from tests.probes.usage import MeterProbe

CHAT, COMPLETIONS = b"/v1/chat/completions", b"/v1/completions"
TEXT = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}


def usage(prompt, completion):
    return {"prompt_tokens": prompt, "completion_tokens": completion}


def closing(prompt, completion):
    return {"choices": [], "usage": usage(prompt, completion)}


def metered(*payloads, kind="events", n=1, path=CHAT):
    """(prompt, completion, cached, exactness, model) of a stream of these, or of one JSON text."""
    probe = MeterProbe(kind, n=n, path=path)
    for payload in payloads:
        data = json.dumps(payload).encode()
        probe.feed(data if kind == "json" else b"data: " + data + b"\n\n")
    found = probe.end()
    return *found[:3], found[4], found[6]


# ---------------------------------------------------------------- reported twice (F5)


def test_a_closing_usage_that_is_sent_twice_counts_once():
    assert metered(TEXT, closing(7, 4), closing(7, 4))[:4] == (7, 4, None, "exact")
    assert metered(TEXT, closing(7, 4), closing(7, 6))[:4] == (7, 6, None, "exact")
    assert metered(closing(7, 4), closing(7, 4))[:4] == (7, 4, None, "exact")


@pytest.mark.parametrize("kind", ["response.completed", "response.failed"])
def test_a_closing_response_that_is_sent_twice_counts_once(kind):
    done = {"type": kind, "response": {"usage": {"input_tokens": 9, "output_tokens": 4}}}
    assert metered(done, done, path=b"/v1/responses")[:4] == (9, 4, None, "exact")


def test_closing_usages_add_up_where_several_choices_were_asked_for_or_seen():
    other = {"choices": [{"index": 1, "delta": {"content": "y"}}]}
    assert metered(TEXT, other, closing(7, 4), closing(7, 6))[:2] == (7, 10)
    assert metered(closing(7, 4), closing(7, 6), n=2)[:2] == (7, 10)


# ---------------------------------------------------------------- counts never shrink (F6)

MESSAGE = {"type": "message_start", "message": {"usage": {"input_tokens": 25, "output_tokens": 1}}}


def delta(**counts):
    return {"type": "message_delta", "usage": counts}


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([delta(input_tokens=0, output_tokens=15)], (25, 15, None)),
        ([delta(output_tokens=15)], (25, 15, None)),
        ([delta(output_tokens=15), delta(input_tokens=0, output_tokens=0)], (25, 15, None)),
        # vLLM: the cached part apart, in the last event only
        ([delta(input_tokens=5, cache_read_input_tokens=20, output_tokens=15)], (25, 15, 20)),
        ([delta(input_tokens=0, cache_read_input_tokens=25, output_tokens=15)], (25, 15, 25)),
        ([delta(input_tokens=30, output_tokens=15)], (30, 15, None)),
    ],
)
def test_what_a_message_used_never_shrinks(deltas, expected):
    assert metered(MESSAGE, *deltas, path=b"/v1/messages")[:4] == (*expected, "exact")


def test_a_cached_part_that_was_told_stays_if_a_later_event_leaves_it_out():
    start = {"type": "message_start", "message": {
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 20}}}  # fmt: skip
    assert metered(start, delta(input_tokens=5, output_tokens=3), path=b"/v1/messages")[:4] == (
        25, 3, 20, "exact",
    )  # fmt: skip


def test_running_and_closing_counts_never_shrink():
    running = [TEXT | {"usage": usage(7, n)} for n in (1, 2)]
    assert metered(*running, TEXT | {"usage": usage(0, 0)})[:2] == (7, 3)
    assert metered(TEXT, closing(7, 4), closing(0, 0))[:4] == (7, 4, None, "exact")


# ---------------------------------------------------------------- total_tokens (F8)


@pytest.mark.parametrize("path", [b"/v1/rerank", b"/score", b"/v1/embeddings"])
def test_a_total_alone_is_the_prompt_where_nothing_is_generated(path):
    body = {"model": "m-1", "usage": {"total_tokens": 62}, "results": []}
    assert metered(body, kind="json", path=path) == (62, 0, None, "exact", "m-1")


def test_a_total_completes_the_count_that_is_missing():
    choices = [{"index": 0, "finish_reason": "stop"}]
    for counts, expected in [
        ({"prompt_tokens": 5, "total_tokens": 9}, (5, 4)),
        ({"completion_tokens": 4, "total_tokens": 9}, (5, 4)),
        ({"completion_tokens": 4, "total_tokens": 3}, (None, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 99}, (5, 3)),
    ]:
        body = {"choices": choices, "usage": counts}
        assert metered(body, kind="json")[:2] == expected, counts


def test_a_total_of_a_chat_is_not_divided_by_guess():
    body = {"choices": [{"index": 0}], "usage": {"total_tokens": 62}}
    assert metered(body, kind="json")[0] is None


# ---------------------------------------------------------------- llama.cpp (R6)


def native(index, cached):
    return {
        "index": index, "content": "x", "stop": False, "tokens_evaluated": 3,
        "tokens_predicted": 2, "timings": {"cache_n": cached, "prompt_n": 3 - cached,
                                           "predicted_n": 2},
    }  # fmt: skip


def test_the_prompt_that_choices_share_is_cached_once():
    found = metered(native(0, 2), native(1, 2), n=2, path=b"/completion")
    assert found[:3] == (3, 4, 2)


def test_two_prompts_are_cached_each():
    found = metered(native(0, 2), native(1, 1), path=b"/completion")
    assert found[:3] == (6, 4, 3)


def test_more_is_never_cached_than_the_prompt_has():
    body = {"choices": [{}], "usage": usage(3, 1) | {"prompt_tokens_details": {"cached_tokens": 4}}}
    assert metered(body, kind="json")[:3] == (3, 1, 3)


def test_timings_with_every_event_make_a_cut_exact():
    timed = TEXT | {"timings": {"cache_n": 1, "prompt_n": 3, "predicted_n": 1}}
    more = TEXT | {"timings": {"cache_n": 1, "prompt_n": 3, "predicted_n": 2}}
    assert metered(timed, more)[:4] == (4, 2, 1, "exact")


# ---------------------------------------------------------------- no count (R7)


@pytest.mark.parametrize("prompt", [0, 5])
def test_no_token_where_there_was_text_is_not_trusted(prompt):
    assert metered(TEXT, TEXT, closing(prompt, 0))[3] == "untrusted"


def test_no_token_at_all_for_an_answer_is_not_trusted():
    body = {"choices": [{"index": 0, "message": {"content": "x"}}], "usage": usage(0, 0)}
    assert metered(body, kind="json")[3] == "untrusted"
    echo = {"choices": [{"index": 0, "text": "the prompt"}], "usage": usage(2, 0)}
    assert metered(echo, kind="json", path=COMPLETIONS)[3] == "exact"


def test_sums_of_the_largest_counts_do_not_overflow():
    absurd = closing(4 * 10**18, 4 * 10**18)
    assert metered(TEXT, *[absurd] * 9, n=9)[:2] == (2**61, 2**61)
