"""Pauses between two tries."""

from zeroproxy.backoff import Backoff


def test_a_pause_doubles_up_to_the_longest_and_begins_anew_after_a_success():
    backoff = Backoff(0.25, 1.5)
    assert [backoff.pause() for _ in range(5)] == [0.25, 0.5, 1.0, 1.5, 1.5]
    backoff.reset()
    assert backoff.pause() == 0.25


def test_after_many_failures_it_is_still_the_longest():
    backoff = Backoff(0.2, 30.0)
    for _ in range(5000):
        backoff.pause()
    assert backoff.pause() == 30.0


def test_with_jitter_pauses_differ_between_their_bounds():
    for tries, longest in ((1, 0.2), (2, 0.4), (5, 3.2), (9, 30.0)):
        pauses = []
        for _ in range(50):
            backoff = Backoff(0.2, 30.0, jitter=0.5)
            pauses.append([backoff.pause() for _ in range(tries)][-1])
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 1
