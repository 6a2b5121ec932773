"""The kernel of API keys: the digest, and quotas at times the test names."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.probes.keys import KeyProbe, digest_of

REQUESTS, TOKENS = 0, 1


@pytest.mark.parametrize("n", range(201))
def test_the_digest_is_hashlibs_at_every_length(n):
    text = bytes(k * 7 + n & 255 for k in range(n))
    assert digest_of(text) == hashlib.sha256(text).digest()


@given(st.binary(max_size=2000))
def test_the_digest_is_hashlibs_for_any_bytes(text):
    assert digest_of(text) == hashlib.sha256(text).digest()


def key(requests=0, tokens=0):
    k = KeyProbe()
    k.begin(requests, tokens, 100.0)
    return k


def test_without_a_quota_everything_passes():
    k = key()
    k.charge(10**12, 100.0)
    assert all(k.take(100.0) is None for _ in range(1000))


def test_a_minutes_worth_may_be_asked_at_once_and_then_one_at_a_time():
    k = key(requests=6)
    assert [k.take(100.0) for _ in range(6)] == [None] * 6
    which, wait = k.take(100.0)
    assert (which, wait) == ("requests", 11)  # a whole second more: never too early
    assert k.take(109.9) == ("requests", 1)
    assert k.take(110.1) is None
    assert k.take(110.2)[0] == "requests"


def test_waiting_as_long_as_was_said_is_enough():
    k = key(requests=7)
    now = 100.0
    for _ in range(50):
        while (refused := k.take(now)) is None:
            pass
        now += refused[1]
        assert k.take(now) is None


def test_a_quota_holds_no_more_than_a_minutes_worth():
    k = key(requests=3)
    assert k.level(REQUESTS, 100_000.0) == 3.0


def test_tokens_are_a_debt_that_is_paid_before_anybody_is_let_in():
    k = key(tokens=600)
    assert k.take(100.0) is None
    k.charge(1200, 100.0)
    assert k.level(TOKENS, 100.0) == -600.0
    assert k.take(100.0) == ("tokens", 61)
    assert k.take(159.0) == ("tokens", 2)
    assert k.take(160.1) is None


def test_requests_that_run_reserve_what_they_will_cost():
    """A8: 300 at once used 3,000,000 tokens of 1,000 a minute."""
    k = key(tokens=1000)
    # 256 each, as long as none has ended.
    assert sum(k.take(100.0) is None for _ in range(300)) == 4
    k.charge(10_000, 100.0)
    for _ in range(3):
        k.charge(10_000, 100.0)
    # From now on it is known what they cost: one at a time.
    assert k.level(TOKENS, 100.0) == -10_000.0
    assert k.take(698.5) == ("tokens", 2)
    assert k.take(701.0) is None
    assert k.take(701.0)[0] == "tokens"


def test_a_debt_is_ten_minutes_worth_at_most():
    """A8: it was 50 hours."""
    k = key(tokens=1000)
    k.charge(3_000_000, 100.0)
    assert k.take(100.0) == ("tokens", 601)
    assert k.take(701.0) is None


def test_one_at_a_time_is_always_let_in_however_large_it_is():
    k = key(tokens=1000)
    assert k.take(100.0, 10**9) is None
    assert k.take(100.0)[0] == "tokens"
    k.charge(900, 100.0)
    assert k.take(100.0) is None


def test_what_is_reserved_is_free_when_nothing_was_used():
    k = key(tokens=1000)
    for _ in range(100):
        assert k.take(100.0) is None
        k.charge(0, 100.0)
    assert k.level(TOKENS, 100.0) == 1000.0


def test_a_grant_does_not_forget_what_is_reserved():
    k = key(tokens=1000)
    assert k.take(100.0, 40_000) is None
    k.grant(TOKENS, 1000, 500, 0)
    assert k.take(100.0)[0] == "tokens"
    k.charge(0, 100.0)
    assert k.take(100.0) is None


def test_a_refused_request_costs_nothing():
    k = key(requests=1, tokens=10)
    k.take(100.0)
    k.charge(10, 100.0)
    before = k.level(REQUESTS, 100.0)
    assert k.take(100.0) is not None
    assert k.level(REQUESTS, 100.0) == before


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 200)), max_size=60))
def test_in_no_span_of_time_more_is_let_in_than_the_bucket_and_what_flowed_in(steps):
    k = key(requests=30)
    now, let_in = 100.0, 0
    for pause, asked in steps:
        now += pause
        let_in += sum(k.take(now) is None for _ in range(asked))
        assert let_in <= 30 + (now - 100.0) * 30 / 60 + 1e-6


def test_another_rate_keeps_what_is_in_the_bucket():
    k = key(requests=10)
    for _ in range(4):
        k.take(100.0)
    k.begin(20, 0, 100.0)
    assert k.level(REQUESTS, 100.0) == 6.0
    k.begin(2, 0, 100.0)
    assert k.level(REQUESTS, 100.0) == 2.0


def test_a_leased_quota_gets_nothing_by_itself():
    k = key(requests=60)
    k.grant(REQUESTS, 30, 2.0, 0)
    assert [k.take(100.0), k.take(100.0)] == [None, None]
    assert k.take(1000.0) == ("requests", 3)


def test_a_grant_knows_nothing_of_what_was_taken_since_it_was_asked_for():
    k = key(requests=60)
    asked = k.used(REQUESTS)
    k.take(100.0)
    k.take(100.0)
    k.grant(REQUESTS, 30, 10.0, asked)
    assert k.level(REQUESTS, 100.0) == 8.0


def test_a_share_fills_by_itself_again():
    k = key(requests=60)
    k.grant(REQUESTS, 30, 0.0, 0)
    k.share(REQUESTS, 30.0, 30.0, 100.0)
    assert k.take(100.0)[0] == "requests"
    assert k.take(102.1) is None
