# ruff: noqa
# fmt: off
"""The verdicts of run_cases.py: bytes seen on both sides, against the case."""
import base64

from tests.support import strict9112 as S


def parse_responses(data, methods, eof):
    """-> list of (status, body, complete), leftover bytes"""
    out, pos, k = [], 0, 0
    while pos < len(data):
        p = S._P(data[pos:], response=True)
        meth = methods[k] if k < len(methods) else 'GET'
        try:
            m, sc = p.resp(meth, eof)
        except S._Incomplete:
            st = data[pos + 9:pos + 12]
            out.append((int(st) if st.isdigit() else 0, b'', False)); return out, b''
        except S._Stop:
            return out, data[pos:]
        pos += p.pos
        if 100 <= sc < 200 and sc != 101:
            continue
        out.append((sc, m.body, True)); k += 1
        if m.framing == 'close':
            break
    return out, data[pos:]


SOFT_OK = {'field-value-ctl', 'target-chars', 'target-non-ascii', 'target-fragment', 'host-unusual-chars',
           'host-port-range', 'host-empty-label', 'host-empty', 'expect-unknown', 'target-scheme', 'target-userinfo',
           'connection-not-token', 'connection-nominates-end-to-end', 'trace-with-body'}


def judge_request(c, o, be, resp, closed, extra):
    n_ok = len(o.messages)
    codes = [s for s, _, done in resp]
    ok2 = sum(1 for s, _, d in resp if 200 <= s < 300 and d)
    err = [s for s in codes if s >= 400]
    hard = []
    if be.invalid:
        hard.append('backend-got-invalid:' + be.invalid[0])
    bad_soft = [s for s in be.soft if s not in SOFT_OK]
    if bad_soft:
        hard.append('backend-got-lenient:' + bad_soft[0])
    if len(be.done) > max(ok2 + len(err), ok2) or ok2 > len(be.done):
        hard.append(f'desync:{ok2}x2xx/{len(be.done)}req')
    if extra:
        hard.append('junk-after-responses')
    if be.done:
        for m, ref in zip(be.done, o.messages):
            if m.body != ref.body:
                hard.append('body-differs'); break
            if m.start[0] != ref.start[0]:
                hard.append('method-differs'); break
    if len(be.done) > n_ok and not (c['expect'] == 'either' and c.get('code') == 'bytes-after-upgrade'):
        # forwarded although the reference rejects it; "repaired" when what arrived is valid and answered 1:1
        hard.append(f'{"forwarded-repaired" if len(be.done) == ok2 and len(be.done) <= n_ok + 1 else "smuggled"}:{len(be.done)}>{n_ok}')
    got = 'accept' if ok2 == n_ok and not err and n_ok and o.state == 'complete' and o.verdict != 'reject' else \
          'reject' if err or (closed and ok2 <= n_ok) else 'none' if not codes else 'partial'
    ok = not hard
    e = c['expect']
    if c.get('invariant') == 'not-forwarded' and be.done:
        hard.append('max-forwards-0-forwarded')
        ok = False
    if e == 'accept':
        if c.get('invariant') == 'not-forwarded':
            ok = ok and not be.done
        else:
            ok = ok and ok2 == n_ok and not err and len(be.done) == n_ok
    elif e == 'reject':
        lead = n_ok if o.verdict == 'reject' else 0
        ok = ok and (bool(err) or closed or not codes) and ok2 <= lead and len(be.done) <= lead
    elif c.get('state') == 'incomplete':
        ok = ok and ok2 <= n_ok and len(be.done) <= n_ok
        got = 'wait' if not err and ok2 <= n_ok else got
    return ok, got, hard, codes


def judge_response(c, o, method, data):
    r = S.classify_response(data, method=method, eof=True)
    hard = []
    m = r.messages[-1] if r.messages else None
    sc = int(m.start[1]) if m else 0
    complete = r.state == 'complete' and r.verdict != 'reject' and m is not None
    if r.verdict == 'reject':
        hard.append('client-got-invalid:' + r.issues[-1].code)
    lenient = [i.code for i in r.issues if i.sev == 'P']
    if lenient:
        hard.append('client-got-lenient:' + lenient[0])
    if r.ignored_tail:
        hard.append('client-got-surplus')
    gw = sc in (500, 502, 503, 504)
    e = c['expect']
    ref = o.messages[-1] if o.messages else None
    same = bool(ref) and complete and ref.start[1] == m.start[1] and ref.body == m.body
    if c.get('invariant') == '502':
        return gw and not hard, 'reject' if gw else 'accept', hard, [sc]
    got = 'reject' if gw or not data else 'accept' if complete else 'truncated'
    if e == 'accept':
        ok = same
    elif e == 'reject':
        ok = gw or not complete
    elif c.get('state') == 'truncated':
        ok = gw or not complete
    else:
        ok = gw or same or not complete
    return ok and not hard, got, hard, [sc]


def match(spec, val):
    if val is None:
        return False
    if spec.startswith('/') and spec.endswith('/') and len(spec) > 1:
        import re
        return re.search(spec[1:-1], val) is not None
    return spec == val


def judge_transform(c, be, data, closed):
    k, bad = c['check'], []
    p = S._P(data, response=True)
    interim, m, sc, leftover = [], None, 0, b''
    try:
        while True:
            m, sc = p.resp('HEAD' if base64.b64decode(c['raw']).startswith(b'HEAD') else 'GET', True)
            if 100 <= sc < 200 and sc != 101:
                interim.append(sc); continue
            break
    except (S._Stop, S._Incomplete):
        bad.append('client-response-invalid:' + (p.issues[-1].code if p.issues else 'incomplete'))
    if be.invalid:
        bad.append('backend-got-invalid:' + be.invalid[0])
    if k.get('alt_reject') and 400 <= sc < 600 and not be.done:
        return [], sc
    up = be.done[0] if be.done else None
    H = lambda hs, n: [v.decode('latin1') for a, v in hs if a.decode('latin1').lower() == n]
    if any(x.startswith('up_') for x in k) and up is None:
        bad.append('not-forwarded')
    if up:
        if k.get('up_line') and b' '.join(up.start).decode('latin1') != k['up_line']:
            bad.append('up_line:' + b' '.join(up.start).decode('latin1')[:60])
        for n in k.get('up_absent', []):
            if H(up.headers, n):
                bad.append('up_has:' + n)
        for n, v in k.get('up_present', {}).items():
            got = H(up.headers, n)
            if not got or not match(v, ', '.join(got)):
                bad.append(f'up_{n}:{got}')
        for n, v in k.get('up_present_opt', {}).items():
            got = H(up.headers, n)
            if got and ', '.join(got) != v:
                bad.append(f'up_{n}:{got}')
        for n, v in k.get('up_not_contains', {}).items():
            if v in ', '.join(H(up.headers, n)):
                bad.append(f'up_{n}-contains-{v}')
        for n, v in k.get('up_order', {}).items():
            if [x.strip() for y in H(up.headers, n) for x in y.split(',')] != v:
                bad.append(f'up_order_{n}:{H(up.headers, n)}')
        for n, v in k.get('up_order_opt', {}).items():
            if H(up.headers, n) and H(up.headers, n) != v:
                bad.append(f'up_order_{n}:{H(up.headers, n)}')
        if 'up_body' in k and up.body != k['up_body'].encode():
            bad.append('up_body')
        if k.get('up_raw_absent') and any(k['up_raw_absent'].encode() in x for x in be.conns):
            bad.append('up_raw')
    if m:
        if k.get('cl_status') and sc != k['cl_status']:
            bad.append(f'cl_status:{sc}')
        if 'cl_interim' in k and interim != k['cl_interim']:
            bad.append(f'cl_interim:{interim}')
        if k.get('cl_version') and m.start[0].decode() != k['cl_version']:
            bad.append('cl_version:' + m.start[0].decode())
        for n in k.get('cl_absent', []):
            if H(m.headers, n):
                bad.append('cl_has:' + n)
        for n, v in k.get('cl_present', {}).items():
            got = H(m.headers, n)
            if not got or not match(v, ', '.join(got)):
                bad.append(f'cl_{n}:{got}')
        for n, v in k.get('cl_order', {}).items():
            if H(m.headers, n) != v:
                bad.append(f'cl_order_{n}:{H(m.headers, n)}')
        if 'cl_body' in k and m.body != k['cl_body'].encode():
            bad.append('cl_body')
        if k.get('cl_closed') and not (m.close or closed):
            bad.append('cl_not_closed')
    return bad, sc
