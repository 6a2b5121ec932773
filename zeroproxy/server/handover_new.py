"""The side of the process that takes over: `zeroproxy upgrade`.

Law 1. It prepares all that a start prepares before the old process accepts less: files, names,
       certificates, new addresses, the ledger, warm-ups. A failure until then ends it, and the
       old process goes on untouched.
Law 2. Nothing is believed unchecked: the user of the socket, number and kind of the descriptors,
       the name of a unix socket.
Law 3. If the old process dies on the way, once its sockets are here, this one serves at once.
Tests: tests/e2e/test_upgrade.py, tests/e2e/test_handover_strangers.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import time

from zeroproxy._version import __version__
from zeroproxy.server.handover_messages import (
    FDS_MOST,
    MOST,
    PROTOCOL,
    Bye,
    Channel,
    Closed,
    Go,
    Gone,
    HandoverError,
    Hello,
    Listener,
    Offer,
    Serving,
    close_all,
)
from zeroproxy.server.handover_old import is_listening
from zeroproxy.server.handover_state import restore
from zeroproxy.server.listener import Bound, bind, inode_of
from zeroproxy.server.worker import Worker

log = logging.getLogger(__name__)

OFFER_PATIENCE = 10.0  # seconds for the old process's first message
READY_PATIENCE = 120.0  # seconds until the endpoints are ready; less than START_PATIENCE
UNREADY_PATIENCE = 2.0  # the same, where the old process is not ready either
GONE_PATIENCE = 20.0  # seconds that the old process may take to stop accepting
BYE_PATIENCE = 10.0
DEATH_PATIENCE = 2.0  # seconds in which the end of the old process is to be seen
LOOK = 0.05
STDOUT, STDERR = 1, 2
WRONG_NUMBER = "{} descriptors came for {} listeners, stdout and stderr"


def adopt(listener: Listener, fd: int) -> Bound:
    """The socket behind a descriptor, which is taken over. Raises HandoverError."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        close_all([fd])
        raise HandoverError(f"the descriptor for {listener.address} is no socket") from None
    if not is_listening(sock):
        sock.close()
        raise HandoverError(f"the descriptor for {listener.address} is no listening socket")
    sock.setblocking(False)
    # Without its path: the name of a unix socket is the old process's until that one leaves.
    return Bound(sock, listener.url)


def is_named(listener: Listener) -> bool:
    """False for a unix socket that nobody can reach any more: its name is gone, or another's."""
    try:
        return not listener.path or inode_of(listener.path) == listener.inode
    except OSError:
        return False


class Takeover:
    """One takeover, in the process that is to serve. `connect` first; then a worker uses `bind` and
    `relieve` as it starts, and at last `confirm` ends it."""

    def __init__(self, channel: Channel, offer: Offer, fds: list[int]) -> None:
        self.pid = offer.pid
        self.busy = 0  # conns that the old process finishes
        self._channel, self._offer = channel, offer
        self._inherited: list[tuple[Listener, Bound]] = []
        self._taken: list[tuple[Listener, Bound]] = []
        self._standard = fds[-2:]
        self._is_dead = False
        try:
            self._pidfd = os.pidfd_open(offer.pid)
        except OSError:
            self._pidfd = -1
        rest = fds[:-2]
        if len(rest) != len(offer.listeners):
            close_all(fds)
            raise HandoverError(WRONG_NUMBER.format(len(fds), len(offer.listeners)))
        try:
            for listener in offer.listeners:
                self._inherited.append((listener, adopt(listener, rest.pop(0))))
        except HandoverError:
            close_all(rest + self._standard)
            self._standard = []
            self.release()
            raise

    @staticmethod
    async def connect(address: str) -> Takeover:
        """Ask the process at server.handover for its listeners, and go to its folder. Raises
        HandoverError."""
        path = address.removeprefix("unix:")
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise HandoverError(
                f"no proxy answers at {address}: {error.strerror}; one that runs must have been "
                "started with server.handover"
            ) from None
        channel = Channel(sock)
        try:
            offer, fds = await ask(channel, address)
            found = Takeover(channel, offer, fds)
        except BaseException:
            channel.close()
            raise
        try:
            os.chdir(offer.folder)
        except OSError as error:
            found.release()
            raise HandoverError(f"{offer.folder}: {error.strerror}") from None
        return found

    def take(self, address: str) -> Bound | None:
        """The old process's listener of this address, if it has one that can be reached."""
        for k, (listener, bound) in enumerate(self._inherited):
            if listener.address == address and is_named(listener):
                self._taken.append(self._inherited.pop(k))
                return bound
        return None

    def bind(self, address: str) -> Bound:
        """The same, or a new one. Raises ListenError."""
        return self.take(address) or bind(address)

    async def relieve(self, worker: Worker) -> None:
        """Wait until `worker` can serve, and let the old process stop accepting. Raises
        HandoverError; the old one goes on then."""
        await self._until_ready(worker)
        try:
            async with asyncio.timeout(GONE_PATIENCE):
                await self._channel.send(Go())
                gone, _ = await self._channel.receive(Gone, most=MOST)
        except (Closed, TimeoutError) as error:
            await self._demand_death(error)
            return
        self.busy = gone.busy
        restore(worker, gone)

    async def _until_ready(self, worker: Worker) -> None:
        patience = READY_PATIENCE if self._offer.is_ready else UNREADY_PATIENCE
        deadline = time.monotonic() + patience
        while (reasons := worker.lacks.reasons()) and time.monotonic() < deadline:
            if worker.drain_requested.is_set():
                break
            await asyncio.sleep(LOOK)
        if worker.drain_requested.is_set():
            raise HandoverError("the new process was stopped before it was ready")
        if reasons and self._offer.is_ready:
            raise HandoverError(f"the new process is not ready within {patience:g} s: {reasons[0]}")
        if reasons:
            log.warning(f"not ready, and neither was the old process: {reasons[0]}")

    async def _demand_death(self, error: Exception) -> None:
        """Return if the old process is dead; raise if it lives, for then it serves on."""
        alive = "the old process did not go on in time; it serves on"
        deadline = time.monotonic() + DEATH_PATIENCE
        while self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]:
            if time.monotonic() > deadline:
                raise HandoverError(str(error) or alive) from None
            await asyncio.sleep(LOOK)
        if not self._is_dead:
            self._is_dead = True
            log.warning(f"process {self.pid} has died; its listeners are taken over")

    async def confirm(self) -> None:
        """The worker accepts. Raises HandoverError if the old process does so again."""
        try:
            async with asyncio.timeout(BYE_PATIENCE):
                await self._channel.send(Serving([listener.url for listener, _ in self._taken]))
                await self._channel.receive(Bye)
        except (Closed, TimeoutError) as error:
            await self._demand_death(error)
        for listener, bound in self._taken:
            bound.path, bound.inode = listener.path, listener.inode

    def result(self) -> str:
        """A sentence for the operator, once it is confirmed."""
        if self._is_dead:
            return f"process {os.getpid()} serves; process {self.pid} has died meanwhile"
        return f"process {os.getpid()} serves; process {self.pid} finishes {self.busy} connections"

    def adopt_output(self) -> None:
        """Go on writing where the old process wrote."""
        for fd, number in zip(self._standard, (STDOUT, STDERR), strict=True):
            os.dup2(fd, number)

    def release(self) -> None:
        """Close what is left: listeners that are in the configuration no more, and the channel."""
        for _, bound in self._inherited:
            bound.sock.close()  # its name is the old process's
        self._inherited = []
        close_all(self._standard)
        self._standard = []
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._channel.close()


async def ask(channel: Channel, address: str) -> tuple[Offer, list[int]]:
    """Raises HandoverError."""
    _, uid = channel.peer()
    if uid != os.geteuid():
        raise HandoverError(f"{address} is a socket of user {uid}, and this is user {os.geteuid()}")
    try:
        async with asyncio.timeout(OFFER_PATIENCE):
            # Behind a refusal the socket is closed, perhaps before this is sent: it is read anyway.
            with contextlib.suppress(Closed):
                await channel.send(Hello(PROTOCOL, __version__, os.getpid()))
            offer, fds = await channel.receive(Offer, most=1 << 16, fds=FDS_MOST)
    except TimeoutError:
        raise HandoverError(f"{address}: the old process does not answer") from None
    if len(fds) < 2 or any(fd <= STDERR for fd in fds):
        close_all([fd for fd in fds if fd > STDERR])
        raise HandoverError(WRONG_NUMBER.format(len(fds), len(offer.listeners)))
    return offer, fds
