"""The HTTP corpus against real proxy processes: what a strict reverse proxy accepts, refuses,
rewrites and passes on event by event. The project's own cases are in tests/data/http, those of
other projects in ../shared/http, if that is there."""

import pytest

from tests.support.corpus import needs_others
from tests.support.corpus_run import Play, play_bytewise, play_events, play_whole

pytestmark = pytest.mark.timeout(400)
#: Where the RFC permits both, this share of what a strict proxy should do.
PREFERRED = 0.98


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Play:
    return play_whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory) -> Play:
    return play_bytewise(tmp_path_factory.mktemp("bytewise"))


@pytest.fixture(params=["whole", "bytewise"])
def played(request) -> Play:
    return request.getfixturevalue(request.param)


def test_no_case_fails_and_none_is_left_out(played):
    assert not played.failures()
    assert len(played.results) == len(played.cases)
    print(played.figures())


@pytest.mark.parametrize("expected", ["accept", "reject"])
def test_all_that_must_be_accepted_or_refused_is(played, expected):
    found = played.of("request", expected)
    assert found
    assert all(one["ok"] for one in found)


def test_where_the_rfc_permits_both_the_strict_way_is_taken(played):
    missed, n = played.preferences()
    assert n
    assert len(missed) <= (1 - PREFERRED) * n, missed


def test_every_rewriting_is_as_the_rfc_says(played):
    found = played.of("transform")
    assert len(found) >= 66
    assert all(one["got"] == "accept" for one in found)


def test_every_event_stream_arrives_byte_for_byte_and_write_by_write(tmp_path):
    played = play_events(tmp_path)
    assert not played.failures()
    assert len(played.of("sse")) >= 29


@needs_others
def test_the_cases_of_other_projects_are_played_too(whole):
    assert {one["id"].split(":")[0] for one in whole.results} > {"own", "xf"}
