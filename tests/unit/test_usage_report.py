"""Sums over ledgers that were written by hand."""

import contextlib
import csv
import io
import sqlite3
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ledgers import HOUR_NS, new_ledger, prune, record, summed, write
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.ledger import Ledger
from zeroproxy.metering.report.arguments import GROUPS, Query, QueryError, parse_moment, parse_query
from zeroproxy.metering.report.formats import as_csv, as_object, numbers
from zeroproxy.metering.report.ledger_sums import EXACTNESS, Report, opened, usage
from zeroproxy.metering.rows import DEFAULTS

START = datetime(2026, 11, 1, 9, tzinfo=UTC)
T0 = int(START.timestamp()) * 10**9
MINUTE = 60 * 10**9


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.fixture
def ledger():
    with contextlib.closing(new_ledger()) as connection:
        yield connection


def report_by(source, *by: str, since=None, until=None, zone=UTC, **filters: str) -> Report:
    return usage(source, Query(by or ("model",), since, until, filters, zone))


def requests_of(report: Report) -> dict[tuple, int]:
    return {row.keys: row.sums.requests for row in report.rows}


# ---------------------------------------------------------------- sums


def test_a_row_has_everything_a_bill_needs(ledger):
    write(ledger, [
        record(T0, tokens=(100, 20, 30, 5), ttft_ns=200_000_000),
        record(T0, tokens=(50, 30, 0, 0), ttft_ns=400_000_000, exactness="lower_bound",
               outcome="downstream/relaying/closed"),
        record(T0, exactness="none"),
    ])  # fmt: skip
    (row,) = report_by(ledger).rows
    assert row.keys == ("m",)
    found = numbers(row.sums)
    assert (found["requests"], found["failed"]) == (3, 1)
    kinds = ("prompt", "completion", "cached", "reasoning")
    assert [found[f"{kind}_tokens"] for kind in kinds] == [150, 50, 30, 5]
    assert found["total_tokens"] == 200
    assert [found[f"{word}_requests"] for word in EXACTNESS] == [1, 1, 0, 0, 1]
    assert [found[f"{word}_tokens"] for word in EXACTNESS] == [120, 80, 0, 0, 0]
    assert [found[f"{word}_share"] for word in EXACTNESS] == [0.6, 0.4, 0, 0, 0]
    assert found["mean_ttft_s"] == 0.3


@pytest.mark.parametrize("is_whole", [True, False])
def test_an_error_of_the_server_has_failed_and_an_overflow_row_has_not(is_whole, tmp_path):
    """As a whole hour and as a cut one; written by the ledger's own code."""
    batch = [
        record(T0, status=200, finish="done"),
        record(T0, status=500, finish="error"),
        record(T0, status=200, finish="error"),
        record(T0, status=404, finish="error"),
        record(T0, status=200, finish="cut", outcome="downstream/relaying/closed"),
        record(T0, outcome="overflow", count=7),
    ]
    with contextlib.closing(Ledger(tmp_path / "usage.sqlite")) as ledger:
        ledger.write([DEFAULTS | each | {"time_ns": T0 + HOUR_NS // 2} for each in batch])
        totals = report_by(ledger.path, since=None if is_whole else at(0.25)).totals
    assert (totals.requests, totals.failed) == (12, 4)


def test_what_was_broken_off_before_any_count_has_a_word_of_its_own(ledger):
    write(ledger, [record(T0, exactness="uncounted"), record(T0, exactness="none")])
    found = numbers(report_by(ledger).totals)
    assert (found["uncounted_requests"], found["untrusted_requests"], found["none_requests"]) == (
        1, 0, 1,
    )  # fmt: skip


def test_where_nothing_is_known_nothing_is_claimed(ledger):
    write(ledger, [record(T0, exactness="none")])
    found = numbers(report_by(ledger).totals)
    assert (found["exact_share"], found["mean_ttft_s"], found["requests"]) == (None, None, 1)


def test_most_tokens_come_first_and_time_comes_in_its_order(ledger):
    write(ledger, [
        record(T0 + 5 * HOUR_NS, model="small", tokens=(1, 1, 0, 0)),
        record(T0 + 2 * HOUR_NS, model="large", tokens=(9, 9, 0, 0)),
    ])  # fmt: skip
    assert [row.keys for row in report_by(ledger).rows] == [("large",), ("small",)]
    assert [row.keys for row in report_by(ledger, "hour").rows] == [(at(2),), (at(5),)]
    assert [row.keys for row in report_by(ledger, "day", "model").rows] == [
        (date(2026, 11, 1), "large"), (date(2026, 11, 1), "small"),
    ]  # fmt: skip


def test_only_what_was_asked_for_is_counted(ledger):
    write(
        ledger, [record(T0, model=m, tenant=t) for m in ("a", "b", "' OR 1=1") for t in ("", "x")]
    )
    assert report_by(ledger, model="a").totals.requests == 2
    assert report_by(ledger, model="a", tenant="").totals.requests == 1
    assert report_by(ledger, model="' OR 1=1").totals.requests == 2
    assert report_by(ledger, model="no").rows == []


def test_a_word_for_exactness_that_nobody_knows_is_not_trusted(ledger):
    write(ledger, [record(T0, exactness="guessed", tokens=(1, 1, 0, 0))])
    report = report_by(ledger, "exactness")
    assert requests_of(report) == {("guessed",): 1}
    assert report.totals.tokens_by["untrusted"] == 2


def test_days_are_those_of_the_zone(ledger):
    write(ledger, [record(T0 + k * HOUR_NS) for k in range(24)])
    tokyo = timezone(timedelta(hours=9))
    assert requests_of(report_by(ledger, "day", zone=tokyo)) == {
        (date(2026, 11, 1),): 6, (date(2026, 11, 2),): 18,
    }  # fmt: skip
    india = timezone(timedelta(hours=5, minutes=30))
    report = report_by(ledger, "day", zone=india)
    assert requests_of(report) == {(date(2026, 11, 1),): 10, (date(2026, 11, 2),): 14}
    assert len(report.notes) == 1


def test_the_two_hours_with_one_wall_time_in_autumn_stay_apart(ledger):
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)  # 02:00 CEST; an hour later 02:00 CET
    begin = int(first.timestamp()) * 10**9
    write(ledger, [record(begin), record(begin + HOUR_NS), record(begin + HOUR_NS)])
    rows = report_by(ledger, "hour", zone=ZoneInfo("Europe/Berlin")).rows
    assert [(str(row.keys[0]), row.sums.requests) for row in rows] == [
        ("2026-10-25 02:00:00+02:00", 1), ("2026-10-25 02:00:00+01:00", 2),
    ]  # fmt: skip


# ---------------------------------------------------------------- windows


def minutes(connection: sqlite3.Connection) -> None:
    """One exchange at each minute of four hours."""
    write(connection, [record(T0 + k * MINUTE, tokens=(1, 1, 0, 0)) for k in range(240)])


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        (0, 4, 240), (1, 2, 60), (0.5, None, 210), (None, 3.25, 195), (0.5, 3.25, 165),
        (0.25, 0.75, 30), (1, 1.5, 30), (1.5, 2, 30), (1.5, 2.5, 60), (-9, 90, 240), (5, 9, 0),
        (4, 5, 0), (-5, 0, 0), (-0.5, 0.5, 30),
    ],
)  # fmt: skip
def test_hours_that_the_window_cuts_are_read_in_detail(ledger, since, until, count):
    minutes(ledger)
    window = [None if hours is None else at(hours) for hours in (since, until)]
    report = report_by(ledger, "hour", since=window[0], until=window[1])
    assert (report.totals.requests, report.totals.total_tokens) == (count, 2 * count)
    assert sum(requests_of(report).values()) == count
    assert report.notes == []


def test_a_window_begins_at_its_moment_and_ends_before_its_end(ledger):
    write(ledger, [record(T0 + 1000), record(T0 + 2000), record(T0 + 3000)])
    micro = timedelta(microseconds=1)
    report = report_by(ledger, since=START + micro, until=START + 3 * micro)
    assert report.totals.requests == 2


def test_an_hour_whose_detail_is_gone_is_counted_whole_and_says_so(ledger):
    minutes(ledger)
    prune(ledger, T0 + 90 * MINUTE)
    report = report_by(ledger, since=at(1.75), until=at(3.5))
    assert report.totals.requests == 60 + 60 + 30
    assert report.notes == [
        "the hour from 2026-11-01 10:00 UTC is counted whole: its detail is no longer kept"
    ]
    assert report_by(ledger, since=at(1), until=at(3.5)).notes == []


def test_exchanges_that_did_not_fit_the_ring_count_as_many(ledger):
    lost = record(T0, count=7, outcome="overflow", exactness="untrusted", tokens=(70, 7, 0, 0))
    write(ledger, [lost, record(T0 + 40 * MINUTE)])
    for until in (at(0.5), at(1)):
        totals = report_by(ledger, until=until).totals
        assert totals.requests_by["untrusted"] == 7
        assert (totals.failed, totals.total_tokens) == (0, 77)


KEYS = {
    "model": st.sampled_from(["a", 'b "x", y\r\nz', "ü\x00", ""]),
    "tenant": st.sampled_from(["", "t"]),
    "endpoint": st.sampled_from(["http://h:1", "unix:/x"]),
    "upstream": st.sampled_from(["gpu", "cpu"]),
    "exactness": st.sampled_from(EXACTNESS),
    "outcome": st.sampled_from(["ok", "upstream/waiting/reset"]),
}
COUNTS = st.none() | st.integers(0, 10**12)
RECORDS = st.lists(
    st.builds(
        record,
        st.integers(T0, T0 + 30 * HOUR_NS),
        tokens=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
        ttft_ns=st.integers(0, 10**10),
        count=st.integers(1, 3),
        **KEYS,
    ),
    max_size=25,
)
GROUPINGS = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=4, unique=True)
MOMENTS = st.none() | st.integers(-60, 31 * 60).map(lambda m: START + timedelta(minutes=m))


@settings(deadline=None)
@given(rows=RECORDS, by=GROUPINGS, since=MOMENTS, until=MOMENTS)
def test_any_grouping_of_any_window_sums_to_its_rows(rows, by, since, until):
    if since and until and since >= until:
        since, until = until, None
    with contextlib.closing(new_ledger()) as ledger:
        write(ledger, rows)
        report = report_by(ledger, *by, since=since, until=until)
    lower, upper = (m and int(m.timestamp()) * 10**9 for m in (since, until))
    inside = [
        row
        for row in rows
        if (lower is None or row["time_ns"] >= lower) and (upper is None or row["time_ns"] < upper)
    ]
    assert report.notes == []
    for name in ("requests", "failed", "prompt_tokens", "completion_tokens", "cached_tokens",
                 "reasoning_tokens", "ttft_ns", "ttft_count"):  # fmt: skip
        expected = sum(summed(row)[name] for row in inside)
        assert getattr(report.totals, name) == expected
        assert sum(getattr(row.sums, name) for row in report.rows) == expected
    for sums in (report.totals, *(row.sums for row in report.rows)):
        assert sum(sums.requests_by.values()) == sums.requests
        assert sum(sums.tokens_by.values()) == sums.total_tokens
    assert len({row.keys for row in report.rows}) == len(report.rows)
    parsed = list(csv.DictReader(io.StringIO(as_csv(report), newline="")))
    flat = as_object(report, at(40))["rows"]
    assert parsed == [{k: "" if v is None else str(v) for k, v in row.items()} for row in flat]


# ---------------------------------------------------------------- files


def test_what_is_missing_is_a_sentence(tmp_path):
    with pytest.raises(ZeroproxyError, match=r"/no\.sqlite: there is no ledger; the proxy makes"):
        report_by(tmp_path / "no.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x" * 5000], ids=["empty", "other"])
def test_what_is_no_ledger_is_a_sentence(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ZeroproxyError, match=r"/x: it is no ledger.*metering\.ledger names"):
        report_by(path)
    with pytest.raises(ZeroproxyError, match="cannot be read"):
        report_by(tmp_path)


@pytest.mark.parametrize(("version", "says"), [(99, "a newer zeroproxy"), (0, "an older")])
def test_another_version_is_a_sentence(tmp_path, version, says):
    path = tmp_path / "x.sqlite"
    new_ledger(path, version).close()
    with pytest.raises(ZeroproxyError, match=rf"{says} .*version {version}, this one reads 1"):
        report_by(path)


def test_a_path_is_taken_literally_and_nothing_is_written_to(tmp_path):
    path = tmp_path / "a?mode=rwc#%41 ü.sqlite"
    with contextlib.closing(new_ledger(path)) as ledger:
        write(ledger, [record(T0)])
    before = path.read_bytes()
    assert report_by(path).totals.requests == 1
    assert path.read_bytes() == before


def test_what_opens_a_ledger_cannot_write_to_it(tmp_path):
    path = tmp_path / "x.sqlite"
    new_ledger(path).close()
    with pytest.raises(ZeroproxyError, match="readonly"), opened(path) as reader:
        reader.execute("DELETE FROM hourly")


def test_a_writer_at_work_is_neither_disturbed_nor_seen_by_halves(tmp_path):
    path, batch, batches = tmp_path / "x.sqlite", 50, 40
    failures: list[BaseException] = []

    def write_on() -> None:
        try:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as mine:
                for k in range(batches):
                    time_ns = T0 + k * 10 * MINUTE
                    write(mine, [record(time_ns, tokens=(2, 1, 0, 0)) for _ in range(batch)])
        except BaseException as error:
            failures.append(error)

    with contextlib.closing(new_ledger(path)):
        writer = threading.Thread(target=write_on)
        writer.start()
        seen = [0]
        while writer.is_alive():
            report = report_by(path, "hour", "model", since=at(0.25))
            assert report.notes == []  # detail and hours of one snapshot agree
            seen.append(report.totals.requests)
        writer.join()
        assert failures == []
        assert all(count % batch == 0 for count in seen)
        assert seen == sorted(seen)
        assert report_by(path).totals.total_tokens == 3 * batch * batches


def test_a_report_is_one_snapshot_even_while_rows_arrive(tmp_path):
    path = tmp_path / "x.sqlite"
    with contextlib.closing(new_ledger(path)) as ledger:
        write(ledger, [record(T0)])
        uri = f"file:{path}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert report_by(reader).totals.requests == 1
            write(ledger, [record(T0)])
            assert report_by(reader).totals.requests == 1  # the caller's transaction is left alone
            reader.rollback()
            assert report_by(reader).totals.requests == 2
            assert not reader.in_transaction


# ---------------------------------------------------------------- questions


def test_moments_are_read_as_people_write_them():
    assert parse_moment("since", "24h", START) == START - timedelta(hours=24)
    assert parse_moment("since", "2w", START) == START - timedelta(days=14)
    assert parse_moment("since", "90s", START) == START - timedelta(seconds=90)
    assert parse_moment("since", "2026-11-01T09:30:00Z", START) == at(0.5)
    assert parse_moment("since", "2026-11-01t10:30:00.5+01:00", START) == at(0.5) + timedelta(
        seconds=0.5
    )
    local = datetime(2026, 11, 1).astimezone()
    assert parse_moment("since", "2026-11-01", START) == local
    assert parse_moment("since", "2026-11-01T00:00", START) == local


@pytest.mark.parametrize(
    "text",
    ["", "24", "h", "-1h", "1y", "1.5h", "2026-13-01", "20261101", "2026-11-01T25:00", "now\n",
     "999999999999w", "99999h\n", "2026-11-01+01:00", "٢٤h", "1969-12-31", "2262-01-02",
     "0001-01-01", "9999-12-31T23:59:59Z"],
)  # fmt: skip
def test_a_moment_that_is_none_says_what_is_allowed(text):
    with pytest.raises(QueryError) as caught:
        parse_moment("until", text, START)
    assert caught.value.name == "until"
    assert "\n" not in str(caught.value)
    assert "24h" in str(caught.value) or "1970 to 2261" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ({"by": ""}, "by"), ({"by": "model,model"}, "by"), ({"by": "model,"}, "by"),
        ({"by": "seq; DROP TABLE hourly"}, "by"), ({"since": "1h", "until": "2h"}, "until"),
        ({"since": "2h", "until": "2h"}, "until"),
    ],
)  # fmt: skip
def test_a_bad_question_names_its_parameter(words, name):
    with pytest.raises(QueryError) as caught:
        parse_query(words, START)
    assert caught.value.name == name


def test_groups_may_have_blanks_between_them():
    assert parse_query({"by": "model, tenant"}, START).by == ("model", "tenant")
    assert parse_query({"by": None, "model": "m", "other": "x"}, START).filters == {"model": "m"}


def test_json_names_the_window_also_where_none_was_asked_for(ledger):
    found = as_object(report_by(ledger), at(9))
    assert (found["since"], found["until"]) == (None, "2026-11-01T18:00:00+00:00")
    write(ledger, [record(T0 + MINUTE)])
    found = as_object(report_by(ledger, "day", "hour"), at(9))
    assert found["since"] == "2026-11-01T09:00:00+00:00"
    assert found["by"] == ["day", "hour"]
    (row,) = found["rows"]
    assert (row["day"], row["hour"]) == ("2026-11-01", "2026-11-01T09:00:00+00:00")
    assert found["totals"]["requests"] == 1
