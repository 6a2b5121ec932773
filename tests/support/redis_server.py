"""A real Redis on a free port."""

from __future__ import annotations

import shutil
from typing import Any

from tests.support.servers import ServerProcess, missing


class RedisServer(ServerProcess):
    """`keeps`: its data survive a restart (an append-only file, synced each time)."""

    password = "hunter2"

    def __init__(self, keeps: bool = True) -> None:
        self.program = shutil.which("redis-server")
        if not self.program:
            missing("Redis", "apt-get install redis-server")
        super().__init__()
        self.keeps = keeps

    def command(self) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self.keeps else []
        return [
            str(self.program), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--dir", str(self.folder), "--requirepass", self.password, *keep,
        ]  # fmt: skip

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url, decode_responses=True)

    def ping(self) -> None:
        with self.client() as client:
            client.ping()

    def entries(self, stream: str = "zeroproxy:usage") -> list[dict[str, str]]:
        with self.client() as client:
            return [fields for _, fields in client.xrange(stream)]
