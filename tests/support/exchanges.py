"""First steps of the scripts of tests/relay: one exchange, brought as far as the name tells.

Each returns (d, u): the caller's conn and the one that the engine opened to the endpoint."""

from __future__ import annotations

from tests.support.script import SSE_HEAD, Peer, Script, chunk, event, ok, post

POST = post()


def connected(script: Script, request: bytes = POST, *, endpoint: int = 0) -> tuple[Peer, Peer]:
    """The caller has sent `request`; the endpoint has accepted, and read nothing."""
    d = script.downstream()
    d.send(request)
    return d, script.upstream(endpoint)


def waiting(script: Script, request: bytes = POST, *, endpoint: int = 0) -> tuple[Peer, Peer]:
    """The endpoint has read the request; the caller waits for an answer."""
    d, u = connected(script, request, endpoint=endpoint)
    u.receive()
    return d, u


def streaming(script: Script, request: bytes = POST, *, endpoint: int = 0) -> tuple[Peer, Peer]:
    """The caller has read the head and one event of a stream that goes on."""
    d, u = waiting(script, request, endpoint=endpoint)
    u.send(SSE_HEAD + chunk(event()))
    d.receive()
    return d, u


def answered(script: Script, request: bytes = POST, *, endpoint: int = 0) -> tuple[Peer, Peer]:
    """The caller has read the whole answer; both conns are kept alive."""
    d, u = waiting(script, request, endpoint=endpoint)
    u.send(ok())
    d.receive()
    return d, u
