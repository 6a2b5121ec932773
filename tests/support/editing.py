"""Requests that are edited on the way, and the answers to them."""

import re

from tests.support.script import SSE_HEAD, chunk, event, post

USAGE, RUNNING, EITHER_ALONE = "usage", "running", "running_alone"
JSON = b"Content-Type: application/json\r\n"
ASKS = b'{"model":"m-1","stream":true}'
BESIDE = b',"usage":{"prompt_tokens":3,"completion_tokens":2}'
TEXT = b'{"choices":[{"index":0,"delta":{"content":"x"}}]%s}'
LAST = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}'
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = (
    b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + JSON + b"\r\n"
)
BOTH = {"include_usage": True, "continuous_usage_stats": True}


def json_post(body=ASKS, path=b"/v1/chat/completions", extra=b""):
    return post(path, body, JSON + extra)


def parts(*fields):
    """multipart/form-data: (name, value, more of its header) each."""
    return (
        b"".join(
            b'--xYz\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
            % (name, more, value)
            for name, value, more in fields
        )
        + b"--xYz--\r\n"
    )


def form(model, path=b"/v1/audio/transcriptions", extra=b"", sound=b"RIFF"):
    """An upload of a sound, and the model behind it."""
    file = (b"file", sound, b'; filename="model"\r\nContent-Type: audio/wav')
    body = parts(file, (b"model", model, b""), (b"language", b"en", b""))
    return post(path, body, b"Content-Type: multipart/form-data; boundary=xYz\r\n" + extra)


def length_of(head):
    return int(re.search(rb"Content-Length: (\d+)", head)[1])


def unchunk(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        out, data = out + data[:n], data[n + 2 :]
    return out


def answer(u, *payloads):
    u.send(SSE_HEAD + b"".join(chunk(event(p)) for p in payloads) + b"0\r\n\r\n")
