"""Paths that a server reads as others do, and that must not be counted as others."""

import pytest

from tests.support.editing import LAST, TEXT, USAGE, answer, json_post
from tests.support.keys import row, shows
from tests.support.script import ok, play, split_head

LONG = b"/" + b"p" * 90


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/chat/completion%73",
        b"/v1/chat%2Fcompletions",
        b"/v1/%63%68at/c%6Fmpletions?x=%2F",
        LONG + b"/v1/chat/completions",
        LONG + b"%20/v1/chat/complet%69ons",
    ],
)
def test_usage_is_asked_for_however_the_path_is_written(path):
    """Servers decode a path before they route. It was neither asked for usage nor charged."""
    with play(usage_request=USAGE) as script:
        script.engine.set_keys([row("k", tokens=1000)])
        d = script.downstream()
        d.send(json_post(path=path, extra=shows("k")))
        u = script.upstream()
        got = u.receive()
        assert got.startswith(b"POST " + path + b" ")
        assert b"include_usage" in split_head(got)[1]
        answer(u, TEXT % b"", LAST, b"[DONE]")
        assert b"usage" not in d.receive()
        (record,) = script.records()
        assert record["exactness"] == "exact"
        assert record["path"].endswith("/completions")
        assert len(record["path"]) <= 64


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/a%20b", "/a%20b"),
        (b"/a%0Ab%22", "/a%0Ab%22"),
        (b"/%2541", "/%2541"),
        (b"/%7Euser/%41", "/~user/A"),
        (LONG, "p" * 64),
    ],
)
def test_what_is_recorded_is_decoded_only_where_that_means_nothing(path, found):
    with play() as script:
        d = script.downstream()
        d.send(json_post(path=path))
        u = script.upstream()
        u.receive()
        u.send(ok())
        d.receive()
        assert script.records()[0]["path"] == found


def test_the_list_of_models_is_known_however_it_is_written():
    with play() as script:
        script.engine.set_models(b'{"data":[]}')
        d = script.downstream()
        d.send(b"GET /v1/model%73 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert d.receive().endswith(b'{"data":[]}')
