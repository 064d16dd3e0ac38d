"""What every journal must hold of single calls: kept, sent in the same breath, gathered, found."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders import DAY, make_batch, make_run

from phonon_bulk.batch import Head, State
from phonon_bulk.errors import JournalError, RunError, RunHeldError, TransitionError
from phonon_bulk.journal import (
    Admitted,
    Claim,
    Control,
    Dash,
    Journal,
    Kind,
    Moment,
    NewOrder,
    Settlement,
    StoppedRun,
)
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.evidence import SqliteEvidence
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.audit import audit
from phonon_bulk.schedule import Ask, Limits

NOW = 1_795_400_000.0
HEADS = Head("0" * 64, "QG8k000A").digest
HEAD = HEADS(0)
KEY = b"k" * 32
LEASE = 60.0


def at(wall: float) -> Moment:
    """Return a moment of both clocks."""
    return Moment(wall, wall)


def new_order(run: int, *rows: int, name: str = "", key: bytes | None = None) -> NewOrder:
    """Return an order of the calls of some rows."""
    return NewOrder(name or f"order {rows}", run, make_batch(rows), key, b"r" * 32)


def dash(journal: Journal, run: int, calls: int = 1, limit: int | None = 60) -> Dash:
    """Return how an order is sent at once, with one request a second."""
    ask = Ask(
        "default", "realtime", journal.owner, run, 1.0, Limits(limit), headroom=0.5, ramp=0.0,
        wants=(calls,),
    )  # fmt: skip
    return Dash(ask, journal.owner, HEADS, LEASE)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """Return an empty journal."""
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    await journal.close()


def holds(journal: SqliteJournal, run: int) -> bool:
    """Say whether the audit finds every promise kept."""
    with SqliteEvidence(journal.path) as evidence:
        return all(found.holds for found in audit(evidence, run, lambda _: Limits()))


@pytest.fixture
async def run(journal: SqliteJournal) -> int:
    """Return a run that takes single calls."""
    return (await journal.open_run(make_run(kind=Kind.INTAKE, endpoint="realtime"), NOW)).run


@pytest.fixture
def books(journal: SqliteJournal) -> Callable[[], SqliteBooks]:
    """Return what opens the books."""
    return lambda: SqliteBooks(journal.path)


async def admit(journal: Journal, order: NewOrder, how: Dash | None = None) -> Admitted:
    """Keep an order at `NOW`."""
    return await journal.admit(order, how, lambda: at(NOW))


async def claimed(journal: Journal, run: int) -> list[Claim]:
    """Claim all that is ready."""
    return await journal.claim(run, owner=journal.owner, limit=500, now=at(NOW), lease=LEASE)


async def test_rows_are_numbered_as_they_come(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """Each order has the next rows of its run, and the sums hold."""
    for rows in ([1], [2, 3, 4], [5, 6]):
        admitted = await admit(journal, new_order(run, *rows))
        assert (admitted.is_new, admitted.claim) == (True, None)
    with books() as opened:
        record = opened.run(run)
        assert (record.rows, record.calls, record.kind) == (6, 6, Kind.INTAKE)
        assert [batch.rows[0] for batch in opened.batches(run)] == [1, 2, 5]
        assert (opened.waiting([run]), opened.waiting([run + 1]), opened.waiting([])) == (6, 0, 0)


async def test_the_same_key_gives_the_same_order(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """Nothing is kept a second time, whatever the second request was."""
    first = await admit(journal, new_order(run, 1, name="a", key=KEY))
    again = await admit(journal, new_order(run, 2, 3, name="b", key=KEY), dash(journal, run))
    assert again == Admitted(first.order, is_new=False)
    with books() as opened:
        assert opened.waiting([run]) == 1


async def test_a_run_of_a_list_takes_none(journal: SqliteJournal) -> None:
    """Nor does one that was closed."""
    run = (await journal.open_run(make_run(), NOW)).run
    with pytest.raises(RunError, match="takes no calls"):
        await admit(journal, new_order(run, 1))
    other = (await journal.open_run(make_run(kind=Kind.INTAKE), NOW)).run
    await journal.finish_reading(other, NOW)
    with pytest.raises(RunError, match="takes no calls"):
        await admit(journal, new_order(other, 1))


async def test_sent_in_the_breath_in_which_it_is_kept(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """It is sending, held by its owner, with an attempt; and is settled like any other."""
    admitted = await admit(journal, new_order(run, 1, 2), dash(journal, run, 2))
    claim = admitted.claim
    assert claim is not None
    assert claim.calls == 2
    assert admitted.marked_at == at(NOW)
    assert NOW <= admitted.slot <= NOW + 0.5
    with books() as opened:
        assert opened.counts(run).batches == {State.SENDING: 1}
        assert opened.counts(run).requests == 1
    accepted = Settlement(State.ACCEPTED, "accepted", accepted=2, request_id="r")
    await journal.settle(claim.batch, accepted, journal.owner, NOW + 1)
    with books() as opened:
        assert opened.settled([claim.batch]) == [claim.batch]
    assert holds(journal, run)


async def test_whoever_came_first_goes_first(journal: SqliteJournal, run: int) -> None:
    """While another waits, nothing is sent past it."""
    await admit(journal, new_order(run, 1))
    assert (await admit(journal, new_order(run, 2), dash(journal, run))).claim is None


async def test_without_a_slot_it_waits(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """One request a second is allowed: the second within it is only kept."""
    assert (await admit(journal, new_order(run, 1), dash(journal, run))).claim is not None
    assert (await admit(journal, new_order(run, 2), dash(journal, run))).claim is None
    with books() as opened:
        assert opened.waiting([run]) == 2


async def test_a_run_that_was_taken_back_takes_none(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """What comes after a person took it back was not meant: it is for another run."""
    await journal.cancel(run, NOW, "cancelled by Asha")
    with pytest.raises(RunError, match="takes no calls"):
        await admit(journal, new_order(run, 1))
    with books() as opened:
        assert opened.run(run).rows == 0


async def test_what_left_is_known_by_its_own_variant(journal: SqliteJournal) -> None:
    """The second run of a day begins with other bytes: these are noted, so they can be proved."""
    first = make_run(kind=Kind.INTAKE, endpoint="realtime")
    await journal.open_run(first, NOW)
    run = (await journal.open_run(first, NOW, again=True)).run
    admitted = await admit(journal, new_order(run, 1), dash(journal, run))
    assert admitted.claim is not None
    assert admitted.claim.variant == 1
    doubt = Settlement(State.IN_DOUBT, "lost", reason="lost", variant=1)
    await journal.settle(admitted.claim.batch, doubt, journal.owner, NOW)
    (claim,) = await journal.doubts(
        run, limit=1, now=at(NOW + 1), within=600, today=str(DAY), but=[]
    )
    assert claim.head_sha256 == HEADS(1)


async def test_a_held_run_takes_none(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """From the moment on in which it is held; what came before is told of as ever."""
    first = await admit(journal, new_order(run, 1, name="a", key=KEY))
    await journal.control(run, Control.PAUSED, [Control.GO])
    with pytest.raises(RunHeldError, match="is paused"):
        await admit(journal, new_order(run, 2), dash(journal, run))
    assert await admit(journal, new_order(run, 1, name="b", key=KEY)) == Admitted(
        first.order, is_new=False
    )
    with books() as opened:
        assert opened.run(run).rows == 1
    await journal.control(run, Control.GO, [Control.PAUSED])
    assert (await admit(journal, new_order(run, 2))).is_new


async def test_a_repeat_is_not_sent(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """The very bytes went out before: it is refused by itself, as any batch is."""
    first = await admit(journal, new_order(run, 1, name="a"), dash(journal, run, limit=None))
    assert first.claim is not None
    accepted = Settlement(State.ACCEPTED, "accepted", accepted=1, request_id="r")
    await journal.settle(first.claim.batch, accepted, journal.owner, NOW)
    again = await admit(journal, new_order(run, 1, name="b"), dash(journal, run, limit=None))
    assert again.claim is None
    with books() as opened:
        assert opened.counts(run).calls == {State.ACCEPTED: 1, State.REFUSED: 1}


async def test_gathered(journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]) -> None:
    """One batch takes the place of several; each order finds its calls in it; the audit holds."""
    orders = [await admit(journal, new_order(run, *rows)) for rows in ([1], [2, 3], [4])]
    members = await claimed(journal, run)
    whole = await journal.gather(members, make_batch(range(1, 5)), journal.owner, at(NOW), LEASE)
    assert (whole.calls, whole.came_at, whole.whole) == (4, NOW, True)
    with books() as opened:
        assert opened.counts(run).batches == {State.SPLIT: 3, State.CLAIMED: 1}
        found = list(opened.leaves([order.order.batch for order in orders]))
        assert [(rows, batch.batch) for _, rows, batch in found] == [
            (range(1, 2), whole.batch),
            (range(2, 4), whole.batch),
            (range(4, 5), whole.batch),
        ]
        assert opened.settled([order.order.batch for order in orders]) == []
    await journal.send(whole, HEAD, journal.owner, at(NOW), LEASE)
    accepted = Settlement(State.ACCEPTED, "accepted", accepted=4, request_id="r")
    await journal.settle(whole.batch, accepted, journal.owner, NOW + 1)
    with books() as opened:
        assert len(opened.settled([order.order.batch for order in orders])) == 3
    assert holds(journal, run)


async def test_gathered_and_split_again(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """Halves of what was gathered are found too, and may not be gathered once more."""
    order = await admit(journal, new_order(run, 1, 2))
    other = await admit(journal, new_order(run, 3))
    whole = await journal.gather(
        await claimed(journal, run), make_batch(range(1, 4)), journal.owner, at(NOW), LEASE
    )
    await journal.send(whole, HEAD, journal.owner, at(NOW), LEASE)
    bad = Settlement(State.SPLIT, "bad_data", reason="bad")
    parts = [make_batch([1]), make_batch([2, 3])]
    await journal.split(whole, parts, journal.owner, NOW, answered=bad, reason="bad")
    with books() as opened:
        leaves = [rows for _, _, batch in opened.leaves([order.order.batch]) for rows in batch.rows]
        assert sorted(leaves) == [1, 2, 3]
    halves = await claimed(journal, run)
    assert [half.whole for half in halves] == [False, False]
    with pytest.raises(TransitionError):
        await journal.gather(halves, make_batch(range(1, 4)), journal.owner, at(NOW), LEASE)
    with books() as opened:
        assert opened.counts(run).batches == {State.SPLIT: 3, State.CLAIMED: 2}
    assert other.order.run == run


async def test_each_call_has_its_own_arrival(journal: SqliteJournal, run: int) -> None:
    """Also in what was gathered, and in its parts: these came when the first of their calls did."""
    for number, rows in enumerate(([1], [2, 3], [4, 5, 6])):
        came = at(NOW + 10 * number)
        await journal.admit(new_order(run, *rows), None, lambda came=came: came)  # type: ignore[misc]
    members = await claimed(journal, run)
    whole = await journal.gather(members, make_batch(range(1, 7)), journal.owner, at(NOW), LEASE)
    assert whole.came_at == NOW
    assert await journal.arrivals(whole) == [NOW, NOW + 10, NOW + 10, *[NOW + 20] * 3]
    parts = [make_batch([1, 2]), make_batch([3, 5, 6])]
    await journal.split(whole, parts, journal.owner, NOW, reason="late", expired=make_batch([4]))
    halves = await claimed(journal, run)
    assert [half.came_at for half in halves] == [NOW, NOW + 10]
    assert await journal.arrivals(halves[1]) == [NOW + 10, NOW + 20, NOW + 20]
    assert holds(journal, run)


async def test_gather_takes_all_or_nothing(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """A member that is not held, or calls that are missing, leave everything as it was."""
    for row in (1, 2, 3):
        await admit(journal, new_order(run, row))
    members = await claimed(journal, run)
    await journal.release([members[2].batch], journal.owner)
    with pytest.raises(TransitionError):
        await journal.gather(members, make_batch(range(1, 4)), journal.owner, at(NOW), LEASE)
    with pytest.raises(TransitionError):
        await journal.gather(members[:2], make_batch([1]), journal.owner, at(NOW), LEASE)
    with books() as opened:
        assert opened.counts(run).batches == {State.CLAIMED: 2, State.READY: 1}


async def test_what_was_sent_is_not_gathered(journal: SqliteJournal, run: int) -> None:
    """Its bytes are frozen: they may have arrived."""
    await admit(journal, new_order(run, 1))
    (one,) = await claimed(journal, run)
    await journal.send(one, HEAD, journal.owner, at(NOW), LEASE)
    later = Settlement(State.READY, "throttled", reason="later")
    await journal.settle(one.batch, later, journal.owner, NOW)
    await admit(journal, new_order(run, 2))
    members = await claimed(journal, run)
    with pytest.raises(TransitionError):
        await journal.gather(members, make_batch([1, 2]), journal.owner, at(NOW), LEASE)


async def test_taken_back_while_gathered(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """What somebody holds is cancelled when it is given back."""
    await admit(journal, new_order(run, 1))
    await admit(journal, new_order(run, 2))
    whole = await journal.gather(
        await claimed(journal, run), make_batch([1, 2]), journal.owner, at(NOW), LEASE
    )
    assert await journal.cancel(run, NOW + 5, "cancelled by Asha") == 0
    await journal.release([whole.batch], journal.owner)
    with books() as opened:
        assert opened.counts(run).batches == {State.SPLIT: 2, State.CANCELLED: 1}
        ((_, _, batch), *_) = opened.leaves([whole.batch])
        assert (batch.reason, batch.settled_at) == ("cancelled by Asha", NOW + 5)


async def test_due(journal: SqliteJournal) -> None:
    """Runs with something to do are due, with what is needed to send them; others are not."""

    async def due(now: float = NOW) -> tuple[list[int], float | None]:
        found, next_at = await journal.due(now=at(now), within=600, today=str(DAY))
        return [one.run for one in found], next_at

    assert await due() == ([], None)
    run = (await journal.open_run(make_run(not_after=NOW + 9), NOW)).run
    other = (await journal.open_run(make_run(), NOW)).run
    assert await due() == ([], None)
    for number in (run, other):
        await journal.append(number, [make_batch([1 + 10 * number])], [], after_row=0, last_row=1)
    assert await due() == ([run, other], None)
    found, _ = await journal.due(now=at(NOW), within=600, today=str(DAY))
    assert (found[0].flow_id, found[0].not_after, found[0].kind) == ("QG8k000A", NOW + 9, "list")
    await journal.control(other, Control.PAUSED, [Control.GO])
    assert await due() == ([run], None)
    (claim,) = await claimed(journal, run)
    assert await due() == ([], NOW + LEASE)
    assert await due(NOW + LEASE + 1) == ([run], None)  # a lease that was lost
    await journal.send(claim, HEAD, journal.owner, at(NOW), LEASE)
    doubt = Settlement(State.IN_DOUBT, "lost", reason="lost", not_before=NOW + 10)
    await journal.settle(claim.batch, doubt, journal.owner, NOW)
    assert await due() == ([], NOW + 10)
    assert await due(NOW + 11) == ([run], None)
    assert await due(NOW + 601) == ([], None)  # too old to be replayed


async def test_at_work(journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]) -> None:
    """Who is at work is seen, as long as it lives."""
    other = SqliteJournal(journal.path)
    await journal.begin_work(run, "sends", NOW)
    await journal.begin_work(run, "sends", NOW + 1)
    await other.begin_work(run, "reads", NOW + 2)
    with books() as opened:
        found = [(one.owner, one.what, one.since) for one in opened.at_work()]
    assert found == [(journal.owner, "sends", NOW), (other.owner, "reads", NOW + 2)]
    await journal.end_work(run, "sends")
    other._sign.leave()  # as the system does when a process ends
    with books() as opened:
        assert opened.at_work() == []
    await journal.recover(at(NOW))
    with books() as opened:
        assert opened._connection.execute("SELECT count(*) FROM at_work").fetchone()[0] == 0
    await other._writer.close()


async def test_nobody_is_at_work_in_a_copy(journal: SqliteJournal, run: int) -> None:
    """A journal restored from a copy has no signs of those who worked on it then."""
    await journal.begin_work(run, "sends", NOW)
    copy = journal.path.with_name("copy.db")
    with sqlite3.connect(journal.path) as here, sqlite3.connect(copy) as there:
        here.backup(there)
    here.close()
    there.close()
    restored = SqliteJournal(copy)
    with SqliteBooks(copy) as opened:
        assert opened.at_work() == []
    await restored.recover(at(NOW))
    with SqliteBooks(copy) as opened:
        assert opened._connection.execute("SELECT count(*) FROM at_work").fetchone()[0] == 0
    await restored.close()


async def test_a_journal_that_is_not_where_it_was(
    journal: SqliteJournal, books: Callable[[], SqliteBooks]
) -> None:
    """Moved away, or replaced: what is written would go with the old file."""
    with books() as opened:
        aside = journal.path.rename(journal.path.with_name("aside.db"))
        with pytest.raises(JournalError, match="moved away"):
            opened.version()
        journal.path.write_bytes(b"")
        with pytest.raises(JournalError, match="replaced"):
            opened.version()
        aside.rename(journal.path)
        assert opened.version() > 0


async def test_the_version_tells_of_changes(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """Another one after a change, whoever made it; the same after a look."""
    with books() as opened:
        before = opened.version()
        await journal.due(now=at(NOW), within=600, today=str(DAY))
        assert opened.version() == before
        await admit(journal, new_order(run, 1))
        assert opened.version() != before


async def test_orders_are_found_by_their_ids(
    journal: SqliteJournal, run: int, books: Callable[[], SqliteBooks]
) -> None:
    """And by nothing else."""
    admitted = await admit(journal, new_order(run, 1, name="a" * 32))
    with books() as opened:
        assert opened.order("a" * 32) == admitted.order
        assert opened.order("b" * 32) is None
    assert admitted.order.came_at == NOW


async def test_the_earliest_date_of_what_was_gathered_holds(
    journal: SqliteJournal, run: int
) -> None:
    """A batch may not be sent after the day of any of its calls."""
    tomorrow = make_batch([1], DAY + timedelta(days=1))
    await admit(journal, replace(new_order(run, 1), batch=tomorrow))
    await admit(journal, new_order(run, 2))
    members = await claimed(journal, run)
    whole = replace(make_batch([1, 2]), start_date=min(one.start_date for one in members))
    gathered = await journal.gather(members, whole, journal.owner, at(NOW), LEASE)
    assert gathered.start_date == str(DAY)


async def test_stopped_runs_that_could_be_sent(
    journal: SqliteJournal, books: Callable[[], SqliteBooks]
) -> None:
    """With the reason; not those that are past, nor those that a person has paused."""
    run = (await journal.open_run(make_run(), NOW)).run
    other = (await journal.open_run(make_run(), NOW)).run
    for number in (run, other):
        await journal.append(number, [make_batch([number])], [], after_row=0, last_row=1)
    await journal.control(run, Control.STOPPED, [Control.GO], "Invalid Flow ID")
    await journal.control(other, Control.PAUSED, [Control.GO], "by Asha")
    with books() as opened:
        assert opened.stopped(str(DAY)) == [
            StoppedRun(run, make_run().account, make_run().flow_id, "Invalid Flow ID")
        ]
        assert opened.stopped(str(DAY + timedelta(days=1))) == []
