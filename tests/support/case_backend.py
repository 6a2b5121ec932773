# ruff: noqa
# fmt: off
"""The endpoint that records every byte a proxy under test sends it: a part of run_cases.py."""
import asyncio, time

from tests.support import strict9112 as S


class Backend:
    def __init__(self):
        self.mode = 'request'
        self.raw_response = b''
        self.method = 'GET'
        self.sse, self.sent_at, self.gap = ('', []), [], 0.03
        self.reset()

    def reset(self):
        self.conns = []          # one bytearray per connection that carried bytes
        self.done = []           # complete requests (Message)
        self.invalid = []        # issue codes of strict rejections at the backend
        self.soft = []           # P-issues (lenient syntax that was forwarded)
        self.partial = 0

    async def handle(self, r, w):
        buf, off, log, sent100 = bytearray(), 0, None, False
        gen = id(self.conns)
        try:
            while True:
                try:
                    d = await r.read(65536)
                except ConnectionError:
                    break
                if not d:
                    break
                if gen != id(self.conns) or log is None:
                    if gen != id(self.conns):
                        del buf[:]; off = 0
                        gen = id(self.conns)
                    log = bytearray(); self.conns.append(log)
                buf += d; log += d
                if self.mode == 'sse':
                    if b'\r\n\r\n' in buf:
                        w.write(b'HTTP/1.1 200 OK\r\nContent-Type: ' + self.sse[0].encode() + b'\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n')
                        await w.drain()
                        for x in self.sse[1]:
                            w.write(b'%x\r\n' % len(x) + x + b'\r\n')
                            await w.drain()
                            self.sent_at.append(time.monotonic())
                            await asyncio.sleep(self.gap)
                        w.write(b'0\r\n\r\n'); await w.drain()
                        break
                    continue
                if self.mode == 'response':
                    if b'\r\n\r\n' in buf:
                        w.write(self.raw_response)
                        try:
                            await w.drain(); w.write_eof()
                            await asyncio.wait_for(r.read(65536), 1)
                        except Exception:
                            pass
                        break
                    continue
                stop = False
                while off < len(buf):
                    p = S._P(bytes(buf[off:]))
                    try:
                        m = p.request()
                    except S._Incomplete:
                        if not sent100 and b'\r\n\r\n' in buf[off:] and b'100-continue' in bytes(buf[off:]).lower():
                            w.write(b'HTTP/1.1 100 Continue\r\n\r\n'); sent100 = True
                        break
                    except S._Stop:
                        self.invalid.append(p.issues[-1].code)
                        w.write(b'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
                        stop = True
                        break
                    if m is None:
                        off = len(buf); break
                    off += p.pos; sent100 = False
                    self.soft += [i.code for i in p.issues if i.sev == 'P']
                    self.done.append(m)
                    if self.mode == 'transform':
                        w.write(self.raw_response)
                        await w.drain()
                        stop = True
                        break
                    body = b'ok%d' % len(self.done)
                    head = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % len(body)
                    w.write(head + (b'' if m.start[0] == b'HEAD' else body))
                    if m.close:
                        stop = True
                        break
                await w.drain()
                if stop:
                    break
        except (Exception, asyncio.CancelledError):
            pass
        finally:
            if off < len(buf):
                self.partial += 1
            try:
                w.close()
            except Exception:
                pass
