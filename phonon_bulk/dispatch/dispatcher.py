"""The workers and the leases of one run: the effects of dispatch.

A feeder claims ready batches a few at a time. A pool of workers takes them from it; each waits for
its tokens, marks its batch as sending (durable, before the first byte), posts the frozen bytes and
settles what came back. A third task renews the leases. Nothing else sends, and nothing here
decides: what an answer means is in response.py, what follows from it in retry.py.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from phonon_bulk.batch import MAX_CALLS, Head, room_for_calls
from phonon_bulk.dispatch.aftermath import Aftermath
from phonon_bulk.dispatch.concurrency import Concurrency
from phonon_bulk.dispatch.feeder import Feeder
from phonon_bulk.dispatch.gathering import Gathered, Line, may_be_gathered
from phonon_bulk.dispatch.health import Health
from phonon_bulk.dispatch.outcome import Ending, Manner, Outcome, Pace, Posted, Tally, unseen
from phonon_bulk.dispatch.posting import TOLD_TO_STOP, Poster
from phonon_bulk.dispatch.span import Span
from phonon_bulk.errors import (
    DamagedBodyError,
    JournalError,
    RunHeldError,
    TransitionError,
)
from phonon_bulk.journal import (
    Admitted,
    Claim,
    Control,
    Dash,
    Journal,
    Moment,
    NewOrder,
    Repeat,
)
from phonon_bulk.journal.frozen import thaw, thaw_rows
from phonon_bulk.limiter import Limiter
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.schedule import Ask

if TYPE_CHECKING:  # aiohttp is slow to load, and who only reads a list needs none
    from phonon_bulk.endpoint import Endpoint

log = structlog.get_logger("phonon_bulk.dispatch")

_AS_A_LIST = Manner()

_LOOK_EVERY = 0.25
"""Seconds between looks at how many workers it takes."""


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
        manner: Manner = _AS_A_LIST,
        ask: Ask | None = None,
        observe: Callable[[Posted], None] = unseen,
        clock: Callable[[], Moment] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send the batches of `run` from `journal` to `endpoint` as fast as `limiter` lets.

        Nothing is sent after `not_after`, seconds since the epoch. `ask` is how slots are asked for
        where a call may be sent in the breath in which it is kept (`dash`). `observe` is told of
        every request. `clock` is the journal's, if none is given.
        """
        self.tally = Tally()
        self._journal = journal
        self._limiter = limiter
        self._head = head
        self._run = run
        self.pace = pace
        self._clock = clock or journal.now
        self._span = Span(self._clock, not_after, pace, manner)
        self._owner = journal.owner
        self._manner = manner
        self._ask = ask
        self._one_gathers = asyncio.Lock()
        self._dashes: set[asyncio.Task[None]] = set()
        self._wanted = self._there = 0
        """Workers."""
        self._in_hand = 0
        """Batches that a worker has."""
        self._ended = asyncio.Event()
        self._health = Health(run, pace.policy, self.tally, self._ended, chance)
        self._group: asyncio.TaskGroup | None = None
        """Where an order that is to leave at once is kept and posted; there while the rest runs."""
        self._outcome = Outcome(Ending.FINISHED)
        self._poster = Poster(
            endpoint,
            limiter,
            head,
            pace,
            self._span,
            tally=self.tally,
            ended=self._ended,
            fail=self._fail,
            chance=chance,
        )
        self._feeder = Feeder(
            journal, run, pace, manner, self._span, ended=self._ended, held=self._held
        )
        self._aftermath = Aftermath(
            journal,
            run,
            head,
            pace,
            self._span,
            tally=self.tally,
            health=self._health,
            feeder=self._feeder,
            end=self._end,
            ended=self._ended.is_set,
            observe=observe,
            whose=(ask.account, ask.endpoint) if ask else ("", ""),
        )
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
            self._group = helpers
            try:
                async with asyncio.TaskGroup() as senders:
                    self._hire(senders, self.pace.workers)
                    looking = senders.create_task(self._look(senders), name="concurrency")
                    senders.create_task(self._feed(looking), name="feeder")
            finally:
                self._group = None
            if self._dashes:
                await asyncio.wait(self._dashes)
            for task in aside:
                task.cancel()
        if self._failed is not None:
            raise self._failed
        return self._outcome

    @property
    def is_busy(self) -> bool:
        """Whether something is being sent, or waits here to be."""
        return self._in_hand > 0 or bool(self._dashes) or not self._feeder.is_empty

    # ---- when to end

    def _end(self, outcome: Outcome) -> None:
        if not self._ended.is_set():
            self._outcome = outcome
            self._ended.set()
            self._poster.end_waits()

    def _fail(self, error: JournalError) -> None:
        """End because the journal failed: what is under way may still answer, and is logged."""
        self._failed = self._failed or error
        self._end(Outcome(Ending.TOLD))

    def _held(self, control: Control) -> None:
        """End because the run is not to go on."""
        self._end(Outcome(Ending.TOLD, f"the run is {control}"))

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._end(Outcome(Ending.TOLD))
        await asyncio.sleep(self.pace.drain_timeout)
        self.abort()

    def abort(self) -> None:
        """End the posts under way at once; what was sent without an answer is in doubt."""
        self._end(Outcome(Ending.TOLD))
        self._poster.abort()

    async def _renew_leases(self) -> None:
        while True:
            before = self._clock().steady
            await asyncio.sleep(self.pace.lease / 3)
            now = self._clock()
            try:
                await self._journal.renew(self._owner, now, self.pace.lease)
                if now.steady - before < self.pace.lease:  # else something may be lost already
                    self._poster.renewed_at = now.steady
            except JournalError as error:
                self._fail(error)

    # ---- the workers

    def _hire(self, senders: asyncio.TaskGroup, workers: int) -> None:
        self._wanted = workers
        while self._there < workers:
            self._there += 1
            senders.create_task(self._work(), name=f"worker {self._there}")

    async def _look(self, senders: asyncio.TaskGroup) -> None:
        """Have as many workers as it takes, as far as the settings leave that open."""
        pace = self.pace
        concurrency = Concurrency(self._poster.seen(), pace.workers, pace.most_workers)
        while pace.most_workers > pace.workers:
            await asyncio.sleep(_LOOK_EVERY)
            workers = concurrency.look(self._poster.seen())
            if workers == self._wanted or self._ended.is_set():
                continue
            log.info("run.workers", run=self._run, workers=workers, before=self._wanted)
            self._hire(senders, workers)

    async def _feed(self, looking: "asyncio.Task[None]") -> None:
        try:
            await self._feeder.feed()
        except JournalError as error:
            self._fail(error)
        looking.cancel()  # no more workers: there is no more work
        await self._feeder.tell_the_end()

    async def _work(self) -> None:
        try:
            while self._there <= self._wanted:
                line = Line(self._one_gathers if self._manner.gathers else None)
                async with line:
                    claim = await self._feeder.next()
                    if claim is None:
                        return
                    await self._handle(claim, line)
        finally:
            self._there -= 1

    async def _handle(self, claim: Claim, line: Line) -> None:
        """Send a batch, or give it back."""
        self._in_hand += 1
        try:
            unsent = claim if self._ended.is_set() else await self._send(claim, line)
            if unsent is not None and not unsent.replay:
                await self._journal.release([unsent.batch], self._owner)
        except RunHeldError as error:
            self._end(Outcome(Ending.TOLD, str(error)))
        except TransitionError:
            # The lease ran out (this process was suspended, say), and another has it now.
            log.warning("batch.lease_lost", run=claim.run, batch=claim.batch)
        except JournalError as error:
            self._fail(error)
        finally:
            self._in_hand -= 1
            self._feeder.done_with(claim.batch)

    async def _send(self, claim: Claim, line: Line) -> Claim | None:
        """Send one batch and settle it; return what was not sent and is to be given back."""
        try:
            thaw_rows(claim.first_row, claim.calls, claim.rows)  # a split may need them
            return await self._send_calls(claim, thaw(claim.body), line)
        except DamagedBodyError as error:
            await self._aftermath.set_apart_damaged(claim, str(error))
            return None

    async def _send_calls(self, claim: Claim, calls: bytes, line: Line) -> Claim | None:
        while True:
            if self._span.is_past(claim):
                await self._aftermath.set_apart_past(claim, calls)
                return None
            async with self._health.turn(self._span.left) as probing:
                granted = await self._poster.turn(claim)
                if granted is None:
                    return claim
                if self._span.is_past(claim) or (self._health.failing and not probing):
                    continue  # what changed while waiting for tokens is looked at anew
                if line.gathers:
                    claim, calls = await self._gathered(claim, calls)
                    line.leave()
                marked_at = self._clock().steady
                if not await self._mark_or_keep(claim, calls):
                    return None
                sent_at = _now()
                answer = await self._poster.post(claim, calls, granted, marked_at)
            await self._aftermath.conclude(claim, calls, answer, sent_at)
            return None

    async def _mark_or_keep(self, claim: Claim, calls: bytes) -> bool:
        """Mark a batch as sending, as `_mark_sending` does; give it back if its run is held."""
        try:
            return await self._mark_sending(claim, calls)
        except RunHeldError:
            if not claim.replay:
                await self._journal.release([claim.batch], self._owner)
            raise

    # ---- single calls

    async def _gathered(self, claim: Claim, calls: bytes) -> tuple[Claim, bytes]:
        """Put what waits behind a batch into one with it, as far as it fits a request."""
        if not may_be_gathered(claim):
            return claim, calls
        # A slot is for so many calls where these are limited.
        most = claim.calls if self._limiter.counts_calls else MAX_CALLS
        room = room_for_calls(self._head.flow_id, len(self._head.security_id))
        together = Gathered(claim, calls, most, room)
        together.take(self._feeder, self._span.is_past)
        if len(together.members) == 1:
            return claim, calls
        members = together.members
        try:
            whole = await self._journal.gather(
                members, together.frozen(), self._owner, self._clock(), self.pace.lease
            )
        except TransitionError:  # one of them was lost; the others are ours still
            for member in members:
                with contextlib.suppress(TransitionError):
                    await self._journal.release([member.batch], self._owner)
            raise
        return whole, together.calls

    async def admit(self, order: NewOrder) -> Admitted:
        """Keep an order of single calls; one that can leave at once is on its way then.

        Whoever keeps it posts it, in a task that this run waits for: whatever is marked as sending
        is posted or given back, also if the run ends meanwhile or the caller is cancelled. Raises
        as `Journal.admit` does.
        """
        dash = self._dash(order.batch.calls)
        if dash is None or self._group is None:
            return await self._journal.admit(order, None, self._clock)
        kept: asyncio.Future[Admitted] = asyncio.get_running_loop().create_future()
        task = self._group.create_task(self._keep_and_post(order, dash, kept), name="dash")
        self._dashes.add(task)
        task.add_done_callback(self._dashes.discard)
        await asyncio.wait([kept])
        return kept.result()

    def _dash(self, calls: int) -> Dash | None:
        """Return how so many calls are sent in the breath in which they are kept; None if not now.

        Whoever came first goes first, and an endpoint that fails is left alone.
        """
        busy = self._poster.waiting or not self._feeder.is_empty
        if self._ask is None or self._ended.is_set() or self._health.failing or busy:
            return None
        ask = replace(self._ask, wants=(calls,))
        return Dash(ask, self._owner, self._head.digest, self.pace.lease)

    async def _keep_and_post(
        self, order: NewOrder, dash: Dash, kept: "asyncio.Future[Admitted]"
    ) -> None:
        try:
            admitted = await self._journal.admit(order, dash, self._clock)
        except asyncio.CancelledError:
            kept.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is for whoever waits
            kept.set_exception(error)
            return
        kept.set_result(admitted)
        if admitted.claim is not None and admitted.marked_at is not None:
            await self._post_kept(admitted, admitted.claim, admitted.marked_at)

    async def _post_kept(self, admitted: Admitted, claim: Claim, marked_at: Moment) -> None:
        """Post an order that was marked as sending when it was kept, and settle it."""
        try:
            calls = thaw(claim.body)
            wait = admitted.slot - self._clock().steady
            if wait > 0:  # not to sleep spares a turn of the loop, which may be a busy one
                await asyncio.sleep(wait)
            sent_at = _now()
            if self._ended.is_set():
                answer = Answer(Verdict.HELD_BACK, TOLD_TO_STOP)
            else:
                until = admitted.slot + admitted.life
                answer = await self._poster.post(claim, calls, until, marked_at.steady)
            await self._aftermath.conclude(claim, calls, answer, sent_at)
        except TransitionError:
            log.warning("batch.lease_lost", run=claim.run, batch=claim.batch)
        except JournalError as error:
            self._fail(error)

    # ---- marks

    async def _mark_sending(self, claim: Claim, calls: bytes) -> bool:
        """Mark a batch as sending; say False if it is not to be posted after all."""
        head = self._head.digest(claim.variant)
        if not claim.replay:
            marked = await self._journal.send(
                claim, head, self._owner, self._clock(), self.pace.lease
            )
            if isinstance(marked, Repeat):
                await self._aftermath.set_apart_repeated(claim, calls, marked)
                return False
            return True
        if head != claim.head_sha256 or sha256(calls).digest() != claim.sha256:
            # The security id or the flow id was changed since: not the same bytes, so no proof.
            self._feeder.never_replay(claim.batch)
            log.warning("batch.not_replayable", run=claim.run, batch=claim.batch)
            return False
        await self._journal.replay(claim, self._owner, self._clock(), self.pace.lease)
        self._aftermath.replayed(claim)
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
