"""A dispatcher on a real journal, with an endpoint that answers as the test says."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from builders import DAY, FLOW_ID, SECURITY_ID, make_batch, make_run

from phonon_bulk.batch import Head
from phonon_bulk.call import INDIA
from phonon_bulk.dispatch import Dispatcher, JournalTokens, Outcome, Pace
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.journal import FrozenBatch, Moment, RunCounts
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.limiter import Limiter
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.retry import Policy
from phonon_bulk.schedule import Ask, Limits


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """Return an empty journal."""
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    await journal.close()


NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=INDIA).astimezone(UTC).timestamp()
QUICK = Pace(
    workers=4,
    drain_timeout=0.05,
    replay_within=0,  # doubts stay, but in the tests about replays
    policy=Policy(first=0.001, most=0.002, give_up_after=60),
)
REPLAYING = replace(QUICK, replay_after=0.01, replay_within=600)
OK = Answer(Verdict.ACCEPTED, "Accepted", http_status=202, code=202, request_id="r")


def at(seconds: float) -> Moment:
    """Return a moment at which both clocks say the same."""
    return Moment(seconds, seconds)


Say = Callable[[int, bytes], Awaitable[Answer]]


@dataclass
class Script:
    """An endpoint that answers its nth request (from 0) as `say` tells it."""

    say: Say
    bodies: list[bytes] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def post(self, body: bytes, held: Callable[[], Awaitable[bool]]) -> Answer:
        """Answer one body."""
        if not await held():
            return Answer(Verdict.HELD_BACK, "it could no longer be sent when its turn came")
        number = len(self.bodies)
        self.bodies.append(body)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.say(number, body)
        finally:
            self.at_once -= 1


def answers(*first: Verdict, then: Answer = OK) -> Say:
    """Return what answers with the given verdicts, then with `then`."""

    async def say(number: int, _body: bytes) -> Answer:
        await asyncio.sleep(0)
        return Answer(first[number], f"said {first[number]}") if number < len(first) else then

    return say


async def opened(journal: SqliteJournal, *batches: FrozenBatch, read: bool = True) -> int:
    """Open a run with the given batches."""
    run = (await journal.open_run(make_run(), NOON)).run
    last_row = sum(batch.calls for batch in batches)
    await journal.append(run, batches, [], after_row=0, last_row=last_row)
    if read:
        await journal.finish_reading(run, NOON)
    return run


def ten_batches() -> list[FrozenBatch]:
    """Return ten batches of three calls."""
    return [make_batch(range(n * 3 + 1, n * 3 + 4)) for n in range(10)]


def limiter(journal: SqliteJournal, run: int, limits: Limits | None = None) -> Limiter:
    """Return what grants slots to one run, without a limit if none is given."""
    limits = limits or Limits()
    ask = Ask("default", "bulk", journal.owner, run, 1.0, limits, headroom=0.5, ramp=0.0)
    return Limiter(JournalTokens(journal, ask), lambda: journal.now().steady)


def dispatcher(
    journal: SqliteJournal, run: int, script: Script, pace: Pace = QUICK, **more: Any
) -> Dispatcher:
    """Return what sends a run to a script, at noon of the day of its calls."""
    head = Head(SECURITY_ID, FLOW_ID)
    more = {"clock": lambda: at(NOON), "chance": lambda: 1.0, **more}
    endpoint = cast(Endpoint, script)
    return Dispatcher(journal, endpoint, limiter(journal, run), head, run=run, pace=pace, **more)


async def sent(
    journal: SqliteJournal, run: int, say: Say, pace: Pace = QUICK, **more: Any
) -> tuple[Outcome, Script, RunCounts]:
    """Send a run to its end; return how it ended, what was posted, and the books."""
    script = Script(say)
    outcome = await asyncio.wait_for(
        dispatcher(journal, run, script, pace, **more).run(asyncio.Event()), 20
    )
    return outcome, script, counts(journal, run)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)


def counts(journal: SqliteJournal, run: int) -> RunCounts:
    """Return the sums of a run."""
    with SqliteBooks(journal.path) as books:
        return books.counts(run)


def growing() -> Callable[[], Moment]:
    """Return a clock that goes on by a second with every look."""
    moments = itertools.count(NOON, 1.0)
    return lambda: at(next(moments))
