"""deploy/ fits conf/ and the code: what it promises to make, to protect and to wait for."""

import configparser
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zeroproxy.commands.check import check_access
from zeroproxy.commands.check_report import Findings
from zeroproxy.config.load import load_config, parse_config
from zeroproxy.server.systemd_notify import RUNNING

UNIT = Path("deploy/systemd/zeroproxy.service")
YAML = Path("deploy/kubernetes/sidecar.yaml")


@pytest.fixture(scope="module")
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def paths_of(text: str) -> set[str]:
    """Files that a configuration has made, in what is in force and what is commented out."""
    return set(re.findall(r"/(?:run|var)/(?!secrets/)[^\"\s,\]]+", text))


def test_the_unit_makes_every_folder_that_prod_toml_writes_to(unit):
    service = unit["Service"]
    folders = (
        f"/run/{service['RuntimeDirectory']}/",
        f"/var/lib/{service['StateDirectory']}/",
        f"/var/log/{service['LogsDirectory']}/",
    )
    found = paths_of("\n".join(Path("conf/prod.toml").read_text().splitlines()[2:]))
    assert len(found) >= 2
    for path in found:
        assert path.startswith(folders), path


def test_the_unit_waits_for_the_drain_and_tries_again_but_not_a_wrong_file(unit):
    service = unit["Service"]
    server = load_config("conf/prod.toml").server
    assert float(service["TimeoutStopSec"]) > server.drain_settle + server.drain_timeout
    assert service["RestartPreventExitStatus"] == "2"  # of a ConfigError: commands/main.py
    assert float(service["RestartSec"]) >= 1
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert "ExecStartPre" not in service  # it would be tried again for ever, and has no sockets


def test_the_unit_notifies_and_is_watched(unit):
    service = unit["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert float(service["WatchdogSec"]) >= 4 * RUNNING  # twice in that time, and one may be late
    assert service["Restart"] == "on-failure"  # which a watchdog is


def test_the_socket_has_the_name_that_its_configuration_would_take():
    text = Path("deploy/systemd/zeroproxy.socket").read_text()
    name = re.search(r"^FileDescriptorName=(\w+)$", text, re.M)[1]
    assert f'listen = "systemd:{name}"' in text
    assert f'listen = "systemd:{name}"' in Path("docs/operating.md").read_text()
    assert "Backlog=4096" in text  # server/listener.py


@pytest.fixture(scope="module")
def manifest():
    return YAML.read_text()


@pytest.fixture
def sidecar(manifest, tmp_path):
    """The configuration inside of the manifest, with its secret."""
    found = re.search(r"zeroproxy\.toml: \|\n((?:    .*\n)+)", manifest)
    (tmp_path / "token").write_text("x" * 64)
    text = textwrap.dedent(found[1])
    return parse_config(text.replace("/run/secrets/zeroproxy/admin-token", f"{tmp_path}/token"))


def test_the_sidecar_asks_who_reaches_its_admin_for_a_token(sidecar):
    found = Findings()
    check_access(found, sidecar)
    states = {what: state for what, state, _ in found.rows}
    assert (states["admin.token"], found.errors) == ("ok", 0)


def test_the_sidecar_settles_and_is_given_time_to_drain(sidecar, manifest):
    grace = int(re.search(r"terminationGracePeriodSeconds: (\d+)", manifest)[1])
    assert sidecar.server.drain_settle >= 5  # what kube-proxy needs on every node
    assert grace > sidecar.server.drain_settle + sidecar.server.drain_timeout


@pytest.fixture
def parts(manifest):
    """Text of the sidecar and of the engine."""
    return re.search(r"  initContainers:\n(.*)\n  containers:\n(.*)\n  volumes:", manifest, re.S)


def test_the_sidecar_is_native_and_its_hooks_let_it_drain_before_the_engine_ends(parts):
    """Hooks run at once, a sidecar's SIGTERM comes after the other containers' end."""
    proxy, engine = parts.groups()
    assert "    - name: zeroproxy\n      restartPolicy: Always\n" in proxy
    assert 'exec: { command: ["sh", "-c", "kill -TERM 1"] }' in proxy
    program = re.search(r'python3 -c "(.*?[^\\])"', engine)[1].replace('\\"', '"')
    with socket.create_server(("127.0.0.1", 0)) as admin:
        waits = program.replace("9090", str(admin.getsockname()[1]))
        assert subprocess.run([sys.executable, "-c", waits], check=False).returncode == 0
    ended = subprocess.run([sys.executable, "-c", waits], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"ConnectionRefusedError" in ended.stderr


def test_the_probes_of_the_sidecar_ask_what_needs_no_token(parts):
    found = re.findall(r"(\w+Probe):\n +httpGet: \{ path: (\S+), port: admin \}", parts[1])
    assert found == [
        ("startupProbe", "/healthz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/healthz"),
    ]  # fmt: skip


def test_what_the_sidecar_mounts_is_what_its_configuration_names(manifest):
    mounts = re.findall(r"mountPath: ([^ ,}]+)", manifest)
    for path in [*re.findall(r"= \"(/[^\"]+)\"", manifest), "/etc/zeroproxy/zeroproxy.toml"]:
        assert str(Path(path).parent) in mounts, path
