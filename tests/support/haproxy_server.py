"""A real HAProxy on a free port that passes TCP on to one address."""

from __future__ import annotations

import shutil
import socket

from tests.support.servers import ServerProcess, missing

CONF = """
global
    log stderr local0 err
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen balancer
    bind 127.0.0.1:{port}
    source 127.0.0.1
    server target {target} {options}
"""


class HaproxyServer(ServerProcess):
    """`options` of its server line, as `send-proxy-v2`; `target`: HOST:PORT."""

    def __init__(self, target: str, options: str) -> None:
        self.program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
        if not self.program:
            missing("HAProxy", "apt-get install haproxy")
        super().__init__()
        self.target, self.options = target, options

    def command(self) -> list[str]:
        path = f"{self.folder}/haproxy.cfg"
        with open(path, "w") as f:
            f.write(CONF.format(port=self.port, target=self.target, options=self.options))
        return [str(self.program), "-db", "-f", path]

    def ping(self) -> None:
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
