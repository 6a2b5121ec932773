"""Sockets that systemd has opened, and an environment that lies about them."""

import os
import socket
import subprocess
import sys

import pytest

from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError, ListenError
from zeroproxy.server.systemd_sockets import listening, passed

PID = 77
GOOD = {"LISTEN_PID": "77", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "http:http:other"}


def test_descriptors_go_by_their_names():
    assert passed(GOOD, PID) == {"http": [3, 4], "other": [5]}
    del (nameless := dict(GOOD))["LISTEN_FDNAMES"]
    assert passed(nameless, PID) == {"unknown": [3, 4, 5]}


LIES = [
    ({}, "LISTEN_FDS is not set: start the .socket unit"),
    ({**GOOD, "LISTEN_PID": "78"}, "LISTEN_PID is 78, and this is process 77"),
    ({**GOOD, "LISTEN_PID": ""}, "LISTEN_PID is not set"),
    ({**GOOD, "LISTEN_PID": "me"}, "LISTEN_PID is 'me', not a number"),
    ({**GOOD, "LISTEN_FDS": "-1"}, "LISTEN_FDS is '-1', not a number"),
    ({**GOOD, "LISTEN_FDS": "0"}, "LISTEN_FDS is 0, not 1 to 1024"),
    ({**GOOD, "LISTEN_FDS": "99999"}, "LISTEN_FDS is 99999, not 1 to 1024"),
    ({**GOOD, "LISTEN_FDS": "2"}, "LISTEN_FDS is 2, but LISTEN_FDNAMES has 3 names"),
]


@pytest.mark.parametrize(("environ", "problem"), LIES)
def test_an_environment_that_contradicts_itself_is_a_sentence(environ, problem):
    with pytest.raises(ListenError) as found:
        passed(environ, PID)
    assert problem in str(found.value)


def test_a_descriptor_that_is_no_listening_socket_is_a_sentence(tmp_path):
    with (
        (tmp_path / "f").open("w") as file,
        socket.socket() as silent,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
    ):
        for it, problem in (
            (file, "is no socket"),
            (silent, "is not a listening stream socket"),
            (datagrams, "is not a listening stream socket"),
        ):
            with pytest.raises(ListenError) as found:
                listening(it.fileno(), "http")
            assert f'descriptor {it.fileno()} ("http") {problem}' in str(found.value)


PROGRAM = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from zeroproxy.errors import ListenError
from zeroproxy.server.listener import bind_all
try:
    for bound in bind_all(sys.argv[1:]):
        print(bound.place, bound.url, bound.is_unix, "LISTEN_FDS" in os.environ,
              os.get_inheritable(3))
except ListenError as error:
    print(error)
"""


def activated(*addresses: str, socks: list[socket.socket], **environ: str) -> str:
    """Output of a process that has `socks` from 3 on."""
    given = [os.dup(sock.fileno()) for sock in socks]

    def prepare() -> None:
        high = [os.dup(fd) for fd in given]  # away from the numbers they shall have
        for k, fd in enumerate(high):
            os.dup2(fd, 3 + k)

    try:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *addresses], env={**os.environ, **environ}, text=True,
            capture_output=True, check=True, preexec_fn=prepare, close_fds=False,
        ).stdout.strip()  # fmt: skip
    finally:
        for fd in given:
            os.close(fd)


def test_all_sockets_of_a_name_are_listened_on(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.socket(socket.AF_UNIX) as other,
    ):
        other.bind(f"{tmp_path}/s")
        other.listen()
        found = activated("systemd:web", "127.0.0.1:0", socks=[one, other], LISTEN_FDS="2",
                          LISTEN_FDNAMES="web:web")  # fmt: skip
    lines = found.splitlines()
    assert lines[0].startswith("0 http://127.0.0.1:")
    assert lines[0].endswith("False False False")
    assert lines[1] == f"0 unix:{tmp_path}/s True False False"
    assert lines[2].startswith("1 http://127.0.0.1:"), "each has the rules of its own address"


def test_a_name_that_is_not_there_is_a_sentence_with_those_that_are():
    with socket.create_server(("127.0.0.1", 0)) as one:
        found = activated("systemd:web", socks=[one], LISTEN_FDS="1", LISTEN_FDNAMES="http")
    assert found == ('cannot take the sockets of systemd: none is called "web"; there are: http')


def test_a_descriptor_that_is_not_open_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as one:
        found = activated("systemd:web", socks=[one], LISTEN_FDS="900",
                          LISTEN_FDNAMES=":".join(["web"] * 900))  # fmt: skip
    assert found.startswith("cannot take the sockets of systemd: LISTEN_FDS is 900, but descriptor")
    assert found.endswith("is not open")


UPSTREAM = '[[upstream]]\nname = "u"\nendpoints = ["http://127.0.0.1:1"]\n'


@pytest.mark.parametrize("name", ["http", "zeroproxy.socket", "a@b"])
def test_names_as_units_have_them_are_addresses(name):
    config = parse_config(f'[server]\nlisten = "systemd:{name}"\n{UPSTREAM}')
    assert config.listens() == (f"systemd:{name}",)


@pytest.mark.parametrize("name", ["", "a b", "a:b"])
def test_other_names_are_none(name):
    with pytest.raises(ConfigError, match="is no address"):
        parse_config(f'[server]\nlisten = "systemd:{name}"\n{UPSTREAM}')


def test_the_admin_port_takes_none():
    with pytest.raises(ConfigError, match="systemd:NAME is for server"):
        parse_config(f'[admin]\nlisten = "systemd:a"\n{UPSTREAM}')
