"""Commands whose standard streams are closed, full, or a pipe that nobody reads; and where options
may stand."""

import os
import signal
import subprocess
import sys

import pytest

from tests.unit.test_cli import GOOD, OFF, run_cli
from zeroproxy.loadtest.options import read_settings

QUICK = [("check", "-c", "{}"), ("version",), ("key",), ("--help",), ("usage", "--help")]
NAMES = [" ".join(command[:2]) for command in QUICK]


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "x.toml"
    found.write_text(OFF + GOOD + f'[metering]\nledger = "{tmp_path}/u.sqlite"\n')
    return str(found)


def run_shell(command: tuple[str, ...], path: str, redirect: str) -> subprocess.CompletedProcess:
    words = " ".join(word.format(path) for word in command)
    return subprocess.run(
        ["sh", "-c", f"{sys.executable} -m zeroproxy {words} {redirect}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("command", QUICK, ids=NAMES)
@pytest.mark.parametrize(
    ("redirect", "says"),
    [
        ("> /dev/full", "standard output cannot be written: No space left on device"),
        (">&-", "standard output is closed"),
        ("<&- >&-", "standard output is closed"),
    ],
)
def test_output_that_cannot_be_written_is_a_sentence_and_exit_1(command, redirect, says, path):
    done = run_shell(command, path, redirect)
    assert (done.returncode, done.stderr) == (1, f"zeroproxy: {says}\n")


@pytest.mark.parametrize("command", QUICK, ids=NAMES)
def test_a_pipe_whose_reader_has_left_is_no_failure(command, path):
    reader, writer = os.pipe()
    os.close(reader)
    words = [word.format(path) for word in command]
    done = subprocess.run([sys.executable, "-m", "zeroproxy", *words], stdout=writer,
                          stderr=subprocess.PIPE, timeout=60)  # fmt: skip
    os.close(writer)
    # A key has only stderr to be shown on.
    shown = b"\nthe key, shown this once: zp-" if command == ("key",) else b""
    assert done.returncode == 0
    assert done.stderr.startswith(shown)
    assert bool(done.stderr) == bool(shown)


def test_the_exit_status_of_check_outlives_the_reader_of_its_output(path, tmp_path):
    done = run_shell(("check", "-c", "{}"), path, "; :")
    assert done.returncode == 0
    (tmp_path / "u.sqlite").write_text("no ledger")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", "zeroproxy", "check", "-c", path], stdout=writer,
                          stderr=subprocess.PIPE, timeout=60)  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, b"")


def test_a_closed_stderr_leaves_the_exit_status(path):
    assert run_shell(("check", "-c", "/no/such.toml"), path, "2>&-").returncode == 2
    assert run_shell(("check", "-c", "/no/such.toml"), path, "2> /dev/full").returncode == 2


@pytest.mark.parametrize("redirect", [">&-", "<&- >&- 2>&-", "> /dev/full"])
def test_a_simulator_without_output_ends_with_exit_1(redirect, path):
    assert run_shell(("sim", "--listen", "127.0.0.1:0"), path, redirect).returncode == 1


# ---------------------------------------------------------------- where options may stand


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "{}", "check"), ("check", "-c", "{}"), ("--config", "{}", "check"),
        ("-c", "/no/such.toml", "check", "-c", "{}"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_configuration_may_stand_before_or_behind_the_command(arguments, path):
    done = run_cli(*(word.format(path) for word in arguments))
    assert (done.returncode, done.stderr) == (0, "")
    assert "would listen on 127.0.0.1:0" in done.stdout


def test_run_takes_the_configuration_before_it_too(tmp_path):
    done = run_cli("-c", "no/such.toml", "run")
    assert (done.returncode, done.stderr) == (
        2, "zeroproxy: no/such.toml: cannot be read: No such file or directory\n",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["sim", "version", "key", "demo"])
def test_a_configuration_that_a_command_would_not_read_is_refused(command, path):
    done = run_cli("-c", path, command)
    assert done.returncode == 2
    assert f"-c FILE is not for {command}" in done.stderr


def test_bench_takes_the_short_options_of_its_like():
    import argparse

    from zeroproxy.loadtest.options import add_arguments

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["-u", "http://127.0.0.1:8000", "-c", "1,64", "-n", "500", "-d", "3"]
    settings = read_settings(parser.parse_args(words))
    assert (settings.concurrency, settings.requests, settings.seconds) == ((1, 64), 500, 3.0)
    done = run_cli("bench", "-c", "0", "-u", "http://127.0.0.1:8000")
    assert (done.returncode, done.stderr) == (2, "zeroproxy bench: --concurrency 0: at least 1\n")


# ---------------------------------------------------------------- exit 2 for options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--name", "a b"), '--name: letters, digits, ".", "_" and "-", at most 64'),
        (("--tenant", "x" * 65), '--tenant: letters, digits, ".", "_" and "-", at most 64'),
        (("--rpm", "-1"), "--rpm: 0 (no limit) or more"),
        (("--tpm", "-1"), "--tpm: 0 (no limit) or more"),
        (("--model", ""), "--model: expected `str` of length >= 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_options_that_no_key_could_have_are_exit_2(options, says):
    done = run_cli("key", *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"zeroproxy: {says}\n")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:80000", "127.0.0.1:-1", "127.0.0.1:", "8000", "unix:", "::1:80", "a b:1",
     "127.0.0.1:٨٠"],
)  # fmt: skip
def test_the_simulator_listens_on_ports_that_exist_only(address):
    done = run_cli("sim", "--listen", address)
    assert done.returncode == 2
    assert done.stderr == (
        f"zeroproxy sim: --listen {address}: want HOST:PORT (port 0 to 65535) or unix:PATH\n"
    )


def test_a_taken_port_of_the_simulator_is_said_once():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_cli("sim", "--listen", address)
    assert (done.returncode, done.stderr) == (
        1, f"zeroproxy sim: cannot listen on {address}: Address already in use\n",
    )  # fmt: skip


def test_the_simulator_still_runs_and_ends_well():
    with subprocess.Popen(
        [sys.executable, "-m", "zeroproxy", "sim", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout.readline().startswith("simulator listens on http://127.0.0.1:")
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
