"""docs/admin.md names every key of /status that is there, and no endpoint's key is left out."""

import re
from pathlib import Path

import zeroproxy
from zeroproxy.config.load import parse_config

TEXT = """
[server]
listen = "127.0.0.1:0"
[admin]
listen = ""
[metering]
ledger = "{ledger}"
[[upstream]]
name = "u"
endpoints = ["http://127.0.0.1:1"]
"""


PAGE = Path("docs/admin.md").read_text(encoding="utf-8").partition("## /status")[2]


async def test_every_key_of_the_status_is_in_the_manual(tmp_path):
    config = parse_config(TEXT.format(ledger=tmp_path / "usage.sqlite"))
    async with zeroproxy.Proxy(config) as proxy:
        status = proxy.snapshot()
    named = set(re.findall(r"`(\w+)`", PAGE))
    (upstream,) = status["upstreams"]
    (endpoint,) = upstream["endpoints"]
    for part in (status, upstream, endpoint, upstream["histograms"]):
        assert set(part) - named == set()
