"""A simulated inference server: what the demo, the tests and the benches talk to.

    async with Simulator(SimOptions(tokens_per_second=50)) as sim:
        print(sim.url, sim.stats)

It speaks vLLM's wire (shapes and key order of its OpenAI and Anthropic frontends), batches like an
engine, counts what it has sent, notices at once when a caller leaves, and fails on demand: the
header `x-sim-fault: NAME[=ARG]`, or a prompt that begins with `!fault=NAME[=ARG] `. The faults are
listed in faults.py and by `zeroproxy sim --help`. GET /sim/stats has its counters, and, where the
option `accounts` is set, GET /sim/accounts what was sent of each answer.
"""

from zeroproxy.sim.options import SimOptions, Stats
from zeroproxy.sim.server import Simulator

__all__ = ["SimOptions", "Simulator", "Stats"]
