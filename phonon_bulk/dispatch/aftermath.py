"""What follows from an answer, or from a batch that is not to be sent: carried out in the journal.

What an answer means is in response.py, what follows from it in retry.py; nothing is decided here.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from phonon_bulk.batch import Head, State
from phonon_bulk.dispatch.feeder import Feeder
from phonon_bulk.dispatch.health import Health
from phonon_bulk.dispatch.outcome import Ending, Outcome, Pace, Posted, Tally
from phonon_bulk.dispatch.settling import (
    EXPIRED,
    NOT_FRESH,
    TOO_LATE,
    before,
    identifiers_of,
    parts_of,
    settlement_of,
)
from phonon_bulk.dispatch.span import Span
from phonon_bulk.errors import JournalError, RunError, TransitionError
from phonon_bulk.journal import Claim, Control, Journal, Repeat, Settlement
from phonon_bulk.response import Answer, Verdict, check_partial
from phonon_bulk.retry import Action, Facts, decide, replay_delay

log = structlog.get_logger("phonon_bulk.dispatch")

REFUSALS_BEFORE_STOP = 50
"""Single calls refused, and none accepted since this process began, before the run stops: then it
is not a bad row, but something all rows share, and splitting every batch would cost a request a
call."""


class Aftermath:
    """Settles the batches of one run, and ends it where there is no point in going on."""

    def __init__(
        self,
        journal: Journal,
        run: int,
        head: Head,
        pace: Pace,
        span: Span,
        *,
        tally: Tally,
        health: Health,
        feeder: Feeder,
        end: Callable[[Outcome], None],
        ended: Callable[[], bool],
        observe: Callable[[Posted], None],
        whose: tuple[str, str],
    ) -> None:
        """Tell `end` of an ending, unless `ended`; `whose` are account and endpoint."""
        self._journal = journal
        self._owner = journal.owner
        self._run = run
        self._head = head
        self._pace = pace
        self._span = span
        self._tally = tally
        self._health = health
        self._feeder = feeder
        self._end = end
        self._ended = ended
        self._observe = observe
        self._whose = whose
        self._refused_alone = 0
        self._doubted_here: set[int] = set()

    async def conclude(self, claim: Claim, calls: bytes, answer: Answer, sent_at: float) -> None:
        """Settle a batch by what came back; `sent_at` is of the event loop's time.

        Raises JournalError, and TransitionError if somebody else moved it meanwhile.
        """
        # What is known of earlier bytes speaks of these only if they are the same.
        same = claim.head_sha256 == self._head.digest(claim.variant)
        doubted = same and claim.doubted is not None
        denied = same and claim.denied
        facts = Facts(claim.calls, claim.variant, doubted, denied, replay=claim.replay)
        answer = check_partial(answer, identifiers_of(answer, calls))
        decision = decide(answer, facts)
        if self._health.learn(answer, decision, sent_at):
            self._end(Outcome(Ending.GIVEN_UP, decision.reason))
        replay_at = self._span.clock().steady + replay_delay(
            claim.attempts, self._pace.replay_after
        )
        settlement = settlement_of(decision, answer, claim, replay_at)
        try:
            if decision.stop is not None:
                await self._block(decision.stop)
            if decision.action is Action.SPLIT:
                reason = settlement.reason or settlement.verdict
                await self._halve(claim, calls, reason, settlement)
            else:
                await self._journal.settle(claim.batch, settlement, self._owner, self._span.wall())
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
        self._observe(self._posted(claim, answer, settlement, sent_at))
        await self._stop_if_all_is_refused(answer, settlement)

    def _posted(
        self, claim: Claim, answer: Answer, settlement: Settlement, sent_at: float
    ) -> Posted:
        seconds = _now() - sent_at
        return Posted(
            run=claim.run,
            batch=claim.batch,
            account=self._whose[0],
            endpoint=self._whose[1],
            calls=claim.calls,
            sent_at=self._span.wall() - seconds,
            seconds=seconds,
            verdict=answer.verdict,
            state=settlement.state,
            accepted=settlement.accepted,
            replay=claim.replay,
            http_status=answer.http_status,
            request_id=answer.request_id,
        )

    async def _block(self, reason: str) -> None:
        if not self._ended():
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
            claim, halves, self._owner, self._span.wall(), answered=answered, reason=reason
        )

    async def set_apart_past(self, claim: Claim, calls: bytes) -> None:
        """Expire the calls of a batch that it is too late for, and keep the others.

        A doubt stays one: nobody may try it again.
        """
        if claim.replay:
            self._feeder.never_replay(claim.batch)
            return
        past, why = await self._past(claim, calls)
        self._tally.expired += len(past)
        if len(past) == claim.calls:
            await self._journal.expire(claim.batch, self._owner, self._span.wall(), why)
            return
        if not past:  # the clock was set back just now
            await self._journal.release([claim.batch], self._owner)
            return
        current = sorted(set(range(claim.calls)) - set(past))
        living, expired = parts_of(claim, calls, current, past)
        await self._journal.split(
            claim, [living], self._owner, self._span.wall(), reason=why, expired=expired
        )

    async def _past(self, claim: Claim, calls: bytes) -> tuple[Sequence[int], str]:
        """Return the positions of the calls that it is too late for, and why."""
        if self._span.left() <= 0:
            return range(claim.calls), TOO_LATE
        past = before(calls, self._span.today())
        if past or not self._span.is_stale(claim.came_at):
            return past, EXPIRED
        # Calls that were gathered came at different times, and each has a time of its own.
        came = await self._journal.arrivals(claim)
        return [i for i, at in enumerate(came) if self._span.is_stale(at)], NOT_FRESH

    async def set_apart_repeated(self, claim: Claim, calls: bytes, repeat: Repeat) -> None:
        """Note a batch that was refused as a repeat; halve one whose twin lives on in parts."""
        if repeat.refused:
            self._tally.refused += claim.calls
            log.warning("batch.repeats", run=claim.run, batch=claim.batch, why=repeat.reason)
        elif repeat.halve:
            await self._halve(claim, calls, repeat.reason)

    async def set_apart_damaged(self, claim: Claim, what: str) -> None:
        """Refuse a batch whose calls can't be read, by itself; a doubt is left to a person."""
        log.error("batch.damaged", run=claim.run, batch=claim.batch, what=what)
        if claim.replay:
            self._feeder.never_replay(claim.batch)
            return
        self._tally.refused += claim.calls
        reason = f"{what}: it was not sent"
        await self._journal.refuse(claim.batch, self._owner, self._span.wall(), reason)

    def _count(self, claim: Claim, settlement: Settlement) -> None:
        self._tally.accepted += settlement.accepted
        if settlement.state is State.ACCEPTED:
            self._tally.refused += claim.calls - settlement.accepted
        elif settlement.state is State.REFUSED:
            self._tally.refused += claim.calls
        elif settlement.state is State.IN_DOUBT:
            self._tally.in_doubt += claim.calls
            if settlement.verdict in {Verdict.REPEATED, Verdict.BAD_DATA}:
                # It proved nothing, and nor would another try.
                self._feeder.never_replay(claim.batch)
            self._doubted_here.add(claim.batch)
            log.warning("batch.in_doubt", run=claim.run, batch=claim.batch, why=settlement.reason)

    async def _stop_if_all_is_refused(self, answer: Answer, settlement: Settlement) -> None:
        if answer.verdict is Verdict.BAD_DATA and settlement.state is State.REFUSED:
            self._refused_alone += 1
        if self._refused_alone >= REFUSALS_BEFORE_STOP and not self._tally.accepted:
            await self._block(
                f"the provider refused the first {self._refused_alone} calls one by one, the last "
                f"with {settlement.reason}: all rows seem to share what is wrong"
            )

    def replayed(self, claim: Claim) -> None:
        """Take note that a doubt is being sent again."""
        log.info("batch.replayed", run=claim.run, batch=claim.batch)
        self._tally.in_doubt -= claim.calls if claim.batch in self._doubted_here else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
