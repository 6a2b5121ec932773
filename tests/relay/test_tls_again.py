"""The tests of the relay once more, through TLS: down, up, and both."""

import pytest

from tests.relay.test_caps import *
from tests.relay.test_editing import *
from tests.relay.test_endings import *

# ruff: noqa: F403, F821
from tests.relay.test_life import *
from tests.relay.test_pools import *
from tests.relay.test_races import *
from tests.relay.test_refusals import *
from tests.relay.test_time import *
from tests.relay.test_tunnel import *
from tests.relay.test_warm import *
from tests.support.certificates import certificates
from tests.support.script import MAKE
from tests.support.tls_script import TlsScript
from zeroproxy._fast.engine.tls_context import Context

# A caller above the cap is answered in the clear, or not at all: test_tls.py.
del test_above_the_cap_a_caller_gets_a_polite_503


def tls_of(side: str) -> dict:
    c = certificates()
    tls = {}
    if side != "up":
        tls["server"] = Context.server(cert=c.server.cert, key=c.server.key)
        tls["caller"] = c.authority.client()
    if side != "down":
        tls["client"] = Context.client(ca=c.authority.ca)
        tls["endpoint"] = c.server.server()
    return tls


@pytest.fixture(autouse=True, params=["down", "up", "both"])
def through_tls(request):
    MAKE.append(lambda *words: TlsScript(*words, tls_of(request.param)))
    yield
    MAKE.pop()
