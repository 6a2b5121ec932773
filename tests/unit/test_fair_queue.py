"""The fair queue: its order by priority, then by tokens; the relay that leaves a full one."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.probes.queue import QueueProbe


def waiting(queue: QueueProbe, *who: tuple[int, int]) -> list[int]:
    """Relays of (tenant, priority) that wait."""
    numbers = [queue.come(tenant, priority) for tenant, priority in who]
    for k in numbers:
        queue.join(k)
    return numbers


def let_in(queue: QueueProbe, most: int = 0) -> int | None:
    k = queue.next(most)
    if k is not None:
        queue.leave(k)
        queue.take(k)
    return k


def test_one_tenant_is_served_in_the_order_of_arrival():
    queue = QueueProbe()
    numbers = waiting(queue, *[(1, 5)] * 20)
    assert [let_in(queue) for _ in range(21)] == [*numbers, None]


def test_the_lower_number_goes_first_whatever_its_tenant_had():
    queue = QueueProbe()
    late, soon, first = waiting(queue, (1, 9), (1, 5), (2, 0))
    queue.take(queue.come(2))
    assert [let_in(queue) for _ in range(3)] == [first, soon, late]


def test_tokens_are_shared_not_requests():
    """Tenant 1 asks for ten times as many tokens per request: it gets a tenth of the requests."""
    queue = QueueProbe()
    cost = {1: 1000, 2: 100}
    waiting(queue, *[(1, 5)] * 500, *[(2, 5)] * 500)
    served = {1: 0, 2: 0}
    for _ in range(550):
        k = let_in(queue)
        tenant = 1 if k < 500 else 2
        queue.end(k, completion=cost[tenant])
        served[tenant] += 1
    assert 45 <= served[1] <= 55


def test_many_at_once_count_before_the_first_has_ended():
    """Ten permits at once, none of them over: they are shared half and half."""
    queue = QueueProbe()
    waiting(queue, *[(1, 5)] * 100, *[(2, 5)] * 100)
    got = [let_in(queue) for _ in range(10)]
    assert sum(k < 100 for k in got) == 5


def test_a_pause_earns_no_credit():
    queue = QueueProbe()
    for _ in range(100):
        k = queue.come(1)
        queue.take(k)
        queue.end(k, completion=1000)
    numbers = waiting(queue, *[(1, 5), (2, 5)] * 20)
    got = [let_in(queue) for _ in range(10)]
    assert 4 <= sum(k in numbers[1::2] for k in got) <= 6


def test_who_fails_is_given_back_what_it_was_charged():
    queue = QueueProbe()
    k = queue.come(3)
    queue.take(k)
    assert queue.share(3)[0] > 1
    queue.end(k, counted=False, status=503)
    assert queue.share(3)[0] == 1


def test_where_nobody_counts_bytes_do():
    queue = QueueProbe()
    k = queue.come(3)
    queue.take(k)
    queue.end(k, counted=False, size=4000)
    assert queue.share(3)[0] == 2001


def test_nobody_holds_more_than_the_most_a_tenant_may():
    queue = QueueProbe()
    ones = waiting(queue, *[(1, 5)] * 5)
    (two,) = waiting(queue, (2, 5))
    queue.take(queue.come(2))
    assert [let_in(queue, 2) for _ in range(4)] == [*ones[:2], two, None]


def test_a_full_queue_makes_room_for_who_has_less_in_it():
    queue = QueueProbe()
    flood = waiting(queue, *[(1, 5)] * 8)
    assert queue.worst(queue.come(1, 5)) is None
    assert queue.worst(queue.come(2, 5)) == flood[-1]
    assert queue.worst(queue.come(2, 9)) is None, "its priority is lower than that of all others"
    assert queue.worst(queue.come(1, 4)) == flood[-1]
    low = waiting(queue, (3, 7))
    assert queue.worst(queue.come(1, 5)) == low[0]


def test_two_that_have_as_much_do_not_displace_each_other():
    queue = QueueProbe()
    waiting(queue, *[(1, 5)] * 3, *[(2, 5)] * 2)
    assert queue.worst(queue.come(2, 5)) is None


def test_retries_go_behind_first_attempts_of_their_tenant():
    queue = QueueProbe()
    again = queue.come(1, again=True, at=0.0)
    first = [queue.come(1, at=1.0), queue.come(1, at=4.9)]
    late = queue.come(1, at=5.1)
    for k in (again, *first, late):
        queue.join(k)
    assert [let_in(queue) for _ in range(4)] == [*first, again, late], "none waits for ever"


def test_a_retry_of_a_tenant_that_had_less_goes_before_first_attempts_of_another():
    queue = QueueProbe()
    queue.take(queue.come(1))
    first, again = queue.come(1), queue.come(2, again=True)
    queue.join(first)
    queue.join(again)
    assert let_in(queue) == again


def test_who_comes_back_to_the_queue_is_the_first_of_its_tenant():
    queue = QueueProbe()
    one, two = waiting(queue, (1, 5), (1, 5))
    queue.leave(one)
    queue.join_first(one)
    assert [let_in(queue), let_in(queue)] == [one, two]


def test_the_place_in_the_queue_counts_those_that_go_first():
    queue = QueueProbe()
    waiting(queue, (1, 5), (1, 5), (1, 5), (2, 5), (1, 9), (1, 0))
    assert queue.ahead(queue.come(1, 5)) == 3 + 1 + 1
    assert queue.ahead(queue.come(2, 5)) == 1 + 1 + 1
    assert queue.ahead(queue.come(3, 5)) == 1, "it is the turn of a tenant that has none waiting"
    queue.join(queue.come(1, 5, again=True))
    assert queue.ahead(queue.come(1, 5)) == 5
    assert queue.ahead(queue.come(1, 5, again=True)) == 6


@given(st.integers(0, 1 << 32), st.integers(1, 6))
def test_nothing_is_lost_in_any_order_of_coming_leaving_and_being_let_in(seed, tenants):
    dice = random.Random(seed)
    queue, inside, held, n = QueueProbe(), [], [], 0
    for _ in range(200):
        what = dice.random()
        if what < 0.5:
            k = queue.come(dice.randrange(tenants), dice.randrange(3))
            queue.join(k)
            inside.append(k)
            n += 1
        elif what < 0.65 and inside:
            queue.leave(inside.pop(dice.randrange(len(inside))))
        elif what < 0.9:
            k = let_in(queue)
            assert (k is None) == (not inside)
            if k is not None:
                inside.remove(k)
                held.append(k)
        elif held:
            queue.end(held.pop(dice.randrange(len(held))), prompt=dice.randrange(99), completion=7)
        assert queue.waiting()[0] == len(inside)
        assert sum(queue.share(t)[1] for t in range(tenants)) == len(held)
        assert sum(queue.share(t)[2] for t in range(tenants)) == len(inside)
    while inside:
        inside.remove(let_in(queue))
    assert queue.waiting() == (0, 0)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=5), st.integers(1, 8))
def test_backlogged_tenants_differ_by_no_more_than_what_is_in_flight(costs, permits):
    """The bound of a virtual token counter: whoever always waits is never behind for long."""
    queue, held = QueueProbe(), []
    for t, _ in enumerate(costs, 1):
        waiting(queue, *[(t, 5)] * 60)
    had = dict.fromkeys(range(1, len(costs) + 1), 0)
    for _ in range(50):
        if len(held) == permits:
            k = held.pop(0)
            tenant = k // 60 + 1
            queue.end(k, completion=costs[tenant - 1])
            had[tenant] += costs[tenant - 1]
        held.append(let_in(queue))
    still = [had[t] for t in had if queue.share(t)[2]]
    # A wrong estimate costs at most one exchange per permit, in each direction.
    assert not still or max(still) - min(still) <= (permits + 1) * (max(costs) + 256)
