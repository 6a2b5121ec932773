"""The golden bodies of every server: their counts, whole and at every split."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.probes.usage import MeterProbe

HERE = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ZEROPROXY_SHARED", HERE.parent / "shared"))
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
#: Every body of the collection; a smaller number means that some were not read.
ALL = 141


def samples():
    path = SHARED / "wire" / "samples.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


SAMPLES = samples()
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s["id"])


def probe(sample):
    kind = "frames" if sample["framing"] == "ws" else ""
    content_type = sample["content_type"].encode() if sample.get("content_type") else None
    m = MeterProbe(kind, sample["n"] or 1, sample["endpoint"].encode(), content_type)
    heads = {k.lower(): v for k, v in (sample.get("headers") or {}).items()}
    if "x-prompt-tokens" in heads:
        m.heads(int(heads["x-prompt-tokens"]), int(heads["x-generated-tokens"]))
    return m


def measure(sample, parts):
    m = probe(sample)
    for part in parts:
        if part:
            m.feed(part)
    return m.end(sample["eof"] == "clean", sample["http_status"])


def assert_expected(sample, found):
    expected = sample["expected"]
    wanted = [expected[name] for name in COUNTS]
    counts, exactness, finish, model = list(found[:4]), *found[4:]
    assert exactness == sample["exactness"]
    assert finish == expected["finish"]
    assert model == (expected["model"] or "")
    if exactness == "lower_bound" and wanted[1] is None:
        # What the server did not count, we count as far as it can be proven.
        assert counts[1] >= (sample.get("expected_min_completion_tokens") or 0)
        counts[1] = None
    assert counts == wanted


@each_sample
def test_a_golden_body_gives_its_counts(sample):
    assert_expected(sample, measure(sample, [base64.b64decode(sample["raw_b64"])]))


@each_sample
@pytest.mark.timeout(600)  # the longest has 201,175 two-part splits
def test_a_golden_body_gives_the_same_byte_by_byte_and_at_every_split(sample):
    body = base64.b64decode(sample["raw_b64"])
    if not body:
        pytest.skip("an empty body has no split")
    is_whole = sample["eof"] == "clean"
    assert probe(sample).first_wrong_split(body, is_whole, sample["http_status"]) == -1


@each_sample
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_golden_body_gives_the_same_in_random_pieces(sample, data):
    body = base64.b64decode(sample["raw_b64"])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert_expected(sample, measure(sample, parts))


def test_the_golden_bodies_are_there():
    if not (SHARED / "wire").exists():
        pytest.skip("NOT TESTED: the golden bodies (../shared/wire) are missing")
    assert len(SAMPLES) == ALL
