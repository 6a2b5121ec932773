"""A real PostgreSQL on a free port. It refuses to run as root: then it is the user postgres."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.support.servers import ServerProcess, missing


def programs() -> Path | None:
    """The folder of initdb and postgres, newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
    where = found[0] if found else shutil.which("postgres")
    return Path(where).parent if where else None


class PostgresServer(ServerProcess):
    password = "hunter2"

    def __init__(self) -> None:
        self.programs = programs()
        if self.programs is None:
            missing("PostgreSQL", "apt-get install postgresql")
        super().__init__()
        if os.getuid() == 0:
            self.user = "postgres"
            shutil.chown(self.folder, self.user, self.user)
        self._make()

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        status = self.spawn(
            [f"{self.programs}/initdb", "-D", "data", "-U", "postgres", "-A", "scram-sha-256",
             f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"]
        ).wait(120)  # fmt: skip
        assert status == 0, self.log.read_text()

    def command(self) -> list[str]:
        return [
            f"{self.programs}/postgres", "-D", "data", "-p", str(self.port), "-k", "",
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB",
        ]  # fmt: skip

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=5)

    def ping(self) -> None:
        self.connect().close()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        conn = self.connect()
        try:
            return list(conn.execute(sql).fetchall())
        finally:
            conn.close()

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT: the fast shutdown, which waits for no client."""
        super().stop(number)
