"""Limits that are found: up by one a round while first tokens are in time, down by a tenth."""

from tests.probes.queue import LimitOf

TARGET = 1000


def test_without_a_target_the_limit_is_what_was_said():
    assert LimitOf(max_inflight=7).now == 7
    assert LimitOf().now == 0
    fixed = LimitOf(max_inflight=7)
    fixed.observe(0, 1 << 40)
    fixed.busy(1, 2)
    assert fixed.now == 7


def test_it_goes_up_by_one_a_round_and_only_while_it_is_used():
    limit = LimitOf(target=TARGET)
    begin = limit.now
    for _ in range(begin + 1):
        limit.observe(0, TARGET)
    assert limit.now == begin + 1
    for _ in range(1000):
        assert not limit.observe(0, TARGET, inflight=begin)
    assert limit.now == begin + 1


def test_one_late_token_costs_a_tenth_once_a_round():
    limit = LimitOf(max_inflight=100, target=TARGET)
    for k in range(50):
        limit.observe(k, 5000)
    assert limit.now == 90
    limit.observe(5001, 5001 + TARGET + 1)
    assert limit.now == 81


def test_429_and_503_lower_it_too():
    limit = LimitOf(max_inflight=100, target=TARGET)
    limit.busy(10, 20)
    limit.busy(15, 30)
    assert limit.now == 90


def test_it_stays_between_its_bounds():
    limit = LimitOf(max_inflight=10, min_inflight=4, target=TARGET)
    for k in range(100):
        limit.observe(k * 10_000 + 1, k * 10_000 + 5000)
    assert limit.now == 4
    for _ in range(1000):
        limit.observe(0, TARGET)
    assert limit.now == 10


def test_answers_of_one_piece_and_errors_say_nothing():
    limit = LimitOf(max_inflight=10, target=TARGET)
    limit.observe(1, 1 << 40, streamed=False)
    limit.observe(1, 1 << 40, status=400)
    assert limit.now == 10


def test_a_reload_keeps_what_was_found_within_the_new_bounds():
    limit = LimitOf(max_inflight=100, target=TARGET)
    limit.observe(1, 5000)
    limit.change(max_inflight=200, target=TARGET)
    assert limit.now == 90
    limit.change(max_inflight=50, target=TARGET)
    assert limit.now == 50
    limit.change(max_inflight=200)
    assert limit.now == 200
