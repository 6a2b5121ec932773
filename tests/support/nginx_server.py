"""A real nginx on a free port, in front of one address: what it forwards is HTTP/1.0, as it does by
default."""

from __future__ import annotations

import http.client
import shutil
import subprocess
from pathlib import Path

from tests.support.servers import ServerProcess, missing

CONF = """
daemon off; master_process off; worker_processes 1; error_log stderr error; pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 10m;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {target}; {lines} }} }}
}}
"""


STREAM = """
{module}
daemon off; master_process off; worker_processes 1; error_log stderr error; pid {folder}/pid;
events {{ worker_connections 256; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {target}; proxy_protocol on; }} }}
"""
#: Debian has it in a package of its own, libnginx-mod-stream.
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class NginxServer(ServerProcess):
    """`lines`: more directives of its location."""

    def __init__(self, target: str, lines: str = "") -> None:
        self.program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if not self.program:
            missing("nginx", "apt-get install nginx")
        super().__init__()
        self.target, self.lines = target, lines

    def command(self) -> list[str]:
        path = f"{self.folder}/nginx.conf"
        with open(path, "w") as f:
            f.write(CONF.format(folder=self.folder, port=self.port, target=self.target,
                                lines=self.lines))  # fmt: skip
        return [str(self.program), "-c", path, "-p", str(self.folder)]

    def ping(self) -> None:
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            conn.connect()
        finally:
            conn.close()


class NginxStream(NginxServer):
    """Passes TCP on to HOST:PORT, with a header of the PROXY protocol."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        assert self.program is not None
        built = subprocess.run([self.program, "-V"], capture_output=True, text=True, check=True)
        self.module = f"load_module {MODULE};" if MODULE.exists() else ""
        if not self.module and "--with-stream " not in f"{built.stderr} ":
            missing("nginx stream", "apt-get install libnginx-mod-stream")

    def command(self) -> list[str]:
        path = f"{self.folder}/nginx.conf"
        with open(path, "w") as f:
            f.write(STREAM.format(folder=self.folder, port=self.port, target=self.target,
                                  module=self.module))  # fmt: skip
        return [str(self.program), "-c", path, "-p", str(self.folder)]
