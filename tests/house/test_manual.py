"""docs/reload.md says what the code does."""

import re
from pathlib import Path

from zeroproxy.config.schema import Config
from zeroproxy.server.config_diff import LIVE


def test_every_key_that_is_live_and_every_section_is_in_the_manual():
    text = Path("docs/reload.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| (live|restart) \|", text, re.M)
    said = {key: how for keys, how in rows for key in re.findall(r"`([\w.]+)`", keys)}
    assert {key for key, how in said.items() if how == "live"} == set(LIVE)
    sections = {"upstream": "upstream.name"}
    for name in Config.__struct_fields__:
        name = sections.get(name, name)
        assert any(key == name or key.startswith(name + ".") for key in said), name
