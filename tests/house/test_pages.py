"""The pages hold: blocks of TOML are valid, imports work, metrics and link targets exist."""

import re
import tomllib
from pathlib import Path

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.config.schema import Upstream

PAGES = [
    *(Path(name) for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")),
    Path("bench/README.md"),
    Path("fuzz/README.md"),
    *sorted(Path("docs").rglob("*.md")),
]
FIRST = '[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:8000"]\n'


def blocks(kind: str) -> list[tuple[str, str]]:
    """(page and number, text) of every fenced block of this kind."""
    return [
        (f"{page}-{n}", text)
        for page in PAGES
        for n, text in enumerate(
            re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.M | re.S)
        )
    ]


def whole(text: str) -> str:
    """A configuration around a block that shows only a part of one."""
    table = tomllib.loads(text)
    if isinstance(table.get("upstream"), dict) or set(table) & set(Upstream.__struct_fields__):
        return FIRST + text
    return text if "upstream" in table else f"{text}\n{FIRST}"


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda b: b[0])
def test_a_block_of_toml_is_a_valid_configuration(block, monkeypatch):
    for name in re.findall(r"\$\{(\w+)\}", block[1]):
        monkeypatch.setenv(name, "x")
    assert parse_config(whole(block[1])).upstream


def test_a_block_that_is_wrong_is_found():
    from zeroproxy.errors import ConfigError

    for text in ("[upstream.pool]\nprewram = 1\n", 'balance = "fast"\n', "[limits]\nbody = 1\n"):
        with pytest.raises(ConfigError):
            parse_config(whole(text))


@pytest.mark.parametrize("block", blocks("python"), ids=lambda b: b[0])
def test_a_block_of_python_compiles_and_its_imports_work(block):
    compile(block[1], block[0], "exec")
    lines = re.findall(r"^(?:from \S+ )?import .*$", block[1], re.M)
    exec("\n".join(lines), {})


def test_every_metric_of_the_pages_exists():
    code = "".join(p.read_text() for p in Path("zeroproxy/admin").glob("*.py"))
    families = set(re.findall(r"zeroproxy_\w+", code))
    families |= {f"zeroproxy_connections_{k}" for k in ("accepted", "refused", "starved")}
    for page in PAGES:
        for name in re.findall(r"\b(zeroproxy_\w+)", page.read_text()):
            plain = re.sub(r"_(total|bucket)$", "", name)
            assert name in families or plain in families or name in {"zeroproxy_usage"}, (
                page,
                name,
            )


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    plain = (re.sub(r"[`*]", "", h).lower() for h in re.findall(r"^#+ (.*)$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", h).replace(" ", "-") for h in plain}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_of_docs_is_in_the_index():
    index = Path("docs/index.md").read_text()
    for page in Path("docs").glob("*.md"):
        if page.name != "index.md":
            assert f"({page.name})" in index or page.name == "vocabulary.md", page


def test_every_decision_is_in_its_index():
    index = Path("docs/decisions/README.md").read_text()
    for page in Path("docs/decisions").glob("0*.md"):
        assert f"({page.name})" in index, f"docs/decisions/README.md has no row of {page}"
