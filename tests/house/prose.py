"""The prose rules of CONTRIBUTING.md as a command.

usage: python -m tests.house.prose [--rule RULE ...] [--count] [PATH ...]

Prints `file:line: rule: text` for each finding; exit status 1 if there is one. Without PATH it
reads the whole repository. `--count` prints the number of findings by file and rule.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.names import check_names
from tests.house.passages import ROOTS, Passage, files, passages

#: Words a sentence may have.
LONGEST = 25
HEADLESS = re.compile(
    r"(?:What|Who|Whoever|Whatever|Whichever|Whose|Whom|Whether|How|Why)\b(?! (?:to|many|long)\b)"
)
BEGIN = re.compile(r"\b(?:the|a|its|their|each|every|at|from|of) begin\b|\bbegins? of\b", re.I)
PERSON = re.compile(r"\b(?:he|him|his|himself|she|her|hers)\b", re.I)
SPEECH = re.compile(r"\b(?:says?|said|hears?|heard|(?:is|are|was|were) told|tells?|told)\b", re.I)
LAW = re.compile(r"^[ \t]*Law(?: \d+)?[.:]", re.M)
TEST = re.compile(r"\btests/[\w/]+\.py\b")
#: An end of a sentence: a mark and a blank, but not behind a number of a list or "e.g.".
END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bvs)[.!?][\"')\]]*(?=\s|$)|\n[ \t]*\n")
#: Marks that set a term, a list or a table apart rather than end a sentence.
FENCES = re.compile(r"\n(?=[ \t]*(?:[-*] |\d+\. |Law\b|Note\b))|(?<=\S)  +(?=\S)")
DECLARED = re.compile(r"^cdef (?!class|enum|struct|extern|packed|union)[^=\n(]*\b(\w+)\(", re.M)

Findings = Iterator[tuple[int, str]]


@dataclass(frozen=True)
class Finding:
    path: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """(offset, sentence). Code between backticks counts as one word, and has no end in it."""
    plain = re.sub(r"`[^`\n]+`", lambda m: re.sub(r"[\s.!?]", "_", m[0]), text)
    at = 0
    for mark in [*sorted([*END.finditer(plain), *FENCES.finditer(plain)], key=re.Match.end), None]:
        end = mark.end() if mark else len(plain)
        if end <= at:
            continue
        sentence = plain[at:end]
        if sentence.strip():
            yield at + len(sentence) - len(sentence.lstrip()), " ".join(sentence.split())
        at = end


def excerpt(passage: Passage, at: int, size: int = 60) -> str:
    """Words from `at` on, as they are written."""
    return " ".join(passage.text[at : at + size].split()) + " ..."


def is_code(text: str) -> bool:
    """True if a comment is a switch for a tool rather than prose."""
    return bool(re.match(r"\s*(?:noqa|type:|fmt:|ruff:|pragma|distutils:|cython:|!)", text))


def check_headless(passage: Passage) -> Findings:
    """R5: a noun or a verb first, no clause that has to find its noun. Questions may ask."""
    for at, sentence in sentences(passage.text):
        sentence = re.sub(r"^(?:[-*#|]+ |\d+\. |\*\*)+", "", sentence)
        if HEADLESS.match(sentence) and not sentence.endswith("?"):
            yield at, f"begin with a noun or a verb: {excerpt(passage, at)}"


def check_length(passage: Passage) -> Findings:
    """R5: at most 25 words in a sentence. Cells of tables and usage lines are none."""
    if passage.text.lstrip().startswith("|"):
        return
    for at, sentence in sentences(passage.text):
        n = len(re.findall(r"[\w`(\"'].*?(?=\s|$)", sentence))
        if n > LONGEST and not sentence.startswith("usage:"):
            yield at, f"{n} words, make two sentences of it: {excerpt(passage, at)}"


def check_begin(passage: Passage) -> Findings:
    """R5: the noun is "start" or "beginning"."""
    for found in BEGIN.finditer(passage.text):
        yield found.start(), f'"begin" is a verb; write "start" or "beginning": {found[0]}'


def check_person(passage: Passage) -> Findings:
    """R5: a program is no person."""
    for found in PERSON.finditer(passage.text):
        yield found.start(), f'name the thing, or write "it" or "they": {found[0]}'


def check_speech(passage: Passage) -> Findings:
    """Code does things: it reports, logs, returns, observes."""
    for found in SPEECH.finditer(passage.text):
        yield found.start(), f"programs report, log, return or receive: {found[0]}"


def check_laws(passage: Passage) -> Findings:
    """R3: laws of one text name the tests that hold them, or are notes."""
    found = LAW.search(passage.text)
    if found is None or passage.kind == "page":
        return
    if not TEST.search(passage.text):
        yield found.start(), "name the test that holds it (tests/...), or call it a note"


def declarations(text: str) -> Iterator[tuple[int, str]]:
    """(offset, name) of each function that a .pxd declares without a docstring, and without a
    comment on its lines or right above it."""
    lines = text.splitlines()
    for found in DECLARED.finditer(text):
        first = last = text.count("\n", 0, found.start())
        while lines[last].count("(") and text_of(lines, first, last).count("(") > text_of(
            lines, first, last
        ).count(")"):
            last += 1
        above = lines[first - 1].strip() if first else ""
        below = lines[last + 1].strip() if last + 1 < len(lines) else ""
        has_own = any("#" in line for line in lines[first : last + 1])
        has_docstring = lines[last].rstrip().endswith(":") and below.startswith('"""')
        if not (has_own or has_docstring or above.startswith("#")):
            yield found.start(), found[1]


def text_of(lines: list[str], first: int, last: int) -> str:
    return "\n".join(line.partition("#")[0] for line in lines[first : last + 1])


def check_manual(path: Path) -> Iterator[tuple[int, str]]:
    """R6: (line, text) of each undescribed function of a .pxd."""
    if path.suffix == ".pxd":
        text = path.read_text()
        for at, name in declarations(text):
            yield text.count("\n", 0, at) + 1, f"{name}: a line on what it takes, returns and owns"


RULES: dict[str, Callable[[Passage], Findings]] = {
    "name": check_names,
    "law": check_laws,
    "headless": check_headless,
    "long": check_length,
    "begin": check_begin,
    "person": check_person,
    "speech": check_speech,
}
MANUAL = "manual"


def findings(path: Path, rules: list[str]) -> list[Finding]:
    """Everything that `rules` find in one file."""
    found = []
    for passage in passages(path):
        if is_code(passage.text):
            continue
        for rule in rules:
            if rule != MANUAL:
                found += [
                    Finding(path, passage.line_of(at), rule, text)
                    for at, text in RULES[rule](passage)
                ]
    if MANUAL in rules:
        found += [Finding(path, line, MANUAL, text) for line, text in check_manual(path)]
    return sorted(found, key=lambda f: f.line)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", default=list(ROOTS))
    parser.add_argument("--rule", action="append", choices=[*RULES, MANUAL])
    parser.add_argument("--count", action="store_true")
    args = parser.parse_args(argv)
    rules = args.rule or [rule for rule in [*RULES, MANUAL] if rule != "speech"]
    found = [f for path in files(args.paths) for f in findings(path, rules)]
    if args.count:
        for (path, rule), n in sorted(Counter((str(f.path), f.rule) for f in found).items()):
            print(f"{path}: {rule}: {n}")
        print(dict(Counter(f.rule for f in found)))
    else:
        print("\n".join(map(str, found)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
