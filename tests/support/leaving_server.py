"""A server in a thread that begins every stream. It may then stop to listen and fall silent, as
vLLM does on SIGTERM while its engine has already gone."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.support.script import SSE_HEAD, chunk, event

WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class LeavingServer:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.conns: list[socket.socket] = []

    def __enter__(self) -> LeavingServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def leave(self) -> None:
        """Refuse connections from now on; those that are open stay so, and silent."""
        # Of a listener a thread waits for, close() alone ends nothing.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self.leave()
        for conn in self.conns:
            conn.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.listener.accept()
                self.conns.append(conn)
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := conn.recv(65536):
                if request.startswith(b"GET "):
                    conn.sendall(WELL)
                    conn.close()
                elif b"/v1/chat/" in request:
                    conn.sendall(SSE_HEAD + chunk(event()))
