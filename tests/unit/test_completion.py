"""Proposals for misspelt commands, and the script that completes them in a shell."""

import subprocess

import pytest

from tests.unit.test_cli import run_cli


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(("chek",), "check"), (("ussage",), "usage"), (("check", "--ofline"), "--offline"),
     (("usage", "--sinse", "1h"), "--since"), (("--verzion",), "--version")],
)  # fmt: skip
def test_the_nearest_command_or_option_is_proposed(arguments, nearest):
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith(f"; did you mean {nearest}?\n")


def test_nothing_is_proposed_for_what_is_like_nothing():
    assert "did you mean" not in run_cli("xyzzy").stderr


def test_a_shell_completes_commands_options_and_files(tmp_path):
    script = tmp_path / "complete"
    done = run_cli("completion", "bash")
    assert (done.returncode, done.stderr) == (0, "")
    script.write_text(done.stdout)

    def complete(*words):
        line = " ".join(f"'{word}'" for word in words)
        code = (f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
                "f=$(complete -p zeroproxy | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f zeroproxy; "
                "printf '%s\\n' \"${COMPREPLY[@]}\"")  # fmt: skip
        ran = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=tmp_path)
        return ran.stdout.split()

    assert complete("zeroproxy", "st") == ["status"]
    assert "--offline" in complete("zeroproxy", "check", "--")
    assert "--endpoint" in complete("zeroproxy", "drain", "--e")
