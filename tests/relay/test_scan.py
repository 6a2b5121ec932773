"""One scan of a request body serves routing, hashing and editing, wherever it was cut."""

import pytest

from tests.support.editing import CHUNKED, RUNNING, USAGE, json_post, length_of, unchunk
from tests.support.script import chunk, play, split_head
from tests.support.settings import routes
from zeroproxy.config.schema import Hash

BY_KEY, HASH = "consistent_hash", Hash(on=("user",), prefix_bytes=64, load_bound=1000.0)
SCANNED = (
    b'{"prompt":"p","model":"b","user":"u","stream":true,"stream_options":{"include_usage":false}}'
)
EDITED = SCANNED.replace(b'"b"', b'"real"').replace(b"false", b"true ")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_that_is_routed_hashed_renamed_and_edited_is_the_same_in_every_split(chunked):
    """One scan serves them all, wherever a look has stopped."""
    request = CHUNKED + chunk(SCANNED) + b"0\r\n\r\n" if chunked else json_post(SCANNED)
    begin = len(split_head(request)[0]) + 4
    homes = set()
    for k in range(begin, len(request)):
        with play(endpoints=2, usage_request=USAGE, balance=BY_KEY, hash=HASH) as script:
            script.engine.set_routes(routes(("a", 0), ("b", 0, "real")), default=None)
            d = script.downstream()
            d.send(request[:k])
            d.send(request[k:])
            (home,) = [k for k in range(2) if script.has_connected(k)]
            homes.add(home)
            head, sent = split_head(script.upstream(home).receive())
            if not chunked:
                assert length_of(head) == len(sent)
            assert (unchunk(sent) if chunked else sent).rstrip(b" ") == EDITED
    assert len(homes) == 1


def test_the_model_that_was_asked_for_is_on_record_under_its_own_name():
    with play() as script:
        script.engine.set_routes(routes(("mine", 0, "real")), default=0)
        d = script.downstream()
        d.send(json_post(b'{"model":"mine"}'))
        u = script.upstream()
        assert split_head(u.receive())[1] == b'{"model":"real"}'
        u.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        d.receive()
        assert script.records()[0]["model"] == "mine"


@pytest.mark.parametrize("later", range(8))
def test_of_two_models_none_is_renamed_wherever_the_second_was_cut(later):
    request = json_post(b'{"model":"mine","model":"mi"}')
    with play() as script:
        script.engine.set_routes(routes(("mi", 0, "real")), default=0)
        d = script.downstream()
        d.send(request[: len(request) - later])
        d.send(request[len(request) - later :])
        assert split_head(script.upstream().receive())[1] == split_head(request)[1]


BROKEN_OFF = [b'"stream_options":n', b'"stream_options":{"include_usage":fals', b'"model":"m']


@pytest.mark.parametrize("end", BROKEN_OFF)
@pytest.mark.parametrize("later", [0, 1, 3])
@pytest.mark.parametrize("usage_request", [USAGE, RUNNING])
def test_a_body_that_breaks_off_in_a_word_is_as_long_as_announced(end, later, usage_request):
    """Every byte more would begin the next request on that connection."""
    request = json_post(b'{"stream":true,' + end)
    with play(usage_request=usage_request) as script:
        d = script.downstream()
        d.send(request[: len(request) - later])
        d.send(request[len(request) - later :])
        head, sent = split_head(script.upstream().receive())
        assert length_of(head) == len(sent)
