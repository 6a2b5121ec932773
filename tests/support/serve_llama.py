"""Run llama.cpp's own server (the one inside the xllamacpp wheel) until SIGTERM.

usage: serve_llama.py MODEL.gguf PORT, or a path that ends in .sock
"""

import os
import signal
import sys
import threading

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
if sys.argv[2].endswith(".sock"):
    params.hostnames = [sys.argv[2]]
else:
    params.hostnames = ["127.0.0.1"]
    params.port = int(sys.argv[2])
params.n_ctx = 8192
params.n_parallel = 4
params.model_alias = {"smollm2"}
params.endpoint_metrics = True
params.endpoint_slots = True
params.use_jinja = True
# Threads that wait for each other spin: more than there are free cores make it slower by far.
params.cpuparams.n_threads = max(1, (os.cpu_count() or 1) // 2)
server = xllamacpp.Server(params)
done = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: done.set())
done.wait()
