"""A real HAProxy on a free port, in front of some servers, none of whose failures it hides."""

from __future__ import annotations

import shutil
import socket

from tests.support.servers import ServerProcess, missing

CONF = """
global
    maxconn 512
    stats socket {folder}/stats level admin
defaults
    mode {mode}
    retries 0
    timeout connect 5s
    timeout check 5s
    timeout client 60s
    timeout server {timeout}
frontend f
    bind 127.0.0.1:{port}
    default_backend b
backend b
{lines}
"""


class HaproxyServer(ServerProcess):
    """`lines`: of its backend, with its servers. `timeout`: for a server that sends nothing.
    `mode`: http, or tcp, where bytes are passed on as they are."""

    def __init__(self, *lines: str, timeout: str = "60s", mode: str = "http") -> None:
        self.program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if not self.program:
            missing("haproxy", "apt-get install haproxy")
        super().__init__()
        self.lines, self.timeout, self.mode = lines, timeout, mode

    def command(self) -> list[str]:
        path = self.folder / "haproxy.cfg"
        path.write_text(CONF.format(folder=self.folder, port=self.port, timeout=self.timeout,
                                    mode=self.mode,
                                    lines="\n".join(f"    {x}" for x in self.lines)))  # fmt: skip
        return [str(self.program), "-db", "-f", str(path)]

    def ping(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()

    def states(self) -> dict[str, str]:
        """UP or DOWN, by name of the server."""
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rw") as stream:
            sock.connect(f"{self.folder}/stats")
            stream.write("show stat\n")
            stream.flush()
            rows = [line.split(",") for line in stream.read().strip().splitlines()]
        at = rows[0].index("status")
        return {row[1]: row[at].partition(" ")[0] for row in rows[1:] if row[0] == "b"}
