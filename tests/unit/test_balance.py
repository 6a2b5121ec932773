"""The policies that choose an endpoint, as properties of many choices; no socket, no clock."""

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.probes.balance import Attempt, Balancer, affinities, key
from tests.support.two_speeds import Loop, Speed

ROUND_ROBIN, LEAST, TWO, BY_KEY, FASTEST = range(5)
POLICIES = [ROUND_ROBIN, LEAST, TWO, BY_KEY, FASTEST]
S = 1_000_000_000


def urls(n):
    return [f"http://10.0.0.{k}:8000" for k in range(n)]


def keys(n):
    return [key(b"session %d" % k) for k in range(n)]


@pytest.mark.parametrize("balance", POLICIES)
def test_only_who_is_in_rotation_is_picked(balance):
    b = Balancer(balance, urls(4))
    b.set_up(1, False)
    b.set_up(3, False)
    assert {b.pick(k) for k in keys(200)} == {0, 2}
    b.set_up(0, False)
    b.set_up(2, False)
    assert b.pick(1) is None


@pytest.mark.parametrize("balance", POLICIES)
def test_who_failed_is_avoided_unless_there_is_no_other(balance):
    b = Balancer(balance, urls(3))
    assert {b.pick(k, avoid=1) for k in keys(200)} <= {0, 2}
    b.set_up(0, False)
    b.set_up(2, False)
    assert b.pick(7, avoid=1) == 1


# ---------------------------------------------------------------- power of two


@given(st.lists(st.integers(0, 50), min_size=3, max_size=8, unique=True), st.integers(1, 1 << 60))
@settings(max_examples=60, deadline=None)
def test_two_choices_never_take_the_worst_of_all(loads, seed):
    """Of any two the better one wins, so the worst wins only against nobody."""
    b = Balancer(TWO, urls(len(loads)), seed=seed)
    for k, n in enumerate(loads):
        b.set_inflight(k, n)
    picked = Counter(b.pick() for _ in range(300))
    assert loads.index(max(loads)) not in picked


def test_two_choices_are_two_different_ones_each_pair_alike():
    loads = [3, 1, 2, 0]
    b = Balancer(TWO, urls(4))
    for k, n in enumerate(loads):
        b.set_inflight(k, n)
    picked = Counter(b.pick() for _ in range(6000))
    # Of the six pairs the idlest is in three, the next wins two, the third one.
    assert [round(picked[k] / 1000) for k in (3, 1, 2, 0)] == [3, 2, 1, 0]


def test_two_choices_spread_evenly_where_all_are_alike_and_by_weight_where_not():
    b = Balancer(TWO, urls(2))
    picked = Counter(b.pick() for _ in range(4000))
    assert 1700 < picked[0] < 2300
    b = Balancer(TWO, urls(2), [3, 1])
    b.set_inflight(0, 5)
    b.set_inflight(1, 2)
    assert {b.pick() for _ in range(100)} == {0}


# ---------------------------------------------------------------- keys


def test_a_key_stays_where_it_is_and_all_get_their_share():
    b = Balancer(BY_KEY, urls(5))
    homes = {k: b.pick(k) for k in keys(5000)}
    assert all(b.pick(k) == home for k, home in homes.items())
    assert all(800 < n < 1200 for n in Counter(homes.values()).values())


def test_weights_are_shares_of_keys():
    b = Balancer(BY_KEY, urls(3), [1, 2, 7])
    picked = Counter(b.pick(k) for k in keys(10_000))
    assert [round(picked[k] / 1000) for k in range(3)] == [1, 2, 7]


def test_where_a_key_goes_depends_on_urls_only_not_on_their_order():
    names = urls(7)
    one, other = Balancer(BY_KEY, names, seed=1), Balancer(BY_KEY, names[::-1], seed=99)
    assert all(one.pick(k) == 6 - other.pick(k) for k in keys(1000))


def test_when_one_leaves_only_its_keys_move():
    b = Balancer(BY_KEY, urls(5))
    before = {k: b.pick(k) for k in keys(5000)}
    b.set_up(2, False)
    after = {k: b.pick(k) for k in before}
    moved = [k for k in before if before[k] != after[k]]
    assert all(before[k] == 2 for k in moved)
    assert 800 < len(moved) < 1200
    # And they are dealt out among all that stay.
    assert set(Counter(after[k] for k in moved)) == {0, 1, 3, 4}
    b.set_up(2, True)
    assert {k: b.pick(k) for k in before} == before


def test_when_one_comes_keys_move_only_to_it():
    few, more = Balancer(BY_KEY, urls(5)), Balancer(BY_KEY, urls(6))
    pairs = [(few.pick(k), more.pick(k)) for k in keys(6000)]
    assert all(new in (old, 5) for old, new in pairs)
    assert 800 < sum(new == 5 for _, new in pairs) < 1200


def test_a_retry_goes_to_the_next_in_the_order_of_the_key_always_the_same():
    b = Balancer(BY_KEY, urls(5))
    for k in keys(300):
        first = b.pick(k)
        second = b.pick(k, avoid=first)
        assert second != first
        b.set_up(first, False)
        assert b.pick(k) == second
        b.set_up(first, True)


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=8),
    st.floats(1.0, 3.0),
    st.lists(st.integers(0, 3), min_size=50, max_size=200),
)
@example([1, 1], 1.0000000000000002, [0] * 50)
@settings(max_examples=60, deadline=None)
def test_no_endpoint_gets_more_than_its_bounded_share_whatever_the_keys(weights, bound, which):
    b = Balancer(BY_KEY, urls(len(weights)), weights, bound=bound)
    for total, k in enumerate(which, 1):
        place = b.pick(keys(4)[k])
        Attempt(b, place)
        fair = bound * total * weights[place] / sum(weights)
        # As a real number: next to a whole one, fair + 1 rounds.
        assert b.inflight()[place] - fair < 1 + 1e-9


def test_one_hot_key_fills_its_home_and_flows_on_in_its_order():
    b = Balancer(BY_KEY, urls(4), bound=2.0)
    (hot,) = keys(1)
    for _ in range(400):
        Attempt(b, b.pick(hot))
    assert sorted(b.inflight()) == [0, 0, 200, 200]


def test_what_has_no_key_goes_where_least_is_in_flight():
    b = Balancer(BY_KEY, urls(3))
    b.set_inflight(0, 2)
    b.set_inflight(1, 1)
    b.set_inflight(2, 2)
    assert {b.pick(0) for _ in range(20)} == {1}


# ---------------------------------------------------------------- bodies


BODIES = [
    ({"model": "m", "messages": [{"role": "user", "content": 'a "b\\" {'}], "user": "ann"},
     "ann", '[{"role": "user", "content": "a \\"b\\\\\\" {"}]'),
    ({"user": "", "prompt": "once", "x": {"user": "no"}, "prompt_cache_key": "k"}, "k", '"once"'),
    ({"metadata": {"a": [{"user_id": "deep"}], "user_id": "u1", "z": 1}, "input": ["a", "b"]},
     "u1", '["a", "b"]'),
    ({"metadata": "user_id", "messages": [], "safety_identifier": "s"}, "s", "[]"),
    ({"messages": 7, "user": 3}, None, "7"),
    ({"metadata": {"user": "no"}, "text": "user", "a": {"prompt": 1}}, None, None),
    ({}, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "user", "prompt"), BODIES)
def test_who_asks_and_how_the_prompt_begins_are_found(body, user, prompt):
    expected = tuple(key(x.encode()) if x is not None else None for x in (user, prompt))
    assert affinities(json.dumps(body).encode(), True, 1024) == expected
    assert affinities(json.dumps(body).encode(), False, 1024) == expected


@pytest.mark.parametrize(("body", "user", "prompt"), BODIES)
@pytest.mark.parametrize("prefix", [1, 5, 1024])
def test_a_part_of_a_body_says_the_same_or_that_more_is_needed(body, user, prompt, prefix):
    text = json.dumps(body).encode()
    whole = affinities(text, True, prefix)
    for n in range(len(text)):
        for found, expected in zip(affinities(text[:n], False, prefix), whole, strict=True):
            assert found in (..., expected)
        assert affinities(text, True, prefix, (n // 2, n)) == whole


def test_a_prompt_counts_as_far_as_the_prefix_goes():
    text = b'{"prompt":"' + b"x" * 5000 + b'","user":"u"}'
    assert affinities(text[:1036], False, 1024) == (..., key(text[10:1034]))
    assert affinities(text, True, 1024) == (key(b"u"), key(text[10:1034]))
    assert affinities(text[:500], True, 1024) == (None, key(text[10:500]))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_looked_at_without_harm(data, is_all):
    affinities(b'{"user"' + data, is_all, 16)
    affinities(data, is_all, 16)


# ---------------------------------------------------------------- fastest


FAST = Speed(step=0.02, first=0.05)
SERVERS = {
    "slots": Speed(step=0.02, first=0.05, slots=4),
    "growing": Speed(step=0.02, first=0.05, growth=0.001),
}
SPLITS = [(1, 1), (3, 2), (2, 1), (5, 2), (3, 1), (4, 1), (6, 1), (9, 1), (1000, 1)]


def throughput(balance, speed, callers, events=True, weights=None):
    balancer = Balancer(balance, urls(2), list(weights) if weights else None)
    return Loop(balancer, [speed, speed.slower(2.3)], events=events).run(callers, 90.0, 30.0)


@pytest.mark.parametrize("callers", [1, 4, 6, 8, 24])
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("events", [True, False])
def test_fastest_gets_nearly_done_what_the_best_split_would(kind, callers, events):
    speed = SERVERS[kind]
    best = max(throughput(ROUND_ROBIN, speed, callers, events, w) for w in SPLITS)
    assert throughput(FASTEST, speed, callers, events) > (0.95 if events else 0.88) * best


def test_fastest_sends_most_to_the_quick_one_and_least_inflight_does_not():
    for balance, least in ((FASTEST, 0.9), (LEAST, 0.0)):
        loop = Loop(Balancer(balance, urls(2)), [FAST, FAST.slower(2.3)])
        loop.run(8, 60.0)
        share = loop.done[0] / sum(loop.done)
        assert share > least
        assert balance == FASTEST or share < 0.8


def test_one_that_fails_quickly_attracts_nothing():
    loop = Loop(Balancer(FASTEST, urls(2)), [FAST, FAST.slower(2.3)])
    loop.run(8, 30.0)
    asked = 0
    loop.fails.add(0)
    for _ in range(200):
        place = loop.balancer.pick()
        attempt = Attempt(loop.balancer, place)
        asked += place == 0
        attempt.end(500 if place == 0 else 200, 0 if place == 0 else 30)
    assert asked < 20


def test_one_that_has_failed_from_the_start_attracts_nothing():
    b = Balancer(FASTEST, urls(2))
    picked = Counter()
    for k in range(1, 400):
        b.set_time(k * S // 10)
        place = b.pick()
        picked[place] += 1
        Attempt(b, place).end(500 if place == 1 else 200)
    assert picked[1] < 30


def test_one_that_was_slow_is_seen_again_when_it_is_quick():
    loop = Loop(Balancer(FASTEST, urls(2)), [FAST, FAST.slower(8)])
    loop.run(4, 120.0)
    slow = loop.done[1]
    assert slow < 0.1 * sum(loop.done)
    loop.servers[1].speed = Speed(step=0.005, first=0.01)
    loop.run(0, 300.0)
    assert loop.done[1] - slow > 0.5 * (sum(loop.done) - slow)


def test_who_has_not_answered_is_tried_first_but_not_flooded():
    b = Balancer(FASTEST, urls(3))
    b.set_time(S)
    answered = Attempt(b, 0)
    b.set_time(2 * S)
    answered.end(200, 10)
    Attempt(b, b.pick())
    Attempt(b, b.pick())
    assert b.inflight() == [0, 1, 1]
    for _ in range(9):
        Attempt(b, b.pick())
    assert max(b.inflight()) - min(b.inflight()) <= 2


def test_only_good_answers_are_samples():
    b = Balancer(FASTEST, urls(1))
    b.set_time(S)
    for status in (500, 503, 404, 302):
        Attempt(b, 0).end(status)
    assert b.time(0, 1) is None
    attempt = Attempt(b, 0)
    b.set_time(3 * S)
    attempt.end(200)
    assert b.time(0, 1) == pytest.approx(2 * S, rel=0.01)


# ---------------------------------------------------------------- reported loads


def test_reported_load_counts_with_requests_sent_since_until_it_is_stale():
    b = Balancer(FASTEST, urls(1))
    b.set_time(S)
    early = Attempt(b, 0)
    b.tell(0, 5, 3, 0.5, 3 * S)
    assert b.load(0) == 8
    Attempt(b, 0)
    assert b.load(0) == 9
    early.end(200)
    assert b.load(0) == 8
    b.set_time(4 * S)
    assert b.load(0) == 1


def test_a_told_load_is_never_less_than_our_own():
    b = Balancer(FASTEST, urls(1))
    b.set_time(S)
    b.tell(0, 0, 0, -1, 3 * S)
    Attempt(b, 0)
    b.tell(0, 0, 0, -1, 3 * S)
    assert b.load(0) == 1


def test_a_server_that_others_keep_busy_gets_less():
    b = Balancer(FASTEST, urls(2))
    for k in range(1, 60):
        b.set_time(k * S)
        attempts = [Attempt(b, i) for i in (0, 1) for _ in range(1 + k % 4)]
        b.set_time(k * S + S // 20 * (1 + k % 4))
        for attempt in attempts:
            attempt.end(200)
    b.tell(0, 20, 10, -1, 1000 * S)
    assert {b.pick() for _ in range(20)} == {1}
