"""Build the sdist, and from it the wheel, twice and compare: the same sources must give the same
bytes, wherever they lie.

The sdist of setuptools is packed once more, with the same order, owner and times on every machine.
The time is SOURCE_DATE_EPOCH, by default that of the last commit. The wheels are compared
as they come, built in two folders; the same compiler and Python are taken for granted.

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


def run_build(kind: str, source: Path, to: Path, when: int) -> Path:
    """The one file that `python -m build` makes of `source`."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(when)}
    command = [sys.executable, "-m", "build", f"--{kind}", "--outdir", str(to), "."]
    subprocess.run(command, cwd=source, check=True, env=environ, stdout=subprocess.DEVNULL)
    (made,) = to.iterdir()
    return made


def build_sdist(when: int) -> tuple[str, bytes]:
    """(name, bytes) of one build from a clean start."""
    with tempfile.TemporaryDirectory() as folder:
        made = run_build("sdist", Path.cwd(), Path(folder), when)
        return made.name, pack_again(made, when)


def build_wheel(sdist: bytes, where: str, when: int) -> tuple[str, bytes]:
    """(name, bytes) of the wheel of an sdist that is unpacked in a folder named after `where`."""
    with tempfile.TemporaryDirectory(suffix=where) as folder:
        with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
            archive.extractall(Path(folder) / "source")
        (source,) = (Path(folder) / "source").iterdir()
        made = run_build("wheel", source, Path(folder) / "made", when)
        return made.name, made.read_bytes()


def keep_if_same(folder: Path, name: str, first: bytes, second: bytes) -> bool:
    """True if the two are the same; then it lies in `folder`."""
    digests = [hashlib.sha256(data).hexdigest() for data in (first, second)]
    if digests[0] != digests[1]:
        print(f"NOT REPRODUCIBLE: {name} is {digests[0]}, then {digests[1]}")
        return False
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(first)
    print(f"{folder / name}: sha256 {digests[0]}, twice the same")
    return True


def main() -> int:
    """1: two builds differ."""
    folder, when = Path(sys.argv[1]), epoch()
    (name, sdist), (_, again) = build_sdist(when), build_sdist(when)
    if not keep_if_same(folder, name, sdist, again):
        return 1
    (name, wheel), (_, again) = (build_wheel(sdist, at, when) for at in ("-a", "-elsewhere"))
    return 0 if keep_if_same(folder, name, wheel, again) else 1


if __name__ == "__main__":
    sys.exit(main())
