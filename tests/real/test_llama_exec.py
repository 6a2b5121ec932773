"""`zeroproxy exec` with a real llama.cpp server on a unix socket."""

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.support.exec_process import ExecProcess, lives, wait_until
from tests.support.real_servers import llama_command, llama_files

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
UPSTREAM = '[[upstream]]\nname = "llama"\npreset = "llamacpp"\n'


def started() -> ExecProcess:
    python, model = llama_files()
    command = llama_command(python, model, "{socket}")
    return ExecProcess(*command, text=UPSTREAM)


def ask(process: ExecProcess, tokens: int) -> bytes:
    body = {"model": "smollm2", "max_tokens": tokens, "stream": True, "ignore_eos": True,
            "messages": [{"role": "user", "content": "Count."}]}  # fmt: skip
    request = urllib.request.Request(
        process.url + "/v1/chat/completions", json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=120) as response:
        return bytes(response.read())


def ports_of(pid: int) -> set[str]:
    """Local addresses that a process listens on by TCP."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if fd.exists() or fd.is_symlink():
            inodes.add(os.readlink(fd).removeprefix("socket:[").removesuffix("]"))  # noqa: PTH115
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                found.add(parts[1])
    return found


def test_a_real_server_has_no_port_at_all():
    with started() as process:
        process.until_served()
        assert ask(process, 8).endswith(b"data: [DONE]\n\n")
        assert ports_of(process.served) == set()
        assert [path.name for path in process.folder_of_socket().iterdir()] == ["server.sock"]
        status = process.until(lambda s: s["tokens"])
        assert status["tokens"][0]["completion"] == 8


def test_a_real_stream_ends_before_its_server_is_stopped():
    with started() as process:
        process.until_served()
        served = process.served
        request = urllib.request.Request(
            process.url + "/completion",
            b'{"prompt": "One", "n_predict": 40, "stream": true, "ignore_eos": true}',
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            first = response.readline()
            process.terminate()
            rest = response.read()
        assert process.ended() == 0
    assert first.startswith(b"data: ")
    assert json.loads(rest.strip().rpartition(b"data: ")[2])["stop"] is True
    assert not lives(served)


def test_a_real_server_ends_with_a_proxy_that_is_killed():
    process = started()
    process.start()
    process.until_served()
    served = process.served
    os.kill(process.pid, signal.SIGKILL)
    process.ended()
    wait_until(lambda: not lives(served))
    process.folder.cleanup()
