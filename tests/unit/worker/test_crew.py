"""Named tasks that are watched."""

import asyncio

import pytest
from structlog.testing import capture_logs

from phonon_bulk.errors import JournalError, JournalUnusable
from phonon_bulk.worker.crew import Crew


async def lasts(crew: Crew, seen: list[str]) -> None:
    """Work until the end, then note that it was seen."""
    await crew.end.wait()
    await asyncio.sleep(0)
    seen.append("ended")


async def test_told_to_end_all_end() -> None:
    """And there is nothing to complain of."""
    crew, seen = Crew(), list[str]()
    for name in ("one", "other"):
        crew.start(name, lasts(crew, seen))
    asyncio.get_running_loop().call_soon(crew.end.set)
    await crew.watch(5)
    assert (seen, crew.died) == (["ended", "ended"], [])


async def test_one_that_dies_ends_all() -> None:
    """The others end what they are at; its error is what all ended for."""

    async def dies() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    crew, seen = Crew(), list[str]()
    crew.start("well", lasts(crew, seen))
    crew.start("ill", dies())
    with pytest.raises(ZeroDivisionError):
        await crew.watch(5)
    assert (seen, crew.died) == (["ended"], ["ill"])


async def test_one_that_says_what_is_wrong_has_not_died() -> None:
    """A journal that can't be used at the start is told by whoever started all."""

    async def finds_out() -> None:
        raise JournalUnusable("it is a folder")

    crew, seen = Crew(), list[str]()
    crew.start("well", lasts(crew, seen))
    crew.start("open", finds_out())
    with capture_logs() as logged, pytest.raises(JournalUnusable):
        await crew.watch(5)
    assert (seen, crew.died, logged) == (["ended"], [], [])


async def test_one_that_ends_by_itself_has_died() -> None:
    """Half a worker is worse than none."""

    async def ends() -> None:
        await asyncio.sleep(0)

    crew, seen = Crew(), list[str]()
    crew.start("well", lasts(crew, seen))
    crew.start("gone", ends())
    with pytest.raises(RuntimeError, match="the task gone ended by itself"):
        await crew.watch(5)
    assert (seen, crew.died) == (["ended"], ["gone"])


async def test_one_that_need_not_last() -> None:
    """Such as that of a run, may end before the others."""

    async def ends() -> None:
        await asyncio.sleep(0)

    crew, seen = Crew(), list[str]()
    crew.start("well", lasts(crew, seen))
    crew.start("run 1", ends(), lasting=False)
    await asyncio.sleep(0.01)
    assert not crew.end.is_set()
    crew.end.set()
    await crew.watch(5)


async def test_a_journal_that_fails_is_no_fault() -> None:
    """It ends all, and is raised as what it is; of several the first."""

    async def fails(what: str) -> None:
        await asyncio.sleep(0)
        raise JournalError(what)

    crew, seen = Crew(), list[str]()
    crew.start("well", lasts(crew, seen))
    crew.start("one", fails("first"))
    crew.start("other", fails("second"))
    with pytest.raises(JournalError, match="first"):
        await crew.watch(5)
    assert crew.died == []


async def test_a_fault_counts_more_than_a_journal_that_fails() -> None:
    """The process must end, not go on with another journal."""

    async def dies() -> None:
        await crew.end.wait()
        raise ZeroDivisionError

    crew = Crew()
    crew.start("ill", dies())
    crew.fail(JournalError("away"))
    with pytest.raises(ZeroDivisionError):
        await crew.watch(5)


async def test_one_that_was_cancelled_has_died() -> None:
    """Nobody in here cancels a task of a crew, and it does its work no more."""
    crew, seen = Crew(), list[str]()
    crew.start("well", lasts(crew, seen))
    crew.start("gone", lasts(crew, seen))
    await asyncio.sleep(0)
    next(task for task in crew._tasks if task.get_name() == "gone").cancel()
    with pytest.raises(RuntimeError, match="the task gone ended by itself"):
        await crew.watch(5)
    assert (seen, crew.died) == (["ended"], ["gone"])


async def test_what_one_starts_while_it_ends_is_waited_for() -> None:
    """Else it would work on with what is closed after all have ended."""
    crew, seen = Crew(), list[str]()

    async def starts() -> None:
        await crew.end.wait()
        crew.start("late", lasts(crew, seen), lasting=False)

    crew.start("early", starts())
    asyncio.get_running_loop().call_soon(crew.end.set)
    await crew.watch(5)
    assert seen == ["ended"]


async def test_one_that_does_not_end_is_cut_off() -> None:
    """After the patience is over."""

    async def hangs() -> None:
        await asyncio.Event().wait()

    crew = Crew()
    crew.start("hanging", hangs())
    crew.end.set()
    await asyncio.wait_for(crew.watch(0.01), 5)
