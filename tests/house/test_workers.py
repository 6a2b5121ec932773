"""Tests that share a costly server stay on one worker."""

from pathlib import Path

from tests.conftest import GROUPED, TOGETHER, group_of

REAL = "pytest.mark.real"


def test_all_that_needs_llama_is_one_group():
    marked = [
        path.as_posix()
        for folder in ("faults", "real")
        for path in Path("tests", folder).glob("test_*.py")
        if REAL in path.read_text() and "llama" in path.name
    ]
    assert len(marked) >= 3
    assert {group_of(f"{path}::test_a") for path in marked} == {"llama"}


def test_what_is_grouped_is_there():
    assert all(Path(path).is_file() for path in TOGETHER)
    assert all(Path(folder).is_dir() for folder in GROUPED)


def test_a_file_with_a_server_stays_together_and_the_rest_goes_anywhere():
    assert group_of("tests/e2e/test_a.py::test_x") == group_of("tests/e2e/test_a.py::test_y[1]")
    assert group_of("tests/unit/test_a.py::test_x") != group_of("tests/unit/test_a.py::test_y")
