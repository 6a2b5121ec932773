"""Fail if Cython gives a performance hint or a warning anywhere in the data plane.

A missing exception clause costs a check, or the GIL, after every call."""

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: As in setup.py: what is switched off there must not be complained about here.
DIRECTIVES = "boundscheck=False,wraparound=False,initializedcheck=False,cdivision=True"


def complaints(source: Path, folder: str) -> str:
    out = str(Path(folder) / ("-".join(source.with_suffix(".c").parts)))
    command = [sys.executable, "-m", "cython", "-3", "-X", DIRECTIVES, str(source), "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    return text if done.returncode or "hint" in text or "warning" in text else ""


def main() -> int:
    folders = (Path("zeroproxy/_fast"), Path("tests/probes"))
    sources = sorted(source for folder in folders for source in folder.rglob("*.pyx"))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        found = [text for text in pool.map(lambda s: complaints(s, folder), sources) if text]
    print("".join(found) or f"{len(sources)} files: no performance hint, no warning")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
