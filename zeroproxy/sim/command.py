"""`zeroproxy sim`: the simulator as a program."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from zeroproxy.config.check_addresses import is_host_port, split_host_port

#: Options that carry straight over to SimOptions: name, type, help. A bool is a switch.
OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("tokens_per_second", float, "steps of the engine; each gives every running choice a token"),
    ("step_growth", float, "a step takes this share longer for every further choice in it"),
    ("ttft", float, "seconds of prefill before the first token"),
    ("cold", float, "seconds from the first request for a model to its first token"),
    ("prefill_per_token", float, "seconds more per prompt token that is not cached"),
    ("max_running", int, "choices that run at once; the rest waits in order"),
    ("min_length", int, "shortest answer when max_tokens is not given"),
    ("max_length", int, "longest answer when max_tokens is not given"),
    ("max_model_len", int, "prompts with more tokens are refused"),
    ("reasoning_tokens", int, "so many tokens of each chat answer are reasoning"),
    ("prefix_cache", bool, "keep a prefix cache and report cached_tokens"),
    ("hostile", bool, "let the text spell usage objects, [DONE] and SSE framing"),
    ("embedding_size", int, "numbers per embedding"),
    ("accounts", int, "remember what was sent of so many answers, for GET /sim/accounts"),
    ("keep_alive", float, "seconds an idle connection is kept"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `zeroproxy sim`; the faults are appended to its help."""
    from zeroproxy.sim import faults

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "A simulated OpenAI-compatible inference server that batches like vLLM."
    parser.epilog = faults.__doc__
    where = "HOST:PORT (port 0: any) or unix:PATH; default %(default)s"
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="ADDRESS", help=where)
    models = "a model it serves, may be repeated; default sim-1"
    parser.add_argument("--model", action="append", metavar="NAME", help=models)
    for name, kind, text in OPTIONS:
        flag = "--" + name.replace("_", "-")
        if kind is bool:
            parser.add_argument(flag, action="store_true", default=None, help=text)
        else:
            parser.add_argument(flag, type=kind, metavar="N", help=text)


def address_of(listen: str) -> dict[str, object]:
    """host and port, or unix, as SimOptions wants them. Raises ValueError."""
    if listen.startswith("unix:") and len(listen) > len("unix:"):
        return {"unix": listen.removeprefix("unix:")}
    if not is_host_port(listen):
        raise ValueError(f"--listen {listen}: want HOST:PORT (port 0 to 65535) or unix:PATH")
    host, port = split_host_port(listen)
    return {"host": host, "port": int(port)}


async def serve(args: argparse.Namespace) -> int:
    from zeroproxy.sim import SimOptions, Simulator

    given = {name: getattr(args, name) for name, _, _ in OPTIONS}
    given_options: dict[str, object] = {k: v for k, v in given.items() if v is not None}
    given_options |= address_of(args.listen)
    if args.model:
        given_options["models"] = tuple(args.model)
    options = SimOptions(**given_options)  # type: ignore[arg-type]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(options) as sim:
        print(f"simulator listens on {sim.url}", flush=True)
        await stop.wait()
    return 0


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Exit status 1 if the address cannot be listened on, 2 if an
    option makes no sense."""
    try:
        import uvloop

        factory = uvloop.new_event_loop
    except ImportError:
        factory = None  # type: ignore[assignment]
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(serve(args))
    except OSError as error:
        # asyncio's own text has the address and the error twice.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        print(f"zeroproxy sim: cannot listen on {args.listen}: {why}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"zeroproxy sim: {error}", file=sys.stderr)
        return 2
