"""The proxy as a process: signals, standard descriptors, the last lines.

SIGTERM and SIGINT drain, a second one cuts; SIGHUP reads the configuration again; SIGUSR1 reopens
the access log; SIGUSR2 is ignored.
"""

from __future__ import annotations

import asyncio
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
from zeroproxy.server.worker import Worker
from zeroproxy.tasks import cancel

log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)


async def serve(
    config: Config,
    read: Callable[[], Config],
    stderr: StderrHandler,
    on_relieved: Callable[[Takeover], None] | None = None,
) -> int:
    """Run until SIGTERM or SIGINT (or POST /-/drain), or until another process has taken over.
    `read` gives what a reload puts in force. `on_relieved`: take over from the process that runs,
    and call it then."""
    handover = Handover(config.server.handover, on_relieved)
    worker = Worker(config, read, await handover.connect())
    worker.stderr = stderr
    cut_now = asyncio.Event()
    handle_signals(worker, cut_now)
    await start(worker, handover)
    log.info(f"zeroproxy {__version__} listens on {', '.join(worker.listen)}"
             + (f", admin on {worker.admin_url}" if worker.admin_url else ""))  # fmt: skip
    # Objects that live now live for ever: keep the collector from walking them again.
    gc.collect()
    gc.freeze()
    await worker.drain_requested.wait()
    await handover.stop()
    stopping = asyncio.ensure_future(worker.stop())
    cutting = asyncio.ensure_future(cut_now.wait())
    await asyncio.wait({stopping, cutting}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        worker.cut_now()
    cut = await stopping
    await cancel(cutting)
    # From here the process only exits; one more signal must not kill it.
    for number in (*STOPPING, *EARLY):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    log.info(f"stopped; {cut} connections were cut" if cut else "stopped")
    return 0


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


def handle_signals(worker: Worker, cut_now: asyncio.Event) -> None:
    """Install the handlers. A second signal to stop sets `cut_now`."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Future[None]] = set()

    def on_stop() -> None:
        if worker.drain_requested.is_set() and not hurry(worker):
            cut_now.set()
        worker.drain_requested.set()

    def on_usr1() -> None:
        task = asyncio.ensure_future(worker.reopen_log())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def on_usr2() -> None:
        log.warning("SIGUSR2 is ignored")

    for number in STOPPING:
        loop.add_signal_handler(number, on_stop)
    loop.add_signal_handler(signal.SIGHUP, worker.reloader.ask)
    loop.add_signal_handler(signal.SIGUSR1, on_usr1)
    loop.add_signal_handler(signal.SIGUSR2, on_usr2)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)


def run(
    config: Config,
    read: Callable[[], Config],
    stderr: StderrHandler,
    on_relieved: Callable[[Takeover], None] | None = None,
) -> int:
    """Serve on a loop of its own; the arguments are those of `serve`. Exit status: 0 after a drain.
    Raises ZeroproxyError or OSError if it cannot start."""
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve(config, read, stderr, on_relieved))
