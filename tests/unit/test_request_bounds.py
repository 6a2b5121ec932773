"""Bounds on generated tokens that a request names: at every split."""

import pytest

from tests.probes.usage import RequestScanProbe

NOTHING = 0


@pytest.mark.parametrize(
    ("body", "bound", "n"),
    [
        (b'{"max_tokens": 40, "n": 3, "model": "m"}', 40, 3),
        (b'{"m\\u0061x_tokens":"40","temperature":1e-1,"max_output_tokens":7}', 40, 0),
        (b'{"options":{"num_predict":-1,"a":{"n":9}},"sampling_params":{"n":2}}', 256, 2),
        (b'{"max_tokens":99999999999999999999999999}', 1 << 30, 0),
        (b'{"metadata":{"max_tokens":9},"messages":[{"max_tokens":9}]}', 0, 0),
    ],
)
def test_a_bound_is_read_at_every_split(body, bound, n):
    for k in range(len(body)):
        probe = RequestScanProbe(NOTHING, reads_bound=True)
        probe.feed(body[:k])
        probe.feed(body[k:])
        assert (probe.bound, probe.seen()[2], probe.seen()[4]) == (bound, n, True)


def test_names_that_occur_often_in_a_sampling_object_are_no_places_of_edits():
    """Each was one, past the end of the table of places."""
    twice = b'"stream_options":null,"model":"x","stream":true,' * 20
    body = b'{"stream":true,"options":{%s"n":1},"parameters":{%s"n":1}}' % (twice, twice)
    probe = RequestScanProbe(1, reads_bound=True)
    out = probe.feed(body)
    assert out == body[:-1] + b',"stream_options":{"include_usage":true}}'


NESTED = b'"model":"x","stream":true,"prompt":"p","user":"u","stream_options":{"a":1}'


@pytest.mark.parametrize("name", [b"options", b"parameters", b"sampling_params"])
def test_a_sampling_object_has_bounds_and_no_member_of_the_root(name):
    """Its model, stream, prompt and user were taken for the request's."""
    body = b'{"model":"m","%s":{%s,"n":2},"seed":1}' % (name, NESTED)
    for k in range(len(body)):
        probe = RequestScanProbe(NOTHING, reads_bound=True)
        probe.feed(body[:k])
        probe.feed(body[k:])
        assert probe.seen() == (b"m", False, 2, False, True)
        assert probe.offsets() == ((0, 0), (0, 0))
