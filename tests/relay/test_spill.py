"""What the ring did not take: added up under its own name, exactness by exactness."""

from collections import Counter

from tests.support.script import get, play, post, split_head

JSON = b"Content-Type: application/json\r\n"
USAGE = b'{"usage":{"prompt_tokens":3,"completion_tokens":5}}'


def answer(body=USAGE, status=b"200 OK"):
    head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, JSON, len(body))
    return head + body


def serve(script, conns, model, said):
    down, up = conns
    down.send(post(body=b'{"model":"%s"}' % model, extra=JSON))
    if up is None:
        up = conns[1] = script.upstream()
    assert split_head(up.receive())[1]
    up.send(said)
    assert down.receive()


def test_behind_the_last_row_of_their_own_exact_counts_stay_exact():
    with play(ring_slots=2) as script:
        conns = [script.downstream(), None]
        for k in range(300):
            # Each model is answered for once, and then not: a name nobody answers for is no label.
            said = answer(b"{}", b"404 No") if k % 2 else answer()
            serve(script, conns, b"m%d" % (k // 2), said)
        rows = script.engine.overflow()
        keys = [(row["upstream"], row["endpoint"], row["model"], row["exactness"]) for row in rows]
        assert len(set(keys)) == len(rows) == 256
        sums = Counter()
        for row in rows:
            sums[row["exactness"], "count"] += row["count"]
            sums[row["exactness"], "tokens"] += row["completion_tokens"]
        assert sums == {
            ("exact", "count"): 149, ("exact", "tokens"): 149 * 5,
            ("none", "count"): 149, ("none", "tokens"): 0,
            ("lower_bound", "count"): 0, ("lower_bound", "tokens"): 0,
            ("untrusted", "count"): 0, ("untrusted", "tokens"): 0,
            ("uncounted", "count"): 0, ("uncounted", "tokens"): 0,
        }  # fmt: skip
        assert {row["count"] for row in rows if row["model"] == "other"} == {0, 23, 24}


def test_a_caller_that_left_in_its_head_is_no_other_model():
    with play(ring_slots=2) as script:
        for _ in range(3):
            script.downstream().send(get()[:-5])
            script.peers[-1].sock.close()
            script.turn()
        (row,) = script.engine.overflow()
        assert (row["model"], row["upstream"], row["count"]) == ("", "", 1)


def test_half_of_a_name_is_no_model():
    with play() as script:
        serve(script, [script.downstream(), None], b"llama-3", answer())
        serve(script, [script.downstream(), script.peers[-2]], b"lla", answer())
        script.records()
        for cut, model in ((-7, ""), (-1, "llama-3")):
            down = script.downstream()
            down.send(post(body=b'{"model":"llama-3"}', extra=JSON)[:cut])
            down.sock.close()
            assert [record["model"] for record in script.records()] == [model]
