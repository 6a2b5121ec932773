"""Rules on identifiers: words of the vocabulary (R4), prefixes of enums (R8), pairs (R9)."""

import re
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.house.names import VOCABULARY
from tests.house.passages import PYTHON, files, tokens
from tests.house.test_conf import flatten

SOURCES = [p for p in files(["zeroproxy", "tests/probes"]) if p.suffix in PYTHON]
COMPILED = [p for p in SOURCES if p.suffix in (".pyx", ".pxd")]
#: Enums whose members need no prefix of their own, and why.
NO_PREFIX = {
    "Sense": "places and facts are one numbering: PLACE_, FACT_ and FAMILY_ say which",
}


@cache
def parts_of(path: Path) -> dict[str, list[str]]:
    """Lower-case parts of every identifier of a file, and the identifiers."""
    found: dict[str, list[str]] = {}
    for token in tokens(path.read_text()):
        if token.type == tokenize.NAME:
            snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", token.string).lower()
            for part in snake.split("_"):
                found.setdefault(part, []).append(f"{path}:{token.start[0]}: {token.string}")
    return found


def rows() -> list[list[str]]:
    """Cells of the vocabulary's first table."""
    table = VOCABULARY.read_text().partition("## Names of others")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


BANNED = sorted({word for row in rows() for word in re.findall(r"`(\w+)`", row[-1])})


def test_the_vocabulary_has_a_row_a_word():
    assert all(len(row) == 6 for row in rows()), "word, means, C name, config key, metric, never"
    words = [row[0] for row in rows()]
    assert len(words) == len(set(words)), "one word, one thing: two rows have the same word"


@pytest.mark.parametrize("word", BANNED)
def test_a_banned_word_occurs_in_no_identifier(word):
    found = [name for path in SOURCES for name in parts_of(path).get(word, [])]
    assert not found, f"docs/vocabulary.md has another word for {word!r}: {found[:5]}"


def test_keys_and_metrics_of_the_vocabulary_exist():
    keys = set(flatten(tomllib.loads(Path("conf/reference.toml").read_text())))
    keys |= {".".join(key.split(".")[:k]) for key in keys for k in (1, 2, 3)}
    metrics = "".join(path.read_text() for path in Path("zeroproxy/admin").glob("*metrics.py"))
    for row in rows():
        for key in re.findall(r"`([\w.]+)`", row[3]):
            assert key in keys, f"docs/vocabulary.md: no key {key} in conf/reference.toml"
        for name in re.findall(r"`(\w+)`", row[4]):
            assert f'"{name}"' in metrics, f"docs/vocabulary.md: no metric {name}"


def enums(text: str) -> list[tuple[str, list[str]]]:
    """(name, members) of each enum that has a name."""
    found = []
    lines = text.splitlines()
    for at, line in enumerate(lines):
        head = re.match(r"(\s*)(?:cdef|ctypedef) (?:packed )?enum (\w+)", line)
        if head is None:
            continue
        members = []
        for below in lines[at + 1 :]:
            if below.strip() and len(below) - len(below.lstrip()) <= len(head[1]):
                break
            if member := re.match(r"\s*([A-Za-z_]\w*)\s*(?:=|,|#|$)", below):
                members.append(member[1])
        found.append((head[2], members))
    return found


def has_prefix(name: str, members: list[str]) -> bool:
    """True if each member begins with a word of the enum's name, or a short form of it."""
    first = {member.split("_")[0] for member in members}
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).upper().split()
    return all(any(word.startswith(one) for word in words) for one in first)


ENUMS = [(path, *enum) for path in COMPILED for enum in enums(path.read_text())]


@pytest.mark.parametrize(
    ("path", "name", "members"),
    [pytest.param(*e, id=e[1]) for e in ENUMS if e[1] not in NO_PREFIX],
)
def test_members_of_an_enum_carry_its_prefix(path, name, members):
    assert has_prefix(name, members), f"{path}: prefix the members of {name}: {members}"


def test_the_reader_of_enums_knows_a_prefix_when_it_sees_one():
    text = (
        "cdef enum KeySource:  # x\n    KEY_OF_USER = 1\n    KEY_OF_PROMPT\n\ncdef enum:\n    A\n"
    )
    assert enums(text) == [("KeySource", ["KEY_OF_USER", "KEY_OF_PROMPT"])]
    assert has_prefix("KeySource", ["KEY_OF_USER", "KEY_OF_PROMPT"])
    assert has_prefix("RequestType", ["TYPE_A", "TYPE_B"])
    assert not has_prefix("Exactness", ["EXACT", "NONE"])
    assert not has_prefix("KeySource", ["FORM_A"])


DEFINED = re.compile(r"^cdef (?!class|enum|struct|extern|packed)[^=\n(]*\b(\w+)\(", re.M)
#: Other ways to write the same pair.
OTHER_PAIRS = re.compile(
    r"(?:\w+_)?give_back(?:_\w+)?|\w*(?:put|take)_idle|(?:relay|turn|share)_(?:take|give|return)"
)


#: Ends of a whole whose parts are acquired one by one, and where.
WHOLES = {
    "release_attempt": "exchange/checkout.pyx acquires its conn, the permit stays",
    "release_all": "the attempt, the permit, the place in a queue",
}


def test_what_is_borrowed_and_returned_is_acquired_and_released_in_one_file():
    wrong = []
    for path in (p for p in COMPILED if p.suffix == ".pxd"):
        names = set(DEFINED.findall(path.read_text()))
        code = path.with_suffix(".pyx")
        beside = names | set(DEFINED.findall(code.read_text()) if code.exists() else ())
        wrong += [f"{path}: {n}: call it acquire_x or release_x" for n in names
                  if OTHER_PAIRS.fullmatch(n)]  # fmt: skip
        for name in names - WHOLES.keys():
            for verb, answer in (("acquire", "release"), ("release", "acquire")):
                other = "_".join(answer if part == verb else part for part in name.split("_"))
                if other not in beside:
                    wrong.append(f"{path}: {name} has no {other} in the same file")
    assert wrong == []
