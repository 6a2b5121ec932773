"""A server that notes what happens to it, for `zeroproxy exec`. It listens and answers nothing.

usage: served_program.py SOCKET NOTES [MODE ...]

NOTES gets a line for each fact: its descriptors, its standard input, each signal that it handles.
MODE deaf: SIGTERM is ignored. hup: SIGHUP is handled. status=N: ends with it at once. child: leaves
a process in a session of its own behind, and ends.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

path, notes, *modes = sys.argv[1:]


def note(*words: object) -> None:
    with open(notes, "a") as file:
        print(*words, file=file, flush=True)


def on_signal(number: int, _: object) -> None:
    note("signal", signal.Signals(number).name)
    if number != signal.SIGHUP:
        sys.exit(0)


note("pid", os.getpid())
note("stdin", Path("/proc/self/fd/0").readlink())
note("descriptors", *[fd for fd in range(90) if Path(f"/proc/self/fd/{fd}").exists()])
note("blocked", *sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))))
print("it prints", flush=True)
if "child" in modes:
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True, stdout=subprocess.DEVNULL)
    note("child", child.pid)
    os._exit(0)
for mode in modes:
    if mode.startswith("status="):
        sys.exit(int(mode.removeprefix("status=")))
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in modes else on_signal)
signal.signal(signal.SIGINT, on_signal)
if "hup" in modes:
    signal.signal(signal.SIGHUP, on_signal)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(path)
    listener.listen()
    note("listens")
    while True:
        signal.pause()
