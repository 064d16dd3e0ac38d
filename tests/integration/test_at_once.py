"""Single calls that leave in the breath in which they are kept: none is lost, whoever ends when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from builders import FLOW_ID, SECURITY_ID, make_batch, make_run
from scripted import NOON, OK, QUICK, Script, answers, counts, dispatcher, until

from phonon_bulk.batch import Head, State
from phonon_bulk.dispatch import Dispatcher, Manner
from phonon_bulk.errors import JournalError, RunError
from phonon_bulk.journal import Admitted, Kind, Moment, NewOrder
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.response import Answer
from phonon_bulk.schedule import Ask, Limits

STAYS = Manner(waits_for_list=False, stays=True, gathers=True)
ENDS = Manner(waits_for_list=False, gathers=True)


@pytest.fixture
async def run(journal: SqliteJournal) -> int:
    """Return a run that takes single calls."""
    return (await journal.open_run(make_run(kind=Kind.INTAKE), NOON)).run


def order(run: int, *rows: int) -> NewOrder:
    """Return an order of the calls of some rows."""
    return NewOrder(f"order {rows}", run, make_batch(rows), None, b"r" * 32)


def sender(journal: SqliteJournal, run: int, script: Script, manner: Manner = STAYS) -> Dispatcher:
    """Return what sends single calls to a script, without a limit."""
    ask = Ask("default", "bulk", journal.owner, run, 1.0, Limits(), headroom=0.5, ramp=0.0)
    return dispatcher(
        journal, run, script, QUICK, manner=manner, ask=ask, clock=lambda: now(journal)
    )


def now(journal: SqliteJournal) -> Moment:
    """Return this moment, at noon of the day of the calls."""
    return Moment(NOON, journal.now().steady)


@asynccontextmanager
async def at_work(one: Dispatcher, stop: asyncio.Event) -> AsyncIterator["asyncio.Task[Any]"]:
    """Have a dispatcher at work within the block, and see that it ends."""
    life = asyncio.create_task(one.run(stop))
    async with asyncio.timeout(20):
        while one._group is None:  # noqa: ASYNC110 - it sets no event, and may end soon
            await asyncio.sleep(0)
    try:
        yield life
    finally:
        stop.set()
        await asyncio.wait_for(life, 20)


class Held:
    """Keeps back what `Journal.admit` returns until it is let go."""

    def __init__(self, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept, self.go = asyncio.Event(), asyncio.Event()
        real = journal.admit

        async def admit(*arguments: Any) -> Admitted:
            admitted = await real(*arguments)
            self.kept.set()
            await self.go.wait()
            return admitted

        monkeypatch.setattr(journal, "admit", admit)


@pytest.fixture
def held(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Keep back what is admitted."""
    return Held(journal, monkeypatch)


async def test_it_is_on_its_way_when_it_is_kept(journal: SqliteJournal, run: int) -> None:
    """And settled before its run ends."""
    script, stop = Script(answers()), asyncio.Event()
    one = sender(journal, run, script)
    async with at_work(one, stop):
        admitted = await one.admit(order(run, 1))
        assert admitted.claim is not None
    assert len(script.bodies) == 1
    assert counts(journal, run).calls == {State.ACCEPTED: 1}


async def test_a_run_that_has_nothing_left_waits_for_it(
    journal: SqliteJournal, run: int, held: Held
) -> None:
    """It was marked as sending for this one, which must not end without posting it."""
    script = Script(answers())
    one = sender(journal, run, script, ENDS)
    async with at_work(one, asyncio.Event()) as life:
        admitting = asyncio.create_task(one.admit(order(run, 1)))
        await held.kept.wait()
        await asyncio.sleep(0.3)  # longer than it takes to find that nothing is left
        assert not life.done()
        held.go.set()
        await admitting
        await asyncio.wait_for(life, 20)
    assert counts(journal, run).calls == {State.ACCEPTED: 1}


async def test_told_to_stop_meanwhile_it_is_given_back(
    journal: SqliteJournal, run: int, held: Held
) -> None:
    """Not a byte has left: it is ready for whoever comes next, and not in doubt."""
    script, stop = Script(answers()), asyncio.Event()
    one = sender(journal, run, script)
    async with at_work(one, stop):
        admitting = asyncio.create_task(one.admit(order(run, 1)))
        await held.kept.wait()
        stop.set()
        await asyncio.sleep(0.02)
        held.go.set()
        assert (await admitting).is_new
    assert script.bodies == []
    assert counts(journal, run).calls == {State.READY: 1}


async def test_a_client_that_hangs_up_changes_nothing(
    journal: SqliteJournal, run: int, held: Held
) -> None:
    """What is in the journal as sending is sent."""
    script = Script(answers())
    one = sender(journal, run, script)
    async with at_work(one, asyncio.Event()):
        admitting = asyncio.create_task(one.admit(order(run, 1)))
        await held.kept.wait()
        admitting.cancel()
        await asyncio.wait([admitting])
        held.go.set()
        await until(lambda: len(script.bodies) == 1)
    assert counts(journal, run).calls == {State.ACCEPTED: 1}


async def test_what_can_not_be_kept_is_told_to_whoever_waits(
    journal: SqliteJournal, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends nothing else."""
    script = Script(answers())
    one = sender(journal, run, script)
    async with at_work(one, asyncio.Event()):
        await journal.finish_reading(run, NOON)
        with pytest.raises(RunError):
            await one.admit(order(run, 1))

        async def fails(*_: Any) -> Admitted:
            raise JournalError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(journal, "admit", fails)
            with pytest.raises(JournalError):
                await one.admit(order(run, 1))


async def test_cut_off_while_it_is_kept(journal: SqliteJournal, run: int, held: Held) -> None:
    """Nobody waits for ever; what may be marked as sending is in doubt once the process ended."""
    one = sender(journal, run, Script(answers()))
    life = asyncio.create_task(one.run(asyncio.Event()))
    await until(lambda: one._group is not None)
    admitting = asyncio.create_task(one.admit(order(run, 1)))
    await held.kept.wait()
    life.cancel()
    await asyncio.wait([life, admitting], timeout=10)
    assert admitting.cancelled()
    assert counts(journal, run).calls == {State.SENDING: 1}


async def test_the_second_run_of_a_day_sends_other_bytes(journal: SqliteJournal) -> None:
    """Of another variant than those of the run that was taken back."""
    new = make_run(kind=Kind.INTAKE)
    await journal.open_run(new, NOON)
    run = (await journal.open_run(new, NOON, again=True)).run
    script = Script(answers())
    one = sender(journal, run, script)
    async with at_work(one, asyncio.Event()):
        admitted = await one.admit(order(run, 1))
    assert admitted.claim is not None
    assert script.bodies[0].startswith(Head(SECURITY_ID, FLOW_ID).before_calls(1))


async def test_what_it_took_begins_with_its_slot(
    journal: SqliteJournal, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that its slot is waited for is no time that the provider took."""
    seen: list[float] = []

    async def say(_number: int, _body: bytes) -> Answer:
        await asyncio.sleep(0)
        return OK

    one = sender(journal, run, Script(say))
    monkeypatch.setattr(one._aftermath, "_observe", lambda posted: seen.append(posted.seconds))
    real = journal.admit

    async def later(*arguments: Any) -> Admitted:
        admitted = await real(*arguments)
        object.__setattr__(admitted, "slot", journal.now().steady + 0.2)
        return admitted

    monkeypatch.setattr(journal, "admit", later)
    async with at_work(one, asyncio.Event()):
        await one.admit(order(run, 1))
    assert len(seen) == 1
    assert seen[0] < 0.1
