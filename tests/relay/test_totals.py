"""The totals of /metrics: whose rows they are, whatever strangers make up."""

from collections import Counter

from tests.support.keys import row, shows
from tests.support.script import get, ok, play, post, split_head
from tests.support.settings import endpoint, routes

JSON = b"Content-Type: application/json\r\n"
USAGE = b'{"usage":{"prompt_tokens":3,"completion_tokens":5}}'
ANSWER = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (JSON, len(USAGE), USAGE)


def count_model(conns, script, model, extra=b""):
    down, up = conns
    down.send(post(body=b'{"model":"%s"}' % model, extra=JSON + extra))
    if up is None:
        up = conns[1] = script.upstream()
    assert split_head(up.receive())[1]
    up.send(ANSWER)
    assert b" 200 " in down.receive()[:20]


def counted(script):
    """Completion tokens by (model, tenant)."""
    found = Counter()
    for t in script.engine.snapshot()["tokens"]:
        found[t["model"], t["tenant"]] += t["completion"]
    return found


def test_invented_models_take_no_row_from_a_configured_one_or_a_later_tenant():
    """A3: after 256 invented names everything that came later was "other", tenants too."""
    with play() as script:
        keys = [row(f"k{k}", tenant=f"t{k}") for k in range(20)]
        script.engine.set_routes(routes(("real", 0)), default=0)
        script.engine.set_keys(keys)
        conns = [script.downstream(), None]
        for k in range(400):
            count_model(conns, script, b"made-up-%d" % k, shows("k0"))
        for k in range(20):
            count_model(conns, script, b"real", shows(f"k{k}"))
            count_model(conns, script, b"unlisted", shows(f"k{k}"))
        found = counted(script)
        assert all(found["real", f"t{k}"] == 5 for k in range(20))
        assert all(found["unlisted", f"t{k}"] == 5 for k in range(1, 20))
        tenants = Counter()
        for (_, tenant), n in found.items():
            tenants[tenant] += n
        assert tenants == {"t0": 402 * 5} | {f"t{k}": 10 for k in range(1, 20)}
        assert found["other", "t0"] > 0
        assert len([1 for _, tenant in found if tenant == "t0"]) < 30


def test_80_tenants_with_5_models_each_have_400_rows():
    with play() as script:
        script.engine.set_keys([row(f"k{t}", tenant=f"t{t}") for t in range(80)])
        conns = [script.downstream(), None]
        for t in range(80):
            for m in range(5):
                count_model(conns, script, b"m%d" % m, shows(f"k{t}"))
        assert counted(script) == {(f"m{m}", f"t{t}"): 5 for m in range(5) for t in range(80)}


def test_series_of_endpoints_that_are_gone_are_replaced():
    """A3: after 768 rows, by slot, all that came later was counted as "other" for good."""
    with play() as script:
        down, addr = script.downstream(), script._sockaddr(script.sources[0])
        script.engine.remove_endpoint(0)
        for k in range(1500):
            at = script.engine.add_endpoint(0, settings=endpoint(k, addr))
            down.send(get())
            up = script.upstream()
            up.receive()
            up.send(ok(extra=b"Connection: close\r\n"))
            assert b" 200 " in down.receive()[:20]
            up.close()
            script.engine.remove_endpoint(at)
        found = script.engine.snapshot()["requests"]
        assert "other" not in {r["outcome"] for r in found}
        assert [r["count"] for r in found if r["endpoint"] == "http://h:1499"] == [1]
        assert len(found) < 1024
