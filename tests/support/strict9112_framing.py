# ruff: noqa
# fmt: off
"""Common parts of requests and responses in strict9112: lines, fields, framing, chunked bodies."""
from __future__ import annotations

from tests.support.strict9112_words import *
from tests.support.strict9112_words import _Incomplete, _Stop


class _Framed:
    def __init__(self, data: bytes, response=False):
        self.d = data
        self.pos = 0
        self.issues: list[Issue] = []
        self.n = 0
        self.response = response
        self.upgrade_asked = False

    # -- issue helpers -------------------------------------------------
    def reject(self, code, level="should", status=(400,), rfc=""):
        if self.response:
            status = (502,)
        self.issues.append(Issue(code, "R", level, tuple(status), rfc, self.n))
        raise _Stop

    def soft(self, sev, code, status=(400,), rfc=""):
        if self.response and sev != "N":
            status = (502,)
        for i in self.issues:
            if i.code == code and i.msg == self.n:
                return
        self.issues.append(Issue(code, sev, "", tuple(status), rfc, self.n))

    # -- lines ---------------------------------------------------------
    def line(self, where):
        """Next line without its terminator.  where: start | field | chunk"""
        i = self.d.find(b"\n", self.pos)
        if i < 0:
            raise _Incomplete
        raw = self.d[self.pos:i]
        self.pos = i + 1
        if raw.endswith(b"\r"):
            raw = raw[:-1]
        elif where == "chunk":
            self.reject("chunk-bare-lf", "should", rfc="9112 7.1 (2.2 leniency covers only start-line and fields)")
        else:
            self.soft("P", "bare-lf", rfc="9112 2.2")
        return raw

    # -- header section --------------------------------------------------
    def fields(self, trailer=False):
        out = []
        first = True
        while True:
            ln = self.line("field")
            if ln == b"":
                return out
            if ln[:1] in (b" ", b"\t"):
                if first:
                    self.reject("ws-before-first-field", "policy", rfc="9112 2.2")
                self.reject("obs-fold", "policy", rfc="9112 5.2")
            first = False
            name, sep, value = ln.partition(b":")
            if not sep:
                self.reject("field-no-colon", "should", rfc="9112 5")
            if name == b"":
                self.reject("field-empty-name", "should", rfc="9110 5.1")
            if name[-1:] in (b" ", b"\t"):
                if self.response:
                    self.soft("P", "ws-before-colon", rfc="9112 5.1 (proxy MUST strip in responses)")
                    name = name.rstrip(b" \t")
                else:
                    self.reject("ws-before-colon", "must", rfc="9112 5.1")
            if not TOKEN.match(name):
                self.reject("field-name-chars", "should", rfc="9110 5.1, 5.6.2")
            if b"\r" in value:
                self.reject("field-value-bare-cr", "policy", rfc="9110 5.5, 9112 2.2")
            if b"\0" in value:
                self.reject("field-value-nul", "policy", rfc="9110 5.5")
            v = value.strip(b" \t")
            if any(c < 0x20 and c != 9 or c == 0x7F for c in v):
                self.soft("P", "field-value-ctl", rfc="9110 5.5")
            if any(c >= 0x80 for c in v):
                self.soft("N", "field-value-obs-text", rfc="9110 5.5")
            if b"_" in name and name.lower().replace(b"_", b"-") in (
                    b"content-length", b"transfer-encoding", b"host", b"connection"):
                self.soft("Q", "underscore-framing-lookalike", rfc="9110 5.1 (valid token; CGI aliasing)")
            out.append((name, v))

    # -- framing -----------------------------------------------------------
    def framing(self, hdrs, version, is_request):
        get = lambda n: [v for k, v in hdrs if k.lower() == n]
        te, cl = get(b"transfer-encoding"), get(b"content-length")
        chunked = False
        te_other = False
        if te:
            if version == "1.0":
                self.soft("P", "te-in-http10", rfc="9112 6.1")
            elems = [e.strip(b" \t") for v in te for e in v.split(b",")]
            if any(e == b"" for e in elems):
                if all(e == b"" for e in elems):
                    if is_request:
                        self.reject("te-empty", "should", rfc="9112 6.1, 6.3")
                    self.soft("P", "te-empty", rfc="9112 6.1")
                else:
                    self.soft("P", "te-empty-element", rfc="9110 5.6.1.2")
                elems = [e for e in elems if e]
            names = []
            for e in elems:
                nm, sc, par = e.partition(b";")
                nm = nm.strip(b" \t").lower()
                if not TOKEN.match(nm):
                    self.reject("te-not-token", "should", (400, 501), "9112 6.1")
                if sc and nm == b"chunked":
                    self.reject("te-chunked-params", "should", (400, 501), "9112 7.1")
                names.append(nm)
            if names and names.count(b"chunked") > 1:
                self.reject("te-chunked-twice", "should", (400, 501), "9112 6.1")
            if names and names[-1] != b"chunked":
                if is_request:
                    known = {b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"chunked"}
                    self.reject("te-chunked-not-final",
                                "must" if set(names) <= known else "should",
                                (400, 501), "9112 6.3 (4), 6.1")
                self.soft("P", "te-response-not-chunked-final", rfc="9112 6.3 (4)")
                te_other = True
            elif len(names) > 1:
                known = {b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"chunked"}
                if is_request and set(names) <= known:
                    self.soft("P", "te-compression-then-chunked", (400, 415, 422, 501), "9112 6.1 (SHOULD 501 if not understood)")
                elif is_request:
                    self.reject("te-unknown-coding", "should", (400, 415, 422, 501), "9112 6.1")
                self.soft("P", "te-response-extra-coding", rfc="9112 6.1")
                chunked = True
            elif names:
                chunked = True
        n = None
        if cl:
            elems = [e.strip(b" \t") for v in cl for e in v.split(b",")]
            good = [e for e in elems if DIGITS.match(e)]
            if te:
                self.soft("P", "cl-and-te", rfc="9112 6.1, 6.3 (3)")
                if len(good) != len(elems):
                    self.reject("cl-invalid-with-te", "policy", rfc="9112 6.3")
            else:
                if len(good) != len(elems):
                    self.reject("cl-invalid", "must", rfc="9112 6.3 (5), 9110 8.6")
                vals = {int(e) for e in good}
                if len(vals) != 1:
                    self.reject("cl-conflict", "must", rfc="9112 6.3 (5)")
                if len(elems) > 1:
                    self.soft("P", "cl-repeated-same", rfc="9112 6.3 (5), 9110 8.6")
                if any(len(e) > 1 and e[:1] == b"0" for e in good):
                    self.soft("Q", "cl-leading-zero", rfc="9110 8.6 (1*DIGIT: valid)")
                n = vals.pop()
                if n > MAX_INT:
                    self.reject("cl-overflow", "must", (400, 413), "9110 8.6")
        return chunked, te_other, n

    def chunked_body(self):
        body = bytearray()
        while True:
            ln = self.line("chunk")
            if b"\r" in ln:
                self.reject("chunk-line-bare-cr", "should", rfc="9112 7.1, 2.2")
            i = 0
            while i < len(ln) and ln[i:i + 1] in b"0123456789abcdefABCDEF":
                i += 1
            size, ext = ln[:i], ln[i:]
            if not size:
                self.reject("chunk-size-invalid", "should", rfc="9112 7.1")
            if ext:
                if not EXT_STRICT.match(ext):
                    if EXT_BWS.match(ext):
                        self.soft("P", "chunk-ext-bws", rfc="9112 7.1.1")
                    elif any(c < 0x20 and c != 9 or c == 0x7F for c in ext):
                        self.reject("chunk-ext-ctl", "should", rfc="9112 7.1.1")
                    elif ext.strip(b" \t") == b"":
                        self.soft("P", "chunk-size-trailing-ws", rfc="9112 7.1 (not in grammar; widely tolerated)")
                    elif ext.lstrip(b" \t")[:1] == b";":
                        self.soft("P", "chunk-ext-grammar", rfc="9112 7.1.1 (not in grammar; widely tolerated)")
                    else:
                        self.reject("chunk-size-invalid", "should", rfc="9112 7.1")
                else:
                    self.soft("N", "chunk-ext", rfc="9112 7.1.1")
            n = int(size, 16)
            if n > MAX_INT:
                self.reject("chunk-size-overflow", "must", (400, 413), "9112 7.1")
            if len(size) > 16:
                self.soft("Q", "chunk-size-long-zeros", rfc="9112 7.1 (1*HEXDIG: valid)")
            if n == 0:
                tr = self.fields(trailer=True)
                if tr:
                    self.soft("N", "trailers", rfc="9112 7.1.2")
                if any(k.lower() in FORBIDDEN_TRAILERS for k, _ in tr):
                    self.soft("Q", "trailer-forbidden-field", rfc="9110 6.5.1 (must not be merged)")
                return bytes(body), tr
            avail = self.d[self.pos:self.pos + n]
            body += avail
            if len(avail) < n:
                self.pos = len(self.d)
                raise _Incomplete
            self.pos += n
            nl = self.d[self.pos:self.pos + 2]
            if nl == b"\r\n":
                self.pos += 2
            elif len(nl) < 2 and b"\r\n".startswith(nl):
                raise _Incomplete
            else:
                self.reject("chunk-data-no-crlf", "should", rfc="9112 7.1")

    # -- request line --------------------------------------------------------
