"""Messages between the proxy that runs and the one that takes its place, over a unix socket.

Law 1. There is one format: MARK, a length, then a JSON object with its `kind`. The length is
       bounded before it is read, and small as long as the other end is not known.
Law 2. Descriptors come only where they are asked for; the kernel drops all others.
Law 3. A message that is none raises HandoverError, with a sentence. Nothing is waited for without
       a limit: callers set it.
Tests: tests/unit/test_handover_messages.py.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from zeroproxy.errors import ZeroproxyError, one_line

#: Of the messages. Another one is refused; a field more is none.
PROTOCOL = 1
MARK = b"zpho"
HEADER = struct.Struct("!4sI")
#: Bytes of the first message, and of one that holds what was learned.
HELLO_MOST, MOST = 4096, 32 << 20
#: Descriptors of one message; the kernel takes 253.
FDS_MOST = 32
SHOWN = 200  # characters of a sentence that the other end sent

M = TypeVar("M", bound=msgspec.Struct)


class HandoverError(ZeroproxyError):
    """A handover that did not come about; nothing was taken over."""


class Closed(HandoverError):
    """The other end has closed the socket, or has ended."""


class Hello(msgspec.Struct, tag_field="kind", tag="hello"):
    """The first message, of the new process."""

    protocol: int
    version: str
    pid: int


class Refusal(msgspec.Struct, tag_field="kind", tag="refused"):
    """In place of any other message; the sender closes the socket."""

    reason: str


class Listener(msgspec.Struct):
    """One listening socket; `address` as the configuration has it."""

    address: str
    url: str
    path: str = ""
    #: Device and inode of `path`.
    inode: tuple[int, int] = (0, 0)


class Offer(msgspec.Struct, tag_field="kind", tag="offer"):
    """All that a start needs. With a descriptor for each listener, then stdout and stderr."""

    version: str
    pid: int
    folder: str
    is_ready: bool
    listeners: list[Listener]


class Go(msgspec.Struct, tag_field="kind", tag="go"):
    """The new process can serve at once: the old one is to stop accepting."""


class Quota(msgspec.Struct):
    key: str
    quota: str
    level: float


class Gone(msgspec.Struct, tag_field="kind", tag="gone"):
    """The old process accepts nothing any more; what it knew."""

    busy: int
    learned: list[dict[str, str | float | int | bool]]
    quotas: list[Quota]
    drained: list[str]


class Serving(msgspec.Struct, tag_field="kind", tag="serving"):
    """The new process accepts. `taken`: addresses that it listens on."""

    taken: list[str]


class Bye(msgspec.Struct, tag_field="kind", tag="bye"):
    """The old process ends once its exchanges have ended."""


def text_of(reason: str) -> str:
    return one_line(reason)[:SHOWN]


class Channel:
    """One end. Use it on the loop; every wait can be cancelled."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def peer(self) -> tuple[int, int]:
        """pid and uid: of the process that connected, or that began to listen."""
        found = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, _ = struct.unpack("iII", found)
        return int(pid), int(uid)

    def close(self) -> None:
        self._sock.close()

    async def _wait(self, writes: bool = False) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        fd = self._sock.fileno()
        add, remove = (
            (loop.add_writer, loop.remove_writer)
            if writes
            else (loop.add_reader, loop.remove_reader)
        )
        add(fd, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(fd)

    async def send(self, message: msgspec.Struct, fds: Sequence[int] = ()) -> None:
        """Raises Closed."""
        data = msgspec.json.encode(message)
        rest = memoryview(HEADER.pack(MARK, len(data)) + data)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while rest:
            try:
                done = self._sock.sendmsg([rest], control, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                await self._wait(writes=True)
                continue
            except OSError as error:
                raise Closed(f"the other process has gone: {error.strerror}") from None
            rest, control = rest[done:], []

    async def receive(
        self, kind: type[M], most: int = HELLO_MOST, fds: int = 0
    ) -> tuple[M, list[int]]:
        """A message of this kind, with at most `fds` descriptors, which are the caller's. Raises
        HandoverError, with the reason if the other end refuses."""
        found: list[int] = []
        try:
            mark, size = HEADER.unpack(await self._read(HEADER.size, found, fds))
            if mark != MARK:
                raise HandoverError(f"{mark!r} begins no message of a handover")
            if size > most:
                raise HandoverError(f"a message of {size} bytes: at most {most} are allowed here")
            data = await self._read(size, found, fds)
            message: M | Refusal
            try:
                message = msgspec.json.decode(data, type=kind | Refusal)
            except msgspec.MsgspecError as error:
                raise HandoverError(f"no message {kind.__name__}: {text_of(str(error))}") from None
        except BaseException:
            close_all(found)
            raise
        if isinstance(message, Refusal):
            close_all(found)
            raise HandoverError(text_of(message.reason))
        return message, found

    async def _read(self, size: int, found: list[int], fds: int) -> bytes:
        data = bytearray()
        room = socket.CMSG_SPACE(fds * array.array("i").itemsize) if fds else 0
        while len(data) < size:
            try:
                some, control, flags, _ = self._sock.recvmsg(
                    min(size - len(data), 1 << 16), room, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await self._wait()
                continue
            except OSError as error:
                raise Closed(f"the other process has gone: {error.strerror}") from None
            for level, sort, raw in control:
                if (level, sort) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(raw[: len(raw) // numbers.itemsize * numbers.itemsize])
                    found += numbers
            if fds and flags & socket.MSG_CTRUNC:
                raise HandoverError(f"more than {fds} descriptors, or none are left here")
            if not some:
                raise Closed("the other process has gone")
            data += some
        return bytes(data)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
