"""The parser of the PROXY protocol: the verdict is that of the bytes, however they were split."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.probes import network as probe
from tests.relay.test_proxy_protocol import BAD, GOOD
from zeroproxy._fast.engine.enum_names import PROXY_FAULTS

HEADERS = [header for header, _ in GOOD] + [one for all_ in BAD.values() for one in all_]


def mutated():
    """Headers with bytes changed, put in or taken out, and bytes of nothing."""
    return st.one_of(
        st.binary(max_size=300),
        st.tuples(
            st.sampled_from(HEADERS), st.integers(0, 60), st.integers(0, 3), st.binary(max_size=4)
        ).map(lambda t: t[0][: t[1]] + t[3] + t[0][t[1] + t[2] :]),
    )  # fmt: skip


@given(mutated())
@example(b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n")
def test_a_prefix_is_undecided_or_has_the_verdict_of_the_whole(data):
    whole = probe.parse(data)
    decided = False
    for n in range(len(data) + 1):
        found = probe.parse(data[:n])
        if found[0] != probe.MORE:
            assert found == whole
            decided = True
        assert not decided or found[0] != probe.MORE
    if whole[0] == 0:
        assert 0 < whole[1] <= min(len(data), probe.MOST)


@pytest.mark.parametrize(("header", "caller"), GOOD)
def test_bytes_behind_a_header_are_not_its(header, caller):
    fault, size, is_local, address = probe.parse(header + b"GET / HTTP/1.1\r\n\r\n")
    assert (fault, size) == (0, len(header))
    assert address == ("" if is_local or caller is None else caller)


@pytest.mark.parametrize(
    ("reason", "header"), [(reason, one) for reason, all_ in BAD.items() for one in all_]
)
def test_each_fault_has_its_name(reason, header):
    assert PROXY_FAULTS[probe.parse(header)[0]] == reason


def test_nothing_is_no_header_yet():
    assert probe.parse(b"")[0] == probe.MORE
