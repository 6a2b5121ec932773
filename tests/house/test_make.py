"""Steps of `make` in a fresh clone, as make itself prints them: none twice, none unneeded."""

import os
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
import setuptools


def steps(target: str) -> str:
    """The commands of a target where nothing has been made yet."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(
        ["make", "-n", target, "VENV=no/such/venv"],
        capture_output=True, text=True, check=True, env=environment,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("target", ["run", "test", "compile"])
def test_the_data_plane_is_compiled_once(target):
    lines = steps(target).splitlines()
    built = [line for line in lines if "build_ext" in line]
    assert sum("ZEROPROXY_PROBES=1" not in line for line in built) == 1
    # Parts that only tests need come on top of it.
    assert len(built) == (1 if target == "run" else 2)
    (editable,) = [line for line in lines if line.endswith("-e .")]
    assert editable.startswith("ZEROPROXY_PURE=1 ")


def test_with_nothing_to_compile_the_package_has_no_extension(monkeypatch):
    found = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: found.update(words))
    monkeypatch.setenv("ZEROPROXY_PURE", "1")
    runpy.run_path("setup.py")
    assert found["ext_modules"] == []


def test_run_installs_what_it_runs_on_and_test_the_rest():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = " ".join(project["optional-dependencies"])
    assert f"requirements.py {extras} |" not in steps("run")
    assert "requirements.py |" in steps("run")
    assert f"requirements.py {extras} |" in steps("test")


def test_every_long_step_is_announced():
    lines = steps("test").splitlines()
    said = [line for line in lines if line.startswith('echo "zeroproxy: ')]
    assert len(said) == 3
