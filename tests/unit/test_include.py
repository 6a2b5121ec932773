"""`include`: files joined into one configuration, and errors that name the right file and line."""

import pytest

from zeroproxy.config.load import load_config
from zeroproxy.errors import ConfigError

MAIN = """\
include = ["conf.d/*.toml", "keys.toml"]
[server]
via = false
[[upstream]]
name = "a"
endpoints = ["http://127.0.0.1:8000"]
models = ["a"]
"""
KEYS = f'[auth]\nkey = [{{ sha256 = "{1:064x}", name = "one" }}]\n'
SECOND = """\
[server]
drain_timeout = 5
[[upstream]]
name = "b"
endpoints = ["http://127.0.0.1:8001"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "x.toml").write_text(MAIN)
    (tmp_path / "keys.toml").write_text(KEYS)
    (tmp_path / "conf.d" / "10-b.toml").write_text(SECOND)
    return tmp_path


def complaint(folder):
    with pytest.raises(ConfigError) as found:
        load_config(folder / "x.toml")
    return str(found.value).replace(f"{folder}/", "")


def test_tables_are_joined_and_upstreams_appended(folder):
    (folder / "conf.d" / "20-c.toml").write_text(SECOND.split("\n", 2)[2].replace('"b"', '"c"')
                                                 + 'models = ["c"]\n')  # fmt: skip
    config = load_config(folder / "x.toml")
    assert [u.name for u in config.upstream] == ["a", "b", "c"]
    assert (config.server.via, config.server.drain_timeout) == (False, 5.0)
    assert config.auth is not None
    assert [key.name for key in config.auth.key] == ["one"]


def test_keys_and_sinks_are_appended_too(folder):
    (folder / "conf.d" / "30.toml").write_text(
        f'[[auth.key]]\nsha256 = "{2:064x}"\nname = "two"\n'
        '[[metering.sinks]]\nkind = "jsonl"\npath = "x"\n'
    )
    config = load_config(folder / "x.toml")
    assert config.auth is not None
    assert [key.name for key in config.auth.key] == ["two", "one"]
    assert len(config.metering.sinks) == 1


def test_a_pattern_may_match_nothing_but_a_name_must_be_there(folder):
    (folder / "conf.d" / "10-b.toml").unlink()
    assert len(load_config(folder / "x.toml").upstream) == 1
    (folder / "keys.toml").unlink()
    assert complaint(folder) == (
        "x.toml:1: include[1]: keys.toml: cannot be read: No such file or directory"
    )


def test_an_absolute_pattern_is_one(folder):
    text = MAIN.replace("conf.d/*", f"{folder}/conf.d/*")
    (folder / "x.toml").write_text(text)
    assert len(load_config(folder / "x.toml").upstream) == 2


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("[server]\nlisen = 1\n", 'conf.d/20.toml:2: server.lisen: unknown key; did you mean'),
        ("[server]\nvia = true\n", "conf.d/20.toml:2: server.via: is in x.toml too"),
        ("[server]\ndrain_timeout = 1\n",
         "conf.d/20.toml:2: server.drain_timeout: is in conf.d/10-b.toml too"),
        ("[limits]\nheader_count = 1000\n", "conf.d/20.toml:2: limits.header_count: expected"),
        ('\n[[upstream]]\nname = "a"\nendpoints = ["http://h:1"]\nmodels = ["q"]\n',
         "conf.d/20.toml:3: upstream[0].name: another upstream is called a"),
        ('include = ["y.toml"]\n', "conf.d/20.toml:1: include: an included file includes none"),
        ("x = = 1\n", "conf.d/20.toml:1:5: invalid value"),
        ('[admin]\ntoken = "${NO_SUCH_NAME}"\n', "conf.d/20.toml:2: admin.token: the environment"),
    ],
)  # fmt: skip
def test_an_error_names_the_file_it_stands_in(folder, added, says):
    (folder / "conf.d" / "20.toml").write_text(added)
    assert complaint(folder).startswith(says)


def test_an_error_of_the_first_file_keeps_its_line(folder):
    (folder / "x.toml").write_text(MAIN + 'preset = "vlm"\n')
    assert complaint(folder).startswith("x.toml:8: upstream[0].preset: ")


@pytest.mark.parametrize("value", ['"a.toml"', "3", "[3]"])
def test_include_is_an_array_of_names(folder, value):
    (folder / "x.toml").write_text(MAIN.replace('["conf.d/*.toml", "keys.toml"]', value))
    assert complaint(folder).startswith("x.toml:1: include")


def test_an_option_reaches_an_included_upstream(folder):
    from zeroproxy.config.overrides import from_option

    config = load_config(folder / "x.toml", [from_option("upstream.b.admission.queue=3")])
    assert config.upstream[1].admission.queue == 3
