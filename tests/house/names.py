"""Names in prose, and whether they exist: files, identifiers between backticks, words that have an
underscore.

Names that others define (a header field, a setting of Envoy) stand in docs/vocabulary.md.
"""

import builtins
import keyword
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.house.passages import PYTHON, C, Passage, code_words, files, is_generated

#: Where names may come from; prose is looked up in code, configuration and build files.
CODE_ROOTS = (
    "zeroproxy", "tests", "bench", "fuzz", "tools", "conf", "deploy", "setup.py", "pyproject.toml",
    "Makefile", ".ci", ".github",
)  # fmt: skip
ENDINGS = "pyx|pxd|pyi|py|c|h|md|toml|jsonl|svg|service|yaml|dict|json|tmpl|cfg"
FILE = re.compile(rf"(?<![\w/.*<{{-])((?:[\w.-]+/)*[\w-]+\.(?:{ENDINGS}))(?![\w/*-]|\.\w)")
QUOTED = re.compile(r"`([^`\n]+)`")
SNAKE = re.compile(r"(?<![\w./$%{<:-])([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?![\w*{]|[./-]\w)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
#: Files that a user or a run makes: pages need names for their examples.
EXAMPLES = re.compile(r"(?:[a-z]|[A-Z]+|keys|proxy|zeroproxy)\.(?:toml|json|jsonl|py)$")
VOCABULARY = Path("docs/vocabulary.md")


@cache
def foreign() -> tuple[str, ...]:
    """Names that others define, from the last table of the vocabulary; `X_*` is a prefix."""
    table = VOCABULARY.read_text().partition("## Names of others")[2]
    return tuple(
        n for row in re.findall(r"^\| (`.*?) \|", table, re.M) for n in QUOTED.findall(row)
    )


def exists(name: str) -> bool:
    """True if the code, or somebody whom the vocabulary names, has this name. A metric may have
    the ending that its exposition adds; `stage_x` stands for all that start so."""
    words = known()
    plain = name.removesuffix("_total").rstrip("0123456789")
    if name in words or plain in words or name.startswith("_"):
        return True
    if name.endswith("_x") and any(word.startswith(name[:-1]) for word in words):
        return True
    return any(name == f or (f[-1] == "*" and name.startswith(f[:-1])) for f in foreign())


@cache
def tracked() -> frozenset[str]:
    """Every file of the repository, and every ending of its path."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    paths = done.stdout.split() or [str(p) for p in files()]
    return frozenset("/".join(Path(p).parts[k:]) for p in paths for k in range(len(Path(p).parts)))


@cache
def known() -> frozenset[str]:
    """Words of the code, of the configuration, of build files and of Python."""
    words = set(dir(builtins)) | set(keyword.kwlist)
    for root in map(Path, CODE_ROOTS):
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            is_ours = path.name == "test_prose.py"  # examples that must not exist
            if not path.is_file() or "__pycache__" in path.parts or is_ours:
                continue
            if path.suffix in PYTHON | C:
                words |= set() if is_generated(path) else code_words(path)
            elif path.suffix not in (".so", ".md", ".svg", ".html", ".jsonl"):
                words |= set(re.findall(r"[A-Za-z_]\w*", path.read_text(errors="replace")))
    for path in Path("tests/data").rglob("*.jsonl"):
        words |= set(re.findall(r'"([a-z_]+)":', path.read_text()))
    return frozenset(words | {Path(name).stem for name in tracked()})


def missing_files(passage: Passage) -> Iterator[tuple[int, str]]:
    """Files that the repository does not have. A URL is no file."""
    for found in FILE.finditer(passage.text):
        name = found[1]
        is_url = "://" in passage.text[max(0, found.start() - 40) : found.start()].split(" ")[-1]
        if is_url or EXAMPLES.match(name.rpartition("/")[2]):
            continue
        if name.removeprefix("../").removeprefix("./") not in tracked():
            yield found.start(1), f"no file {name}: name the one that is meant"


def missing_words(passage: Passage) -> Iterator[tuple[int, str]]:
    """Identifiers that stand nowhere in the code."""
    for found in QUOTED.finditer(passage.text):
        name = found[1].rstrip("()")
        if not DOTTED.fullmatch(name) or FILE.fullmatch(name) or exists(name):
            continue
        if any(f[-1] == "*" and name.startswith(f[:-1]) for f in foreign()):
            continue
        for part in name.split("."):
            if not exists(part):
                yield found.start(1), f"no `{part}` in the code: name the one that is meant"
    if passage.kind != "page":
        plain = QUOTED.sub(lambda m: " " * len(m[0]), passage.text)
        for found in SNAKE.finditer(plain):
            if not exists(found[1]):
                yield found.start(1), f"no {found[1]} in the code: name the one that is meant"


def check_names(passage: Passage) -> Iterator[tuple[int, str]]:
    """R2: every name in prose exists; only the vocabulary's last column names what must not."""
    if passage.path == VOCABULARY and passage.text.startswith("|"):
        last = passage.text.rstrip(" |").rfind(" |")
        passage = replace(passage, text=passage.text[: max(last, 0)])
    yield from missing_files(passage)
    yield from missing_words(passage)
