"""Reports of health to the engine beside `up`: a good probe, and an endpoint that is gone."""

import pytest

from tests.support.script_upstream import ScriptConn, ScriptRequest
from tests.support.until import until
from tests.support.ward import Ward
from zeroproxy.policy.socket_addresses import resolve

# ---------------------------------------------------------------- what a 5xx is held against


async def test_the_first_bad_answer_and_the_next_good_one_are_reported_to_the_engine():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(2)
        assert ward.engine.probe_ok == [True]
        ward.server.pages[b"/health"] = 500
        await until(lambda: ward.engine.probe_ok == [True, False])
        assert ward.seen()["up"], "one bad answer takes nobody out"
        ward.server.pages[b"/health"] = 200
        await until(lambda: ward.engine.probe_ok == [True, False, True])


async def test_without_probes_nobody_vouches():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(1)
        ward.watch(path='""')
        assert ward.engine.probe_ok == [True, False]


async def test_all_drained_is_not_ready():
    async with Ward() as ward:
        ward.watch()
        await ward.rounds(1)
        assert ward.rotation.reasons() == []
        ward.drained.add(0)
        assert ward.rotation.reasons() == [f"{ward.script.url}: it is being drained"]


# ---------------------------------------------------------------- gone

GONE = {"inflight": 3, "owed": 3, "begun": 1, "quiet_s": 31.0}


@pytest.mark.parametrize("how", ["refused", "mute", "closed"])
async def test_an_endpoint_that_is_gone_owes_nothing_any_more(how):
    async def close(request: ScriptRequest, conn: ScriptConn) -> None:
        await conn.close()

    async with Ward() as ward:
        ward.engine.quiet = {**GONE}
        ward.server.pages[b"/health"] = None
        if how == "refused":
            ward.member.address = await resolve("http://127.0.0.1:1")
        if how == "closed":
            ward.script.handler = close
        ward.watch()
        await until(lambda: ward.engine.ended)
        assert ward.engine.ended == [30.0]
        assert ward.engine.words == [(0, False)], "first it is out"
        reason = {"refused": "Connection refused", "mute": "no answer within 0.05 s",
                  "closed": "the connection was closed without an answer"}[how]  # fmt: skip
        url = ward.member.address.url
        assert ward.lines[1] == f"{url}: 3 exchanges ended: {reason}, and no byte for 30 s"
        assert ward.seen()["ended"] == 3


@pytest.mark.parametrize(
    ("quiet", "page", "wedge_after"),
    [
        ({**GONE, "quiet_s": 29.0}, None, "30"),  # not silent for long enough
        (GONE, None, "0"),  # never
        (GONE, 503, "30"),  # somebody is there
    ],
)
async def test_what_is_not_gone_goes_on(quiet, page, wedge_after):
    async with Ward() as ward:
        ward.engine.quiet = {**quiet}
        ward.server.pages[b"/health"] = page
        ward.watch(wedge_after=wedge_after)
        await ward.rounds(6)
        assert ward.engine.words == [(0, False)]
        assert ward.engine.ended == []


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nA b\r\n\r\n"])
async def test_a_server_whose_answer_is_no_valid_http_is_not_gone(answer):
    """It may go on with what it has: only its head is refused here."""

    async def babble(request: ScriptRequest, conn: ScriptConn) -> None:
        await conn.send(answer)
        await conn.close()

    async with Ward() as ward:
        ward.engine.quiet = {**GONE}
        ward.script.handler = babble
        ward.watch()
        await ward.rounds(6)
        assert ward.seen()["reason"] == "the answer is no valid HTTP"
        assert ward.engine.words == [(0, False)], "but out"
        assert ward.engine.ended == []
