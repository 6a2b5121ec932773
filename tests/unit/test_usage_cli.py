"""`zeroproxy usage`, from its arguments to what is on the screen."""

import contextlib
import csv
import io
import json
import os
import pty
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from tests.support.ledgers import HOUR_NS, new_ledger, record, write
from zeroproxy.commands import main as cli
from zeroproxy.commands import usage as command
from zeroproxy.errors import ZeroproxyError
from zeroproxy.metering.report.ledger_sums import Sums

T0 = 1_793_523_600 * 10**9  # 2026-11-01T09:00:00Z
LONG = "meta-llama/Llama-3.3-70B-Instruct-AWQ"
FIGURES = list(command.COLUMNS)


@pytest.fixture(autouse=True)
def summer_and_winter(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def ledger(tmp_path):
    with contextlib.closing(new_ledger(tmp_path / "usage.sqlite")) as connection:
        yield connection


@pytest.fixture
def path(tmp_path, ledger):
    write(ledger, [
        record(T0, model=LONG, tenant="acme", tokens=(12_345_678, 1_234_567, 7, 8),
               ttft_ns=1_250_000_000),
        record(T0 + HOUR_NS, model=LONG, tokens=(10, 2, 0, 0), exactness="lower_bound",
               outcome="downstream/relaying/closed"),
        record(T0, model="b", tokens=(40_000, 2_000, 0, 0), ttft_ns=42_000_000),
        record(T0, model="b", exactness="none"),
        record(T0, model="", tokens=(1, 1, 0, 0), exactness="untrusted"),
    ])  # fmt: skip
    return str(tmp_path / "usage.sqlite")


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command; answers with its status, its output's lines and its errors."""

    def run_it(*arguments: str, width: int = 0) -> tuple[int, list[str], str]:
        monkeypatch.delenv("COLUMNS", raising=False)
        if width:
            monkeypatch.setenv("COLUMNS", str(width))
        status = cli.main(["usage", *arguments])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return run_it


def line_of(lines: list[str], word: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(word)]
    return line.split()


# ---------------------------------------------------------------- the table


def test_at_120_columns_everything_is_there(run, path):
    status, lines, errors = run("--ledger", path, width=120)
    assert (status, errors) == (0, "")
    assert lines[0] == "usage by model since 2026-11-01 10:00 CET"
    assert line_of(lines, "model") == ["model", *FIGURES]
    name, *figures = line_of(lines, LONG[:24])
    assert name + lines[5].strip() == LONG  # folded, not cut
    assert figures == [
        "2", "1", "≥12,345,688", "≥1,234,569", "≥7", "≥8", "≥13,580,257", "99.9", "%",
        "1.25", "s",
    ]  # fmt: skip
    assert line_of(lines, "b ") == [
        "b", "2", "0", "40,000", "2,000", "0", "0", "42,000", "100", "%", "42", "ms",
    ]  # fmt: skip
    assert " ".join(line_of(lines, "(no model)")[2:]) == "1 0 1 1 0 0 2 0 % –"
    assert line_of(lines, "total")[1:3] == ["5", "1"]
    assert lines[-3:] == [
        "lower bound (≥): 1 request cut or never asked for usage, < 0.1 % of the tokens",
        "untrusted: 1 request by servers that count wrongly, < 0.1 % of the tokens",
        "nothing counted: 1 request without tokens in the answer",
    ]
    assert max(map(len, lines)) <= 120


def test_at_80_columns_figures_are_whole_and_what_is_missing_is_said(run, path):
    _, lines, _ = run("--ledger", path, width=80)
    assert max(map(len, lines)) <= 80
    kept = line_of(lines, "model")[1:]
    assert kept == ["requests", "failed", "prompt", "completion", "exact"]
    assert line_of(lines, LONG[:24])[1:] == [
        "2", "1", "≥12,345,688", "≥1,234,569", "99.9", "%",
    ]  # fmt: skip
    assert "…" not in "".join(lines)
    assert " ".join(line.strip() for line in lines[-2:]) == (
        "no room for cached, reasoning, total, TTFT: a wider terminal, --json or --csv shows"
    )


def test_numbers_end_in_one_column(run, path):
    _, lines, _ = run("--ledger", path, width=80)
    end = lines[2].index("failed") + len("failed")
    names = (LONG[:20], "b ", "(no", "tot")
    ends = [line[end - 1] for line in lines if line.startswith(names)]
    assert ends == ["1", "0", "0", "1"]


def test_many_groups_leave_columns_for_figures(run, path):
    _, lines, _ = run("--ledger", path, "--by", "hour,model,tenant,endpoint", width=80)
    assert max(map(len, lines)) <= 80
    assert {"requests", "completion", "exact"} <= set(line_of(lines, "hour"))


def test_a_pipe_gets_every_column_and_no_colour(path):
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-m", "zeroproxy", "usage", "--ledger", path],
        capture_output=True, text=True, timeout=60, env=environment | {"PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert line_of(done.stdout.splitlines(), "model")[1:] == FIGURES
    assert "\x1b" not in done.stdout


def test_a_screen_that_knows_only_ascii_is_no_failure(path):
    done = subprocess.run(
        [sys.executable, "-m", "zeroproxy", "usage", "--ledger", path],
        capture_output=True, timeout=60, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"12,345,688" in done.stdout


def test_who_stops_reading_is_no_failure(path):
    code = "import sys; sys.argv = ['x', 'usage', '--ledger', {!r}{}]\n".format(path, ", '--csv'")
    code += "import os; r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r)\n"
    code += "from zeroproxy.commands.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_cannot_speak_to_the_terminal(ledger, tmp_path):
    write(ledger, [record(T0, model="\x1b]0;owned\x07[red]x[/b]\n")])
    main, follower = pty.openpty()
    where = str(tmp_path / "usage.sqlite")
    done = subprocess.run(
        [sys.executable, "-m", "zeroproxy", "usage", "--ledger", where, "--model",
         "\x1b]0;owned\x07[red]x[/b]\n"],
        stdout=follower, stderr=follower, timeout=60, env=os.environ | {"COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    with os.fdopen(main, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while part := screen.read(65536):
            shown += part
    assert done.returncode == 0
    assert b"\x1b]0;" not in shown
    assert shown.count(rb"\x1b]0;owned\x07[red]x[/b]\n") == 2


def test_hours_are_in_local_time_with_its_name(run, ledger, tmp_path):
    autumn = int(datetime(2026, 10, 25, tzinfo=UTC).timestamp()) * 10**9
    write(ledger, [record(autumn), record(autumn + HOUR_NS)])
    _, lines, _ = run("--ledger", str(tmp_path / "usage.sqlite"), "--by", "hour")
    assert [line[:21].strip() for line in lines[4:6]] == [
        "2026-10-25 02:00 CEST", "2026-10-25 02:00 CET",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("share", "says"),
    [(None, "–"),
     (0, "0 %"), (1e-9, "< 0.1 %"), (0.5, "50.0 %"), (0.9999, "99.9 %"), (1.0, "100 %")],
)  # fmt: skip
def test_only_what_is_whole_says_so(share, says):
    assert command.percent(share) == says


def test_a_row_without_answers_has_no_time_to_first_token():
    assert command.cells(Sums())["TTFT"].plain == "–"


# ---------------------------------------------------------------- nothing to show


def test_an_empty_ledger_says_so(run, ledger, tmp_path):
    where = str(tmp_path / "usage.sqlite")
    assert run("--ledger", where) == (0, ["no exchanges in the ledger yet"], "")
    status, lines, _ = run("--ledger", where, "--since", "2026-11-01", "--model", "x")
    assert (status, lines) == (0, ["no exchanges since 2026-11-01 00:00 CET, model x"])


def test_a_window_without_exchanges_says_when_the_ledger_begins(run, path):
    _, lines, _ = run("--ledger", path, "--since", "2027-01-01", "--until", "2027-07-01")
    assert lines == [
        "no exchanges since 2027-01-01 00:00 CET until 2027-07-01 00:00 CEST; "
        "the ledger begins at 2026-11-01 10:00 CET"
    ]


# ---------------------------------------------------------------- for programs


def test_json_is_one_object(run, path):
    _, lines, _ = run("--ledger", path, "--by", "tenant,day", "--json", "--until", "2026-11-02")
    found = json.loads("\n".join(lines))
    assert {"since", "until", "by", "rows", "totals"} <= set(found)
    assert found["since"] == "2026-11-01T10:00:00+01:00"
    assert found["until"] == "2026-11-02T00:00:00+01:00"
    assert [(row["tenant"], row["day"]) for row in found["rows"]] == [
        ("", "2026-11-01"), ("acme", "2026-11-01"),
    ]  # fmt: skip
    assert sum(row["total_tokens"] for row in found["rows"]) == found["totals"]["total_tokens"]


def test_csv_ends_its_lines_as_it_should_and_parses_back(capsys, path):
    assert cli.main(["usage", "--ledger", path, "--csv"]) == 0
    text = capsys.readouterr().out
    assert text.count("\r\n") == text.count("\n") == 4
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["model"] for row in rows] == [LONG, "b", ""]
    assert rows[0]["completion_tokens"] == "1234569"


def test_both_forms_at_once_are_refused(path):
    with pytest.raises(SystemExit) as caught:
        cli.main(["usage", "--ledger", path, "--json", "--csv"])
    assert caught.value.code == 2


# ---------------------------------------------------------------- what cannot be done


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "modle"), 'zeroproxy: --by: "modle" is none of model, tenant, endpoint, '),
        (("--since", "yesterday"), 'zeroproxy: --since: "yesterday" is no moment; it can be 24h'),
        (("--until", "2026-31-31"), 'zeroproxy: --until: "2026-31-31" is no moment'),
        (("--since", "1h", "--until", "2h"), "zeroproxy: --until: it must be later than since"),
    ],
)
def test_a_bad_value_is_one_line_and_exit_2(run, path, arguments, says):
    status, lines, errors = run("--ledger", path, *arguments)
    assert (status, lines, errors.count("\n")) == (2, [], 1)
    assert errors.startswith(says)


def test_no_ledger_is_one_line(run, tmp_path):
    status, lines, errors = run("--ledger", str(tmp_path / "no"))
    assert (status, lines) == (1, [])
    assert errors.startswith(f"zeroproxy: {tmp_path}/no: there is no ledger; ")
    status, _, errors = run()
    assert (status, errors) == (
        2, "zeroproxy: usage: -c FILE or --ledger PATH is needed\n",
    )  # fmt: skip


def test_the_ledger_is_that_of_the_configuration(monkeypatch, run, path):
    class Config:
        class metering:
            ledger = path

    monkeypatch.setattr("zeroproxy.config.load.load_config", lambda *_: Config)
    assert run("-c", "x.toml")[1][0].startswith("usage by model")
    assert cli.main(["-c", "x.toml", "usage"]) == 0
    Config.metering.ledger = ""
    status, _, errors = run("-c", "x.toml")
    assert status == 1
    assert "x.toml: no ledger is kept (metering.ledger is empty); --ledger PATH reads" in errors


def test_a_bad_configuration_is_one_line_and_exit_2(run, tmp_path):
    assert run("-c", str(tmp_path / "no.toml"))[::2] == (
        2, f"zeroproxy: {tmp_path}/no.toml: cannot be read: No such file or directory\n",
    )  # fmt: skip


def test_the_error_is_an_error_of_ours():
    assert issubclass(command.QueryError, ZeroproxyError)
