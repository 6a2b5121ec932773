"""TLS on the wire: how a conn begins, what the socket does in between, and how it ends."""

import resource
import socket
import ssl

import pytest

from tests.support.certificates import certificates
from tests.support.exchanges import connected, waiting
from tests.support.script import SSE_HEAD, carry, chunk, event, get, ok, post, split_head, upload
from tests.support.tls_script import down, play, tls_counters, up
from zeroproxy._fast.engine.tls_context import Context

# ---------------------------------------------------------------- how it ends

CLOSE_FRAMED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\npart"


def test_a_body_that_ends_with_its_conn_needs_the_word():
    with play(up()) as script:
        d, u = connected(script, get())
        u.send(CLOSE_FRAMED)
        u.finish()
        assert d.receive().endswith(b"0\r\n\r\n")
        assert script.outcome() == "ok"


def test_a_cut_line_is_no_end():
    with play(up()) as script:
        d, u = connected(script, get())
        u.send(CLOSE_FRAMED)
        u.cut()
        assert not d.receive().endswith(b"0\r\n\r\n")
        assert d.is_closed()
        assert script.outcome() == "upstream/relaying/reset"


def test_a_clean_end_is_said():
    with play(down()) as script:
        d, u = connected(script, get(extra=b"Connection: close\r\n"))
        u.send(ok())
        assert d.receive().endswith(b"ok")
        assert d.is_closed() and d.clean_end


def test_a_cut_response_is_not_called_whole():
    with play(down()) as script:
        d, u = connected(script)
        u.send(SSE_HEAD + chunk(event()))
        u.close()
        assert b"data: " in d.receive()
        assert d.is_closed() and not d.clean_end


def test_an_idle_conn_is_ended_cleanly():
    with play(down(), limits={"idle_timeout": 0.05}) as script:
        d = script.downstream()
        script.wait()
        assert d.is_closed() and d.clean_end


# ---------------------------------------------------------------- before the handshake is over


def test_a_slow_handshake_is_ended():
    with play(down(), limits={"header_timeout": 0.05}) as script:
        d = script.downstream(shake=False)
        script.wait()
        assert d.is_closed()
        assert tls_counters(script)["failures"]["downstream"]["abandoned"] == 1
        assert script.records() == []


def test_an_endpoint_that_does_not_shake_hands_is_a_timeout():
    with play(up(), connect=0.05, attempts=1) as script:
        d = script.downstream()
        d.send(post())
        script.upstream(shake=False)
        script.wait()
        assert d.receive().startswith(b"HTTP/1.1 504 ")
        assert script.outcome() == "upstream/connecting/timeout"


def test_a_request_in_the_clear_is_told_to_use_https():
    with play(down()) as script:
        d = script.downstream(shake=False)
        d.sock.send(get())
        script.turn()
        head, body = split_head(d.sock.recv(4096))
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert d.sock.recv(1) == b""
        assert tls_counters(script)["failures"]["downstream"]["plain_http"] == 1


def test_above_the_cap_nobody_is_answered_in_the_clear():
    with play(down(), limits={"connections": 1}) as script:
        script.downstream()
        with pytest.raises((ssl.SSLError, OSError)):
            script.downstream()


def test_a_caller_who_leaves_in_the_handshake_is_counted():
    with play(down()) as script:
        d = script.downstream(shake=False)
        d.sock.send(b"\x16\x03\x01")
        d.sock.close()
        script.turn()
        assert tls_counters(script)["failures"]["downstream"]["closed"] == 1


# ---------------------------------------------------------------- the socket in between


def pattern(size):
    return bytes(k * 7 % 251 for k in range(size))


@pytest.mark.parametrize("small", [False, True])
def test_large_bodies_arrive_whole_both_ways(small):
    body = pattern(1_500_000)
    with play(down() | up()) as script:
        if small:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                script.listener.setsockopt(socket.SOL_SOCKET, option, 4096)
        d = script.downstream()
        u, found = upload(d, post(body=body))
        assert split_head(found)[1] == body
        assert split_head(carry(u, ok(body), d))[1] == body
        assert script.outcome() == "ok"


def test_a_reader_who_does_not_read_stops_the_endpoint():
    with play(down() | up()) as script:
        d, u = waiting(script)
        u.send(SSE_HEAD)
        piece = chunk(event(b"x" * 60_000))
        sent = 0
        while u.send_some(piece) == len(piece) and u.push():
            sent += 1
            assert sent < 1000, "the endpoint is never stopped"
        assert script.counters()["block_bytes"] <= 3 * 67584
        while not u.push():
            assert d.receive()
        d.receive()
        d.close()


def test_records_of_single_bytes_are_put_together():
    with play(down() | up()) as script:
        d = script.downstream()
        d.send_bytewise(post(body=b"hello"))
        u = script.upstream()
        assert u.receive().endswith(b"hello")
        u.send_bytewise(ok(b"bye"))
        assert d.receive().endswith(b"bye")


def test_a_record_may_arrive_byte_by_byte():
    with play(down()) as script:
        d = script.downstream()
        d.obj.write(post(body=b"hello"))
        for byte in d._out.read():
            d.sock.send(bytes([byte]))
            script.turn()
        u = script.upstream()
        assert u.receive().endswith(b"hello")
        u.send(ok())
        assert d.receive().endswith(b"ok")


def test_several_records_in_one_segment_are_all_read():
    with play(down()) as script:
        d = script.downstream()
        for k in (1, 2, 3):
            d.obj.write(get(b"/%d" % k))
        d.push()
        u = script.upstream()
        for k in (1, 2, 3):
            assert b"GET /%d " % k in u.receive()
            u.send(ok(b"answer %d" % k))
        assert d.receive().count(b"HTTP/1.1 200 OK") == 3


def test_session_tickets_on_an_idle_conn_are_no_data():
    with play(up(), prewarm=1) as script:
        u = script.upstream()
        for _ in range(3):
            script.turn()
        assert not script.has_connected()
        d = script.downstream()
        d.send(post())
        assert u.receive()
        u.send(ok())
        assert d.receive().endswith(b"ok")
        (e,) = script.engine.snapshot()["upstreams"][0]["endpoints"]
        assert e["stale"] == 0 and e["connects"] <= 2


# ---------------------------------------------------------------- anew


def test_new_certificates_are_shown_to_new_conns_only():
    c = certificates()
    with play(down()) as script:
        old = script.downstream()
        script.engine.set_tls(Context.server(cert=c.renewed.cert, key=c.renewed.key))
        new = script.downstream()
        names = [dict(p.obj.getpeercert()["subject"][0])["commonName"] for p in (old, new)]
        assert names == ["server", "renewed"]
        old.send(get(b"/old"))
        u = script.upstream()
        u.receive()
        u.send(ok())
        assert old.receive().endswith(b"ok")
        new.send(get(b"/new"))
        assert b"GET /new " in u.receive()
        u.send(ok())
        assert new.receive().endswith(b"ok")


def test_two_thousand_handshakes_leave_nothing():
    def shake(times):
        for _ in range(times):
            d, u = connected(script, get(extra=b"Connection: close\r\n"))
            u.send(ok(extra=b"Connection: close\r\n"))
            assert d.receive().endswith(b"ok")
            for peer in (d, u):
                peer.close()
            script.peers.clear()
            script.records()

    with play(down() | up()) as script:
        shake(200)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        shake(800)
        assert tls_counters(script)["handshakes"] == {"downstream": 1000, "upstream": 1000}
        assert tls_counters(script)["open"] == 0
        # One SSL object kept per conn would be 10 MB or more.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 6 << 10
