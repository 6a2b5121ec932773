"""A reload changes all or nothing, whichever allocation fails."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.support import scarce
from tests.support.script import play, post
from tests.support.settings import endpoint, routes, settings


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A shared object that makes allocations of ours fail."""
    compiler = shutil.which("cc")
    if compiler is None or "LD_PRELOAD" in os.environ:
        pytest.skip("needs a C compiler, and an allocator that nobody else has replaced")
    made = tmp_path_factory.mktemp("shim") / "failing_malloc.so"
    source = scarce.__file__.replace("scarce.py", "failing_malloc.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", made, source], check=True)
    return str(made)


# How many allocations each makes at least: fewer, and the shim does not see them.
@pytest.mark.parametrize(
    ("name", "least"),
    [("reload", 20), ("set_keys", 10), ("add_upstream", 8), ("add_endpoint", 5), ("set_routes", 3),
     ("set_upstream", 2), ("set_surfaces", 9), ("set_models", 1), ("set_pool", 2),
      ("set_endpoint", 2), ("remove_endpoint", 1), ("set_limits", 2), ("set_switches", 2),
      ("set_keepalive", 1), ("set_cors", 5)],
)  # fmt: skip
def test_whichever_allocation_fails_the_old_is_whole(shim, name, least):
    """P1: a reload was put in force by half, and what it had allocated was lost."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.scarce", name],
        env={**os.environ, "LD_PRELOAD": shim}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found, leaked = map(int, ended.stdout.split())
    assert found >= least
    assert leaked == 0


def test_a_change_that_is_given_up_leaves_no_trace():
    with play() as script:
        before = script.engine.snapshot()
        with pytest.raises(ZeroDivisionError), script.engine.change() as change:
            change.set_upstream(0, settings=settings(max_inflight=3))
            change.add_endpoint(0, settings=endpoint(9))
            change.set_keys([])
            raise ZeroDivisionError
        assert script.engine.snapshot() == before
        # The slot that was made is free again.
        assert script.engine.add_endpoint(0, settings=endpoint(8)) == 1


def test_a_model_that_is_no_text_is_refused_whole():
    """It raised in the middle, and lost the table."""
    with play() as script:
        script.engine.set_routes(routes(("a", 0)), default=None)
        with pytest.raises(UnicodeEncodeError):
            script.engine.set_routes(routes(("b", 0), ("\ud800", 0)), default=0)
        d = script.downstream()
        d.send(post(body=b'{"model":"b"}', extra=b"Content-Type: application/json\r\n"))
        assert d.receive().startswith(b"HTTP/1.1 404 ")
