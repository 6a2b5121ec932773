"""The side of the proxy that runs: it listens on `server.handover`, and may be relieved.

Law 1. Until the new process serves, nothing here is given up: whatever ends the handover before,
       this process goes on. Its sockets are shared, never closed or shut down, until then.
Law 2. Only processes of this one's own user are answered, and one at a time.
Law 3. Accepting pauses between `go` and `serving`: what comes meanwhile waits in the kernel's
       backlog, which belongs to both. A connection that was accepted before ends here.
Tests: tests/e2e/test_upgrade.py, tests/e2e/test_handover_strangers.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import time
from pathlib import Path

from zeroproxy._version import __version__
from zeroproxy.server.handover_messages import (
    PROTOCOL,
    Bye,
    Channel,
    Closed,
    Go,
    HandoverError,
    Hello,
    Listener,
    Offer,
    Refusal,
    Serving,
)
from zeroproxy.server.handover_state import collect
from zeroproxy.server.listener import Bound, bind_unix
from zeroproxy.server.predecessor import HANDED_OVER
from zeroproxy.server.worker import Worker
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

HELLO_PATIENCE = 5.0  # seconds for the first message
START_PATIENCE = 180.0  # seconds that the new process may prepare itself
SERVING_PATIENCE = 10.0  # seconds from `gone` to `serving`
STDOUT, STDERR = 1, 2


def listen_for_upgrades(address: str) -> Bound:
    """Bind server.handover, for this user alone. Raises ListenError."""
    bound = bind_unix(address.removeprefix("unix:"))
    Path(bound.path).chmod(0o600)
    return bound


class HandoverListener:
    """`start` accepts on `bound`, which is its own from then on. `stop` before the worker's."""

    def __init__(self, worker: Worker, bound: Bound) -> None:
        self._worker, self._bound = worker, bound
        self._address = worker.config.server.handover
        self._session: asyncio.Task[None] | None = None
        self._refusals: set[asyncio.Task[None]] = set()
        self._pid = 0  # of the new process

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._bound.sock.fileno(), self._on_connect)

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._bound.sock.fileno())
        if self._worker.phase == HANDED_OVER and self._session is not None:
            await asyncio.wait({self._session})
        await cancel(self._session)
        self._bound.close()

    def _on_connect(self) -> None:
        try:
            sock, _ = self._bound.sock.accept()
        except OSError:
            return  # it has left, or another process has it
        channel = Channel(sock)
        pid, uid = channel.peer()
        if uid != os.geteuid():
            self._refuse(channel, f"process {pid} of user {uid} may not take over: this proxy runs "
                                  f"as user {os.geteuid()}")  # fmt: skip
        elif self._session is not None and not self._session.done():
            self._refuse(channel, f"another upgrade is under way, by process {self._pid}")
        elif self._worker.phase != "serving":
            self._refuse(channel, f"the proxy is {self._worker.phase}")
        else:
            self._pid = pid
            self._session = asyncio.ensure_future(self._serve(channel, pid))

    def _refuse(self, channel: Channel, reason: str) -> None:
        log.warning(f"no upgrade: {reason}")
        task = asyncio.ensure_future(send_refusal(channel, reason))
        self._refusals.add(task)
        task.add_done_callback(lambda _: channel.close())
        task.add_done_callback(self._refusals.discard)

    async def _serve(self, channel: Channel, pid: int) -> None:
        reason = "the proxy is stopping"
        try:
            await self._hand_over(channel)
            return
        except TimeoutError:
            reason = f"process {pid} did not go on in time"
        except HandoverError as error:
            reason = f"process {pid}: {error}"
        except Exception as error:
            log.exception("the handover failed")
            reason = f"it failed in the old process: {type(error).__name__}"
        finally:
            # After a success the other end has closed it already, or will.
            if self._worker.phase != HANDED_OVER:
                log.warning(f"no upgrade: {reason}; this process goes on")
                await send_refusal(channel, reason)
            channel.close()

    async def _hand_over(self, channel: Channel) -> None:
        async with asyncio.timeout(HELLO_PATIENCE):
            hello, _ = await channel.receive(Hello)
        if hello.protocol != PROTOCOL:
            raise HandoverError(f"it speaks protocol {hello.protocol} of the handover, and this "
                                f"proxy (zeroproxy {__version__}) protocol {PROTOCOL}")  # fmt: skip
        log.info(f"process {hello.pid} (zeroproxy {hello.version}) is getting ready to take over")
        offer, fds = self._offer()
        async with asyncio.timeout(START_PATIENCE):
            await channel.send(offer, fds)
            await channel.receive(Go)
        if self._worker.phase != "serving":
            raise HandoverError(f"the proxy is {self._worker.phase}")
        engine, metering = self._worker.engine, self._worker.metering
        assert engine is not None and metering is not None
        # Feeders hold locks and cursors that the new process needs.
        await asyncio.to_thread(metering.stop_feeding)
        try:
            engine.stop_listening()
            async with asyncio.timeout(SERVING_PATIENCE):
                await channel.send(collect(self._worker))
                serving, _ = await channel.receive(Serving, most=1 << 16)
                await channel.send(Bye())
        except BaseException:
            if self._worker.phase == "serving":
                self._worker.resume_accepting()
            raise
        await self._leave(hello.pid, set(serving.taken))

    def _offer(self) -> tuple[Offer, list[int]]:
        listeners, fds = [], []
        admin = self._worker.admin
        config = self._worker.config
        rows = list(zip(config.listens(), self._worker.bound, strict=True))
        if admin is not None and isinstance(admin.bound, Bound):
            rows.append((config.admin.listen, admin.bound))
        rows.append((self._address, self._bound))
        for address, bound in rows:
            listeners.append(Listener(address, bound.url, bound.path, bound.inode))
            fds.append(bound.sock.fileno())
        offer = Offer(
            version=__version__, pid=os.getpid(), folder=str(Path.cwd()),
            is_ready=self._worker.ready()[0], listeners=listeners,
        )  # fmt: skip
        return offer, [*fds, STDOUT, STDERR]

    async def _leave(self, pid: int, taken: set[str]) -> None:
        """The new process serves: give up what it has, without closing it for it."""
        worker = self._worker
        asyncio.get_running_loop().remove_reader(self._bound.sock.fileno())
        for bound in [*worker.listeners(), self._bound]:
            if isinstance(bound, Bound) and bound.url in taken:
                bound.path = ""  # the name is the new process's
        log.info(f"process {pid} has taken over")
        worker.phase = HANDED_OVER
        worker.deadline = time.monotonic() + (worker.config.server.handover_timeout or math.inf)
        await worker.stop_admin()
        worker.drain()


def hurry(worker: Worker) -> bool:
    """Give a drain behind a handover no longer than any other. False: it has no more already."""
    limit = time.monotonic() + worker.config.server.drain_timeout
    is_late = worker.phase in ("draining", HANDED_OVER) and limit < worker.deadline
    worker.deadline = min(worker.deadline, limit)
    return is_late


async def send_refusal(channel: Channel, reason: str) -> None:
    with contextlib.suppress(Closed, TimeoutError):
        async with asyncio.timeout(1.0):
            await channel.send(Refusal(reason))


def is_listening(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
