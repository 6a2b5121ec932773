"""A wait that fails names its condition."""

import pytest

from tests.support.until import until


async def test_a_condition_that_comes_true_is_waited_for():
    seen = []
    await until(lambda: seen.append(1) or len(seen) == 3)
    assert len(seen) == 3


async def test_the_failure_has_the_condition_and_its_values():
    received = ["one"]
    with pytest.raises(AssertionError) as failed:
        await until(lambda: "two" in received, seconds=0)
    assert '"two" in received' in str(failed.value)
    assert "received = ['one']" in str(failed.value)
