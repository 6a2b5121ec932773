"""The bytes that are measured: what an OpenAI client sends and vLLM answers."""

import json

LIMITS = (8192, 32768, 100)  # of a head: line bytes, head bytes, fields

REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: engine.test\r\n"
    b"Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
    b"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.0.0\r\n"
    b"X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.0.0\r\nX-Stainless-OS: Linux\r\n"
    b"X-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nX-Stainless-Async: false\r\n"
    b"Authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\n"
    b"X-Stainless-Retry-Count: 0\r\nX-Stainless-Read-Timeout: 600\r\nContent-Length: 512\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
HOP = {"peer": b"127.0.0.1", "proto": b"http", "authority": b"127.0.0.1:8000",
       "request_id": b"0123456789abcdef", "framing": 1, "length": 512}  # fmt: skip
BACK = {"request_id": b"0123456789abcdef", "framing": 2}


def event(text: str, **more: object) -> bytes:
    """One event as vLLM writes it."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    said = {
        "id": "chatcmpl-0123456789abcdef0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1795255200,
        "model": "bench/model-8b-instruct",
        "choices": [choice],
        **more,
    }
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"


USAGE = {"prompt_tokens": 512, "total_tokens": 640, "completion_tokens": 128}
EVENTS = [event(f" word{k}") for k in range(64)]
WITH_USAGE = [event(f" word{k}", usage=USAGE | {"completion_tokens": k}) for k in range(64)]


def chunked(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
