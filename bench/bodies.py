"""Instructions of the data plane per request whose body is looked at, by callgrind.

    python bench/bodies.py [KIND ...]

An Engine is cranked by hand (tests/support/script.py): one caller, one endpoint that answers at
once. Two runs that differ only in the number of requests; the difference over the number of
requests more is printed. It covers user space and both ways; only differences between two commits
mean anything.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.editing import BOTH, LAST, ask  # noqa: E402
from tests.support.script import SSE_HEAD, chunk, event, play, split_head  # noqa: E402

FEW, MORE = 20, 220
MODEL = "bench/model-8b-instruct"
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant. " * 10},
    {"role": "user", "content": "Tell me about proxies.\n" * 40},
]
BODY: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 256,
    "temperature": 0.7,
    "stream": True,
    "messages": MESSAGES,
}
HASH = {"on": [(1, b""), (2, b"")], "prefix_bytes": 1024, "load_bound": 1000.0}
HASHED: dict[str, Any] = {"endpoints": 2, "balance": 3, "key": HASH}
#: Name: the body, the upstream, the server's name of the model, bytes that come in a second read.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], bytes | None, int]] = {
    "edited": (BODY, {}, None, 0),
    "routed, hashed, edited": ({**BODY, "user": "somebody-17"}, HASHED, b"", 0),
    "by metadata": ({**BODY, "metadata": {"user_id": "u-17", "trace": "x"}}, HASHED, b"", 0),
    "renamed": ({**BODY, "user": "somebody-17"}, HASHED, b'"real-name"', 0),
    "in two reads": ({**BODY, "user": "somebody-17"}, HASHED, b"", 300),
}
ANSWER = SSE_HEAD + chunk(event(LAST) + event(b"[DONE]")) + b"0\r\n\r\n"
#: The function that runs the engine once, as a pattern of its compiled name.
CRANK = "__pyx_pw_*PlaneThread_*on_ready"


def serve(kind: str, times: int) -> None:
    """The work that runs under callgrind."""
    body, upstream, real, later = KINDS[kind]
    request = ask(json.dumps(body).encode())
    cut = len(request) - later
    with play(usage_request=2, **upstream) as script:
        if real is not None:
            script.engine.set_routes([("other", 0, b""), (MODEL, 0, real)], 0)
        d = script.downstream()
        d.send(request[:cut])
        d.send(request[cut:])
        u = script.upstream(next(k for k in range(2) if script.has_connected(k)))
        for _ in range(times):
            assert json.loads(split_head(u.receive())[1])["stream_options"] == BOTH
            u.send(ANSWER)
            assert b"[DONE]" in d.receive()
            d.send(request[:cut])
            d.send(request[cut:])


def counted(kind: str, times: int) -> int:
    """Instructions from the first request to the last."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = Path(folder) / "callgrind"
        command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        command += [f"--toggle-collect={CRANK}", sys.executable, __file__, kind, str(times)]
        subprocess.run(command, check=True, cwd=ROOT)
        found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def main() -> int:
    """The exit status."""
    if len(sys.argv) == 3 and sys.argv[2].isdecimal():
        serve(sys.argv[1], int(sys.argv[2]))
        return 0
    for kind in sys.argv[1:] or KINDS:
        more = counted(kind, MORE) - counted(kind, FEW)
        print(f"{kind:24} {more / (MORE - FEW):>10,.0f} instructions a request", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
