"""A path in the spellings by which a server may take it for another one, or another for it."""

from __future__ import annotations

import socket

LISTED = b"/v1/models"


def percent(text: bytes) -> bytes:
    """Every byte but slashes as an escape."""
    return b"".join(b"/" if c == 47 else b"%%%02X" % c for c in text)


def first_escaped(path: bytes, lower: bool) -> bytes:
    at = 1 if len(path) > 1 else 0
    escape = b"%%%02x" % path[at] if lower else b"%%%02X" % path[at]
    return path[:at] + escape + path[at + 1 :]


def spellings(path: bytes) -> list[bytes]:
    """More than forty request targets, the plain one among them. A parser may refuse some."""
    last = path.rfind(b"/")
    head, tail = path[:last], path[last + 1 :]
    found = [
        path,
        path.upper(),
        path.swapcase(),
        path[:1] + path[1:].capitalize(),
        path + b"/",
        b"/" + path,
        b"//" + path,
        head + b"//" + tail,
        b"/." + path,
        head + b"/./" + tail,
        path + b"/.",
        path + b"/x/..",
        b"/x/.." + path,
        LISTED + b"/../.." + path,
        LISTED + b"/x/../../.." + path,
        b"/%2F" + path[1:],
        b"/" + path[1:].replace(b"/", b"%2F") + b"%2F",
        first_escaped(path, lower=False),
        first_escaped(path, lower=True),
        percent(path),
        b"/%2e" + path,
        b"/x/%2e%2e" + path,
        LISTED + b"/%2e%2e/%2E%2E" + path,
        LISTED + b"/..%2f..%2f" + path[1:],
        path + b";x=1",
        b"/;x" + path,
        LISTED + b";/../.." + path,
        b"/\\" + path[1:],
        b"/%5C" + path[1:],
        path + b"%00",
        path + b"%20",
        path + b"%0d%0a",
        path + b"%23",
        path + b"%3Fx",
        b"/%252F" + path[1:],
        percent(percent(path)),
        b"/%c0%af" + path[1:],
        b"/%ef%bc%8f" + path[1:],
        path[:1] + b"\xc3\xa9/.." + path,
        b"http://other.test" + path,
        b"HTTP://OTHER.TEST:80/" + path,
        b"http://other.test" + LISTED + b"/.." + path,
        path + b"?" + LISTED,
        path + b"?x=/../v1/models",
        path + b"#" + LISTED,
        b"/%u002f" + path[1:],
        b"/v1/responses/x/../../.." + path,
        b"/v1/responses//" + path[1:],
        b"/v1/responses/%2e%2e/%2e%2e" + path,
    ]
    return list(dict.fromkeys(found))


def raw_path(target: bytes) -> bytes:
    """The path of a target, as a server gets it."""
    if not target.startswith(b"/"):
        target = target.partition(b"://")[2]
        slash = target.find(b"/")
        target = target[slash:] if slash >= 0 else b"/"
    return target.partition(b"?")[0]


def send_raw(port: int, method: str, target: bytes, body: bytes = b"") -> int:
    """Status of one request on a conn of its own; 0: none."""
    length = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    head = b"%s %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" % (method.encode(), target)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(head + (length if body else b"") + b"\r\n" + body)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1]) if answer else 0
