"""Endpoint URLs become the kernel's own addresses; listening fails with a sentence."""

import os
import resource
import socket
import subprocess
import sys

import pytest

from zeroproxy.errors import ConfigError, ListenError
from zeroproxy.policy.socket_addresses import resolve
from zeroproxy.server.fd_limits import connection_cap, reserved
from zeroproxy.server.listener import bind, bind_all


def connect_with(sockaddr: bytes, family: int) -> None:
    """connect(2) with the raw bytes, as the data plane does."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(family) as sock:
        failed = libc.connect(sock.fileno(), sockaddr, len(sockaddr))
        assert not failed, os.strerror(ctypes.get_errno())


async def test_ipv4_ipv6_names_and_unix_addresses_connect(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as four:
        port = four.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            address = await resolve(f"http://{host}:{port}")
            assert address.authority == f"{host}:{port}".encode()
            connect_with(address.sockaddr, address.family)
    if socket.has_dualstack_ipv6():
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
            address = await resolve(f"http://[::1]:{six.getsockname()[1]}")
            assert address.family == socket.AF_INET6
            connect_with(address.sockaddr, address.family)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        address = await resolve(f"unix:{path}")
        connect_with(address.sockaddr, address.family)


async def test_a_name_that_does_not_exist_is_a_sentence():
    with pytest.raises(ConfigError, match=r"cannot resolve no-such-host\.invalid"):
        await resolve("http://no-such-host.invalid:80")


def test_a_stale_socket_file_is_replaced_a_live_one_is_not(tmp_path):
    path = f"unix:{tmp_path / 's'}"
    first = bind(path)
    with pytest.raises(ListenError, match="another process listens there"):
        bind(path)
    first.sock.close()
    second = bind(path)
    second.close()
    assert not (tmp_path / "s").exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenError, match="is not a socket"):
        bind(f"unix:{tmp_path / 's'}")
    assert (tmp_path / "s").read_text() == "precious"


def test_an_inherited_descriptor_is_taken_over():
    with socket.create_server(("127.0.0.1", 0)) as parent:
        bound = bind(f"fd:{parent.fileno()}")
        assert bound.sock.getsockname() == parent.getsockname()
        bound.close()
    with pytest.raises(ListenError, match="fd:9999"):
        bind("fd:9999")


def test_all_addresses_or_none():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=str(port)):
            bind_all(["127.0.0.1:0", f"127.0.0.1:{port}"])


def test_the_cap_leaves_a_descriptor_for_each_side():
    assert connection_cap(1024, 0) == (1024 - reserved(1024)) // 2
    assert connection_cap(1024, 100) == 100
    assert connection_cap(1024, 10**6) == (1024 - reserved(1024)) // 2
    assert connection_cap(64, 0) == 8


RAISES_LIMIT = """
import os, sys
from zeroproxy.config.schema import Limits
from zeroproxy.server.fd_limits import limits_in_force

def table():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("FDSize"))

before = len(os.listdir("/proc/self/fd"))
found = limits_in_force(Limits(connections=int(sys.argv[1])))
print(table(), found.connections, len(os.listdir("/proc/self/fd")) - before)
"""


@pytest.mark.parametrize(("limit", "wanted", "room"), [(2048, 300, 776), (1024, 10**6, 1024)])
def test_the_descriptor_table_is_grown_before_conns_come_and_none_is_left_open(limit, wanted, room):
    """It grows by waiting for all CPUs where a process has threads: 10 ms and more in an accept."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    command = [sys.executable, "-c", RAISES_LIMIT, str(wanted)]
    said = subprocess.run(command, preexec_fn=few, capture_output=True, check=True).stdout.split()
    table, connections, left_open = map(int, said)
    assert table >= room == min(2 * connections + reserved(limit), limit)
    assert left_open == 0


HAS_NONE_LEFT = """
import os
from zeroproxy.server.fd_limits import widen_table

held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
widen_table(256)
os.close(held.pop())
print(len(held), os.open(os.devnull, os.O_RDONLY))
"""


def test_a_process_without_a_free_descriptor_goes_on_with_the_table_it_has():
    """A reload comes by here too."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    command = [sys.executable, "-c", HAS_NONE_LEFT]
    said = subprocess.run(command, preexec_fn=few, capture_output=True, check=True).stdout.split()
    assert int(said[0]) > 200
    assert int(said[1]) == 255
