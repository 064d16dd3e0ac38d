"""What `Journal.prune` promises: whose contact data goes, what stays, and what is left alone."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from builders import FLOW_ID, make_batch, make_left_out, make_run
from hypothesis import given, settings
from hypothesis import strategies as st

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut
from phonon_bulk.errors import ReadElsewhereError, RunError
from phonon_bulk.journal import Claim, Control, Kind, Moment, NewOrder, Pruned, Settlement
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal

NOON = 1_795_501_800.0
"""2026-11-24 12:00 at +05:30, the day of all calls."""
MIDNIGHT = NOON + 12 * 3600
A_DAY = 86_400.0
LATER = NOON + 40 * A_DAY
HEAD = b"h" * 32
ACCEPTED = Settlement(State.ACCEPTED, "partial", "some", 1, request_id="r-1", answer=b"{}")
DOUBT = Settlement(State.IN_DOUBT, "lost", reason="no answer")


def at(seconds: float) -> Moment:
    """Return a moment at which both clocks say the same."""
    return Moment(seconds, seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal is."""
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    """Return an empty journal."""
    journal = SqliteJournal(path)
    yield journal
    await journal.close()


async def submitted(journal: SqliteJournal, first: int = 1, *, read: bool = True) -> int:
    """Open a run of eight rows at noon: two batches of three calls, and two rows left out.

    Its rows are called by numbers that no other run has, from `first` on.
    """
    run = (
        await journal.open_run(make_run(definition='{"query": "SELECT 919000000001"}'), NOON)
    ).run
    batches = [make_batch(range(first, first + 3)), make_batch([first + 3, first + 5, first + 6])]
    left_out = [make_left_out(first + 4), make_left_out(first + 7, LeftOut.DUPLICATE)]
    if first > 1:  # rows count from 1 in any list; there are none before
        await journal.append(run, [], _all_out(first - 1), after_row=0, last_row=first - 1)
    last = first + 7
    await journal.append(run, batches, left_out, after_row=first - 1, last_row=last)
    if read:
        await journal.finish_reading(run, NOON)
    return run


def _all_out(rows: int) -> list[Any]:
    return [make_left_out(row, LeftOut.SUPPRESSED) for row in range(1, rows + 1)]


async def claimed(journal: SqliteJournal, run: int, limit: int = 9) -> list[Claim]:
    """Claim batches."""
    return await journal.claim(run, owner=journal.owner, limit=limit, now=at(NOON), lease=60)


async def sent(journal: SqliteJournal, run: int, said: Settlement | None = ACCEPTED) -> None:
    """Send all of a run; without an answer, if there is to be none."""
    for one in await claimed(journal, run):
        await journal.send(one, HEAD, journal.owner, at(NOON), 60)
        if said is not None:
            await journal.settle(one.batch, said, journal.owner, NOON)


async def ended(journal: SqliteJournal, first: int = 1) -> int:
    """Open a run and send all of it."""
    run = await submitted(journal, first)
    await sent(journal, run)
    return run


def told(path: Path, run: int) -> dict[str, Any]:
    """Return what must be known of a run for good."""
    with SqliteBooks(path) as books:
        return {
            "run": (books.run(run).rows, books.run(run).calls, books.run(run).control),
            "counts": books.counts(run),
            "reasons": books.reasons(run, 9),
            "left out": books.left_out_reasons(run, 9),
            "batches": [
                (one.batch, one.state, one.request_id, one.attempts, tuple(one.rows))
                for one in books.batches(run)
            ],
            "rows": [(row.row, row.state, row.reason) for row in books.left_out(run)],
        }


def contacts(path: Path, run: int) -> list[Any]:
    """Return all contact data that can be read of a run."""
    with SqliteBooks(path) as books:
        of_calls = [part for one in books.batches(run) for part in (one.calls, one.answer)]
        of_rows = [
            (row.client_identifier, row.contact_numbers, row.fields) for row in books.left_out(run)
        ]
    gone = (None, (), "{}")
    return [part for part in of_calls if part] + [part for part in of_rows if part != gone]


async def test_contact_data_goes_and_the_rest_stays(journal: SqliteJournal, path: Path) -> None:
    """Calls, answers and fields are gone; counts, states, reasons, request-ids, rows are not."""
    run = await ended(journal)
    before, there = told(path, run), contacts(path, run)
    pruned = await journal.prune(LATER, LATER)
    assert (pruned.runs, pruned.calls, dict(pruned.left)) == ((run,), 6, {})
    assert pruned.bytes_freed > 100
    assert len(there) == 6
    assert contacts(path, run) == []
    assert told(path, run) == before
    with SqliteBooks(path) as books:
        record = books.run(run)
    assert record.pruned_at == LATER
    assert "919000000001" not in record.definition
    assert await journal.prune(LATER, LATER) == Pruned()


async def test_others_are_left_as_they_are(journal: SqliteJournal, path: Path) -> None:
    """With a run's number it alone is pruned."""
    first, second = await ended(journal), await ended(journal, 101)
    before = contacts(path, second)
    assert (await journal.prune(LATER, LATER, run=first)).runs == (first,)
    assert contacts(path, second) == before
    assert (await journal.prune(LATER, LATER)).runs == (second,)


Make = Callable[[SqliteJournal, int], Awaitable[int]]


async def _ready(journal: SqliteJournal, first: int = 1) -> int:
    return await submitted(journal, first)


async def _claimed(journal: SqliteJournal, first: int = 1) -> int:
    run = await submitted(journal, first)
    await claimed(journal, run)
    return run


async def _sending(journal: SqliteJournal, first: int = 1) -> int:
    run = await submitted(journal, first)
    await sent(journal, run, None)
    return run


async def _in_doubt(journal: SqliteJournal, first: int = 1) -> int:
    run = await submitted(journal, first)
    await sent(journal, run, DOUBT)
    return run


async def _doubt_of_a_cancelled_one(journal: SqliteJournal, first: int = 1) -> int:
    run = await _in_doubt(journal, first)
    await journal.cancel(run, NOON, "not wanted")
    return run


async def _unread(journal: SqliteJournal, first: int = 1) -> int:
    run = await submitted(journal, first, read=False)
    await sent(journal, run)
    return run


async def _at_work(journal: SqliteJournal, first: int = 1) -> int:
    run = await ended(journal, first)
    await journal.begin_work(run, "sends", NOON)
    return run


KEPT = [
    (_ready, "calls are still to be sent"),
    (_claimed, "calls are still to be sent"),
    (_sending, "calls are still to be sent"),
    (_in_doubt, "calls are in doubt"),
    (_doubt_of_a_cancelled_one, "calls are in doubt"),
    (_unread, "its list is not read to the end"),
    (_at_work, "a process is at work on it"),
]


@pytest.mark.parametrize(("make", "why"), KEPT)
async def test_what_has_not_ended_is_left_alone(
    journal: SqliteJournal, path: Path, make: Make, why: str
) -> None:
    """A run of which something may still be sent or settled keeps all, however old it is."""
    run = await make(journal, 1)
    before = contacts(path, run)
    pruned = await journal.prune(LATER, LATER)
    assert (pruned.runs, dict(pruned.left)) == ((), {run: why})
    assert contacts(path, run) == before


async def test_who_has_ended_is_at_work_on_nothing(journal: SqliteJournal, path: Path) -> None:
    """A process that closed the journal keeps nothing, even if it did not say that it was done."""
    run = await ended(journal)
    other = SqliteJournal(path)
    await other.begin_work(run, "sends", NOON)
    await other.close()
    assert (await journal.prune(LATER, LATER)).runs == (run,)


async def test_a_cancelled_run_takes_no_more_rows(journal: SqliteJournal, path: Path) -> None:
    """A list that was not read to its end goes with its run, and nothing comes after it."""
    run = await submitted(journal, read=False)
    await journal.cancel(run, NOON, "not wanted")
    assert (await journal.prune(LATER, LATER)).runs == (run,)
    assert contacts(path, run) == []
    with pytest.raises(ReadElsewhereError):
        await journal.append(run, [make_batch([9])], [], after_row=8, last_row=9)
    with SqliteBooks(path) as books:
        assert (books.run(run).control, books.run(run).whole) == (Control.CANCELLED, 0)


async def test_single_calls(journal: SqliteJournal, path: Path) -> None:
    """A day's single calls go like a list; their ids still lead to what became of them."""
    new = make_run(kind=Kind.INTAKE, flow_id=FLOW_ID)
    run = (await journal.open_run(new, NOON)).run
    order = NewOrder("id", run, make_batch([1]), b"k" * 32, b"r" * 32)
    kept = await journal.admit(order, None, lambda: at(NOON))
    await sent(journal, run)
    assert (await journal.prune(LATER, LATER)).runs == (run,)
    with SqliteBooks(path) as books:
        found = books.order("id")
        assert found is not None
        assert (found.batch, found.request_sha256) == (kept.order.batch, bytes(32))
        ((_, rows, leaf),) = books.leaves([found.batch])
    assert (rows, leaf.state, leaf.calls) == (range(1, 2), State.ACCEPTED, None)
    with pytest.raises(RunError, match="takes no calls any more"):
        await journal.admit(order, None, lambda: at(LATER))


@pytest.mark.parametrize(("before", "is_pruned"), [(MIDNIGHT, False), (MIDNIGHT + 1, True)])
async def test_a_run_ends_with_the_day_of_its_calls(
    journal: SqliteJournal, before: float, is_pruned: bool
) -> None:
    """Until their day in India is over, the hash of bytes that went out is needed."""
    run = await ended(journal)
    assert (await journal.prune(before, LATER)).runs == ((run,) if is_pruned else ())


async def test_the_last_thing_that_happened_counts(journal: SqliteJournal) -> None:
    """A run that was taken back lately has ended lately, however old it is."""
    run = await submitted(journal)
    await journal.cancel(run, LATER, "not wanted")
    assert (await journal.prune(LATER, LATER)) == Pruned()
    assert (await journal.prune(LATER + 1, LATER + 1)).runs == (run,)


async def test_nobody_knows_whom_a_pruned_run_called(journal: SqliteJournal, path: Path) -> None:
    """Its calls make no duplicates any more, and it is named among those that can't."""
    first, second = await ended(journal), await ended(journal, 101)
    await journal.prune(LATER, LATER, run=first)
    of = ("premium-reminder", "default")
    with SqliteBooks(path) as books:
        keys = [key for batch in books.placed(*of, since=0.0, by="number") for key in batch]
        found = [run.id for run in books.pruned_since(*of, 0.0)]
        assert books.pruned_since(*of, 0.0, but_not=first) == []
        assert books.pruned_since(*of, NOON + 1) == []
    assert sorted(keys) == sorted(f"9199{row:08d}" for row in (101, 102, 103, 104, 106, 107))
    assert found == [first]
    assert second != first


async def test_bytes_are_forgotten_with_their_day(journal: SqliteJournal, path: Path) -> None:
    """No hash of calls is left: all numbers there are could be tried against it."""
    with SqliteBooks(path) as books:
        hashes = books._connection.execute
        run = await ended(journal)
        before = {row[0] for row in hashes("SELECT sha256 FROM batch")}
        await journal.prune(LATER, LATER)
        after = {row[0] for row in hashes("SELECT sha256 FROM batch")}
    assert len(before | after) == 4
    assert run == 1


FATES = [make for make, _ in KEPT] + [ended, ended, ended]


@settings(max_examples=20, deadline=None)
@given(
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=4),
    days=st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
async def test_whatever_there_is_and_whenever_it_is_pruned(
    fates: list[Make], days: list[int]
) -> None:
    """At any time: what ended before is empty, all else is whole, and nothing else has changed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        journal = SqliteJournal(path)
        journal._writer._connection.execute("PRAGMA synchronous = OFF")  # nobody pulls the plug
        # Bytes that went out before are not sent: each run has rows of its own.
        runs = {await make(journal, 1 + 8 * n): make for n, make in enumerate(fates)}
        before = {run: (told(path, run), contacts(path, run)) for run in runs}
        for number, day in enumerate(days, 1):
            moment = NOON + day * A_DAY
            pruned = await journal.prune(moment, moment)
            for run, make in runs.items():
                sums, whole = before[run]
                # The calls were for the day of noon; so the day after, they are past.
                is_gone = make is ended and max(days[:number]) >= 1
                assert told(path, run) == sums
                assert contacts(path, run) == ([] if is_gone else whole)
                assert (run in pruned.left) == (make is not ended and day >= 1)
        await journal.close()
