"""Build the sdist twice and compare: the same sources must give the same bytes.

What setuptools packs is packed once more with what differs between machines levelled: order, owner,
times (SOURCE_DATE_EPOCH; by default that of the last commit).

usage: build_twice.py FOLDER
"""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def epoch() -> int:
    """The time that everything in the archive bears."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(told)
    asked = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def level(member: tarfile.TarInfo, when: int) -> tarfile.TarInfo:
    """`member` without what only this machine knows."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = when
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    member.pax_headers = {}
    return member


def pack_again(source: Path, when: int) -> bytes:
    """The archive, levelled."""
    plain = io.BytesIO()
    with (
        tarfile.open(source) as old,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda m: m.name):
            new.addfile(level(member, when), old.extractfile(member) if member.isfile() else None)
    return gzip.compress(plain.getvalue(), mtime=when)


def build(when: int) -> tuple[str, bytes]:
    """(name, bytes) of one build from a clean start."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(when)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--sdist", "--outdir", folder, "."]
        subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL)
        (made,) = Path(folder).glob("*.tar.gz")
        return made.name, pack_again(made, when)


def main() -> int:
    """1: the two differ."""
    folder, when = Path(sys.argv[1]), epoch()
    (name, first), (_, second) = build(when), build(when)
    digests = [hashlib.sha256(data).hexdigest() for data in (first, second)]
    if digests[0] != digests[1]:
        print(f"NOT REPRODUCIBLE: {name} is {digests[0]}, then {digests[1]}")
        return 1
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(first)
    print(f"{folder / name}: sha256 {digests[0]}, twice the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
