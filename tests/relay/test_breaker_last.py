"""Where breakers do not open: the last endpoint of an upstream, and a 5xx beside a good probe."""

import pytest

from tests.support.breakers import (
    NO_ONE,
    endpoints,
    exchange_once,
    goes_elsewhere,
    let_through,
    moves,
    open_it,
    pair,
    state,
    status,
    terms,
)
from tests.support.exchanges import waiting
from tests.support.script import Script, get, ok, play
from tests.support.settings import POOL
from zeroproxy._fast.engine.settings_types import EndpointSettings

# ---------------------------------------------------------------- the only one


def answers_on(script: Script, endpoint: int = 0) -> None:
    exchange_once(script, ok(), endpoint)


@pytest.mark.parametrize("how", ["status", "close", "garbage"])
def test_the_only_endpoint_is_never_shut_by_its_breaker(how):
    with play(breaker=terms(), attempts=1) as script:
        for _ in range(12):
            answer = {"status": status(500), "garbage": b"SSH-2.0-x\r\n", "close": b""}[how]
            d, u = waiting(script, get(extra=b"Connection: close\r\n"))
            u.send(answer)
            u.close()
            assert not d.receive().startswith(NO_ONE)
        assert state(script) == "closed"
        assert moves(script) == (0, 0, 0)
        answers_on(script)


def test_of_two_that_fail_the_second_stays():
    with pair(breaker=terms(open_for=3600.0)) as script:
        open_it(script)
        for _ in range(12):
            assert exchange_once(script, status(500), endpoint=1).startswith(b"HTTP/1.1 500 ")
        assert (state(script, 0), state(script, 1)) == ("open", "closed")


@pytest.mark.parametrize("word", [{"up": False}, {"draining": True}])
def test_an_open_breaker_is_closed_when_the_others_go(word):
    with pair(breaker=terms(open_for=3600.0)) as script:
        open_it(script)
        script.engine.set_endpoint(1, **word)
        exchange_once(script, status(500))
        assert state(script) == "closed"
        answers_on(script)
        script.engine.set_endpoint(0, **word)
        d = script.downstream()
        d.send(get())
        answer = d.receive()
        assert answer.startswith(NO_ONE)
        assert b"\r\nRetry-After: 1\r\n" in answer
        why = b"it is being drained" if "draining" in word else b"it fails its health check"
        assert b"no inference server is available: " + why in answer


def test_one_whose_probes_are_under_way_is_closed_when_the_others_go():
    with pair(breaker=terms()) as script:
        open_it(script)
        _, u = let_through(script)
        assert state(script) == "half_open"
        script.engine.set_endpoint(1, up=False)
        answers_on(script)
        assert state(script) == "closed"
        u.close()


# ---------------------------------------------------------------- beside a good probe


@pytest.mark.parametrize("code", [500, 501, 502, 599])
def test_a_whole_5xx_is_no_sign_while_the_probe_is_good(code):
    with pair(breaker=terms()) as script:
        script.engine.set_endpoint(0, probe_ok=True)
        for _ in range(8):
            assert exchange_once(script, status(code)).startswith(b"HTTP/1.1 %d " % code)
        assert state(script) == "closed"
        assert endpoints(script)[0]["breaker"]["in_a_row"] == 0


def test_it_counts_again_once_the_probe_is_bad():
    with pair(breaker=terms()) as script:
        script.engine.set_endpoint(0, probe_ok=True)
        script.engine.set_endpoint(0, probe_ok=False)
        for _ in range(3):
            exchange_once(script, status(500))
        assert state(script) == "open"


@pytest.mark.parametrize("how", ["cut", "reset", "garbage", "timeout"])
def test_what_is_not_whole_counts_beside_a_good_probe(how):
    first_byte = 0.05 if how == "timeout" else 60.0
    with pair(breaker=terms(), attempts=1, first_byte=first_byte) as script:
        script.engine.set_endpoint(0, probe_ok=True)
        for _ in range(3):
            d, u = waiting(script)
            if how == "cut":
                u.send(b"HTTP/1.1 500 x\r\nContent-Length: 9\r\n\r\nhalf")
                u.close()
            elif how == "garbage":
                u.send(b"SSH-2.0-x\r\n")
            elif how == "reset":
                u.reset()
            else:
                script.wait()
            d.receive()
        assert state(script) == "open"


def test_a_5xx_beside_a_good_probe_proves_that_it_lives():
    with pair(breaker=terms()) as script:
        open_it(script)
        script.engine.set_endpoint(0, probe_ok=True)
        _, u = let_through(script)
        u.send(status(500))
        assert state(script) == "closed"


def test_a_slot_that_is_used_again_has_no_good_probe():
    with pair(breaker=terms()) as script:
        script.engine.set_endpoint(0, probe_ok=True)
        again = EndpointSettings(
            url="http://up0", sockaddr=script._sockaddr(script.sources[0]), authority=b"up0.test",
            weight=1_000_000, pool=POOL,
        )  # fmt: skip
        script.engine.remove_endpoint(0)
        assert script.engine.add_endpoint(0, settings=again) == 0
        assert goes_elsewhere(script), "its turns come first now"
        for _ in range(3):
            exchange_once(script, status(500))
        (sample,) = script.engine.health_sample(only=0)
        assert sample["breaker"]["state"] == "open"
