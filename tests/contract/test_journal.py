"""What every journal must do: the contracts of `Journal` and `Books`, verb by verb."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest
from builders import DAY, make_batch, make_call, make_data, make_run

from phonon_bulk.batch import TRANSITIONS, State
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.errors import (
    DamagedBodyError,
    JournalError,
    ReadElsewhereError,
    RunError,
    TransitionError,
)
from phonon_bulk.journal import (
    Claim,
    Control,
    Journal,
    Key,
    Moment,
    NextWork,
    Opened,
    Repeat,
    SettledBatch,
    Settlement,
)
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal

ME, OTHER = "me", "other"
NOW = 1_795_400_000.0
LEASE = 60.0
HEAD = b"h" * 32
ACCEPTED = Settlement(State.ACCEPTED, "accepted", accepted=500, request_id="r-1")
DOUBT = Settlement(State.IN_DOUBT, "lost", reason="no answer")
AGAIN = Settlement(State.READY, "throttled", reason="HTTP 429", denied=True)
REFUSED = Settlement(State.REFUSED, "bad_data", reason="Invalid Contact Number (205)")


def at(seconds: float) -> Moment:
    """Return a moment at which both clocks say the same."""
    return Moment(seconds, seconds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal is."""
    return tmp_path / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    """Return an empty journal."""
    journal = SqliteJournal(path)
    yield journal
    await journal.close()


@pytest.fixture
def books(journal: Journal, path: Path) -> Callable[[], SqliteBooks]:
    """Return what opens the books of the journal."""
    del journal  # it must be there first
    return lambda: SqliteBooks(path)


async def filled(journal: Journal, batches: int = 2, size: int = 500) -> int:
    """Open a run with ready batches and return its number."""
    run = (await journal.open_run(make_run(), NOW)).run
    rows = [range(n * size + 1, (n + 1) * size + 1) for n in range(batches)]
    frozen = [make_batch(r) for r in rows]
    await journal.append(run, frozen, [], after_row=0, last_row=batches * size)
    await journal.finish_reading(run, NOW)
    return run


async def claim(journal: Journal, run: int, limit: int = 1, owner: str = ME) -> list[Claim]:
    """Claim batches under a lease of a minute."""
    return await journal.claim(run, owner=owner, limit=limit, now=at(NOW), lease=LEASE)


async def sending(journal: Journal, run: int) -> Claim:
    """Claim a batch and mark it as sending."""
    (one,) = await claim(journal, run)
    await journal.send(one, HEAD, ME, at(NOW), LEASE)
    return one


async def next_work(journal: Journal, run: int, now: float = NOW) -> NextWork:
    """Say what a run waits for, doubts of the last ten minutes included."""
    return await journal.next_work(run, now=at(now), within=600, today=str(DAY))


async def doubts(
    journal: Journal, run: int, now: float = NOW, but: tuple[int, ...] = ()
) -> list[Claim]:
    """Return what may be replayed of the doubts of the last ten minutes."""
    return await journal.doubts(run, limit=9, now=at(now), within=600, today=str(DAY), but=but)


def states(books: Callable[[], SqliteBooks], run: int) -> dict[State, int]:
    """Return how many batches are in which state."""
    with books() as opened:
        return opened.counts(run).batches


def listed(books: Callable[[], SqliteBooks], run: int) -> list[SettledBatch]:
    """Return a run's batches as the export sees them."""
    with books() as opened:
        return list(opened.batches(run))


# ---- opening and reading


async def test_runs_are_numbered_and_kept(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """Numbers grow from 1; what a run was opened with is read back."""
    assert (await journal.open_run(make_run(), NOW)).run == 1
    assert (await journal.open_run(make_run(campaign="other"), NOW + 1)).run == 2
    with books() as opened:
        assert [run.campaign for run in opened.runs(10)] == ["other", "premium-reminder"]
        run = opened.run(1)
    assert (run.flow_id, run.created_at, run.read_at, run.rows) == ("QG8k000A", NOW, None, 0)
    assert run.control is Control.GO


async def test_the_same_list_is_recognised(journal: Journal) -> None:
    """The same campaign and list find their run; the newest of them, if there are several."""
    new = make_run(identity="x")
    assert await journal.open_run(new, NOW) == Opened(1, is_new=True)
    assert await journal.open_run(new, NOW) == Opened(1, is_new=False)
    assert await journal.open_run(new, NOW, again=True) == Opened(2, is_new=True)
    assert await journal.open_run(new, NOW) == Opened(2, is_new=False)
    assert await journal.open_run(make_run(identity="y"), NOW) == Opened(3, is_new=True)


async def test_a_list_sent_anew_has_other_bytes(journal: Journal) -> None:
    """Each further run of a list begins with a variant of its own, and there are only so many."""
    new = make_run(identity="x")
    for variant in range(17):
        run = (await journal.open_run(new, NOW, again=True)).run
        await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
        (one,) = await claim(journal, run)
        assert one.variant == variant
    with pytest.raises(RunError, match="once more"):
        await journal.open_run(new, NOW, again=True)


async def test_no_such_run(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """A run that is not there is an error that says how to find those that are."""
    with books() as opened, pytest.raises(RunError, match="phonon-bulk runs"):
        opened.run(7)
    with pytest.raises(RunError, match="no run 7"):
        await journal.control(7, Control.PAUSED, [Control.GO])


async def test_append_accounts_for_every_row(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """Rows become calls or are left out, each for its reason, and the sum is kept."""
    run = (await journal.open_run(make_run(), NOW)).run
    bad = LeftOutRow(3, "no usable number", "ACC3", ("12",), '{"tel1": "12"}')
    others = [
        LeftOutRow(5, "on a list", "ACC5", ("9199",), state=LeftOut.SUPPRESSED),
        LeftOutRow(6, "again", None, (), state=LeftOut.DUPLICATE),
        LeftOutRow(7, "again", None, (), state=LeftOut.DUPLICATE),
    ]
    batches = [make_batch([1, 2, 4])]
    await journal.append(run, batches, [bad, *others], after_row=0, last_row=7)
    with books() as opened:
        record = opened.run(run)
        assert (record.rows, record.calls, record.rejected) == (7, 3, 1)
        assert (record.suppressed, record.duplicates) == (1, 2)
        assert list(opened.left_out(run)) == [bad, *others]
        assert opened.left_out_reasons(run, 5) == [
            ("duplicate", "again", 2, 6),
            ("rejected", "no usable number", 1, 3),
            ("suppressed", "on a list", 1, 5),
        ]
        (batch,) = opened.batches(run)
    assert list(batch.rows) == [1, 2, 4]
    assert batch.calls == make_data([1, 2, 4])


async def test_reasons_of_one_state_hide_none_of_another(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """The most frequent reasons of each state are there, however many another state has."""
    run = (await journal.open_run(make_run(), NOW)).run
    rows = [LeftOutRow(row, f"as row {row % 3}", None, ()) for row in range(1, 7)]
    rows = [replace(row, state=LeftOut.DUPLICATE) for row in rows]
    rows += [LeftOutRow(7, "a", None, ()), *(LeftOutRow(n, "b", None, ()) for n in (8, 9))]
    await journal.append(run, [], rows, after_row=0, last_row=9)
    with books() as opened:
        assert opened.left_out_reasons(run, 1) == [
            ("duplicate", "as row 1", 2, 1),
            ("rejected", "b", 2, 8),
        ]


async def test_notes_are_added_up(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """What is noted of a run's calls is summed, each with the first of its rows."""
    run, other = [(await journal.open_run(make_run(), NOW)).run for _ in range(2)]
    first, second = [make_batch([1, 2, 3])], [make_batch([4, 5, 6])]
    notes = [("moved", 1, 3), ("cut", 2, 1)]
    await journal.append(run, first, [], after_row=0, last_row=3, notes=notes)
    notes = [("moved", 2, 5), ("new", 1, 6)]
    await journal.append(run, second, [], after_row=3, last_row=6, notes=notes)
    await journal.append(other, first, [], after_row=0, last_row=3, notes=[("cut", 3, 1)])
    with books() as opened:
        found = [("moved", 3, 3), ("cut", 2, 1), ("new", 1, 6)]
        assert opened.notes(run, 9) == found
        assert opened.notes(run, 2) == found[:2]
        assert opened.notes(other, 9) == [("cut", 3, 1)]


async def test_what_was_not_appended_is_not_noted(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """Notes of rows that another process has read are not counted once more."""
    run = (await journal.open_run(make_run(), NOW)).run
    with pytest.raises(ReadElsewhereError):
        await journal.append(run, [], [], after_row=7, last_row=7, notes=[("moved", 1, 8)])
    with pytest.raises(Exception, match="CHECK"):
        await journal.append(run, [], [], after_row=0, last_row=3, notes=[("moved", 1, 1)])
    with books() as opened:
        assert opened.notes(run, 9) == []


async def test_rows_that_do_not_add_up_are_refused(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """An append that loses a row is refused whole."""
    run = (await journal.open_run(make_run(), NOW)).run
    with pytest.raises(Exception, match="CHECK"):
        await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=3)
    with books() as opened:
        assert opened.run(run).rows == 0
        assert opened.counts(run).batches == {}


async def test_two_readers_can_not_mix(journal: Journal) -> None:
    """A second reader, standing elsewhere in the list, is refused."""
    run = (await journal.open_run(make_run(), NOW)).run
    await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
    with pytest.raises(ReadElsewhereError, match="another process"):
        await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)


async def test_nothing_after_the_end(journal: Journal) -> None:
    """A list that was read to its end takes no more rows, and ends once."""
    run = await filled(journal)
    with pytest.raises(ReadElsewhereError):
        await journal.append(run, [make_batch([1001])], [], after_row=1000, last_row=1001)
    assert await journal.read_so_far(run) is None
    with pytest.raises(ReadElsewhereError):
        await journal.finish_reading(run, NOW)


async def test_how_far_a_list_is(journal: Journal) -> None:
    """It says up to which row a list is in the journal, while it is being read."""
    run = (await journal.open_run(make_run(), NOW)).run
    assert await journal.read_so_far(run) == 0
    await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
    assert await journal.read_so_far(run) == 2


# ---- claiming


async def test_claims_are_in_list_order_and_exclusive(journal: Journal) -> None:
    """The oldest rows first, and no batch to two owners."""
    run = await filled(journal, batches=3)
    first = await claim(journal, run, limit=2)
    second = await claim(journal, run, limit=5, owner=OTHER)
    assert [c.first_row for c in first] == [1, 501]
    assert [c.first_row for c in second] == [1001]
    assert await claim(journal, run, limit=5) == []


async def test_only_a_run_that_goes_is_claimed(journal: Journal) -> None:
    """Nothing of a paused or stopped run is handed out, until it goes on."""
    run = await filled(journal)
    await journal.control(run, Control.PAUSED, [Control.GO])
    assert await claim(journal, run) == []
    with pytest.raises(RunError, match="paused"):
        await journal.control(run, Control.STOPPED, [Control.GO], "why")
    await journal.control(run, Control.GO, [Control.PAUSED])
    assert len(await claim(journal, run)) == 1


async def test_a_batch_put_off_is_not_claimed_early(journal: Journal) -> None:
    """`not_before` holds a batch back, and says when there is work again."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    later = Settlement(State.READY, "throttled", not_before=NOW + 10)
    await journal.settle(one.batch, later, ME, NOW)
    assert await claim(journal, run) == []
    assert (await next_work(journal, run)).not_before == NOW + 10
    assert len(await journal.claim(run, owner=ME, limit=1, now=at(NOW + 10), lease=LEASE)) == 1


async def test_released_batches_are_ready(journal: Journal) -> None:
    """What is given back can be claimed by another; only its holder can give it back."""
    run = await filled(journal, batches=1)
    (one,) = await claim(journal, run)
    with pytest.raises(TransitionError):
        await journal.release([one.batch], OTHER)
    await journal.release([one.batch], ME)
    assert len(await claim(journal, run, owner=OTHER)) == 1


async def test_the_body_comes_with_the_claim(journal: Journal) -> None:
    """A claim holds the frozen calls and their hash."""
    run = await filled(journal, batches=1)
    (one,) = await claim(journal, run)
    assert one.sha256 == make_batch(range(1, 501)).sha256
    assert (one.calls, one.attempts, one.doubted, one.denied, one.variant) == (
        500,
        0,
        None,
        False,
        0,
    )


# ---- sending and settling


async def test_accepted(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """A batch that was accepted keeps its request-id; it is never claimed again."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    await journal.settle(one.batch, ACCEPTED, ME, NOW + 1)
    (batch,) = listed(books, run)
    assert (batch.state, batch.request_id, batch.attempts) == (State.ACCEPTED, "r-1", 1)
    assert batch.settled_at == NOW + 1
    assert await claim(journal, run) == []
    with books() as opened:
        assert opened.counts(run).accepted == 500


async def test_every_attempt_is_counted(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """A batch sent three times shows three requests; `denied` is remembered with the bytes."""
    run = await filled(journal, batches=1)
    for _ in range(2):
        one = await sending(journal, run)
        await journal.settle(one.batch, AGAIN, ME, NOW)
    one = await sending(journal, run)
    assert one.denied
    await journal.settle(one.batch, ACCEPTED, ME, NOW)
    with books() as opened:
        assert opened.counts(run).requests == 3


async def test_another_variant_is_other_bytes(journal: Journal) -> None:
    """A change of variant forgets what was answered to the old bytes."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    await journal.settle(one.batch, AGAIN, ME, NOW)
    one = await sending(journal, run)
    await journal.settle(one.batch, Settlement(State.READY, "repeated", variant=1), ME, NOW)
    (one,) = await claim(journal, run)
    assert (one.variant, one.denied) == (1, False)


async def test_an_answer_is_kept(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """What the provider said is read back byte for byte."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    said = b'{"call-details": []}'
    settlement = Settlement(State.ACCEPTED, "partial", accepted=1, request_id="r", answer=said)
    await journal.settle(one.batch, settlement, ME, NOW)
    assert listed(books, run)[0].answer == said


async def test_refused_and_doubted(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """Refusals and doubts keep their reasons, and neither is claimed again."""
    run = await filled(journal, batches=2)
    for settlement in (REFUSED, DOUBT):
        one = await sending(journal, run)
        await journal.settle(one.batch, settlement, ME, NOW)
    assert [(b.state, b.reason) for b in listed(books, run)] == [
        (State.REFUSED, "Invalid Contact Number (205)"),
        (State.IN_DOUBT, "no answer"),
    ]
    assert await claim(journal, run) == []


@pytest.mark.parametrize("state", State)
async def test_settling_follows_the_diagram(journal: Journal, state: State) -> None:
    """From sending, only what the diagram allows can be settled."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    accepted = 500 if state is State.ACCEPTED else 0
    settlement = Settlement(state, "accepted", accepted=accepted)
    if (State.SENDING, state) in TRANSITIONS and state is not State.SPLIT:
        await journal.settle(one.batch, settlement, ME, NOW)
    else:
        with pytest.raises(TransitionError):
            await journal.settle(one.batch, settlement, ME, NOW)


async def test_guards(journal: Journal) -> None:
    """Sending and settling need the state and the owner; a second time is an error."""
    run = await filled(journal, batches=1)
    (one,) = await claim(journal, run)
    with pytest.raises(TransitionError):
        await journal.settle(one.batch, ACCEPTED, ME, NOW)
    with pytest.raises(TransitionError):
        await journal.send(one, HEAD, OTHER, at(NOW), LEASE)
    await journal.send(one, HEAD, ME, at(NOW), LEASE)
    with pytest.raises(TransitionError):
        await journal.send(one, HEAD, ME, at(NOW), LEASE)
    with pytest.raises(TransitionError):
        await journal.release([one.batch], ME)
    with pytest.raises(TransitionError):
        await journal.settle(one.batch, ACCEPTED, OTHER, NOW)
    await journal.settle(one.batch, ACCEPTED, ME, NOW)
    with pytest.raises(TransitionError):
        await journal.settle(one.batch, DOUBT, ME, NOW)


async def test_one_failure_takes_only_itself(journal: Journal) -> None:
    """Of changes committed together, the one that fails takes back nothing but itself."""
    run = await filled(journal, batches=20)
    claims = await claim(journal, run, limit=20)
    sends = [journal.send(c, HEAD, OTHER if c is claims[7] else ME, at(NOW), LEASE) for c in claims]
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert [i for i, r in enumerate(results) if isinstance(r, TransitionError)] == [7]
    assert [r for r in results if not isinstance(r, TransitionError)] == [1] * 19


# ---- splitting and expiring


async def test_split_into_halves(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """Halves take the batch's place, are claimed next, and hold all of its calls."""
    run = await filled(journal, batches=2)
    one = await sending(journal, run)
    halves = [make_batch(range(1, 251)), make_batch(range(251, 501))]
    answered = Settlement(State.SPLIT, "bad_data", http_status=200, code=205)
    await journal.split(one, halves, ME, NOW, answered=answered, reason="Invalid Contact Number")
    assert [c.first_row for c in await claim(journal, run, limit=3)] == [1, 251, 501]
    assert sum(len(batch.rows) for batch in listed(books, run)) == 1000
    assert states(books, run)[State.SPLIT] == 1


async def test_a_split_that_loses_calls_is_refused(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """The parts must hold every call, or nothing happens."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    with pytest.raises(TransitionError, match="do not hold all"):
        await journal.split(one, [make_batch(range(1, 500))], ME, NOW, answered=AGAIN, reason="bad")
    assert states(books, run) == {State.SENDING: 1}


async def test_expired_calls_are_set_apart(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """Of a claimed batch, the calls whose date has passed expire and the others stay ready."""
    run = await filled(journal, batches=1)
    (one,) = await claim(journal, run)
    living = make_batch(range(1, 400), DAY + timedelta(days=1))
    expired = make_batch(range(400, 501))
    await journal.split(one, [living], ME, NOW, reason="too late", expired=expired)
    assert states(books, run) == {State.SPLIT: 1, State.READY: 1, State.EXPIRED: 1}
    assert listed(books, run)[1].reason == "too late"


async def test_expire_and_cancel(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """A claimed batch can expire; the ready ones of a run can be cancelled, all at once."""
    run = await filled(journal, batches=3)
    (one,) = await claim(journal, run)
    await journal.expire(one.batch, ME, NOW, "too late")
    assert await journal.cancel(run, NOW, "by Asha") == 1000
    assert states(books, run) == {State.EXPIRED: 1, State.CANCELLED: 2}


# ---- leases


async def test_lost_leases(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """A lost claim is ready again; what was being sent is in doubt, with the reason."""
    run = await filled(journal, batches=2)
    await sending(journal, run)
    await claim(journal, run)
    assert await journal.recover(at(NOW + 59)) == (0, 0)
    assert await journal.recover(at(NOW + 60)) == (1, 1)
    assert states(books, run) == {State.READY: 1, State.IN_DOUBT: 1}
    assert "ended before" in (listed(books, run)[0].reason or "")


async def test_renewed_leases_are_kept(journal: Journal) -> None:
    """A renewal lengthens what its owner holds and nothing else."""
    run = await filled(journal, batches=2)
    await claim(journal, run)
    await claim(journal, run, owner=OTHER)
    await journal.renew(ME, at(NOW), 600)
    assert await journal.recover(at(NOW + 60)) == (1, 0)
    assert (await next_work(journal, run)).lease_until == NOW + 600


async def test_who_lost_a_lease_settles_nothing(journal: Journal) -> None:
    """A process that wakes up after its lease was lost cannot settle what is in doubt."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    await journal.recover(at(NOW + 60))
    with pytest.raises(TransitionError):
        await journal.settle(one.batch, ACCEPTED, ME, NOW + 61)


# ---- waiting


async def test_next_work(journal: Journal) -> None:
    """It says whether rows are to come, batches are ready, and leases are held."""
    run = (await journal.open_run(make_run(), NOW)).run
    work = await next_work(journal, run)
    assert (work.reading, work.not_before, work.lease_until) == (True, None, None)
    await journal.append(run, [make_batch([1])], [], after_row=0, last_row=1)
    assert (await next_work(journal, run)).not_before == 0.0
    await claim(journal, run)
    work = await next_work(journal, run)
    assert (work.not_before, work.lease_until) == (None, NOW + 60)


async def test_wait_wakes_for_an_append(journal: Journal) -> None:
    """Whoever waits for work is woken by an append, long before its time is over."""
    run = (await journal.open_run(make_run(), NOW)).run
    await claim(journal, run)
    waiting = asyncio.create_task(journal.wait(run, 60.0))
    await journal.append(run, [make_batch([1])], [], after_row=0, last_row=1)
    await asyncio.wait_for(waiting, 5)


async def test_wait_ends_by_itself(journal: Journal) -> None:
    """Without an append, waiting ends after its seconds."""
    await asyncio.wait_for(journal.wait(1, 0.0), 5)


# ---- the end


async def test_it_outlives_its_process(path: Path) -> None:
    """What a verb has returned for is there when the journal is opened again."""
    journal = SqliteJournal(path)
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    await journal.settle(one.batch, ACCEPTED, ME, NOW)
    await journal.close()
    with SqliteBooks(path) as books:
        assert books.counts(run).batches == {State.ACCEPTED: 1}


async def test_a_closed_journal_takes_nothing(path: Path) -> None:
    """After close, a verb raises instead of waiting for ever."""
    journal = SqliteJournal(path)
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.recover(at(NOW))


async def test_amend(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """The flow and the end of a run can be changed; those of a run that is not there can't."""
    run = await filled(journal)
    await journal.amend(run, "QG8k000B", NOW)
    with books() as opened:
        assert (opened.run(run).flow_id, opened.run(run).not_after) == ("QG8k000B", NOW)
    with pytest.raises(TransitionError):
        await journal.amend(run + 1, "QG8k000B", None)


async def test_reasons(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """Reasons of calls not placed are summed, those of a partial success by what was left out."""
    run = await filled(journal, batches=2)
    partial = Settlement(State.ACCEPTED, "partial", accepted=480, reason="not listed")
    for settlement in (partial, REFUSED):
        one = await sending(journal, run)
        await journal.settle(one.batch, settlement, ME, NOW)
    with books() as opened:
        assert opened.reasons(run, 5) == [
            ("refused", "Invalid Contact Number (205)", 500),
            ("accepted", "not listed", 20),
        ]


async def test_a_snapshot_agrees_with_itself(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """What is read within a snapshot is of one moment, whatever is written meanwhile."""
    run = (await journal.open_run(make_run(), NOW)).run
    with books() as opened, opened.snapshot():
        before = opened.run(run)
        await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
        assert before.rows == opened.run(run).rows == 0
        assert opened.counts(run).batches == {}


async def test_the_rest_of_a_list_given_up(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """A list that is not read to its end, on purpose, is marked for good."""
    run = (await journal.open_run(make_run(), NOW)).run
    await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
    await journal.finish_reading(run, NOW, whole=False)
    with books() as opened:
        assert not opened.run(run).whole


# ---- doubts


async def doubted(journal: Journal, books: Callable[[], SqliteBooks]) -> tuple[int, int]:
    """Open a run with one batch in doubt; return both numbers."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    later = Settlement(State.IN_DOUBT, "lost", reason="no answer", not_before=NOW + 10)
    await journal.settle(one.batch, later, ME, NOW + 1)
    assert states(books, run) == {State.IN_DOUBT: 1}
    return run, one.batch


async def test_a_doubt_is_replayed(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """When its time has come a doubt is offered, taken once, sent again and settled."""
    run, _ = await doubted(journal, books)
    assert await doubts(journal, run) == []
    assert (await next_work(journal, run)).replay_at == NOW + 10
    (claim,) = await doubts(journal, run, NOW + 10)
    assert (claim.replay, claim.doubted, claim.attempts) == (True, at(NOW), 1)
    assert claim.head_sha256 == HEAD
    assert await journal.replay(claim, ME, at(NOW + 10), LEASE) == 2
    with pytest.raises(TransitionError, match="no longer in doubt"):
        await journal.replay(claim, OTHER, at(NOW + 10), LEASE)
    await journal.settle(claim.batch, ACCEPTED, ME, NOW + 11)
    assert states(books, run) == {State.ACCEPTED: 1}


@pytest.mark.parametrize(
    ("wall", "steady"),
    [
        (NOW + 601, NOW + 601),
        (NOW + 7 * 86400, NOW + 7 * 86400),
        (NOW + 20, NOW + 601),  # the wall clock was set back since
        (NOW - 7200, NOW + 601),
        (NOW + 601, NOW + 20),  # the machine was stopped, and its own time with it
    ],
)
async def test_an_old_doubt_waits(
    journal: Journal, books: Callable[[], SqliteBooks], wall: float, steady: float
) -> None:
    """A doubt that is too old by either clock is not offered, however the other was set."""
    run, _ = await doubted(journal, books)
    window = {"now": Moment(wall, steady), "within": 600.0, "today": str(DAY)}
    assert await journal.doubts(run, limit=9, but=(), **window) == []  # type: ignore[arg-type]
    assert (await journal.next_work(run, **window)).replay_at is None  # type: ignore[arg-type]


@pytest.mark.parametrize("wall", [NOW - 7200, NOW - 86_400 * 30])
async def test_a_clock_set_back_stops_no_replay(
    journal: Journal, books: Callable[[], SqliteBooks], wall: float
) -> None:
    """A doubt from the wall clock's future is young by the journal's own time, and offered."""
    run, _ = await doubted(journal, books)
    now = Moment(wall, NOW + 10)
    found = await journal.doubts(run, limit=9, now=now, within=600, today=str(DAY), but=())
    assert len(found) == 1


# ---- bytes that went out before


async def again(journal: Journal, rows: range = range(1, 501)) -> int:
    """Open another run with the very bytes of the first batch of `filled`."""
    run = (await journal.open_run(make_run(), NOW)).run
    await journal.append(run, [make_batch(rows)], [], after_row=0, last_row=len(rows))
    return run


@pytest.mark.parametrize(
    ("settlement", "words"),
    [(ACCEPTED, "were accepted"), (DOUBT, "may have been taken")],
)
async def test_a_repeat_is_caught(
    journal: Journal, books: Callable[[], SqliteBooks], settlement: Settlement, words: str
) -> None:
    """Bytes that were taken, or may have been, are refused before they are sent again."""
    first = await filled(journal, batches=1)
    one = await sending(journal, first)
    await journal.settle(one.batch, settlement, ME, NOW)
    run = await again(journal)
    (two,) = await claim(journal, run)
    sent = await journal.send(two, HEAD, ME, at(NOW), LEASE)
    assert isinstance(sent, Repeat)
    assert sent.refused
    (batch,) = listed(books, run)
    assert (batch.state, batch.attempts, batch.reason) == (State.REFUSED, 0, sent.reason)
    assert f"repeats run {first}" in sent.reason
    assert words in sent.reason


async def test_a_repeat_of_what_is_under_way_is_put_off(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """While the other is being sent nobody knows; when it was not taken, this one goes out."""
    first = await filled(journal, batches=1)
    one = await sending(journal, first)
    run = await again(journal)
    (two,) = await claim(journal, run)
    sent = await journal.send(two, HEAD, ME, at(NOW), LEASE)
    assert sent == Repeat(f"repeats run {first}: the same bytes went out there before")
    assert states(books, run) == {State.READY: 1}
    assert await claim(journal, run) == []
    await journal.settle(one.batch, AGAIN, ME, NOW)
    (two,) = await journal.claim(run, owner=ME, limit=1, now=at(NOW + 5), lease=LEASE)
    assert await journal.send(two, HEAD, ME, at(NOW + 5), LEASE) == 1


async def test_a_repeat_of_what_was_split_is_halved(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """Bytes that were refused as a whole live on in parts, so the parts are looked at."""
    first = await filled(journal, batches=1)
    one = await sending(journal, first)
    halves = [make_batch(range(1, 251)), make_batch(range(251, 501))]
    bad = Settlement(State.SPLIT, "bad_data")
    await journal.split(one, halves, ME, NOW, answered=bad, reason="bad")
    run = await again(journal)
    (two,) = await claim(journal, run)
    sent = await journal.send(two, HEAD, ME, at(NOW), LEASE)
    assert isinstance(sent, Repeat)
    assert (sent.refused, sent.halve) == (False, True)
    await journal.split(two, halves, ME, NOW, reason=sent.reason)
    assert states(books, run) == {State.SPLIT: 1, State.READY: 2}


async def test_sent_anew_after_a_variant_was_used_up(journal: Journal) -> None:
    """A list sent anew has bytes that no run of it had, also where one had to go on to others."""
    new = make_run(identity="x")
    run = (await journal.open_run(new, NOW)).run
    await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
    one = await sending(journal, run)
    await journal.settle(one.batch, Settlement(State.READY, "repeated", variant=1), ME, NOW)
    run = (await journal.open_run(new, NOW, again=True)).run
    await journal.append(run, [make_batch([1, 2])], [], after_row=0, last_row=2)
    (two,) = await claim(journal, run)
    assert two.variant == 2


async def test_no_doubt_of_a_run_that_is_stopped(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """What a person has paused or cancelled, or the provider blocks, is not replayed either."""
    run, _ = await doubted(journal, books)
    await journal.control(run, Control.PAUSED, [Control.GO])
    assert await doubts(journal, run, NOW + 10) == []


async def test_what_was_not_taken_is_no_repeat(journal: Journal) -> None:
    """Bytes that were surely not placed, or went out with another head, may be sent."""
    first = await filled(journal, batches=1)
    one = await sending(journal, first)
    await journal.settle(one.batch, AGAIN, ME, NOW)
    (two,) = await claim(journal, await again(journal))
    assert await journal.send(two, HEAD, ME, at(NOW), LEASE) == 1
    (one,) = await claim(journal, first)
    assert isinstance(await journal.send(one, HEAD, ME, at(NOW), LEASE), Repeat)
    (other,) = await claim(journal, await again(journal))
    assert await journal.send(other, b"o" * 32, ME, at(NOW), LEASE) == 1


async def test_every_try_of_a_batch_is_remembered(journal: Journal) -> None:
    """Bytes that may have been taken are a repeat, though others of that batch went out since."""
    first = await filled(journal, batches=1)
    one = await sending(journal, first)
    await journal.settle(one.batch, DOUBT, ME, NOW)
    await journal.resolve(first, [one.batch], State.READY, who="a@b", now=at(NOW))
    (one,) = await claim(journal, first)
    await journal.send(one, b"o" * 32, ME, at(NOW), LEASE)
    await journal.settle(one.batch, ACCEPTED, ME, NOW)
    for head in (HEAD, b"o" * 32):
        (two,) = await claim(journal, await again(journal))
        assert isinstance(await journal.send(two, head, ME, at(NOW), LEASE), Repeat)


async def test_a_batch_is_no_repeat_of_itself(journal: Journal) -> None:
    """What a person has sent again, though it may have been taken, does go out."""
    run = await filled(journal, batches=1)
    one = await sending(journal, run)
    await journal.settle(one.batch, DOUBT, ME, NOW)
    await journal.resolve(run, [one.batch], State.READY, who="a@b", now=at(NOW))
    (two,) = await claim(journal, await again(journal))
    assert isinstance(await journal.send(two, HEAD, ME, at(NOW), LEASE), Repeat)
    (one,) = await claim(journal, run)
    assert await journal.send(one, HEAD, ME, at(NOW), LEASE) == 2


async def test_refused_unsent(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """A claimed batch that can't be sent is refused by its holder, with the reason."""
    run = await filled(journal, batches=1)
    (one,) = await claim(journal, run)
    with pytest.raises(TransitionError):
        await journal.refuse(one.batch, OTHER, NOW, "damaged")
    await journal.refuse(one.batch, ME, NOW, "damaged")
    assert [(b.state, b.reason) for b in listed(books, run)] == [(State.REFUSED, "damaged")]


async def test_sending_renews_the_lease(journal: Journal) -> None:
    """A batch that waited long for its turn is held for a whole lease once it is being sent."""
    run = await filled(journal, batches=1)
    (one,) = await claim(journal, run)
    await journal.send(one, HEAD, ME, at(NOW + 59), LEASE)
    assert await journal.recover(at(NOW + 100)) == (0, 0)
    assert await journal.recover(at(NOW + 119)) == (0, 1)


async def test_a_run_is_found_by_what_it_is(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """The books know the newest run of a campaign and list, without opening one."""
    with books() as opened:
        assert opened.find("x") is None
        await journal.open_run(make_run(identity="x"), NOW)
        await journal.open_run(make_run(identity="x"), NOW, again=True)
        assert opened.find("x") == 2


async def test_a_doubt_of_a_past_date_waits(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """A replay that would be refused for its date proves nothing, so it is not offered."""
    run, _ = await doubted(journal, books)
    tomorrow = str(DAY + timedelta(days=1))
    found = await journal.doubts(run, limit=9, now=at(NOW + 10), within=600, today=tomorrow, but=())
    assert found == []


async def test_a_doubt_that_is_out_already(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """What the caller names is not offered."""
    run, batch = await doubted(journal, books)
    assert await doubts(journal, run, NOW + 10, but=(batch,)) == []


async def test_a_replay_without_an_answer_keeps_the_first_moment(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """However often it is replayed, a doubt's age is that of its first sending."""
    run, _ = await doubted(journal, books)
    (claim,) = await doubts(journal, run, NOW + 10)
    await journal.replay(claim, ME, at(NOW + 10), LEASE)
    await journal.settle(claim.batch, DOUBT, ME, NOW + 11)
    (claim,) = await doubts(journal, run, NOW + 12)
    assert (claim.doubted, claim.attempts) == (at(NOW), 2)


@pytest.mark.parametrize("outcome", [State.ACCEPTED, State.READY, State.ABANDONED])
async def test_a_person_settles_a_doubt(
    journal: Journal, books: Callable[[], SqliteBooks], outcome: State
) -> None:
    """Accepted, sent again or given up: once, and with the person's name."""
    run, batch = await doubted(journal, books)
    with books() as opened:
        assert [(d.batch, d.calls, d.attempts) for d in opened.doubts(run)] == [(batch, 500, 1)]
    await journal.resolve(run, [batch], outcome, who="asha@desk", now=at(NOW + 99))
    (found,) = listed(books, run)
    assert found.state is outcome
    assert found.reason is None if outcome is State.READY else "asha@desk" in (found.reason or "")
    with pytest.raises(RunError, match="in doubt"):
        await journal.resolve(run, [batch], outcome, who="asha@desk", now=at(NOW + 100))


async def test_resolving_is_all_or_nothing(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """If one of several is not in doubt, none is settled; nor is a doubt of another run."""
    run, batch = await doubted(journal, books)
    for numbers in ([batch, batch + 7], [batch + 7]):
        with pytest.raises(RunError):
            await journal.resolve(run, numbers, State.ACCEPTED, who="a@b", now=at(NOW))
    with pytest.raises(RunError):
        await journal.resolve(run + 1, [batch], State.ACCEPTED, who="a@b", now=at(NOW))
    assert states(books, run) == {State.IN_DOUBT: 1}


async def test_resent_bytes_are_still_doubted(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """What a person has sent again is remembered as perhaps taken: a repeat then proves it."""
    run, batch = await doubted(journal, books)
    await journal.resolve(run, [batch], State.READY, who="a@b", now=at(NOW + 99))
    (claim_,) = await claim(journal, run)
    assert (claim_.replay, claim_.doubted) == (False, at(NOW + 99))


@pytest.mark.parametrize("state", [s for s in State if (State.IN_DOUBT, s) not in TRANSITIONS])
async def test_resolving_follows_the_diagram(
    journal: Journal, books: Callable[[], SqliteBooks], state: State
) -> None:
    """A person can't move a doubt to any other state."""
    run, batch = await doubted(journal, books)
    with pytest.raises(TransitionError):
        await journal.resolve(run, [batch], state, who="a@b", now=at(NOW))


# ---- processes that end


async def test_what_a_dead_process_held_is_taken_back_at_once(
    path: Path, books: Callable[[], SqliteBooks], journal: Journal
) -> None:
    """A process that has ended without a word is not waited for, whatever its leases say."""
    run = await filled(journal, batches=2)
    other = SqliteJournal(path)
    await other.claim(run, owner=other.owner, limit=1, now=at(NOW), lease=3600)
    (one,) = await other.claim(run, owner=other.owner, limit=1, now=at(NOW), lease=3600)
    await other.send(one, HEAD, other.owner, at(NOW), LEASE)
    assert await journal.recover(at(NOW)) == (0, 0)
    other._sign.leave()  # what the system does when a process ends
    assert await journal.recover(at(NOW), replay_after=5) == (1, 1)
    assert states(books, run) == {State.READY: 1, State.IN_DOUBT: 1}
    assert await doubts(journal, run, NOW + 4) == []
    assert len(await doubts(journal, run, NOW + 5)) == 1
    await other._writer.close()


async def test_the_signs_of_the_dead_are_swept_away(path: Path, journal: Journal) -> None:
    """What dead processes left beside the journal goes; the signs of the living stay."""
    dead, alive = SqliteJournal(path), SqliteJournal(path)
    dead._sign.leave()
    await journal.recover(at(NOW))
    left = {file.name.rsplit("-", 1)[-1] for file in path.parent.glob("*-alive-*")}
    assert left == {one.owner.rsplit(":", 1)[-1] for one in (journal, alive)}
    await dead._writer.close()
    await alive.close()


async def test_a_process_that_ends_with_something_in_hand(
    path: Path, journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """Closing with leases held (the journal failed, say) lets others take them back at once."""
    run = await filled(journal, batches=2)
    other = SqliteJournal(path)
    await other.claim(run, owner=other.owner, limit=1, now=at(NOW), lease=3600)
    await other.close()
    assert await journal.recover(at(NOW)) == (1, 0)
    failed = SqliteJournal(path)
    await failed.claim(run, owner=failed.owner, limit=1, now=at(NOW), lease=3600)
    failed._explain(sqlite3.OperationalError("database or disk is full"))
    await failed.close()
    assert await journal.recover(at(NOW)) == (1, 0)
    assert states(books, run) == {State.READY: 2}


async def test_a_process_that_ends_well_leaves_no_sign(path: Path) -> None:
    """Closing takes the sign of life away with it."""
    one = SqliteJournal(path)
    assert len(list(path.parent.glob("*-alive-*"))) == 1
    await one.close()
    assert list(path.parent.glob("*-alive-*")) == []


async def test_books_closed_while_they_are_read(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """An export that is interrupted leaves half-read books behind, and no complaint of theirs."""
    run = await filled(journal, batches=3)
    with books() as opened:
        half_read = opened.batches(run)
        assert next(half_read).batch == 1
    half_read.close()  # type: ignore[attr-defined]


async def test_a_claim_from_before_another_try_sends_nothing(journal: Journal) -> None:
    """What it knows of the batch (doubts, noes) is no longer true, though the owner is the same."""
    run = await filled(journal, 1)
    (old,) = await claim(journal, run)
    await journal.release([old.batch], ME)
    await sending(journal, run)
    await journal.settle(old.batch, AGAIN, ME, NOW)
    await claim(journal, run)
    with pytest.raises(TransitionError):
        await journal.send(old, HEAD, ME, at(NOW), LEASE)


async def test_a_run_that_is_not_there(journal: Journal) -> None:
    """Whoever asks for it is told so."""
    with pytest.raises(RunError, match="there is no run 9"):
        await journal.read_so_far(9)
    with pytest.raises(RunError, match="there is no run 9"):
        await next_work(journal, 9)


# ---- whom runs have called


def numbers(rows: Sequence[int]) -> list[str]:
    """Return the first numbers of the calls of rows."""
    return [make_call(row).contact_numbers[0] for row in rows]


def found_placed(
    books: Callable[[], SqliteBooks],
    *,
    since: float = 0.0,
    by: Key = "number",
    but_not: int | None = None,
) -> list[str]:
    """Return the keys of all calls placed by the tests' campaign, sorted."""
    with books() as opened:
        return sorted(
            chain(
                *opened.placed("premium-reminder", "default", since=since, by=by, but_not=but_not)
            )
        )


async def appended(journal: Journal, rows: Sequence[Sequence[int]], **changes: str) -> int:
    """Open a run with a ready batch of each of these rows."""
    run = (await journal.open_run(make_run(**changes), NOW)).run
    last_row = sum(len(some) for some in rows)
    await journal.append(
        run, [make_batch(some) for some in rows], [], after_row=0, last_row=last_row
    )
    return run


SETTLED_SO = {
    State.ACCEPTED: Settlement(State.ACCEPTED, "accepted", accepted=2),
    State.IN_DOUBT: DOUBT,
    State.REFUSED: REFUSED,
}


@pytest.mark.parametrize("state", State)
async def test_who_counts_as_called(
    journal: Journal, books: Callable[[], SqliteBooks], state: State
) -> None:
    """Calls placed, perhaps placed or still to be sent count; what surely never rang does not."""
    run = await appended(journal, [[1, 2]])
    if state is State.CANCELLED:
        await journal.cancel(run, NOW, "why")
    elif state is not State.READY:
        await arrive(journal, run, state)
    assert states(books, run).get(state) == 1
    never = {State.REFUSED, State.EXPIRED, State.CANCELLED}
    assert found_placed(books) == ([] if state in never else numbers([1, 2]))
    with books() as opened:
        assert sorted(chain(*opened.placed_in(run, "number"))) == numbers([1, 2])


async def arrive(journal: Journal, run: int, state: State) -> None:
    """Claim a batch, and lead it to a state."""
    (one,) = await claim(journal, run)
    if state is State.CLAIMED:
        return
    if state is State.EXPIRED:
        await journal.expire(one.batch, ME, NOW, "why")
        return
    await journal.send(one, HEAD, ME, at(NOW), LEASE)
    if state is State.SPLIT:
        bad = Settlement(State.SPLIT, "bad_data")
        halves = [make_batch([1]), make_batch([2])]
        await journal.split(one, halves, ME, NOW, answered=bad, reason="why")
    elif state is State.ABANDONED:
        await journal.settle(one.batch, DOUBT, ME, NOW)
        await journal.resolve(run, [one.batch], state, who="asha@desk", now=at(NOW))
    elif state is not State.SENDING:
        await journal.settle(one.batch, SETTLED_SO[state], ME, NOW)


async def test_of_a_partial_success_those_placed_count(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """The answer says which calls were placed; if it can't say it any more, all count."""
    run = await appended(journal, [[1, 2, 3], [4, 5]])
    details = b'{"call-details":[{"client-identifier":"ACC0000002","phonon-uuid":"u"}]}'
    for answer in (details, b"{}"):
        one = await sending(journal, run)
        some = Settlement(State.ACCEPTED, "partial", "why", accepted=1, answer=answer)
        await journal.settle(one.batch, some, ME, NOW)
    assert found_placed(books) == numbers([2, 4, 5])
    with books() as opened:
        assert sorted(chain(*opened.placed_in(run, "number"))) == numbers([1, 2, 3, 4, 5])


async def test_what_an_unclear_answer_lists_proves_nothing(
    journal: Journal, books: Callable[[], SqliteBooks]
) -> None:
    """All calls of a doubt may have been placed, also those that the answer does not name."""
    run = await appended(journal, [[1, 2]])
    one = await sending(journal, run)
    details = b'{"call-details":[{"client-identifier":"ACC0000002","phonon-uuid":"u"}]}'
    await journal.settle(one.batch, replace(DOUBT, answer=details), ME, NOW)
    assert found_placed(books) == numbers([1, 2])


async def test_whose_calls_count(journal: Journal, books: Callable[[], SqliteBooks]) -> None:
    """Those of the campaign and account, on either endpoint, since a moment, but for one run."""
    await appended(journal, [[1]])
    await appended(journal, [[2]], endpoint="realtime")
    await appended(journal, [[3]], campaign="other")
    await appended(journal, [[4]], account="other")
    late = (await journal.open_run(make_run(), NOW + 60)).run
    await journal.append(late, [make_batch([5])], [], after_row=0, last_row=1)
    assert found_placed(books) == numbers([1, 2, 5])
    assert found_placed(books, since=NOW) == numbers([1, 2, 5])
    assert found_placed(books, since=NOW + 1) == numbers([5])
    assert found_placed(books, but_not=late) == numbers([1, 2])
    assert found_placed(books, by="client_identifier") == ["ACC0000001", "ACC0000002", "ACC0000005"]


@pytest.mark.parametrize("harm", ["UPDATE body SET calls = x'00'", "DELETE FROM body"])
async def test_whom_a_damaged_batch_called_is_not_guessed(
    journal: Journal, books: Callable[[], SqliteBooks], path: Path, harm: str
) -> None:
    """A batch that can't be read is an error that names it: a call might be placed twice."""
    run = await appended(journal, [[1, 2]])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(harm)
    connection.close()
    with pytest.raises(DamagedBodyError, match=f"batch 1 of run {run}"):
        found_placed(books)
    with books() as opened, pytest.raises(DamagedBodyError):
        list(opened.placed_in(run, "number"))
