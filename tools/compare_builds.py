"""Compare the machine code of two builds function by function, for changes that must not change
any: a move, a rename. Addresses, branch targets and rip displacements are masked; everything else
of an instruction counts, struct offsets and immediates included.

usage: compare_builds.py OLD NEW [--renames FILE]

OLD and NEW are checkouts with a build in place. FILE has `old new` identifiers, one pair a line.
Exit status: 0 identical, 1 not, 2 nothing to compare.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(.*)$")
#: Parts that depend on where the linker put things: targets of jumps and calls, data behind rip.
MASKS = (
    (re.compile(r"\s*#.*$"), ""),
    (re.compile(r"\b[0-9a-f]+ <[^>]*>"), "TARGET"),
    (re.compile(r"-?0x[0-9a-f]+\(%rip\)"), "DATA(%rip)"),
    (re.compile(r"\s+"), " "),
)
#: A function that may raise carries the line numbers of its source.
LINE_NUMBER = re.compile(r"^(mov\w* )\$0x[0-9a-f]+,")
#: Padding between functions, and between branches: it depends on the address.
PADDING = re.compile(r"^(nop\w*|data16|cs nop\w*|xchg %ax,%ax)\b")
OURS = "__pyx_f_"

Functions = dict[str, Counter[tuple[str, ...]]]


def plain_name(symbol: str) -> str | None:
    """The function's own name in a symbol that Cython made; None: not one of our functions."""
    if not symbol.startswith(OURS):
        return None
    rest = symbol.removeprefix(OURS)
    while found := re.match(r"\d+", rest):
        rest = rest[found.end() + int(found[0]) :].removeprefix("_")
    return rest


def masked(body: list[str]) -> tuple[str, ...]:
    """The instructions of one function without what the linker, or a moved line, decides."""
    may_raise = any("AddTraceback" in text for text in body)
    made = []
    for text in body:
        for pattern, mask in MASKS:
            text = pattern.sub(mask, text)
        if may_raise:
            text = LINE_NUMBER.sub(r"\1LINE,", text)
        if not PADDING.match(text):
            made.append(text.strip())
    return tuple(made)


def disassemble(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(symbol, masked instructions) of every function of one shared object."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    symbol, body = "", []
    for line in out.splitlines():
        if head := SYMBOL.match(line):
            yield symbol, masked(body)
            symbol, body = head[1], []
        elif found := INSTRUCTION.match(line):
            body.append(found[1])
    yield symbol, masked(body)


def functions_of(root: Path, renames: dict[str, str]) -> Functions:
    """{name: how often each body occurs}: two modules may have a static function of one name."""
    functions: Functions = {}
    for path in sorted(root.glob("zeroproxy/_fast/**/*.so")):
        for symbol, body in disassemble(path):
            name = plain_name(symbol)
            if name is not None:
                base, dot, suffix = name.partition(".")
                name = renames.get(base, base) + dot + suffix
                functions.setdefault(name, Counter())[body] += 1
    return functions


def read_renames(path: Path | None) -> dict[str, str]:
    """{old: new}; an empty line or one that begins with # is skipped."""
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    named = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {words[0]: words[1] for words in named}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--renames", type=Path, metavar="FILE")
    options = parser.parse_args()
    old = functions_of(options.old, read_renames(options.renames))
    new = functions_of(options.new, {})
    both = sorted(old.keys() & new.keys())
    if not both:
        print("nothing to compare: no build, or no function of ours in it")
        return 2
    differ = [name for name in both if old[name] != new[name]]
    for name in differ:
        lost, made = old[name] - new[name], new[name] - old[name]
        print(f"{name}: {[len(b) for b in lost]} instructions, now {[len(b) for b in made]}")
    print("only in old:", *sorted(old.keys() - new.keys()) or ["-"])
    print("only in new:", *sorted(new.keys() - old.keys()) or ["-"])
    count = sum(len(body) * n for name in both for body, n in old[name].items())
    print(f"{len(both)} functions, {count:,} instructions, {len(differ)} functions differ")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
