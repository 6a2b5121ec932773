# ruff: noqa
# fmt: off
"""Run the JSON-lines cases against a reverse proxy that listens on localhost.

    python -m tests.support.run_cases --proxy 127.0.0.1:8000 --backend 127.0.0.1:9000 own.jsonl ...

The proxy under test must forward everything to --backend, where this script listens and records
every byte. Client bytes are sent raw. Bytes that reach the backend are parsed again with
strict9112, so the verdict does not depend on any other HTTP library.

Verdict per request case (n_ok = complete requests the reference parser sees before an error):

- accept: n_ok final 2xx, n_ok complete requests at the backend, same method/body, valid bytes.
- reject: at most n_ok 2xx, an error status (4xx/5xx) or a close. At most n_ok complete requests
  at the backend; nothing after the offending message is processed.
- either: no desync: number of 2xx == complete requests at the backend, bytes valid there.

Always checked ("HARD"): the backend's bytes parse cleanly as RFC 9112, and it never completes more
requests than the client got final 2xx answers for.
Response cases: see judge_response().  Transform cases: `check` says what the backend and the
client must (not) see.  SSE cases: body byte-exact and every write delivered on its own.   --strict also fails a case whose `prefer` is missed.
Modes: --frag N sends N bytes per write; --abort-prefix checks half-open clients (slower).
"""
import argparse, asyncio, base64, collections, json, sys, time

from tests.support import strict9112 as S
from tests.support.case_backend import Backend
from tests.support.case_judges import judge_request, judge_response, judge_transform, parse_responses


async def talk(addr, parts, want, methods, frag, t1, t2):
    r, w = await asyncio.open_connection(*addr)
    data, closed, half = b'', False, False
    try:
        for i, part in enumerate(parts):
            if i:
                await asyncio.sleep(0.02)
            if frag:
                for j in range(0, len(part), frag):
                    w.write(part[j:j + frag]); await w.drain()
                    await asyncio.sleep(0)
            else:
                w.write(part)
            try:
                await w.drain()
            except ConnectionError:
                break
        limit = time.monotonic() + t1
        while True:
            left = limit - time.monotonic()
            if left <= 0:
                if not half and not data:
                    half = True
                    try:
                        w.write_eof()
                    except Exception:
                        pass
                    limit = time.monotonic() + t2
                    continue
                break
            try:
                d = await asyncio.wait_for(r.read(65536), left)
            except asyncio.TimeoutError:
                continue
            if not d:
                closed = True
                break
            data += d
            got, _ = parse_responses(data, methods, False)
            if len([1 for g in got if g[2]]) >= want:
                limit = min(limit, time.monotonic() + 0.06)
    except ConnectionError:
        closed = True
    finally:
        try:
            w.close()
        except Exception:
            pass
    return data, closed, half


# lenient syntax that RFC 9110/9112 lets a proxy pass on unchanged: noted, not a failure


async def sse_case(c, be, addr):
    be.mode, be.sent_at = 'sse', []
    writes = [base64.b64decode(x) for x in c['writes']]
    be.sse = (c['content_type'], writes)
    r, w = await asyncio.open_connection(*addr)
    w.write(b'GET /stream HTTP/1.1\r\nHost: a.test\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n')
    data, marks = b'', []
    try:
        while True:
            d = await asyncio.wait_for(r.read(1 << 20), 4)
            if not d:
                break
            data += d; marks.append((time.monotonic(), len(data)))
    except (asyncio.TimeoutError, ConnectionError):
        pass
    w.close()
    res = S.classify_response(data)
    bad = []
    m = res.messages[-1] if res.messages else None
    if res.verdict != 'accept' or m is None:
        return ['stream:' + res.verdict], 0
    if m.body != b''.join(writes):
        bad.append('body-differs')
    ct = [v for k, v in m.headers if k.lower() == b'content-type']
    if ct != [c['content_type'].encode()]:
        bad.append('content-type')
    # delivery: every write must have been (partly) visible before the next one was sent
    late = sum(1 for i, ts in enumerate(be.sent_at[:-1]) if not any(ts - 0.005 <= t < be.sent_at[i + 1] + 0.004 for t, _ in marks))
    if late > len(writes) // 5:
        bad.append(f'coalesced:{late}/{len(writes)}')
    return bad, int(m.start[1])


async def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('files', nargs='+')
    ap.add_argument('--proxy', default='127.0.0.1:8000')
    ap.add_argument('--backend', default='127.0.0.1:9000')
    ap.add_argument('--out')
    ap.add_argument('--frag', type=int, default=0)
    ap.add_argument('--only', default='')
    ap.add_argument('--kind', default='')
    ap.add_argument('--strict', action='store_true')
    ap.add_argument('--t1', type=float, default=0.35)
    ap.add_argument('--t2', type=float, default=0.5)
    ap.add_argument('-v', action='store_true')
    a = ap.parse_args()
    host = lambda s: (s.rsplit(':', 1)[0], int(s.rsplit(':', 1)[1]))
    be = Backend()
    srv = await asyncio.start_server(be.handle, *host(a.backend), limit=1 << 20)
    out = open(a.out, 'w') if a.out else None
    tot, fails, missed = collections.Counter(), [], collections.Counter()
    for f in a.files:
        for line in open(f):
            c = json.loads(line)
            if a.only and a.only not in c['id'] or a.kind and c['kind'] != a.kind:
                continue
            raw = base64.b64decode(c.get('raw', ''))
            be.reset()
            c.setdefault('expect', 'accept'); c.setdefault('prefer', 'accept'); c.setdefault('code', ''); c.setdefault('state', '')
            try:
                if c['kind'] == 'transform':
                    be.mode, be.raw_response = 'transform', base64.b64decode(c['backend_response'])
                    data, closed, half = await talk(host(a.proxy), [raw], 1, ['HEAD' if raw.startswith(b'HEAD') else 'GET'], a.frag, max(a.t1, 1.0), 0.3)
                    await asyncio.sleep(0.005)
                    hard, sc = judge_transform(c, be, data, closed)
                    ok, got, codes = not hard, 'accept' if not hard else 'differs', [sc]
                    if c['check'].get('policy') and not ok:
                        got = 'policy-differs'
                elif c['kind'] == 'sse':
                    hard, sc = await sse_case(c, be, host(a.proxy))
                    ok, got, codes = not hard, 'accept' if not hard else 'differs', [sc]
                elif c['kind'] == 'request':
                    be.mode = 'request'
                    o = S.classify_request(raw)
                    methods = [m.start[0].decode('latin1') for m in o.messages]
                    parts, pos = [], 0
                    for n in c.get('split') or [len(raw)]:
                        parts.append(raw[pos:pos + n]); pos += n
                    want = len(o.messages) + (1 if o.verdict == 'reject' or c['expect'] == 'reject' else 0)
                    data, closed, half = await talk(host(a.proxy), parts, max(want, 1), methods, a.frag, a.t1, a.t2)
                    await asyncio.sleep(0.005)
                    resp, extra = parse_responses(data, methods, closed)
                    ok, got, hard, codes = judge_request(c, o, be, resp, closed, extra)
                else:
                    be.mode, be.raw_response = 'response', raw
                    meth = c.get('request_method') or 'GET'
                    if meth == 'CONNECT':
                        continue
                    o = S.classify_response(raw, method=meth)
                    req = f'{meth} /r HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n'.encode()
                    data, closed, half = await talk(host(a.proxy), [req], 99, [meth], 0, max(a.t1, 1.2), 0.3)
                    ok, got, hard, codes = judge_response(c, o, meth, data)
            except Exception as ex:
                ok, got, hard, codes = False, 'harness-error', [repr(ex)[:80]], []
            miss = c['expect'] == 'either' and c['prefer'] in ('accept', 'reject') and got != c['prefer'] and c.get('state') == 'complete'
            if miss:
                missed[c['code']] += 1
            good = ok and not (a.strict and miss)
            tot[(c['kind'], c['expect'], 'pass' if good else 'FAIL')] += 1
            if not good:
                fails.append((c['id'], c['expect'], got, hard, codes, c['why'][:90]))
                if a.v:
                    print('FAIL', *fails[-1])
            if out:
                out.write(json.dumps(dict(id=c['id'], expect=c['expect'], prefer=c['prefer'], ok=good, got=got, hard=hard, codes=codes, fwd=len(be.done))) + '\n')
    srv.close()
    for k, v in sorted(tot.items()):
        print(*k, v)
    print('failures', len(fails), 'preference missed', dict(missed.most_common(12)))
    return 1 if fails else 0

if __name__ == '__main__':
    sys.exit(asyncio.run(main()))
