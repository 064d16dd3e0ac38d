"""The dispatcher on a real journal, with an endpoint that answers as the test says."""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta

import orjson
import pytest
from builders import DAY, FLOW_ID, SECURITY_ID, make_batch, make_call, make_data
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
    growing,
    limiter,
    opened,
    sent,
    ten_batches,
    until,
)

from phonon_bulk.batch import Batch, Head, State
from phonon_bulk.call import INDIA, encode
from phonon_bulk.dispatch import REFUSALS_BEFORE_STOP, Ending, Outcome, Pace
from phonon_bulk.dispatch import dispatcher as dispatching
from phonon_bulk.dispatch.concurrency import Seen
from phonon_bulk.errors import JournalError
from phonon_bulk.journal import Claim, Control, Moment, Repeat, changes
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.frozen import freeze
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.retry import Policy
from phonon_bulk.schedule import Limits


async def test_bodies_go_out_as_they_were_frozen(journal: SqliteJournal) -> None:
    """What is posted is the head and the frozen calls, each batch once."""
    run = await opened(journal, *ten_batches())
    outcome, script, books = await sent(journal, run, answers())
    assert outcome == Outcome(Ending.FINISHED)
    head = f'{{"api-version":"1.0","security-id":"{SECURITY_ID}","flow-id":"{FLOW_ID}","calls":['
    bodies = [head.encode() + make_data(range(n * 3 + 1, n * 3 + 4)) + b"]}" for n in range(10)]
    assert sorted(script.bodies) == sorted(bodies)
    assert books.batches == {State.ACCEPTED: 10}


async def test_the_pool_posts_concurrently(journal: SqliteJournal) -> None:
    """As many posts as workers are under way at once."""
    run = await opened(journal, *ten_batches())
    together = asyncio.Barrier(4)

    async def say(number: int, _body: bytes) -> Answer:
        if number < 8:
            await asyncio.wait_for(together.wait(), 10)
        return OK

    _, script, _ = await sent(journal, run, say)
    assert script.most_at_once == 4


async def test_more_workers_come_and_go(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are wanted are there, also fewer again; each batch is sent once."""
    run = await opened(journal, *(make_batch([n]) for n in range(1, 101)))
    wanted, go = [2], asyncio.Event()

    async def say(_number: int, _body: bytes) -> Answer:
        await go.wait()
        await asyncio.sleep(0)
        return OK

    class Told:
        def __init__(self, *_how: object) -> None:
            pass

        def look(self, _seen: Seen) -> int:
            return wanted[0]

    monkeypatch.setattr(dispatching, "Concurrency", Told)
    monkeypatch.setattr(dispatching, "_LOOK_EVERY", 0.01)
    script = Script(say)
    ours = dispatcher(journal, run, script, replace(QUICK, workers=2, most_workers=16))
    sending = asyncio.create_task(ours.run(asyncio.Event()))
    await until(lambda: script.at_once == 2)
    wanted[0] = 16
    await until(lambda: script.at_once == 16)
    wanted[0] = 3
    await until(lambda: ours._wanted == 3)
    go.set()
    await until(lambda: ours._there <= 3)
    script.most_at_once = 0
    outcome = await asyncio.wait_for(sending, 20)
    assert outcome == Outcome(Ending.FINISHED)
    assert script.most_at_once <= 3
    assert len(set(script.bodies)) == len(script.bodies) == 100


async def test_a_library_that_cancels_costs_no_worker(journal: SqliteJournal) -> None:
    """What it was doing may have been sent; all else goes on."""
    run = await opened(journal, *ten_batches())

    async def say(number: int, _body: bytes) -> Answer:
        if number == 3:
            raise asyncio.CancelledError
        return OK

    outcome, _, books = await sent(journal, run, say, Pace(workers=1, replay_within=0))
    assert outcome.ending is Ending.FINISHED
    assert books.batches == {State.ACCEPTED: 9, State.IN_DOUBT: 1}


async def test_surely_not_taken_is_sent_again(journal: SqliteJournal) -> None:
    """No connection, HTTP 429: the same bytes go out later, and nothing is in doubt."""
    run = await opened(journal, make_batch([1, 2, 3]))
    say = answers(Verdict.NOT_SENT, Verdict.THROTTLED, Verdict.NOT_SENT)
    _, script, books = await sent(journal, run, say)
    assert books.batches == {State.ACCEPTED: 1}
    assert books.requests == 4
    assert len(set(script.bodies)) == 1


async def test_after_a_failure_one_at_a_time(journal: SqliteJournal) -> None:
    """While the endpoint fails, single requests find out; the pool comes back with success."""
    run = await opened(journal, *ten_batches())
    under_way: list[int] = []

    async def say(number: int, _body: bytes) -> Answer:
        under_way.append(script.at_once)
        await asyncio.sleep(0.002)
        return Answer(Verdict.NOT_SENT, "connection refused") if number < 12 else OK

    script = Script(say)
    await asyncio.wait_for(dispatcher(journal, run, script).run(asyncio.Event()), 20)
    assert counts(journal, run).batches == {State.ACCEPTED: 10}
    assert max(under_way[4:12]) == 1


async def test_given_up(journal: SqliteJournal) -> None:
    """Without a clear answer for too long the run ends; everything is still ready."""
    run = await opened(journal, *ten_batches())
    pace = Pace(workers=2, policy=Policy(first=0.001, most=0.001, give_up_after=0.01))
    down = Answer(Verdict.NOT_SENT, "host can't be reached: connection refused")
    outcome, _, books = await sent(journal, run, answers(then=down), pace)
    assert outcome == Outcome(Ending.GIVEN_UP, down.message)
    assert books.batches == {State.READY: 10}


async def test_an_outage_puts_few_in_doubt(journal: SqliteJournal) -> None:
    """When every answer is lost, the endpoint rests before all batches are in doubt."""
    run = await opened(journal, *ten_batches())
    pace = Pace(workers=1, replay_within=0, policy=Policy(first=30, most=30, give_up_after=600))
    script = Script(answers(then=Answer(Verdict.LOST, "no answer")))
    stop = asyncio.Event()
    sending = asyncio.create_task(dispatcher(journal, run, script, pace).run(stop))
    await until(lambda: len(script.bodies) >= 3)
    await asyncio.sleep(0.05)
    stop.set()
    await sending
    assert counts(journal, run).batches == {State.IN_DOUBT: 3, State.READY: 7}


@pytest.mark.parametrize("verdict", [Verdict.SETUP, Verdict.ACCOUNT])
async def test_blocked(journal: SqliteJournal, verdict: Verdict) -> None:
    """What would hit every batch stops the run: at most the posts under way see it."""
    run = await opened(journal, *ten_batches())
    outcome, script, books = await sent(journal, run, answers(then=Answer(verdict, "no", code=1)))
    assert outcome == Outcome(Ending.BLOCKED, "no (1)")
    assert len(script.bodies) <= 4
    assert books.batches == {State.READY: 10}
    with SqliteBooks(journal.path) as opened_books:
        record = opened_books.run(run)
    assert (record.control, record.reason) == (Control.STOPPED, "no (1)")


async def test_told_to_stop(journal: SqliteJournal) -> None:
    """Posts under way end and are settled; nothing more is sent or stays claimed."""
    run = await opened(journal, *ten_batches())
    stop, release = asyncio.Event(), asyncio.Event()

    async def say(_number: int, _body: bytes) -> Answer:
        await release.wait()
        return OK

    script = Script(say)
    pace = Pace(workers=2, drain_timeout=60)
    sending = asyncio.create_task(dispatcher(journal, run, script, pace).run(stop))
    await until(lambda: script.at_once >= 2)
    stop.set()
    await asyncio.sleep(0.02)
    release.set()
    assert (await sending).ending is Ending.TOLD
    assert counts(journal, run).batches == {State.ACCEPTED: 2, State.READY: 8}


async def test_the_drain_is_bounded(journal: SqliteJournal) -> None:
    """A post that does not end in time is cut off, and in doubt with that reason."""
    run = await opened(journal, *ten_batches())
    stop = asyncio.Event()

    async def say(_number: int, _body: bytes) -> Answer:
        await asyncio.Event().wait()
        return OK

    script = Script(say)
    sending = asyncio.create_task(dispatcher(journal, run, script).run(stop))
    await until(lambda: script.at_once >= 4)
    stop.set()
    await asyncio.wait_for(sending, 20)
    assert counts(journal, run).batches == {State.IN_DOUBT: 4, State.READY: 6}
    with SqliteBooks(journal.path) as books:
        assert "told to stop" in books.reasons(run, 1)[0][1]


async def test_paused_from_outside(journal: SqliteJournal) -> None:
    """A run that somebody pauses is let go of."""
    run = await opened(journal, *ten_batches())

    async def say(number: int, _body: bytes) -> Answer:
        if number == 0:
            await journal.control(run, Control.PAUSED, [Control.GO])
        return OK

    outcome, _, _ = await sent(journal, run, say, Pace(workers=1))
    assert outcome == Outcome(Ending.TOLD, "the run is paused")


async def test_a_whole_batch_too_late(journal: SqliteJournal) -> None:
    """A batch whose start date is past at +05:30 is expired and not sent."""
    run = await opened(journal, make_batch([1, 2, 3]))
    tomorrow = datetime.combine(DAY + timedelta(days=1), datetime.min.time(), INDIA).timestamp()
    _, script, books = await sent(journal, run, answers(), clock=lambda: at(tomorrow))
    assert script.bodies == []
    assert books.batches == {State.EXPIRED: 1}


async def test_the_last_second_of_its_day(journal: SqliteJournal) -> None:
    """Until midnight at +05:30 it is sent, whatever the date is elsewhere."""
    run = await opened(journal, make_batch([1, 2, 3]))
    midnight = datetime.combine(DAY + timedelta(days=1), datetime.min.time(), INDIA).timestamp()
    _, _, books = await sent(journal, run, answers(), clock=lambda: at(midnight - 1))
    assert books.batches == {State.ACCEPTED: 1}


async def test_only_the_late_calls_of_a_batch_expire(journal: SqliteJournal) -> None:
    """Calls with a later date, in a batch with late ones, are sent all the same."""
    days = [DAY, DAY + timedelta(days=1), DAY, DAY + timedelta(days=2)]
    data = b",".join(encode(make_call(row, day)) for row, day in enumerate(days, 1))
    run = await opened(journal, freeze(Batch(data, range(1, 5), DAY)))
    tomorrow = NOON + 86_400
    _, script, books = await sent(journal, run, answers(), clock=lambda: at(tomorrow))
    calls = orjson.loads(script.bodies[0])["calls"]
    assert [call["client-identifier"] for call in calls] == ["ACC0000002", "ACC0000004"]
    assert (books.calls[State.EXPIRED], books.accepted) == (2, 2)


async def test_one_bad_call_is_found(journal: SqliteJournal) -> None:
    """A refused batch is halved until the bad call stands alone, in at most 18 more requests."""
    run = await opened(journal, make_batch(range(1, 501)))

    async def say(_number: int, body: bytes) -> Answer:
        await asyncio.sleep(0)
        bad = b"ACC0000333" in body
        return Answer(Verdict.BAD_DATA, "Invalid Contact Number", code=205) if bad else OK

    _, script, books = await sent(journal, run, say)
    assert len(script.bodies) <= 1 + 18
    assert (books.accepted, books.calls[State.REFUSED]) == (499, 1)
    with SqliteBooks(journal.path) as opened_books:
        (refused,) = [b for b in opened_books.batches(run) if b.state is State.REFUSED]
    assert list(refused.rows) == [333]


async def test_what_all_rows_share_stops_the_run(journal: SqliteJournal) -> None:
    """If call after call is refused, the run stops before it costs a request each."""
    run = await opened(journal, *[make_batch(range(n * 500 + 1, n * 500 + 501)) for n in range(4)])
    bad = Answer(Verdict.BAD_DATA, "Invalid Format", code=400)
    outcome, script, books = await sent(journal, run, answers(then=bad))
    assert outcome.ending is Ending.BLOCKED
    assert len(script.bodies) < 5 * REFUSALS_BEFORE_STOP
    assert sum(n for state, n in books.calls.items() if state is not State.SPLIT) == 2000


async def test_rows_still_to_come_are_waited_for(journal: SqliteJournal) -> None:
    """While the list is being read, an empty journal is not the end."""
    run = await opened(journal, make_batch([1]), read=False)
    script = Script(answers())
    sending = asyncio.create_task(dispatcher(journal, run, script).run(asyncio.Event()))
    await until(lambda: bool(script.bodies))
    await journal.append(run, [make_batch([2])], [], after_row=1, last_row=2)
    await journal.finish_reading(run, NOON)
    await asyncio.wait_for(sending, 20)
    assert counts(journal, run).batches == {State.ACCEPTED: 2}


async def test_what_another_process_left_is_taken_up(journal: SqliteJournal) -> None:
    """A claim whose lease has ended is sent; what that process was sending is in doubt."""
    run = await opened(journal, make_batch([1]), make_batch([2]), make_batch([3]))
    lost = await journal.claim(run, owner="dead", limit=2, now=at(NOON), lease=-1)
    await journal.send(lost[0], b"h" * 32, "dead", at(NOON), -1)
    _, script, books = await sent(journal, run, answers())
    assert len(script.bodies) == 2
    assert books.batches == {State.ACCEPTED: 2, State.IN_DOUBT: 1}


async def test_who_lost_the_lease_does_not_send(journal: SqliteJournal) -> None:
    """A process that was suspended past its lease sends nothing that is no longer its own."""
    run = await opened(journal, make_batch([1]))

    def take_over(db: sqlite3.Connection) -> None:
        """Do what another process does that sees that the lease is over."""
        later = at(NOON + 1000)
        changes.recover(db, journal.path, later, 0.0)
        for claim in changes.claim(db, run, "other", 1, later, 1000):
            changes.send(db, claim, b"h" * 32, "other", later, 1000)

    script = Script(answers())
    ours = dispatcher(journal, run, script)
    take = ours._limiter.acquire

    async def suspended(calls: int, *, again: bool = False) -> float:
        await journal._writer.do(take_over)
        return await take(calls, again=again)

    ours._limiter.acquire = suspended  # type: ignore[method-assign]
    stop = asyncio.Event()
    sending = asyncio.create_task(ours.run(stop))
    await until(lambda: counts(journal, run).batches == {State.SENDING: 1})
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.wait_for(sending, 20)
    assert script.bodies == []
    assert counts(journal, run).batches == {State.SENDING: 1}


async def test_a_journal_that_fails_ends_the_sending(journal: SqliteJournal) -> None:
    """If the journal can't be written, nothing more is sent, and the error says so."""
    run = await opened(journal, *ten_batches())

    async def say(number: int, _body: bytes) -> Answer:
        if number == 2:
            await journal.close()
        return OK

    with pytest.raises(JournalError, match="closed"):
        await sent(journal, run, say, Pace(workers=1))
    assert counts(journal, run).requests == 3


async def test_answers_are_kept_where_they_say_more(journal: SqliteJournal) -> None:
    """Call details and unclear answers are kept as they came; a plain Accepted is not."""
    run = await opened(journal, make_batch([1]), make_batch([2]))
    unclear = Answer(Verdict.UNCLEAR, "HTTP 200 with the unknown code 7", body=b'{"code":7}')

    async def say(number: int, _body: bytes) -> Answer:
        await asyncio.sleep(0)
        return OK if number == 0 else unclear

    await sent(journal, run, say, Pace(workers=1, replay_within=0))
    with SqliteBooks(journal.path) as books:
        assert [batch.answer for batch in books.batches(run)] == [None, b'{"code":7}']


async def test_stopping_does_not_wait_for_tokens(journal: SqliteJournal) -> None:
    """Workers that wait for tokens of a slow limit let go at once when told to stop."""
    run = await opened(journal, *ten_batches())
    script, stop = Script(answers()), asyncio.Event()
    ours = dispatcher(journal, run, script, Pace(workers=4, drain_timeout=60))
    ours._limiter = limiter(journal, run, Limits(requests=1))  # a slot every minute
    sending = asyncio.create_task(ours.run(stop))
    await until(lambda: counts(journal, run).batches.get(State.CLAIMED, 0) >= 4)
    stop.set()
    assert (await asyncio.wait_for(sending, 5)).ending is Ending.TOLD
    assert len(script.bodies) <= 1
    assert counts(journal, run).batches[State.READY] >= 9


async def test_nothing_is_posted_after_an_abort(journal: SqliteJournal) -> None:
    """A batch that is marked as sending when the stop becomes an abort is not posted any more."""
    run = await opened(journal, make_batch([1]))
    script = Script(answers())
    ours = dispatcher(journal, run, script)
    mark = journal.send

    async def slow(
        claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
    ) -> int | Repeat:
        attempt = await mark(claim, head_sha256, owner, now, lease)
        ours.abort()
        return attempt

    journal.send = slow  # type: ignore[method-assign]
    await asyncio.wait_for(ours.run(asyncio.Event()), 20)
    assert script.bodies == []
    assert counts(journal, run).batches == {State.READY: 1}


async def test_a_retry_after_holds_all_workers(journal: SqliteJournal) -> None:
    """One 429 with Retry-After: what waits for tokens waits for that too, whatever succeeds."""
    run = await opened(journal, *ten_batches())
    throttled = Answer(Verdict.THROTTLED, "HTTP 429: too many requests", retry_after=30.0)
    gate = asyncio.Event()

    async def say(number: int, _body: bytes) -> Answer:
        if number == 0:
            await asyncio.sleep(0.02)
            gate.set()
            return throttled
        await gate.wait()
        await asyncio.sleep(0.02)
        return OK

    script, stop = Script(say), asyncio.Event()
    sending = asyncio.create_task(dispatcher(journal, run, script).run(stop))
    await asyncio.sleep(0.4)
    assert len(script.bodies) == 4
    stop.set()
    await asyncio.wait_for(sending, 5)
    assert counts(journal, run).batches == {State.ACCEPTED: 3, State.READY: 7}


async def test_the_clock_jumps_past_our_own_leases(journal: SqliteJournal) -> None:
    """A wall clock that jumps by hours while posts are under way doubts none of them."""
    run = await opened(journal, make_batch([1]), make_batch([2]), read=False)
    clock = [NOON]

    async def say(_number: int, _body: bytes) -> Answer:
        clock[0] = NOON + 3600
        await asyncio.sleep(0.6)
        return OK

    stop = asyncio.Event()
    ours = dispatcher(journal, run, Script(say), clock=lambda: at(clock[0]))
    sending = asyncio.create_task(ours.run(stop))
    await until(lambda: counts(journal, run).batches == {State.ACCEPTED: 2})
    stop.set()
    await asyncio.wait_for(sending, 20)


async def test_a_lost_claim_harms_nobody_else(journal: SqliteJournal) -> None:
    """Giving back a claim that another process has taken is a line in the log, not the end."""
    run = await opened(journal, *ten_batches())
    stop = asyncio.Event()

    async def say(number: int, _body: bytes) -> Answer:
        if number == 0:
            await journal.recover(at(NOON + 1000))
            await journal.claim(run, owner="other", limit=9, now=at(NOON), lease=9999)
            stop.set()
        await asyncio.sleep(0.02)
        return OK

    outcome = await asyncio.wait_for(
        dispatcher(journal, run, Script(say), Pace(workers=1)).run(stop), 20
    )
    assert outcome.ending is Ending.TOLD


async def test_an_answer_that_can_not_be_recorded_is_logged(
    journal: SqliteJournal, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the journal fails, the others under way may end, and each request-id is in the log."""
    run = await opened(journal, *ten_batches())
    together = asyncio.Barrier(4)

    async def say(_number: int, _body: bytes) -> Answer:
        await together.wait()
        await journal.close()
        return OK

    with pytest.raises(JournalError, match="closed"):
        await sent(journal, run, say)
    assert capsys.readouterr().out.count("answer.not_recorded") == 4
    assert counts(journal, run).batches[State.SENDING] == 4


async def test_a_few_bad_calls_in_a_row_are_no_reason_to_stop(journal: SqliteJournal) -> None:
    """A block of bad rows in a list that is otherwise good costs only itself."""
    run = await opened(journal, *[make_batch(range(n * 500 + 1, n * 500 + 501)) for n in range(3)])

    async def say(_number: int, body: bytes) -> Answer:
        await asyncio.sleep(0)
        bad = any(f"ACC{row:07d}".encode() in body for row in range(601, 661))
        return Answer(Verdict.BAD_DATA, "Invalid Contact Number", code=205) if bad else OK

    outcome, _, books = await sent(journal, run, say)
    assert outcome.ending is Ending.FINISHED
    assert (books.accepted, books.calls[State.REFUSED]) == (1440, 60)


async def test_a_lost_answer_is_replayed_byte_for_byte(journal: SqliteJournal) -> None:
    """The same bytes again; Checksum Repeated then proves that they were taken."""
    run = await opened(journal, make_batch([1, 2, 3]))
    say = answers(Verdict.LOST, Verdict.NOT_SENT, Verdict.UNCLEAR, Verdict.REPEATED)
    pace = replace(REPLAYING, replay_within=1e9)
    outcome, script, books = await sent(journal, run, say, pace, clock=growing())
    assert outcome.ending is Ending.FINISHED
    assert len(script.bodies) == 4
    assert len(set(script.bodies)) == 1
    assert books.batches == {State.ACCEPTED: 1}
    with SqliteBooks(journal.path) as opened_books:
        (batch,) = opened_books.batches(run)
    assert batch.request_id is None
    assert "lost" in (batch.reason or "")


async def test_a_replay_that_is_accepted(journal: SqliteJournal) -> None:
    """If the replay is accepted, the first try never counted: one request-id, one call each."""
    run = await opened(journal, make_batch([1, 2, 3]))
    pace = replace(REPLAYING, replay_within=1e9)
    _, script, books = await sent(journal, run, answers(Verdict.LOST), pace, clock=growing())
    assert len(script.bodies) == 2
    assert books.accepted == 3


async def test_a_doubt_too_old_is_left_to_a_person(journal: SqliteJournal) -> None:
    """Past `replay_within` the run ends with the doubt, and does not wait for it."""
    run = await opened(journal, make_batch([1, 2, 3]))
    pace = replace(REPLAYING, replay_within=0.5)
    _, script, books = await sent(journal, run, answers(Verdict.LOST), pace, clock=growing())
    assert len(script.bodies) == 1
    assert books.batches == {State.IN_DOUBT: 1}


async def test_other_bytes_are_no_replay(journal: SqliteJournal) -> None:
    """After the security id was changed a doubt can't be proved, so it is not sent."""
    run = await opened(journal, make_batch([1, 2, 3]))
    await sent(journal, run, answers(Verdict.LOST))
    script = Script(answers())
    pace = replace(REPLAYING, replay_within=1e9)
    ours = dispatcher(journal, run, script, pace, clock=growing())
    ours._head = Head("x" * 64, FLOW_ID)
    await asyncio.wait_for(ours.run(asyncio.Event()), 20)
    assert script.bodies == []
    assert counts(journal, run).batches == {State.IN_DOUBT: 1}


async def test_a_replay_that_is_refused_for_its_data(journal: SqliteJournal) -> None:
    """That does not say whether the first try was taken (a server on the way may have said it)."""
    run = await opened(journal, make_batch([1, 2]))
    pace = replace(REPLAYING, replay_within=1e9)
    bad = Answer(Verdict.BAD_DATA, "HTTP 413: the request is too large")
    _, script, books = await sent(
        journal, run, answers(Verdict.LOST, then=bad), pace, clock=growing()
    )
    assert len(script.bodies) == 2
    assert books.batches == {State.IN_DOUBT: 1}


async def test_a_doubt_goes_before_what_is_ready(journal: SqliteJournal) -> None:
    """In a long run a doubt is replayed when its time has come, not when nothing else is left."""
    run = await opened(journal, *[make_batch([row]) for row in range(1, 41)])
    pace = replace(REPLAYING, workers=1, replay_after=2.0, replay_within=1e9)
    say = answers(Verdict.LOST)
    _, script, books = await sent(journal, run, say, pace, clock=growing())
    assert books.batches == {State.ACCEPTED: 40}
    assert 0 < script.bodies.index(script.bodies[0], 1) < 20


async def test_a_process_that_was_suspended_does_not_post(journal: SqliteJournal) -> None:
    """If a lease passes between the mark and the post, the batch is not posted any more."""
    run = await opened(journal, make_batch([1]))
    script, stop = Script(answers()), asyncio.Event()
    mark = journal.send
    clock = [at(NOON)]

    async def slow(
        claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
    ) -> int | Repeat:
        attempt = await mark(claim, head_sha256, owner, now, lease)
        clock[0] = at(NOON + 3600)
        stop.set()
        return attempt

    journal.send = slow  # type: ignore[method-assign]
    ours = dispatcher(journal, run, script, clock=lambda: clock[0])
    await asyncio.wait_for(ours.run(stop), 20)
    assert script.bodies == []
    assert counts(journal, run).batches == {State.READY: 1}


async def test_the_run_does_not_end_while_a_replay_waits(journal: SqliteJournal) -> None:
    """A doubt whose replay still waits for its turn is work to be done, also if it fails again."""
    run = await opened(journal, make_batch([1]))
    pace = replace(REPLAYING, workers=1, replay_within=1e9)
    script = Script(answers(Verdict.LOST, Verdict.LOST, Verdict.REPEATED))
    ours = dispatcher(journal, run, script, pace, clock=growing())
    take = ours._limiter.acquire

    async def slow(calls: int, *, again: bool = False) -> float:
        await asyncio.sleep(0.5)  # longer than the feeder waits before it looks again
        return await take(calls, again=again)

    ours._limiter.acquire = slow  # type: ignore[method-assign]
    await asyncio.wait_for(ours.run(asyncio.Event()), 20)
    assert counts(journal, run).batches == {State.ACCEPTED: 1}
