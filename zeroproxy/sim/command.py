"""`zeroproxy sim`: the simulator as a program."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `zeroproxy sim`; the faults are appended to its help."""
    from zeroproxy.sim import faults

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "A simulated OpenAI-compatible inference server that batches like vLLM."
    parser.epilog = faults.__doc__
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="HOST:PORT")
    parser.add_argument("--model", default="sim-1")
    parser.add_argument("--tokens-per-second", type=float, default=50.0, help="per request")
    parser.add_argument("--ttft", type=float, default=0.02, help="seconds of prefill")
    parser.add_argument("--prefill-per-token", type=float, default=0.0, help="seconds")
    parser.add_argument("--max-running", type=int, default=64, help="the rest waits in order")


async def serve(args: argparse.Namespace) -> int:
    from zeroproxy.sim import SimOptions, Simulator

    host, _, port = args.listen.rpartition(":")
    options = SimOptions(
        model=args.model,
        tokens_per_second=args.tokens_per_second,
        ttft=args.ttft,
        prefill_per_token=args.prefill_per_token,
        max_running=args.max_running,
        host=host,
        port=int(port),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(options) as sim:
        print(f"simulator listens on {sim.url}", flush=True)
        await stop.wait()
    return 0


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Exit status 1 if the address cannot be listened on."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None  # type: ignore[assignment]
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(serve(args))
    except (OSError, ValueError) as error:
        print(f"zeroproxy sim: cannot listen on {args.listen}: {error}", file=sys.stderr)
        return 1
