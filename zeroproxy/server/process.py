"""The proxy as a process: signals, standard descriptors, the last lines.

SIGTERM and SIGINT drain. A second one ends a settle before the drain; else it cuts. SIGHUP reads
the configuration again; SIGUSR1 reopens the access log; SIGUSR2 is ignored.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import signal
from collections.abc import Callable

from zeroproxy._version import __version__
from zeroproxy.config.schema import Config
from zeroproxy.early_signals import EARLY
from zeroproxy.log import StderrHandler
from zeroproxy.server.handover import Handover
from zeroproxy.server.handover_new import Takeover
from zeroproxy.server.handover_old import hurry
from zeroproxy.server.predecessor import HANDED_OVER
from zeroproxy.server.served_process import ServedProcess
from zeroproxy.server.systemd_notify import Notifier, Service, of_this_process
from zeroproxy.server.worker import Worker
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """The signals that stop. The first asks the worker to drain, a second ends its settle, or sets
    `cut_now`; one more kills a server that is being stopped."""

    def __init__(self, worker: Worker, served: ServedProcess | None) -> None:
        self._worker, self._served = worker, served
        self.cut_now = asyncio.Event()
        #: The first of them; POST /-/drain counts as SIGTERM.
        self.number = signal.SIGTERM

    def on_signal(self, number: signal.Signals) -> None:
        if self._served is not None and self._served.is_stopping:
            self._served.kill()
        elif self._worker.drain_requested.is_set():
            if not self._worker.skip_settle() and not hurry(self._worker):
                self.cut_now.set()
        else:
            self.number = number
        self._worker.drain_requested.set()


async def serve(
    config: Config,
    read: Callable[[], Config],
    stderr: StderrHandler,
    on_relieved: Callable[[Takeover], None] | None = None,
    served: ServedProcess | None = None,
) -> int:
    """Run until SIGTERM or SIGINT (or POST /-/drain), until another process has taken over, or
    until `served` ends. `read` gives the configuration of a reload. `on_relieved`: take over from
    the process that runs, and call it then. Returns the exit status."""
    handover = Handover(config.server.handover, on_relieved)
    worker = Worker(config, read, await handover.connect())
    worker.stderr = stderr
    stopping = Stopping(worker, served)
    handle_signals(worker, stopping, served)
    notifier = of_this_process()
    try:
        await start(worker, handover)
        await serve_until_stopped(worker, stopping, served, notifier, handover)
        status = 0 if served is None else await served.stop(stopping.number)
    finally:
        if served is not None:
            await served.close()
    # From here the process only exits; one more signal must not kill it.
    for number in (*STOPPING, *EARLY):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    return status


async def start(worker: Worker, handover: Handover) -> None:
    """Both or none."""
    try:
        handover.bind()
        await worker.start()
        await handover.begin(worker)
    except BaseException:
        if worker.phase == "serving":
            await worker.stop()  # the old process serves on
        await handover.stop()
        raise


async def serve_until_stopped(
    worker: Worker,
    stopping: Stopping,
    served: ServedProcess | None,
    notifier: Notifier | None,
    handover: Handover,
) -> None:
    log.info(f"zeroproxy {__version__} listens on {', '.join(worker.listen)}"
             + (f", admin on {worker.admin_url}" if worker.admin_url else ""))  # fmt: skip
    # Objects that live now live for ever: keep the collector from walking them again.
    gc.collect()
    gc.freeze()
    service = None if notifier is None else Service(worker, notifier)
    if service is not None:
        worker.reloader.observe = service.on_reload
        service.start()
    if served is not None and not worker.drain_requested.is_set():
        served.start(functools.partial(serves, worker, served.url), worker.drain)
    await worker.drain_requested.wait()
    await handover.stop()
    if service is not None and worker.phase == HANDED_OVER:
        await service.stop()  # from now on systemd follows the new process
        service = None
    if service is not None:
        service.stopping()
    draining = asyncio.ensure_future(worker.stop())
    cutting = asyncio.ensure_future(stopping.cut_now.wait())
    await asyncio.wait({draining, cutting}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        worker.cut_now()
    cut = await draining
    await cancel(cutting)
    if service is not None:
        await service.stop()
    log.info(f"stopped; {cut} connections were cut" if cut else "stopped")


def serves(worker: Worker, url: str) -> bool:
    """True if this endpoint takes requests, and has answered a probe where there are any."""
    if not worker.ready()[0]:
        return False
    for upstream in worker.snapshot()["upstreams"]:
        for endpoint in upstream["endpoints"]:
            if endpoint["url"] == url:
                health = endpoint["health"]
                return health is None or bool(health["up"] and health["well_in_a_row"])
    return False


def handle_signals(worker: Worker, stopping: Stopping, served: ServedProcess | None) -> None:
    """Install the handlers. SIGHUP goes on to a server that handles it."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Future[None]] = set()

    def on_hup() -> None:
        worker.reloader.ask()
        if served is not None:
            served.forward(signal.SIGHUP)

    def on_usr1() -> None:
        task = asyncio.ensure_future(worker.reopen_log())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def on_usr2() -> None:
        log.warning("SIGUSR2 is ignored")

    for number in STOPPING:
        loop.add_signal_handler(number, stopping.on_signal, number)
    loop.add_signal_handler(signal.SIGHUP, on_hup)
    loop.add_signal_handler(signal.SIGUSR1, on_usr1)
    loop.add_signal_handler(signal.SIGUSR2, on_usr2)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)


def run(
    config: Config,
    read: Callable[[], Config],
    stderr: StderrHandler,
    on_relieved: Callable[[Takeover], None] | None = None,
    served: ServedProcess | None = None,
) -> int:
    """Serve on a loop of its own; the arguments are those of `serve`. Exit status: 0 after a drain,
    or that of `served`. Raises ZeroproxyError or OSError if it cannot start."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve(config, read, stderr, on_relieved, served))
