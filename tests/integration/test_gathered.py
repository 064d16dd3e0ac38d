"""A dispatcher that gathers: what waits goes together, and what goes wrong costs nobody else."""

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import orjson
import pytest
from builders import make_batch, make_run
from scripted import NOON, OK, QUICK, Script, answers, at, counts, dispatcher, opened, until

from phonon_bulk.batch import State
from phonon_bulk.dispatch import Manner
from phonon_bulk.journal import Claim, Control, FrozenBatch, Kind, NewOrder
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.response import Answer, Verdict

GATHERS = Manner(waits_for_list=False, gathers=True)


async def admitted(journal: SqliteJournal, *ages: float) -> int:
    """Open a run of single calls that came so many seconds before noon, in this order."""
    run = (await journal.open_run(make_run(kind=Kind.INTAKE), NOON)).run
    for row, age in enumerate(ages, 1):
        new = NewOrder(f"order {row}", run, make_batch([row]), None, b"r" * 32)
        await journal.admit(new, None, partial(at, NOON - age))
    return run


def called(script: Script) -> Counter[str]:
    """Return how often each contact was in a body that was posted."""
    calls = [call for body in script.bodies for call in orjson.loads(body)["calls"]]
    return Counter(call["client-identifier"] for call in calls)


async def sent_by(journal: SqliteJournal, run: int, script: Script, **more: Any) -> None:
    """Send a run to its end, gathering."""
    sender = dispatcher(journal, run, script, QUICK, manner=GATHERS, **more)
    await asyncio.wait_for(sender.run(asyncio.Event()), 20)


async def test_what_waits_goes_together(journal: SqliteJournal) -> None:
    """A hundred batches of one call are one request; the sums hold."""
    run = await opened(journal, *(make_batch([row]) for row in range(1, 101)))
    script = Script(answers())
    await sent_by(journal, run, script)
    assert len(script.bodies) == 1
    assert set(called(script).values()) == {1}
    sums = counts(journal, run)
    assert sums.batches == {State.SPLIT: 100, State.ACCEPTED: 1}
    assert (sums.accepted, sums.requests) == (100, 1)


async def test_no_more_than_a_request_holds(journal: SqliteJournal) -> None:
    """At most 500 calls."""
    run = await opened(journal, *(make_batch(range(row, row + 3)) for row in range(1, 1500, 3)))
    script = Script(answers())
    await sent_by(journal, run, script)
    sizes = [len(orjson.loads(body)["calls"]) for body in script.bodies]
    assert sum(sizes) == 1500
    assert max(sizes) <= 500
    assert len(sizes) <= 5
    assert set(called(script).values()) == {1}


async def test_one_that_is_lost_meanwhile(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else took it back: the others are given back and go out all the same, once."""
    run = await opened(journal, *(make_batch([row]) for row in range(1, 11)))
    real, stolen = journal.gather, False

    async def gather(members: list[Claim], whole: FrozenBatch, *rest: Any) -> Claim:
        nonlocal stolen
        if not stolen:
            stolen = True
            await journal.release([members[3].batch], journal.owner)
        return await real(members, whole, *rest)

    monkeypatch.setattr(journal, "gather", gather)
    script = Script(answers())
    await sent_by(journal, run, script)
    assert stolen
    assert set(called(script).values()) == {1}
    assert len(called(script)) == 10
    assert counts(journal, run).calls.get(State.CLAIMED) is None


async def test_a_throttled_one_goes_again_as_it_was(journal: SqliteJournal) -> None:
    """Its bytes are frozen: what came meanwhile is not put into it."""
    run = await opened(journal, *(make_batch([row]) for row in range(1, 6)))
    script = Script(answers(Verdict.THROTTLED))
    await sent_by(journal, run, script)
    assert len(script.bodies) == 2
    assert script.bodies[0] == script.bodies[1]
    assert counts(journal, run).accepted == 5


async def test_a_bad_one_is_found(journal: SqliteJournal) -> None:
    """The request is halved until the bad call stands alone; nothing is gathered with halves."""
    run = await opened(journal, *(make_batch([row]) for row in range(1, 9)))

    async def say(_number: int, body: bytes) -> Answer:
        await asyncio.sleep(0)
        bad = b"ACC0000005" in body
        return Answer(Verdict.BAD_DATA, "Invalid Contact Number", code=205) if bad else OK

    script = Script(say)
    await sent_by(journal, run, script)
    sums = counts(journal, run)
    assert (sums.accepted, sums.calls[State.REFUSED]) == (7, 1)
    taken = [body for body in script.bodies if b"ACC0000005" not in body]
    assert set(called(Script(say, taken)).values()) == {1}


async def test_a_run_that_is_held_while_it_waits(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent, and nothing stays claimed."""
    run = await opened(journal, *(make_batch([row]) for row in range(1, 4)))
    gate = asyncio.Event()
    real = journal.send

    async def send(*rest: Any) -> Any:
        gate.set()
        await journal.control(run, Control.PAUSED, [Control.GO])
        return await real(*rest)

    monkeypatch.setattr(journal, "send", send)
    script = Script(answers())
    await sent_by(journal, run, script)
    assert gate.is_set()
    assert script.bodies == []
    assert counts(journal, run).calls == {State.SPLIT: 3, State.READY: 3}


async def test_one_that_stays_takes_what_comes(journal: SqliteJournal) -> None:
    """It is not over when nothing is left, and ends when it is told to."""
    run = await opened(journal, make_batch([1]), read=False)
    script, stop = Script(answers()), asyncio.Event()
    stays = Manner(waits_for_list=False, stays=True, gathers=True)
    sender = dispatcher(journal, run, script, QUICK, manner=stays)
    life = asyncio.create_task(sender.run(stop))
    await until(lambda: len(script.bodies) == 1)
    await journal.append(run, [make_batch([2])], [], after_row=1, last_row=2)
    await until(lambda: len(script.bodies) == 2)
    assert not life.done()
    stop.set()
    await asyncio.wait_for(life, 5)


async def test_what_is_not_fresh_any_more_expires(journal: SqliteJournal) -> None:
    """By the time that it came in, not by its start-time."""
    run = await admitted(journal, 400, 100)
    script = Script(answers())
    fresh = Manner(waits_for_list=False, gathers=True, fresh_for=300)
    sender = dispatcher(journal, run, script, QUICK, manner=fresh)
    await asyncio.wait_for(sender.run(asyncio.Event()), 20)
    assert called(script) == {"ACC0000002": 1}
    assert counts(journal, run).calls == {State.EXPIRED: 1, State.ACCEPTED: 1}
    assert sender.tally.expired == 1


async def test_what_was_gathered_expires_one_by_one(journal: SqliteJournal) -> None:
    """A long outage: the oldest of those that were tried together is too old, the others are not.

    They are sent without it, in other bytes, as theirs were surely not taken.
    """
    run = await admitted(journal, 299, 150, 10)
    now = NOON

    async def say(number: int, _body: bytes) -> Answer:
        nonlocal now
        await asyncio.sleep(0)
        now += 60 if number == 0 else 0
        return OK if number else Answer(Verdict.NOT_SENT, "can't be reached")

    script = Script(say)
    fresh = Manner(waits_for_list=False, gathers=True, fresh_for=300)
    sender = dispatcher(journal, run, script, QUICK, manner=fresh, clock=lambda: at(now))
    await asyncio.wait_for(sender.run(asyncio.Event()), 20)
    bodies = [orjson.loads(body)["calls"] for body in script.bodies]
    assert [[call["client-identifier"] for call in calls] for calls in bodies] == [
        ["ACC0000001", "ACC0000002", "ACC0000003"],
        ["ACC0000002", "ACC0000003"],
    ]
    sums = counts(journal, run)
    assert (sums.calls[State.EXPIRED], sums.accepted, sender.tally.expired) == (1, 2, 1)


async def test_halves_expire_too(journal: SqliteJournal) -> None:
    """What is left of a request after a bad call was found is as old as its calls are."""
    run = await admitted(journal, 200, 100)
    now = NOON

    async def say(_number: int, _body: bytes) -> Answer:
        nonlocal now
        await asyncio.sleep(0)
        now += 120
        return Answer(Verdict.BAD_DATA, "Invalid Format", code=400)

    script = Script(say)
    fresh = Manner(waits_for_list=False, gathers=True, fresh_for=300)
    sender = dispatcher(journal, run, script, QUICK, manner=fresh, clock=lambda: at(now))
    await asyncio.wait_for(sender.run(asyncio.Event()), 20)
    assert [body.count(b"client-identifier") for body in script.bodies] == [2, 1]
    assert b"ACC0000002" in script.bodies[1]
    assert counts(journal, run).calls[State.EXPIRED] == 1
