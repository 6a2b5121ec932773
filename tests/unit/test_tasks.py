"""The end of tasks: zeroproxy/tasks.py."""

import asyncio

import pytest

from zeroproxy.tasks import cancel, within


class Stubborn:
    """Tasks that take until `may_end` to clean up, and the order in which they began to."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.ended: list[str] = []
        self.may_end = asyncio.Event()

    async def run(self, name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.append(name)
            await self.may_end.wait()
            self.ended.append(name)

    async def begun(self, *names: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.ensure_future(self.run(name)) for name in names]
        await asyncio.sleep(0)
        return tasks


async def test_all_are_cancelled_before_the_first_is_waited_for():
    stubborn = Stubborn()
    one, two = await stubborn.begun("one", "two")
    stopping = asyncio.ensure_future(cancel(one, None, two))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (stubborn.cancelled, stubborn.ended) == (["one", "two"], [])
    stubborn.may_end.set()
    await stopping
    assert stubborn.ended == ["one", "two"]
    assert one.cancelled()
    assert two.cancelled()


async def test_a_task_that_has_failed_keeps_no_other_from_its_end():
    async def fails() -> None:
        raise RuntimeError("x")

    stubborn = Stubborn()
    stubborn.may_end.set()
    failed = asyncio.ensure_future(fails())
    (other,) = await stubborn.begun("other")
    await cancel(None, failed, other)
    assert stubborn.ended == ["other"]
    assert str(failed.exception()) == "x"


async def test_a_task_that_waits_for_an_end_can_be_cancelled_itself():
    stubborn = Stubborn()
    (stuck,) = await stubborn.begun("stuck")
    stopping = asyncio.ensure_future(cancel(stuck))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert stubborn.ended == []
    stubborn.may_end.set()
    await asyncio.wait({stuck})


async def test_work_that_takes_too_long_is_left_behind_with_its_clean_up():
    stubborn = Stubborn()
    with pytest.raises(TimeoutError):
        await within(0.001, stubborn.run("late"))
    await asyncio.sleep(0)
    assert (stubborn.cancelled, stubborn.ended) == (["late"], [])
    stubborn.may_end.set()
    while not stubborn.ended:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert stubborn.ended == ["late"]
