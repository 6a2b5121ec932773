"""Rules on the pages a stranger reads first (R11, R14)."""

import re
from pathlib import Path

import zeroproxy
from zeroproxy._version import __version__

README, CHANGELOG = Path("README.md"), Path("CHANGELOG.md")
#: Contracts that SemVer protects here, as the changelog has to name them.
STABLE = ("configuration", "metrics", "/status", "ledger", "zeroproxy.__all__")


def tables(text: str) -> list[int]:
    """Rows of each table, without its head and its rule."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.M)
    return [len(block.splitlines()) - 2 for block in blocks]


def test_the_readme_is_short():
    lines = README.read_text().splitlines()
    assert len(lines) <= 100, f"README.md has {len(lines)} lines: move figures to bench/README.md"
    rows = tables(README.read_text())
    assert len(rows) <= 1, "README.md has one table; others belong into docs/"
    assert max(rows, default=0) <= 6, "README.md: six rows, the rest belongs into bench/README.md"


def test_rows_are_counted():
    assert tables("a\n| x |\n| - |\n| 1 |\n| 2 |\nb\n| y |\n| - |\n") == [2, 0]


def test_every_change_has_its_place_in_the_changelog():
    text = CHANGELOG.read_text()
    heads = re.findall(r"^## \[([^\]]+)\]", text, re.M)
    assert heads[:1] == ["Unreleased"], "CHANGELOG.md begins with ## [Unreleased]"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds, f"CHANGELOG.md: one of {kinds}"
    assert all(head == "Unreleased" or re.match(r"\d+\.\d+\.\d+$", head) for head in heads)


def test_the_changelog_promises_what_stays():
    promise = CHANGELOG.read_text().partition("## [")[0]
    assert "semver.org" in promise, "CHANGELOG.md: versions are semantic"
    for contract in STABLE:
        assert contract in promise, f"CHANGELOG.md names what is stable: {contract} is missing"
    assert zeroproxy.__all__
    assert re.match(r"\d+\.\d+\.\d+", __version__)


def test_contributing_has_every_rule():
    text = Path("CONTRIBUTING.md").read_text()
    missing = [n for n in range(1, 15) if not re.search(rf"^\| R{n} \|", text, re.M)]
    assert not missing, f"CONTRIBUTING.md: rules R{missing} have no row"


def test_the_tests_that_contributing_names_exist():
    named = re.findall(r"tests/[\w/]+\.py\b", Path("CONTRIBUTING.md").read_text())
    assert named
    assert [name for name in named if not Path(name).exists()] == []
