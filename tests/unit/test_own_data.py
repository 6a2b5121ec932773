"""The project's own test data is whole, its own, and counted rightly in the manual."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.support.corpus import OTHER_FILES, OWN, OWN_FILES, SHARED

CASES = [json.loads(line) for path in OWN_FILES for line in path.read_text().splitlines()]
COUNTS = Counter(case["kind"] for case in CASES)


def words_of(page: str) -> str:
    """Text of a page, however its lines are broken."""
    return " ".join(Path(page).read_text().split())


def test_every_case_is_our_own():
    assert len(OWN_FILES) == 3
    assert {(case["source"], case["license"]) for case in CASES} == {("own", "original")}


@pytest.mark.parametrize(
    "page", ["docs/security.md", "tests/data/README.md"], ids=["manual", "readme"]
)
def test_pages_count_them_rightly(page):
    text = words_of(page)
    for kind, noun in [
        ("request", "requests"),
        ("response", "responses"),
        ("transform", "rewritings"),
        ("sse", "event streams"),
    ]:
        assert f"{COUNTS[kind]} {noun}" in text, f"{page}: there are {COUNTS[kind]} {noun}"


def test_the_manual_adds_them_up():
    text = words_of("docs/security.md")
    whole = COUNTS["request"] + COUNTS["response"] + COUNTS["transform"]
    assert f"{whole} cases (" in text
    assert f"byte by byte: {whole - COUNTS['response']}." in text


@pytest.mark.skipif(not OTHER_FILES, reason=f"NOT TESTED: {SHARED} is missing")
def test_the_copy_is_the_original():
    for path in OWN_FILES:
        same = (OWN / path.name).read_bytes() == (SHARED / path.name).read_bytes()
        assert same, f"copy {SHARED / path.name} to {OWN} anew"
