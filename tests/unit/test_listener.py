"""Listening sockets: whose a unix socket's name is."""

import socket

import pytest

from zeroproxy.errors import ListenError
from zeroproxy.server.listener import bind


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zp.sock"


def test_a_name_goes_with_its_socket(path):
    bound = bind(f"unix:{path}")
    bound.close()
    bound.close()
    assert not path.exists()


def test_a_name_that_another_has_bound_meanwhile_stays(path):
    old = bind(f"unix:{path}")
    old.unlink()
    new = bind(f"unix:{path}")
    old.close()
    old.close()
    assert path.is_socket()
    new.close()
    assert not path.exists()


def test_a_name_that_was_replaced_behind_its_back_stays(path):
    old = bind(f"unix:{path}")
    path.rename(path.with_name("aside"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        old.close()
        assert path.is_socket()


def test_nobody_is_turned_out(path):
    bound = bind(f"unix:{path}")
    with pytest.raises(ListenError, match="another process listens there"):
        bind(f"unix:{path}")
    bound.close()
