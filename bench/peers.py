"""Install the peers that pip has, each in a venv of its own: `make bench-peers`.

One that cannot be installed is named, and the bench runs without it. Exit status 1 if any was not.
"""

import argparse
import subprocess
import sys
import venv

from driver.contestants import PEERS, peer_folder


def install(name: str, requirement: str) -> bool:
    """True if it is there now; the output of pip goes to the terminal."""
    folder = peer_folder(name)
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q"]
    return subprocess.run([*pip, "--disable-pip-version-check", requirement]).returncode == 0


def main() -> int:
    """1 if one is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PEERS)}; default: all")
    wanted = parser.parse_args().names or list(PEERS)
    unknown = [name for name in wanted if name not in PEERS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    failed = []
    for name in wanted:
        print(f"{name}: {PEERS[name]} into {peer_folder(name)}", flush=True)
        if not install(name, PEERS[name]):
            failed.append(name)
    for name in failed:
        print(f"NOT INSTALLED: {name}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
