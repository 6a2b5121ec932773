"""Every request and response case of the corpus at parser level, whole and in pieces."""

from collections import Counter

import pytest

from tests.support import strict9112
from tests.support.corpus import DECIDED, Case, load, needs_others
from tests.support.split import bytewise, pieces, whole
from tests.support.walk import Walk, walk_requests, walk_response

BYTEWISE_UP_TO = 1500
PREFERRED = 0.98


def cut(data: bytes) -> list[bytes]:
    """Byte by byte where that is cheap: a prefix is parsed once per part."""
    return bytewise(data) if len(data) <= BYTEWISE_UP_TO else pieces(data, 1 + len(data) // 101)


def run(case: Case, parts: list[bytes]) -> Walk:
    if case_is_request(case):
        return walk_requests(parts)
    return walk_response(parts, case.request_method)


KINDS: dict[str, str] = {}


def case_is_request(case: Case) -> bool:
    return KINDS[case.id] == "request"


def cases(kind: str) -> list[Case]:
    found = [c for c in load(kind) if not (kind == "response" and c.request_method == "CONNECT")]
    KINDS.update({c.id: kind for c in found})
    return found


def oracle(case: Case) -> strict9112.Result:
    if case_is_request(case):
        return strict9112.classify_request(case.raw)
    return strict9112.classify_response(case.raw, method=case.request_method)


def got(walk: Walk) -> str:
    return {"bad": "reject", "complete": "accept"}.get(walk.state, "wait")


def bodies_agree(walk: Walk, result: strict9112.Result, is_request: bool) -> bool:
    theirs = [m for m in result.messages if is_request or not m.start[1].startswith(b"1")]
    return [m.body for m in walk.messages] == [m.body for m in theirs[: len(walk.messages)]]


@pytest.mark.parametrize("kind", ["request", "response"])
def test_the_corpus_is_accepted_and_refused_as_it_expects(kind: str) -> None:
    wrong = []
    for case in cases(kind):
        walk = run(case, whole(case.raw))
        result = oracle(case)
        if case.expect in ("accept", "reject") and got(walk) != case.expect:
            wrong.append((case.id, case.expect, got(walk), walk.fault, case.raw[:200]))
        elif case.expect == "accept" and not bodies_agree(walk, result, kind == "request"):
            wrong.append((case.id, "bodies differ", "", "", b""))
        elif len(walk.messages) > len(result.messages):
            wrong.append((case.id, "too many messages", "", "", b""))
    assert wrong == []


@pytest.mark.parametrize("kind", ["request", "response"])
def test_where_the_rfc_leaves_a_choice_the_preferred_one_is_taken(kind: str) -> None:
    missed: Counter[str] = Counter()
    n = 0
    for case in cases(kind):
        if case.expect == "either" and case.prefer in ("accept", "reject"):
            n += 1
            prefer = DECIDED.get(case.id, case.prefer)
            if got(run(case, whole(case.raw))) != prefer and case.state == "complete":
                missed[case.code] += 1
    assert missed.total() <= (1 - PREFERRED) * n, (n, missed)


@pytest.mark.parametrize("kind", ["request", "response"])
def test_the_end_of_a_message_is_not_seen_before_it_comes(kind: str) -> None:
    early = []
    for case in cases(kind):
        if case.prefer in ("wait", "truncate"):
            walk = run(case, whole(case.raw))
            whole_ones = len(oracle(case).messages)
            if got(walk) == "accept" or len(walk.messages) > whole_ones:
                early.append((case.id, walk.state, case.raw[:200]))
    assert early == []


@pytest.mark.parametrize("kind", ["request", "response"])
def test_the_verdict_on_the_corpus_does_not_depend_on_how_it_was_split(kind: str) -> None:
    differ = []
    for case in cases(kind):
        a, b = run(case, whole(case.raw)), run(case, cut(case.raw))
        if (a.state, a.fault, a.fault_at, a.messages) != (b.state, b.fault, b.fault_at, b.messages):
            differ.append((case.id, a.state, a.fault, a.fault_at, b.state, b.fault, b.fault_at))
    assert differ == []


@needs_others
def test_the_cases_of_other_projects_are_among_them():
    assert {case.id.split(":")[0] for case in load("request")} > {"own"}
