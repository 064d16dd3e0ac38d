"""The feeder, the workers and the leases of one run: the effects of dispatch.

A feeder claims ready batches a few at a time. A pool of workers takes them from it; each waits for
its tokens, marks its batch as sending (durable, before the first byte), posts the frozen bytes and
settles what came back. A third task renews the leases. Nothing else sends, and nothing here
decides: what an answer means is in response.py, what follows from it in retry.py.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from phonon_bulk.batch import Head, State
from phonon_bulk.call import today_in_india
from phonon_bulk.dispatch.health import Health
from phonon_bulk.dispatch.outcome import Ending, Outcome, Pace, Tally
from phonon_bulk.dispatch.settling import (
    EXPIRED,
    TOO_LATE,
    by_date,
    identifiers_of,
    parts_of,
    settlement_of,
)
from phonon_bulk.errors import DamagedBodyError, JournalError, RunError, TransitionError
from phonon_bulk.journal import Claim, Control, Journal, Moment, Repeat, Settlement
from phonon_bulk.journal.frozen import thaw, thaw_rows
from phonon_bulk.limiter import Limiter
from phonon_bulk.response import Answer, Verdict, check_partial
from phonon_bulk.retry import Action, Facts, decide, replay_delay
from phonon_bulk.throttle import BackOff, No

if TYPE_CHECKING:  # aiohttp is slow to load, and who only reads a list needs none
    from phonon_bulk.endpoint import Endpoint

T = TypeVar("T")

log = structlog.get_logger("phonon_bulk.dispatch")

_IDLE_SECONDS = 0.2
"""How long to wait before looking again for batches that another process may have added."""

REFUSALS_BEFORE_STOP = 50
"""Single calls refused, and none accepted since this process began, before the run stops: then it
is not a bad row, but something all rows share, and splitting every batch would cost a request a
call."""


_PATIENCE = 10.0
"""Seconds for which a request that is connected waits for another slot in place of a stale one."""

_TOLD_TO_STOP = "told to stop before it was sent"


class Dispatcher:
    """Sends one run to its end, or until told to stop."""

    def __init__(
        self,
        journal: Journal,
        endpoint: "Endpoint",
        limiter: Limiter,
        head: Head,
        *,
        run: int,
        pace: Pace,
        not_after: float | None = None,
        clock: Callable[[], Moment] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send the batches of `run` from `journal` to `endpoint` as fast as `limiter` lets.

        Nothing is sent after `not_after`, seconds since the epoch. `clock` is the journal's, if
        none is given.
        """
        self.tally = Tally()
        self._journal = journal
        self._endpoint = endpoint
        self._limiter = limiter
        self._head = head
        self._run = run
        self.pace = pace
        self._not_after = math.inf if not_after is None else not_after
        self._clock = clock or journal.now
        self._owner = journal.owner
        self._queue: asyncio.Queue[Claim | None] = asyncio.Queue(pace.workers)
        self._posts: set[asyncio.Task[Answer]] = set()
        self._waits: set[asyncio.Task[float]] = set()
        self._ended = asyncio.Event()
        self._chance = chance
        self._health = Health(run, pace.policy, self.tally, self._ended, chance)
        self._aborted = False
        self._outcome = Outcome(Ending.FINISHED)
        self._refused_alone = 0
        self._replaying: set[int] = set()
        self._not_replayable: set[int] = set()
        self._doubted_here: set[int] = set()
        self._renewed_at = -math.inf
        """When the leases were renewed last before any of them had ended."""
        self._failed: JournalError | None = None

    async def run(self, stop: asyncio.Event) -> Outcome:
        """Send until nothing is left, `stop` is set, or there is no point in going on.

        Once `stop` is set nothing more is claimed; posts under way have `drain_timeout` seconds,
        and what then has no answer is in doubt.

        Raises JournalError if the journal fails; nothing is sent that could not be recorded first.
        """
        async with self._limiter, asyncio.TaskGroup() as helpers:
            aside = [
                helpers.create_task(self._renew_leases(), name="leases"),
                helpers.create_task(self._watch(stop), name="stop"),
            ]
            async with asyncio.TaskGroup() as senders:
                senders.create_task(self._feed(), name="feeder")
                for number in range(self.pace.workers):
                    senders.create_task(self._work(), name=f"worker {number + 1}")
            for task in aside:
                task.cancel()
        if self._failed is not None:
            raise self._failed
        return self._outcome

    # ---- when to end

    def _end(self, outcome: Outcome) -> None:
        if not self._ended.is_set():
            self._outcome = outcome
            self._ended.set()
            for wait in self._waits:
                wait.cancel()

    def _fail(self, error: JournalError) -> None:
        """End because the journal failed: what is under way may still answer, and is logged."""
        self._failed = self._failed or error
        self._end(Outcome(Ending.TOLD))

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._end(Outcome(Ending.TOLD))
        await asyncio.sleep(self.pace.drain_timeout)
        self.abort()

    def abort(self) -> None:
        """End the posts under way at once; what was sent without an answer is in doubt."""
        self._end(Outcome(Ending.TOLD))
        self._aborted = True
        for post in self._posts:
            post.cancel()

    async def _renew_leases(self) -> None:
        while True:
            before = self._clock().steady
            await asyncio.sleep(self.pace.lease / 3)
            now = self._clock()
            try:
                await self._journal.renew(self._owner, now, self.pace.lease)
                if now.steady - before < self.pace.lease:  # else something may be lost already
                    self._renewed_at = now.steady
            except JournalError as error:
                self._fail(error)

    # ---- the feeder

    async def _feed(self) -> None:
        """Keep the workers supplied; at the end, tell each of them that there is no more."""
        try:
            while not self._ended.is_set() and await self._feed_some():
                pass
        except JournalError as error:
            self._fail(error)
        for _ in range(self.pace.workers):
            await self._queue.put(None)

    async def _feed_some(self) -> bool:
        """Claim what is ready, or wait for it; say False when there is nothing to wait for."""
        # Doubts first: while there is much to send they would grow too old to be proved.
        claims = await self._doubts() or await self._journal.claim(
            self._run,
            owner=self._owner,
            limit=self.pace.workers,
            now=self._clock(),
            lease=self.pace.lease,
        )
        for claim in claims:
            await self._queue.put(claim)
        return bool(claims) or await self._wait_for_work()

    async def _doubts(self) -> list[Claim]:
        """Return doubts to be replayed; each is out at most once at a time."""
        doubts = await self._journal.doubts(
            self._run, limit=self.pace.workers, **self._replayable()
        )
        self._replaying |= {claim.batch for claim in doubts}
        return doubts

    def _replayable(self) -> dict[str, Any]:
        now = self._clock()
        within = self.pace.replay_within if now.wall < self._not_after else 0.0
        but = sorted(self._replaying | self._not_replayable)
        return {"now": now, "within": within, "today": self._today(), "but": but}

    async def _wait_for_work(self) -> bool:
        """Wait until there may be something to claim; say False when there will never be."""
        replaying = bool(self._replaying)  # now: one that ends meanwhile is left out of the answer
        work = await self._journal.next_work(self._run, **self._replayable())
        if work.control is not Control.GO:
            self._end(Outcome(Ending.TOLD, f"the run is {work.control}"))
            return False
        moments = (work.not_before, work.lease_until, work.replay_at)
        if not (work.reading or replaying) and all(moment is None for moment in moments):
            return False
        if work.lease_until is not None:
            if work.lease_until <= self._clock().steady:
                # Our own first: this process may have been suspended, and nobody noticed.
                await self._journal.renew(self._owner, self._clock(), self.pace.lease)
            await self._journal.recover(self._clock(), self.pace.replay_after)
        await self._journal.wait(self._run, _IDLE_SECONDS)
        return True

    # ---- the workers

    async def _work(self) -> None:
        while (claim := await self._queue.get()) is not None:
            try:
                sent = not self._ended.is_set() and await self._send(claim)
                if not sent and not claim.replay:
                    await self._journal.release([claim.batch], self._owner)
            except TransitionError:
                # The lease ran out (this process was suspended, say), and another has it now.
                log.warning("batch.lease_lost", run=claim.run, batch=claim.batch)
            except JournalError as error:
                self._fail(error)
            finally:
                self._replaying.discard(claim.batch)

    async def _send(self, claim: Claim) -> bool:
        """Send one batch and settle it; say False if it was not sent and is to be given back."""
        try:
            thaw_rows(claim.first_row, claim.calls, claim.rows)  # a split may need them
            return await self._send_calls(claim, thaw(claim.body))
        except DamagedBodyError as error:
            await self._set_apart_damaged(claim, str(error))
            return True

    async def _send_calls(self, claim: Claim, calls: bytes) -> bool:
        while True:
            if self._past(claim):
                if not claim.replay:
                    await self._set_apart_expired(claim, calls)
                return True
            async with self._health.turn(self._left) as probing:
                granted = await self._granted(claim)
                if granted is None:
                    return False
                if self._past(claim) or (self._health.failing and not probing):
                    continue  # what changed while waiting for tokens is looked at anew
                marked_at = self._clock().steady
                if not await self._mark_sending(claim, calls):
                    return True
                self.tally.requests += 1
                sent_at = self._now()
                answer = await self._post(claim, calls, granted, marked_at)
                if answer.verdict is Verdict.THROTTLED:
                    answer = await self._held_back(answer, marked_at)
            await self._conclude(claim, calls, answer, sent_at)
            return True

    async def _mark_sending(self, claim: Claim, calls: bytes) -> bool:
        """Mark a batch as sending; say False if it is not to be posted after all."""
        head = self._head.digest(claim.variant)
        if not claim.replay:
            marked = await self._journal.send(
                claim, head, self._owner, self._clock(), self.pace.lease
            )
            if isinstance(marked, Repeat):
                await self._set_apart_repeated(claim, calls, marked)
                return False
            return True
        if head != claim.head_sha256 or sha256(calls).digest() != claim.sha256:
            # The security id or the flow id was changed since: not the same bytes, so no proof.
            self._not_replayable.add(claim.batch)
            log.warning("batch.not_replayable", run=claim.run, batch=claim.batch)
            return False
        await self._journal.replay(claim, self._owner, self._clock(), self.pace.lease)
        log.info("batch.replayed", run=claim.run, batch=claim.batch)
        self.tally.in_doubt -= claim.calls if claim.batch in self._doubted_here else 0
        return True

    async def _granted(
        self, claim: Claim, *, again: bool = False, patience: float = math.inf
    ) -> float | None:
        """Wait for the slot of a batch; return until when it may be used.

        None if told to stop, if it is too late for the run, or out of patience (seconds).
        """
        if self._ended.is_set():
            return None
        wait = max(0.0, min(self._left(), patience))
        slot = self._limiter.acquire(claim.calls, again=again)
        if wait == math.inf:
            return await self._until_cancelled(slot, self._waits)
        try:
            return await self._until_cancelled(asyncio.wait_for(slot, wait), self._waits)
        except TimeoutError:
            return None

    async def _post(self, claim: Claim, calls: bytes, slot: float, marked_at: float) -> Answer:
        """Post a batch that is marked as sending, with another slot if its own has grown stale."""

        async def held() -> bool:
            usable: float | None = slot
            # It may be the connection that took long; it is there now, and worth to be kept.
            while usable is not None and self._limiter.stale(usable):
                usable = await self._granted(claim, again=True, patience=_PATIENCE)
            held_until = max(marked_at, self._renewed_at) + self.pace.lease
            in_time = self._clock().steady < held_until and not self._past(claim)
            return usable is not None and in_time

        if self._aborted:
            return Answer(Verdict.HELD_BACK, _TOLD_TO_STOP)
        post = self._endpoint.post(self._head.body(calls, claim.variant), held)
        answer = await self._until_cancelled(post, self._posts)
        return answer or Answer(Verdict.LOST, "told to stop before the answer came")

    async def _held_back(self, answer: Answer, marked_at: float) -> Answer:
        """Have all processes rest and go slower; return the answer with how long they rest."""
        policy = self.pace.policy
        back_off = BackOff(policy.first, policy.most, self._chance())
        no = No(marked_at, answer.retry_after, answer.message)
        try:
            return replace(answer, retry_after=await self._limiter.said_no(no, back_off))
        except JournalError as error:
            self._fail(error)
            return answer

    async def _until_cancelled(
        self, work: Coroutine[Any, Any, T], among: set[asyncio.Task[T]]
    ) -> T | None:
        """Do `work` where it can be cancelled by itself; return None if it was."""
        task = asyncio.create_task(work)
        among.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            ours = asyncio.current_task()
            if ours is not None and ours.cancelling():
                raise
            return None
        finally:
            among.discard(task)

    # ---- what follows from an answer

    async def _conclude(self, claim: Claim, calls: bytes, answer: Answer, sent_at: float) -> None:
        # What is known of earlier bytes speaks of these only if they are the same.
        same = claim.head_sha256 == self._head.digest(claim.variant)
        doubted = same and claim.doubted is not None
        denied = same and claim.denied
        facts = Facts(claim.calls, claim.variant, doubted, denied, replay=claim.replay)
        answer = check_partial(answer, identifiers_of(answer, calls))
        decision = decide(answer, facts)
        if self._health.learn(answer, decision, sent_at):
            self._end(Outcome(Ending.GIVEN_UP, decision.reason))
        replay_at = self._clock().steady + replay_delay(claim.attempts, self.pace.replay_after)
        settlement = settlement_of(decision, answer, claim, replay_at)
        try:
            if decision.stop is not None:
                await self._block(decision.stop)
            if decision.action is Action.SPLIT:
                reason = settlement.reason or settlement.verdict
                await self._halve(claim, calls, reason, settlement)
            else:
                await self._journal.settle(claim.batch, settlement, self._owner, self._wall())
        except (JournalError, TransitionError):
            # The answer is in no journal: this line is all there is of it.
            log.error(  # noqa: TRY400 - the error itself is reported by whoever ends the run
                "answer.not_recorded",
                run=claim.run,
                batch=claim.batch,
                verdict=answer.verdict,
                request_id=answer.request_id,
            )
            raise
        self._count(claim, settlement)
        await self._stop_if_all_is_refused(answer, settlement)

    async def _block(self, reason: str) -> None:
        if not self._ended.is_set():
            self._end(Outcome(Ending.BLOCKED, reason))
            with contextlib.suppress(RunError):  # a person has paused or cancelled it meanwhile
                await self._journal.control(
                    self._run, Control.STOPPED, [Control.GO, Control.STOPPED], reason
                )

    async def _halve(
        self, claim: Claim, calls: bytes, reason: str, answered: Settlement | None = None
    ) -> None:
        """Replace a batch by its halves: it has something bad in it, or repeats one that had."""
        middle = claim.calls // 2
        halves = parts_of(claim, calls, range(middle), range(middle, claim.calls))
        await self._journal.split(
            claim, halves, self._owner, self._wall(), answered=answered, reason=reason
        )

    async def _set_apart_expired(self, claim: Claim, calls: bytes) -> None:
        """Expire the calls of a batch that it is too late for, and keep the others."""
        if self._left() <= 0:
            self.tally.expired += claim.calls
            await self._journal.expire(claim.batch, self._owner, self._wall(), TOO_LATE)
            return
        past, current = by_date(calls, self._today())
        self.tally.expired += len(past)
        if not current:
            await self._journal.expire(claim.batch, self._owner, self._wall(), EXPIRED)
            return
        living, expired = parts_of(claim, calls, current, past)
        await self._journal.split(
            claim, [living], self._owner, self._wall(), reason=EXPIRED, expired=expired
        )

    async def _set_apart_repeated(self, claim: Claim, calls: bytes, repeat: Repeat) -> None:
        """Note a batch that was refused as a repeat; halve one whose twin lives on in parts."""
        if repeat.refused:
            self.tally.refused += claim.calls
            log.warning("batch.repeats", run=claim.run, batch=claim.batch, why=repeat.reason)
        elif repeat.halve:
            await self._halve(claim, calls, repeat.reason)

    async def _set_apart_damaged(self, claim: Claim, what: str) -> None:
        """Refuse a batch whose calls can't be read, by itself; a doubt is left to a person."""
        log.error("batch.damaged", run=claim.run, batch=claim.batch, what=what)
        if claim.replay:
            self._not_replayable.add(claim.batch)
            return
        self.tally.refused += claim.calls
        reason = f"{what}: it was not sent"
        await self._journal.refuse(claim.batch, self._owner, self._wall(), reason)

    def _count(self, claim: Claim, settlement: Settlement) -> None:
        self.tally.accepted += settlement.accepted
        if settlement.state is State.ACCEPTED:
            self.tally.refused += claim.calls - settlement.accepted
        elif settlement.state is State.REFUSED:
            self.tally.refused += claim.calls
        elif settlement.state is State.IN_DOUBT:
            self.tally.in_doubt += claim.calls
            if settlement.verdict in {Verdict.REPEATED, Verdict.BAD_DATA}:
                # It proved nothing, and nor would another try.
                self._not_replayable.add(claim.batch)
            self._doubted_here.add(claim.batch)
            log.warning("batch.in_doubt", run=claim.run, batch=claim.batch, why=settlement.reason)

    async def _stop_if_all_is_refused(self, answer: Answer, settlement: Settlement) -> None:
        if answer.verdict is Verdict.BAD_DATA and settlement.state is State.REFUSED:
            self._refused_alone += 1
        if self._refused_alone >= REFUSALS_BEFORE_STOP and not self.tally.accepted:
            await self._block(
                f"the provider refused the first {self._refused_alone} calls one by one, the last "
                f"with {settlement.reason}: all rows seem to share what is wrong"
            )

    # ---- time

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wall(self) -> float:
        return self._clock().wall

    def _left(self) -> float:
        """Return the seconds until nothing of this run may be sent any more."""
        return self._not_after - self._wall()

    def _today(self) -> str:
        return today_in_india(self._wall()).isoformat()

    def _past(self, claim: Claim) -> bool:
        """Say whether it is too late to send a batch, or to send it again."""
        if claim.replay and claim.doubted is not None:
            now, within = self._clock(), self.pace.replay_within
            young = now.wall - claim.doubted.wall < within
            if not (young and now.steady - claim.doubted.steady < within):
                return True
        return self._left() <= 0 or claim.start_date < self._today()
