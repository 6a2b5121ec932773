"""A simulated inference server: what the demo, the tests and the benches talk to.

    async with Simulator(SimOptions(tokens_per_second=50)) as sim:
        print(sim.url, sim.stats)

It speaks vLLM's wire (shapes and key order of its OpenAI and Anthropic frontends) and batches like
an engine. It counts what it has sent, and notices at once when a caller leaves. It fails on demand,
by the header `x-sim-fault: NAME[=ARG]` or a prompt that begins with `!fault=NAME[=ARG] `. The
faults are listed in faults.py and by `zeroproxy sim --help`. GET /sim/stats has its counters. With
the option `accounts`, GET /sim/accounts has the sent part of each answer.
"""

from zeroproxy.sim.options import SimOptions, Stats
from zeroproxy.sim.server import Simulator

__all__ = ["SimOptions", "Simulator", "Stats"]
