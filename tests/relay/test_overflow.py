"""Overflow of the ring: records that it did not take are added up, exactness by exactness."""

from collections import Counter

from tests.support.keys import row as row_of_key
from tests.support.keys import shows
from tests.support.script import get, play, post, split_head

JSON = b"Content-Type: application/json\r\n"
NAMED = 1024  # OVERFLOW_NAMED
USAGE = b'{"usage":{"prompt_tokens":3,"completion_tokens":5}}'


def answer(body=USAGE, status=b"200 OK"):
    head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, JSON, len(body))
    return head + body


def answer_model(script, conns, model, said, extra=b""):
    down, up = conns
    down.send(post(body=b'{"model":"%s"}' % model, extra=JSON + extra))
    if up is None:
        up = conns[1] = script.upstream()
    assert split_head(up.receive())[1]
    up.send(said)
    assert down.receive()


def test_behind_the_last_row_of_their_own_exact_counts_stay_exact():
    with play(ring_slots=2) as script:
        conns = [script.downstream(), None]
        for k in range(1200):
            # Each model is answered for once, and then not: a name nobody answers for is no label.
            said = answer(b"{}", b"404 No") if k % 2 else answer()
            answer_model(script, conns, b"m%d" % (k // 2), said)
        rows = script.engine.take_overflow()
        keys = [(row["upstream"], row["endpoint"], row["model"], row["exactness"]) for row in rows]
        assert len(set(keys)) == len(rows) == NAMED + 2
        sums = Counter()
        for row in rows:
            sums[row["exactness"], "count"] += row["count"]
            sums[row["exactness"], "tokens"] += row["completion_tokens"]
        assert sums == {
            ("exact", "count"): 599, ("exact", "tokens"): 599 * 5,
            ("none", "count"): 599, ("none", "tokens"): 0,
        }  # fmt: skip


def test_a_tenants_bill_is_never_anothers():
    """A3: 252 kinds of endpoint, model, tenant and exactness had their own sums; the rest, of any
    tenant, was billed to "other"."""
    tenants, models = 40, 60
    with play(ring_slots=2) as script:
        script.engine.set_keys([row_of_key(f"k{t}", tenant=f"t{t}") for t in range(tenants)])
        conns = [script.downstream(), None]
        for t in range(tenants):
            for m in range(models):
                answer_model(script, conns, b"m%d" % m, answer(), shows(f"k{t}"))
        rows = script.engine.take_overflow()
        bills = Counter()
        for row in rows:
            bills[row["tenant"]] += row["completion_tokens"]
        assert len(rows) <= NAMED + 4 * tenants
        # Two records are in the ring.
        assert bills == {f"t{t}": 5 * (models - 2 * (t == 0)) for t in range(tenants)}
        # Each growth is taken once.
        assert script.engine.take_overflow() == []
        answer_model(script, conns, b"m0", answer(), shows("k7"))
        (row,) = script.engine.take_overflow()
        assert (row["tenant"], row["count"], row["completion_tokens"]) == ("t7", 1, 5)


def test_a_caller_that_left_in_its_head_is_no_other_model():
    with play(ring_slots=2) as script:
        for _ in range(3):
            script.downstream().send(get()[:-5])
            script.peers[-1].sock.close()
            script.turn()
        (row,) = script.engine.take_overflow()
        assert (row["model"], row["upstream"], row["count"]) == ("", "", 1)


def test_half_of_a_name_is_no_model():
    with play() as script:
        answer_model(script, [script.downstream(), None], b"llama-3", answer())
        answer_model(script, [script.downstream(), script.peers[-2]], b"lla", answer())
        script.records()
        for cut, model in ((-7, ""), (-1, "llama-3")):
            down = script.downstream()
            down.send(post(body=b'{"model":"llama-3"}', extra=JSON)[:cut])
            down.sock.close()
            assert [record["model"] for record in script.records()] == [model]
