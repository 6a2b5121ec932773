"""An endpoint that is the proxy's own listener is refused: every request would go round."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.support.ports import free_port
from zeroproxy.commands import check
from zeroproxy.config.load import parse_config
from zeroproxy.errors import ConfigError, ReloadError
from zeroproxy.policy.socket_addresses import resolve
from zeroproxy.server.listener import bind_all, is_own
from zeroproxy.server.worker import Worker


def config(listen: str, *endpoints: str):
    listed = ", ".join(f'"{e}"' for e in endpoints)
    return parse_config(
        f'[server]\nlisten = "{listen}"\n[admin]\nlisten = ""\n[metering]\nledger = ""\n'
        f'[[upstream]]\nname = "u"\nendpoints = [{listed}]\nhealth = {{ path = "" }}\n'
    )


def looped(listen: str, endpoint: str):
    """As if the endpoint were a name: only a look-up finds out."""
    found = config(listen, "http://127.0.0.1:1")
    (upstream,) = found.upstream
    return replace(found, upstream=(replace(upstream, endpoints=(endpoint,)),))


@pytest.mark.parametrize(
    ("listen", "endpoint", "own"),
    [
        ("127.0.0.1:{}", "http://127.0.0.1:{}", True),
        ("127.0.0.1:{}", "https://127.0.0.1:{}", True),
        ("0.0.0.0:{}", "http://127.0.0.1:{}", True),
        ("0.0.0.0:{}", "http://localhost:{}", True),
        ("0.0.0.0:{}", "http://127.1.2.3:{}", True),
        ("127.0.0.1:{}", "http://127.0.0.2:{}", False),
        ("0.0.0.0:{}", "http://192.0.2.1:{}", False),
        ("127.0.0.1:{}", "http://127.0.0.1:1", False),
        ("unix:{tmp}/a", "unix:{tmp}/../{name}/a", True),
        ("unix:{tmp}/a", "unix:{tmp}/b", False),
    ],
)
async def test_what_is_its_own(tmp_path, listen, endpoint, own):
    port, folder = free_port(), tmp_path / "s"  # short: a unix address has 107 bytes
    folder.mkdir()
    listen, endpoint = (
        text.format(port, tmp=folder, name=folder.name) for text in (listen, endpoint)
    )
    bound = bind_all([listen])
    try:
        assert is_own(bound, await resolve(endpoint)) is own
    finally:
        for one in bound:
            one.close()
    try:
        found = await check.examine(config(listen, endpoint))
    except ConfigError as error:
        says = [str(error)]
    else:
        says = [text for _, state, text in found.rows if state == "error"]
    assert ["is this proxy's own listener" in text for text in says] == [True] * own


async def test_a_start_is_refused_and_a_reload_too():
    port = free_port()
    worker = Worker(looped(f"0.0.0.0:{port}", f"http://127.0.0.1:{port}"))
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 is this proxy's own listener"):
        await worker.start()
    worker = Worker(config(f"127.0.0.1:{port}", "http://127.0.0.1:1"))
    await worker.start()
    with pytest.raises(ReloadError, match="own listener"):
        await worker.reloader.reload(looped(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"))
    assert len(worker.snapshot()["upstreams"][0]["endpoints"]) == 1
    await asyncio.wait_for(worker.stop(0), 30)
