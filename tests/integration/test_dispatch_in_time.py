"""The dispatcher and time: clocks that jump, ends that come, damage and repeats found late."""

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from builders import make_batch
from scripted import (
    NOON,
    OK,
    QUICK,
    REPLAYING,
    Script,
    answers,
    at,
    counts,
    dispatcher,
    opened,
    sent,
    ten_batches,
    until,
)

from phonon_bulk.batch import State
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.journal import Moment, NextWork
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.response import Answer, Verdict

HOUR = 3600.0


class Clocks:
    """Both clocks: a steady one that goes on with every look, and a wall clock that jumps."""

    def __init__(self) -> None:
        """Begin at noon."""
        self.steady = NOON
        self.off = 0.0

    def __call__(self) -> Moment:
        """Return the moment, a second after the last look."""
        self.steady += 1.0
        return Moment(self.steady + self.off, self.steady)


@pytest.mark.parametrize("jump", [-5 * HOUR, -HOUR, HOUR, 5 * HOUR])
async def test_the_wall_clock_jumps_under_way(journal: SqliteJournal, jump: float) -> None:
    """Set by hours in either direction: what was sure stays sure, and nothing hangs.

    Set back, a doubt is replayed as if nothing had been. Set forward, its age can't be known (the
    machine may have been stopped), so it waits for a person.
    """
    run = await opened(journal, *ten_batches())
    clocks = Clocks()

    seen: set[bytes] = set()

    async def say(number: int, body: bytes) -> Answer:
        await asyncio.sleep(0)
        if body in seen:
            return Answer(Verdict.REPEATED, "Checksum Repeated")
        seen.add(body)
        if number == 4:
            clocks.off = jump
            return Answer(Verdict.LOST, "no answer")
        return OK

    pace = replace(REPLAYING, workers=1, replay_within=HOUR / 2)
    outcome, script, books = await sent(journal, run, say, pace, clock=clocks)
    assert outcome == Outcome(Ending.FINISHED)
    if jump < 0:
        assert books.batches == {State.ACCEPTED: 10}
        assert len(script.bodies) == 11
    else:
        assert books.batches == {State.ACCEPTED: 9, State.IN_DOUBT: 1}
        assert len(script.bodies) == 10
    assert len(set(script.bodies)) == 10


async def test_back_and_forth(journal: SqliteJournal) -> None:
    """A clock that swings by hours with every request loses nothing and doubles nothing."""
    run = await opened(journal, *ten_batches())
    clocks = Clocks()

    async def say(number: int, _body: bytes) -> Answer:
        await asyncio.sleep(0)
        clocks.off = (-3 * HOUR, 2 * HOUR, 0.0)[number % 3]
        return OK

    outcome, script, books = await sent(journal, run, say, clock=clocks)
    assert outcome == Outcome(Ending.FINISHED)
    assert books.batches == {State.ACCEPTED: 10}
    assert len(set(script.bodies)) == len(script.bodies) == 10


async def test_no_lease_is_lost_to_the_wall_clock(journal: SqliteJournal) -> None:
    """A second process that begins after the clock was set forward takes nothing from the first."""
    run = await opened(journal, *ten_batches())
    clocks = Clocks()
    taken: list[tuple[int, int]] = []

    async def say(number: int, _body: bytes) -> Answer:
        if number == 0:
            clocks.off = 5 * HOUR
            taken.append(await journal.recover(clocks()))
        return OK

    await sent(journal, run, say, clock=clocks)
    assert taken == [(0, 0)]
    assert counts(journal, run).batches == {State.ACCEPTED: 10}


async def test_not_after(journal: SqliteJournal) -> None:
    """What was not sent by the campaign's end expires, with the reason; what was, was."""
    run = await opened(journal, *ten_batches())
    clocks = Clocks()

    async def say(number: int, _body: bytes) -> Answer:
        await asyncio.sleep(0)
        if number == 2:
            clocks.steady = NOON + HOUR
        return OK

    pace = replace(QUICK, workers=1)
    outcome, script, books = await sent(
        journal, run, say, pace, clock=clocks, not_after=NOON + HOUR
    )
    assert outcome == Outcome(Ending.FINISHED)
    assert len(script.bodies) == 3
    assert books.batches == {State.ACCEPTED: 3, State.EXPIRED: 7}
    with SqliteBooks(journal.path) as opened_books:
        assert "not_after" in opened_books.reasons(run, 1)[0][1]


async def test_not_after_comes_while_the_endpoint_rests(journal: SqliteJournal) -> None:
    """A long Retry-After does not keep a run waiting beyond its end."""
    run = await opened(journal, *ten_batches())
    loop = asyncio.get_running_loop()
    began = loop.time()
    throttled = Answer(Verdict.THROTTLED, "HTTP 429", retry_after=3000.0)
    outcome, script, books = await sent(
        journal,
        run,
        answers(then=throttled),
        replace(QUICK, workers=2),
        clock=lambda: at(NOON + loop.time() - began),
        not_after=NOON + 0.3,
    )
    assert outcome == Outcome(Ending.FINISHED)
    assert len(script.bodies) <= 2
    assert books.batches == {State.EXPIRED: 10}


async def test_no_doubt_is_replayed_after_the_end(journal: SqliteJournal) -> None:
    """A replay may place the calls, so after the campaign's end a doubt waits for a person."""
    run = await opened(journal, make_batch([1, 2]))
    clocks = Clocks()

    async def say(_number: int, _body: bytes) -> Answer:
        clocks.steady = NOON + HOUR
        return Answer(Verdict.LOST, "no answer")

    pace = replace(REPLAYING, replay_within=10 * HOUR)
    _, script, books = await sent(journal, run, say, pace, clock=clocks, not_after=NOON + HOUR)
    assert len(script.bodies) == 1
    assert books.batches == {State.IN_DOUBT: 1}


async def test_held_back_is_no_trouble_of_the_endpoint(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request that this process kept back is sent later, and nobody says the endpoint rests."""
    run = await opened(journal, make_batch([1]))
    held = Answer(Verdict.HELD_BACK, "it could no longer be sent when its turn came")

    async def say(number: int, _body: bytes) -> Answer:
        await asyncio.sleep(0)
        return OK if number else held

    _, script, books = await sent(journal, run, say)
    assert len(script.bodies) == 2
    assert books.batches == {State.ACCEPTED: 1}
    assert "endpoint.resting" not in capsys.readouterr().out


def damage(journal: SqliteJournal, batch: int) -> None:
    """Overwrite a frozen body in the file."""
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("UPDATE body SET calls = zeroblob(50) WHERE batch = ?", [batch])
    connection.close()


async def test_a_damaged_body_costs_its_batch(journal: SqliteJournal) -> None:
    """It is refused unsent, with the reason, and the others are sent."""
    run = await opened(journal, *ten_batches())
    damage(journal, 4)
    outcome, script, books = await sent(journal, run, answers())
    assert outcome == Outcome(Ending.FINISHED)
    assert len(script.bodies) == 9
    assert books.batches == {State.ACCEPTED: 9, State.REFUSED: 1}
    with SqliteBooks(journal.path) as opened_books:
        assert "can't be read" in opened_books.reasons(run, 1)[0][1]


async def test_damaged_rows_cost_their_batch(journal: SqliteJournal) -> None:
    """A batch whose row numbers can't be read could not be split, so it is not sent either."""
    run = await opened(journal, make_batch([1, 3]), make_batch([4, 5]), read=False)
    connection = sqlite3.connect(journal.path, isolation_level=None)
    connection.execute("UPDATE body SET rows = zeroblob(20) WHERE batch = 1")
    connection.close()
    await journal.finish_reading(run, NOON)
    _, script, books = await sent(journal, run, answers())
    assert len(script.bodies) == 1
    assert books.batches == {State.ACCEPTED: 1, State.REFUSED: 1}
    with SqliteBooks(journal.path) as opened_books:
        assert [list(batch.rows) for batch in opened_books.batches(run)] == [[1, 1], [4, 5]]


async def test_a_repeat_of_what_was_split(journal: SqliteJournal) -> None:
    """Its calls are looked at in the same parts: what was placed is not sent, the rest is."""
    first = await opened(journal, make_batch([1, 2]))

    async def say(_number: int, body: bytes) -> Answer:
        bad = b"ACC0000002" in body
        return Answer(Verdict.BAD_DATA, "Invalid Contact Number", code=205) if bad else OK

    await sent(journal, first, say)
    second = await opened(journal, make_batch([1, 2]))
    _, script, books = await sent(journal, second, say)
    assert [b"ACC0000002" in body for body in script.bodies] == [True]
    assert books.calls == {State.SPLIT: 2, State.REFUSED: 2}


async def test_a_damaged_doubt_waits_for_a_person(journal: SqliteJournal) -> None:
    """What may have been taken and can't be sent again stays in doubt, and ends the run's wait."""
    run = await opened(journal, make_batch([1, 2]))

    async def say(_number: int, _body: bytes) -> Answer:
        damage(journal, 1)
        return Answer(Verdict.LOST, "no answer")

    pace = replace(REPLAYING, replay_within=HOUR)
    _, script, books = await sent(journal, run, say, pace, clock=Clocks())
    assert len(script.bodies) == 1
    assert books.batches == {State.IN_DOUBT: 1}


async def test_a_repeat_is_not_sent(journal: SqliteJournal) -> None:
    """A batch whose bytes another run has sent is refused before it is posted."""
    first = await opened(journal, make_batch([1, 2]))
    await sent(journal, first, answers())
    second = await opened(journal, make_batch([1, 2]), make_batch([3, 4]))
    _, script, books = await sent(journal, second, answers())
    assert len(script.bodies) == 1
    assert books.batches == {State.REFUSED: 1, State.ACCEPTED: 1}
    with SqliteBooks(journal.path) as opened_books:
        assert f"repeats run {first}" in opened_books.reasons(second, 1)[0][1]


async def test_a_repeat_that_proves_nothing(journal: SqliteJournal) -> None:
    """After a no to the same bytes, Checksum Repeated leaves the doubt to a person, once."""
    run = await opened(journal, make_batch([1, 2]))
    say = answers(Verdict.THROTTLED, Verdict.LOST, then=Answer(Verdict.REPEATED, "Repeated"))
    pace = replace(REPLAYING, replay_within=HOUR)
    _, script, books = await sent(journal, run, say, pace, clock=Clocks())
    assert len(script.bodies) == 3
    assert books.batches == {State.IN_DOUBT: 1}


async def test_a_replay_that_ends_while_the_feeder_looks(journal: SqliteJournal) -> None:
    """A doubt that was out when the feeder asked, and is back when it hears, is not forgotten."""
    run = await opened(journal, make_batch([1, 2]))
    script = Script(answers(Verdict.LOST, Verdict.LOST, Verdict.REPEATED))
    pace = replace(REPLAYING, workers=1, replay_within=HOUR)
    ours = dispatcher(journal, run, script, pace, clock=Clocks())
    ask, take, asked = journal.next_work, ours._limiter.acquire, asyncio.Event()

    async def slow(run: int, **window: Any) -> NextWork:
        work = await ask(run, **window)
        if window["but"]:
            asked.set()
            await until(lambda: not ours._feeder._replaying)
        return work

    async def not_before_it_was_asked(calls: int, *, again: bool = False) -> float:
        if ours._feeder._replaying:
            await asked.wait()
        return await take(calls, again=again)

    journal.next_work = slow  # type: ignore[method-assign]
    ours._limiter.acquire = not_before_it_was_asked  # type: ignore[method-assign]
    await asyncio.wait_for(ours.run(asyncio.Event()), 20)
    assert counts(journal, run).batches == {State.ACCEPTED: 1}


async def test_a_mended_head_is_other_bytes(journal: SqliteJournal) -> None:
    """What was answered to a wrong flow id says nothing of the right one's bytes."""
    run = await opened(journal, make_batch([1, 2]))
    await sent(journal, run, answers(then=Answer(Verdict.SETUP, "Invalid Flow ID", code=301)))
    await journal.amend(run, "RIGHT000", None)
    await journal.control(run, *go())
    ours = dispatcher(journal, run, Script(answers(then=Answer(Verdict.REPEATED, "Repeated"))))
    ours._head = replace(ours._head, flow_id="RIGHT000")
    await asyncio.wait_for(ours.run(asyncio.Event()), 20)
    assert counts(journal, run).batches == {State.REFUSED: 1}


def go() -> tuple[Any, Any]:
    """Return how a stopped run is let go on."""
    from phonon_bulk.journal import Control

    return Control.GO, [Control.STOPPED]
