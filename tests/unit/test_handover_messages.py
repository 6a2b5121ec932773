"""Messages of a handover, at every split, with descriptors and without."""

import array
import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

from zeroproxy.server.handover_messages import (
    HEADER,
    MARK,
    Bye,
    Channel,
    Closed,
    Gone,
    HandoverError,
    Hello,
    Listener,
    Offer,
    Quota,
    Refusal,
    close_all,
)

OFFER = Offer("1", 7, "/", True, [Listener("unix:/a", "unix:/a", "/a", (1, 2))])
LEARNED = {"url": "http://h:1", "limit": 1.5, "is_open": False}
GONE = Gone(3, [LEARNED], [Quota("k", "tokens", -2.5)], ["http://h:1"])


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), other


def descriptors():
    """Number of those that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def framed(data):
    return HEADER.pack(MARK, len(data)) + data


@pytest.mark.parametrize("message", [OFFER, GONE, Bye(), Hello(1, "2", 3)], ids=repr)
async def test_what_was_sent_arrives(ends, message):
    channel, other = ends
    sender = Channel(other)
    await sender.send(message)
    assert await channel.receive(type(message), most=1 << 16) == (message, [])


async def test_a_large_one_waits_for_its_reader(ends):
    channel, other = ends
    large = Refusal("x" * (4 << 20))
    sending = asyncio.ensure_future(Channel(other).send(large))
    with pytest.raises(HandoverError, match=r"^x{200}$"):
        await channel.receive(Bye, most=8 << 20)
    await sending


@pytest.mark.parametrize("at", [1, 4, 8, 9, 20])
async def test_it_may_come_in_parts_with_its_descriptors_first(ends, at):
    channel, other = ends
    data = framed(msgspec.json.encode(OFFER))
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1]))]
    other.sendmsg([data[:at]], control)
    receiving = asyncio.ensure_future(channel.receive(Offer, fds=3))
    await asyncio.sleep(0.01)
    assert not receiving.done()
    other.send(data[at:])
    message, fds = await receiving
    assert message == OFFER
    assert len(fds) == 2
    assert not any(os.get_inheritable(fd) for fd in fds)
    close_all(fds)


async def test_more_descriptors_than_asked_for_are_refused_and_none_stays_open(ends):
    channel, other = ends
    data = framed(msgspec.json.encode(OFFER))
    before = descriptors()
    for fds, error in ((0, None), (2, "more than 2 descriptors")):
        other.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 9))])
        if error is None:
            assert await channel.receive(Offer, fds=fds) == (OFFER, [])
        else:
            with pytest.raises(HandoverError, match=error):
                await channel.receive(Offer, fds=fds)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", "the other process has gone"),
        (MARK, "the other process has gone"),
        (framed(b"{}")[:-1], "the other process has gone"),
        (b"GET / HTTP/1.1", "b'GET ' begins no message of a handover"),
        (HEADER.pack(MARK, 5000), "a message of 5000 bytes: at most 4096 are allowed here"),
        (framed(b"{"), "no message Hello: Input data was truncated"),
        (framed(b"\xff\xfe"), "no message Hello: JSON is malformed"),
        (framed(b"{}"), "no message Hello: Object missing required field `kind`"),
        (framed(b'{"kind":"hello"}'), "no message Hello: Object missing required field `protocol`"),
        (framed(b'{"kind":"bye"}'), "no message Hello: Invalid value 'bye'"),
        (framed(b'{"kind":"hello","protocol":"1","version":"","pid":1}'),
         "no message Hello: Expected `int`, got `str`"),
        (framed(b'{"kind":"refused","reason":"no\\nline"}'), r"no\\nline"),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_a_sentence(ends, sent, error):
    channel, other = ends
    other.sendall(sent)
    other.shutdown(socket.SHUT_WR)
    with pytest.raises(HandoverError, match=error.replace("`", ".").replace("(", ".")):
        await channel.receive(Hello)


async def test_a_field_more_is_from_a_later_version_and_does_not_hurt(ends):
    channel, other = ends
    other.sendall(framed(b'{"kind":"hello","protocol":9,"version":"9","pid":1,"more":[{}]}'))
    assert await channel.receive(Hello) == (Hello(9, "9", 1), [])


async def test_to_one_that_has_gone_nothing_is_sent(ends):
    channel, other = ends
    other.close()
    with pytest.raises(Closed):
        await channel.send(Bye())


async def test_a_wait_can_be_given_up_and_begun_again(ends):
    channel, other = ends
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await channel.receive(Bye)
    other.sendall(framed(b'{"kind":"bye"}'))
    assert await channel.receive(Bye) == (Bye(), [])
