"""The scripted upstream sends exactly its script and keeps exactly the bytes it receives."""

import asyncio
import socket
import struct

import pytest

from tests.support.script_upstream import ScriptUpstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\n\r\n"


async def say_ok(request, conn):
    await conn.send(OK)


async def connect(upstream):
    if upstream.url.startswith("unix:"):
        return await asyncio.open_unix_connection(upstream.url.removeprefix("unix:"))
    return await asyncio.open_connection("127.0.0.1", upstream.port)


async def hang_up(writer):
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_it_plays_exact_bytes_and_keeps_every_byte(kind, tmp_path):
    path = str(tmp_path / "s") if kind == "unix" else ""
    async with ScriptUpstream(say_ok, unix=path) as upstream:
        reader, writer = await connect(upstream)
        for _ in range(2):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        writer.write_eof()
        (conn,) = upstream.connections
        assert await conn.wait_closed() == "fin"
        assert bytes(conn.received) == GET + GET
        assert [r.head for r in upstream.requests] == [GET, GET]
        assert upstream.requests[0].target == b"/a"
        assert upstream.requests[0].fields(b"X-A") == [b"1", b"2"]
        await hang_up(writer)


async def test_a_chunked_body_is_given_with_and_without_its_framing():
    body = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n"
    async with ScriptUpstream(say_ok) as upstream:
        reader, writer = await connect(upstream)
        for byte in b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body:
            writer.write(bytes([byte]))
        assert await reader.readexactly(len(OK)) == OK
        assert upstream.requests[0].body == b"abcde"
        assert upstream.requests[0].raw_body == body
        await hang_up(writer)


async def test_a_body_with_a_length_is_waited_for():
    async with ScriptUpstream(say_ok) as upstream:
        reader, writer = await connect(upstream)
        begun = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab"
        writer.write(begun)
        await upstream.wait_connections(1)
        await upstream.connections[0].wait_received(len(begun))
        assert upstream.requests == []
        writer.write(b"cd")
        assert await reader.readexactly(len(OK)) == OK
        assert upstream.requests[0].body == b"abcd"
        await hang_up(writer)


async def test_close_is_a_fin_and_reset_is_an_rst():
    async def play(request, conn):
        await conn.send(b"half")
        await (conn.close() if conn.number == 0 else conn.reset())

    async with ScriptUpstream(play) as upstream:
        reader, writer = await connect(upstream)
        writer.write(GET)
        assert await reader.read() == b"half"
        await hang_up(writer)
        reader, writer = await connect(upstream)
        writer.write(GET)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(100)
        assert upstream.connections[1].is_closed
        await hang_up(writer)


async def test_a_peer_that_resets_is_told_from_one_that_ends():
    async with ScriptUpstream(say_ok) as upstream:
        _, writer = await connect(upstream)
        await upstream.wait_connections(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert await upstream.connections[0].wait_closed() == "reset"
        await hang_up(writer)


async def test_a_conn_that_does_not_read_makes_the_peer_wait():
    size = 32 << 20

    async def play(request, conn):
        conn.stop_reading()
        await conn.send(OK)

    async with ScriptUpstream(play) as upstream:
        reader, writer = await connect(upstream)
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        writer.write(b"x" * size)
        conn = upstream.connections[0]
        assert writer.transport.get_write_buffer_size() > 0
        assert len(conn.received) < len(GET) + size
        conn.read_on()
        await conn.wait_received(len(GET) + size)
        await hang_up(writer)


async def test_what_a_handler_raises_is_raised_at_the_end():
    async def play(request, conn):
        raise AssertionError("not what was expected")

    with pytest.raises(AssertionError, match="not what was expected"):
        async with ScriptUpstream(play) as upstream:
            reader, writer = await connect(upstream)
            writer.write(GET)
            with pytest.raises(ConnectionError):
                await reader.readexactly(1)
            await hang_up(writer)
