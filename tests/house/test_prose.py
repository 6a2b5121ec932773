"""The prose rules (R2, R3, R5, R6) over the paths that keep them. tests/house/prose.py is a command
that prints the findings of any path."""

from pathlib import Path

import pytest

from tests.house.passages import ROOTS, Passage, files, passages
from tests.house.prose import MANUAL, RULES, declarations, findings, main, sentences

#: Paths over which a rule is strict. A path is added when its prose is mended, never taken out.
STRICT: dict[str, tuple[str, ...]] = {
    "name": ROOTS,
    "begin": ROOTS,
    "person": ROOTS,
    "law": ROOTS,
    "headless": ROOTS,
    "long": ROOTS,
    MANUAL: ("zeroproxy/_fast",),
}
GUIDE = {
    "name": "R2: a name in prose that is nowhere in the code misleads; name the thing of today",
    "law": "R3: a law without a test is a note",
    "headless": "R5: begin a docstring and each of its sentences with a noun or a verb",
    "long": "R5: a sentence has at most 25 words",
    "begin": 'R5: "begin" is a verb',
    "person": "R5: a program is an it",
    MANUAL: "R6: a .pxd is the manual of its functions",
}


@pytest.mark.parametrize("rule", GUIDE)
def test_a_rule_holds_where_it_is_strict(rule):
    found = [str(f) for path in files(list(STRICT[rule])) for f in findings(path, [rule])]
    assert not found, GUIDE[rule] + "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", GUIDE)
def test_strict_paths_exist(rule):
    assert [path for path in STRICT[rule] if not Path(path).exists()] == []


def look(rule: str, text: str, kind: str = "docstring") -> list[str]:
    return [what for _, what in RULES[rule](Passage(Path("x.py"), 1, kind, text))]


@pytest.mark.parametrize(
    ("rule", "wrong", "right"),
    [
        ("headless", "What a caller sends.", "Bytes of a caller."),
        ("headless", "Sums. Whoever asks waits.", "Sums. A caller that asks waits."),
        ("headless", "- Who may ask", "- Callers that may ask"),
        ("headless", "How it works", "How to add a sink"),
        ("headless", "Whether it is open.", "Is it open, or how long not?"),
        ("long", " ".join(["word"] * 26) + ".", " ".join(["word"] * 25) + ". Another."),
        ("long", " ".join(["word"] * 26), "`" + " ".join(["word"] * 30) + "` is one word."),
        ("begin", "In the begin of a body.", "Those that begin later, at the beginning."),
        ("person", "As he asked.", "As it asked: the theme, the shell."),
        ("law", "Law 1. No byte is lost.", "Law 1. No byte is lost (tests/unit/test_x.py)."),
        ("law", "x\n\nLaw. None.", "x\n\nNote. None."),
        ("name", "See no_such_name.", "See load_config."),
        ("name", "As `Relay.no_such_field`.", "As `Relay.up`, `stage_x`, `len()`."),
        ("name", "In nowhere/at_all.pyx.", "In exchange/hedge.pyx, my own x.toml, http://h/a.py."),
        ("speech", "It says no.", "It logs no."),
    ],
)
def test_a_rule_finds_what_is_wrong_and_nothing_else(rule, wrong, right):
    assert len(look(rule, wrong)) == 1
    assert look(rule, right) == []


def test_sentences_end_where_they_end():
    text = "One (e.g. x.py, `a. b`). Two\ngoes on.\n\nThree\nLaw 2. Four"
    found = [sentence for _, sentence in sentences(text)]
    assert found == ["One (e.g. x.py, `a__b`).", "Two goes on.", "Three", "Law 2.", "Four"]


def test_a_declaration_has_its_comment_above_behind_or_inside():
    text = """
cdef int a(int x) noexcept nogil
cdef int b(int x) noexcept nogil    # sum
# product
cdef int c(
    int x, int y
) noexcept nogil
cdef struct S:
    int f
cdef inline int d(int x) noexcept nogil:
    \"\"\"Double.\"\"\"
    return 2 * x
cdef int e(
    int x,  # the number
) noexcept nogil
"""
    assert [name for _, name in declarations(text)] == ["a"]


def test_passages_are_docstrings_comments_and_paragraphs(tmp_path):
    source = tmp_path / "a.pyx"
    source.write_text('"""Top."""\nx = "no"  # behind\n# one\n# two\ncdef f():\n    """Doc."""\n')
    found = [(p.line, p.kind, p.text.strip()) for p in passages(source)]
    assert found == [
        (1, "docstring", "Top."), (2, "comment", "behind"), (3, "comment", "one\n two"),
        (6, "docstring", "Doc."),
    ]  # fmt: skip
    page = tmp_path / "a.md"
    page.write_text("# Head\n\nOne\ntwo\n- item\n```\ncode\n```\n| a | b |\n")
    assert [(p.line, p.text) for p in passages(page)] == [
        (1, "# Head"), (3, "One\ntwo"), (5, "- item"), (9, "| a | b |"),
    ]  # fmt: skip


def test_the_command_prints_file_line_rule_and_text(tmp_path, capsys):
    page = tmp_path / "a.md"
    page.write_text("Fine.\n\nWho asks.\n")
    assert main([str(page), "--rule", "headless"]) == 1
    assert capsys.readouterr().out.startswith(f"{page}:3: headless: begin with a noun")
    page.write_text("Fine.\n")
    assert main([str(page), "--rule", "headless"]) == 0
