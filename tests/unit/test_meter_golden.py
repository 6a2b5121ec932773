"""The golden bodies of every dialect: their counts, whole and at every split. The project's own are
in tests/support/golden.py; a larger collection lies beside the checkout, if it is there."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.probes.usage import MeterProbe
from tests.support.golden import GOLDEN, Golden

HERE = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ZEROPROXY_SHARED", HERE.parent / "shared")) / "wire" / "samples.jsonl"
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
#: Bodies of the collection beside the checkout; a smaller number means that some were not read.
N_SHARED = 141


def shared_ones() -> list[Golden]:
    """The larger collection, which is not part of the project; empty if it is not there."""
    lines = SHARED.read_text().splitlines() if SHARED.exists() else []
    return [golden_of(json.loads(line)) for line in lines]


def golden_of(sample: dict) -> Golden:
    expected = sample["expected"]
    heads = {k.lower(): int(v) for k, v in (sample["headers"] or {}).items() if v.isdigit()}
    has_heads = "x-prompt-tokens" in heads
    return Golden(
        sample["id"],
        sample["endpoint"],
        base64.b64decode(sample["raw_b64"]),
        *(expected[name] for name in COUNTS[:2]),
        exactness=sample["exactness"],
        finish=expected["finish"],
        model=expected["model"] or "",
        cached=expected["cached_tokens"],
        reasoning=expected["reasoning_tokens"],
        content_type=sample.get("content_type"),
        n=sample["n"] or 1,
        is_whole=sample["eof"] == "clean",
        status=sample["http_status"],
        framing="frames" if sample["framing"] == "ws" else "",
        heads=(heads["x-prompt-tokens"], heads["x-generated-tokens"]) if has_heads else None,
        least=sample.get("expected_min_completion_tokens") or 0,
    )


SAMPLES = [*GOLDEN, *shared_ones()]
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def probe(sample: Golden) -> MeterProbe:
    content_type = sample.content_type.encode() if sample.content_type else None
    m = MeterProbe(sample.framing, sample.n, sample.path.encode(), content_type)
    if sample.heads:
        m.heads(*sample.heads)
    return m


def measure(sample, parts):
    m = probe(sample)
    for part in parts:
        if part:
            m.feed(part)
    return m.end(sample.is_whole, sample.status)


def assert_expected(sample, found):
    wanted = [sample.prompt, sample.completion, sample.cached, sample.reasoning]
    counts, exactness, finish, model = list(found[:4]), *found[4:]
    assert exactness == sample.exactness
    assert finish == sample.finish
    assert model == sample.model
    if exactness == "lower_bound" and wanted[1] is None:
        # Tokens that the server did not count, we count as far as they can be proven.
        assert counts[1] >= sample.least
        counts[1] = None
    assert counts == wanted


@each_sample
def test_a_golden_body_gives_its_counts(sample):
    assert_expected(sample, measure(sample, [sample.body]))


@each_sample
@pytest.mark.timeout(600)  # the longest has 201,175 two-part splits
def test_a_golden_body_gives_the_same_byte_by_byte_and_at_every_split(sample):
    if not sample.body:
        pytest.skip("an empty body has no split")
    wrong = probe(sample).first_wrong_split(sample.body, sample.is_whole, sample.status)
    assert wrong == -1


@each_sample
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_golden_body_gives_the_same_in_random_pieces(sample, data):
    body = sample.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert_expected(sample, measure(sample, parts))


@pytest.mark.skipif(
    not SHARED.exists(),
    reason=f"NOT TESTED: the larger collection, {SHARED} is missing; set ZEROPROXY_SHARED",
)
def test_the_larger_collection_is_whole():
    assert len(SAMPLES) - len(GOLDEN) == N_SHARED


def test_the_manual_counts_the_golden_bodies():
    text = " ".join(Path("docs/counting.md").read_text().split())
    assert f"{len(GOLDEN)} golden bodies" in text, "docs/counting.md: mend the number of bodies"
    assert f"{N_SHARED} more" in text
