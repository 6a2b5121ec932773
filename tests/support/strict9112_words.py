# ruff: noqa
# fmt: off
"""The terms of strict9112: the grammar as patterns, and what a classification consists of."""
from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field

TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
HEX = re.compile(rb"^[0-9A-Fa-f]+$")
DIGITS = re.compile(rb"^[0-9]+$")
VERSION = re.compile(rb"^HTTP/([0-9])\.([0-9])$")
STATUS_LINE = re.compile(rb"^(HTTP/[0-9]\.[0-9]) ([0-9]{3}) (.*)$", re.S)
# unreserved / pct-encoded / sub-delims / ":" / "@" / "/" / "?"
TARGET_OK = re.compile(rb"^(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*$")
REG_NAME = re.compile(rb"^(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*$")
SAFE_HOST = re.compile(rb"^[A-Za-z0-9\-._~%]*$")
# chunk-ext without BWS (strict) and with BWS (RFC 9112 7.1.1)
_QS = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_TK = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
EXT_STRICT = re.compile(rb"^(?:;" + _TK + rb"(?:=(?:" + _TK + rb"|" + _QS + rb"))?)*$", re.S)
EXT_BWS = re.compile(
    rb"^(?:[ \t]*;[ \t]*" + _TK + rb"(?:[ \t]*=[ \t]*(?:" + _TK + rb"|" + _QS + rb"))?)*$", re.S)
SINGLETONS = {b"content-type", b"authorization", b"if-modified-since", b"if-unmodified-since", b"user-agent", b"referer",
              b"max-forwards", b"from", b"date", b"content-location", b"content-range", b"etag", b"server", b"range",
              b"if-range", b"proxy-authorization", b"sec-websocket-key", b"sec-websocket-version"}
FORBIDDEN_TRAILERS = {
    b"transfer-encoding", b"content-length", b"host", b"content-encoding", b"content-type",
    b"content-range", b"trailer", b"te", b"connection", b"upgrade", b"expect", b"max-forwards",
    b"authorization", b"proxy-authorization", b"set-cookie", b"cookie", b"cache-control",
    b"range", b"if-match", b"if-none-match", b"keep-alive", b"proxy-connection",
}
MAX_INT = 2**63 - 1
KNOWN_METHODS = {m.encode() for m in """ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD
LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST
PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF
VERSION-CONTROL""".split()}


@dataclass
class Issue:
    code: str
    sev: str
    level: str = ""
    status: tuple = (400,)
    rfc: str = ""
    msg: int = 0


@dataclass
class Message:
    start: tuple = ()
    version: str = ""
    headers: list = field(default_factory=list)
    trailers: list = field(default_factory=list)
    framing: str = "none"          # none | cl | chunked | close | tunnel
    body: bytes = b""
    close: bool = False
    end: int = 0

    def brief(self):
        d = {
            "start": [s.decode("latin1") for s in self.start],
            "version": self.version,
            "headers": len(self.headers),
            "framing": self.framing,
            "body_len": len(self.body),
            "body_sha1": hashlib.sha1(self.body).hexdigest()[:12],
            "close": self.close,
        }
        if self.trailers:
            d["trailers"] = len(self.trailers)
        return d


@dataclass
class Result:
    verdict: str = "accept"
    prefer: str = "accept"
    level: str = ""
    status: tuple = ()
    issues: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    consumed: int = 0
    ignored_tail: int = 0          # bytes after a closing message, never to be processed
    state: str = "complete"        # complete | incomplete | truncated

    def codes(self):
        return [i.code for i in self.issues]


class _Stop(Exception):
    """An R issue: parsing cannot go on."""


class _Incomplete(Exception):
    pass
