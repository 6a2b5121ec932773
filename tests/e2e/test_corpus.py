"""The HTTP corpus against a real proxy process: what a strict reverse proxy accepts, refuses,
rewrites and passes on event by event. The cases and their runner live in ../shared/http."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.proxy_process import ProxyProcess, free_port, upstream_toml

HTTP = Path(os.environ.get("ZEROPROXY_SHARED", "../shared")).resolve() / "http"
FILES = sorted(p.stem for p in HTTP.glob("*.jsonl"))


@pytest.mark.skipif(not FILES, reason="NOT TESTED: the corpus (../shared/http) is missing")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.timeout(300)
def test_no_case_fails(name, tmp_path):
    backend = free_port()
    # The runner's backend begins to listen after the proxy: readiness is not waited for.
    # A backend that counts requests must not be asked what it is, or whether it is well; one that
    # answers nonsense on purpose must be asked again.
    text = upstream_toml(
        f"http://127.0.0.1:{backend}", health='{ path = "" }', breaker="{ failures = 0 }"
    )
    text += "[metering]\ninject_usage = false\n"
    with ProxyProcess(text, wait_ready=False) as proxy:
        done = subprocess.run(
            [sys.executable, str(HTTP / "run_cases.py"), "--proxy", f"127.0.0.1:{proxy.port}",
             "--backend", f"127.0.0.1:{backend}", "--out", str(tmp_path / "out"), "-v",
             str(HTTP / f"{name}.jsonl")],
            capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        proxy.until_quiet()
    results = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert results
    assert all(r["ok"] for r in results)
