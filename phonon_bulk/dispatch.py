"""Journal -> limiter -> endpoint -> journal: sends the batches of one run.

A feeder claims ready batches a few at a time. A pool of workers takes them from it; each waits for
its tokens, marks its batch as sending (durable, before the first byte), posts the frozen bytes and
settles what came back. A third task renews the leases. Nothing else sends, and nothing here
decides: what an answer means is in response.py, what follows from it in retry.py.
"""

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import orjson
import structlog

from phonon_bulk.batch import Head, State, part, start_date
from phonon_bulk.call import today_in_india
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.errors import JournalError, TransitionError
from phonon_bulk.journal import Claim, Control, Journal, Settlement
from phonon_bulk.journal.frozen import freeze, thaw, thaw_rows
from phonon_bulk.limiter import Limiter
from phonon_bulk.response import Answer, Verdict, placed
from phonon_bulk.retry import Action, Decision, Facts, Policy, Rest, decide

log = structlog.get_logger("phonon_bulk.dispatch")

EXPIRED = "its start date had passed before it could be sent"
NOT_PLACED = "not among the calls that the provider's partial success lists"

_IDLE_SECONDS = 0.2
"""How long to wait before looking again for batches that another process may have added."""

REFUSALS_BEFORE_STOP = 50
"""Single calls refused in a row, none accepted between, before the run stops: then it is not a bad
row, but something all rows share, and splitting every batch would cost a request a call."""


class Ending(StrEnum):
    """Why the dispatcher stopped."""

    FINISHED = "finished"
    """Nothing is left that could be sent."""
    TOLD = "told"
    """By a signal, or because the run was paused or cancelled."""
    BLOCKED = "blocked"
    """The provider would refuse everything."""
    GIVEN_UP = "given_up"
    """There was no clear answer for too long."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the dispatcher ended, and for the last two, why."""

    ending: Ending
    reason: str | None = None


@dataclass(slots=True)
class Tally:
    """What this process has done so far; for the progress bar, not for the books."""

    accepted: int = 0
    """Calls."""
    refused: int = 0
    """Calls."""
    in_doubt: int = 0
    """Calls."""
    expired: int = 0
    """Calls."""
    requests: int = 0
    resting: str | None = None
    """Why the endpoint is left alone just now."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the work is cut: workers, the length of leases and how long a stop may take (seconds)."""

    workers: int = 32
    lease: float = 60.0
    drain_timeout: float = 35.0
    policy: Policy = field(default_factory=Policy)


def new_owner() -> str:
    """Return a name for this process that no other has had or will have."""
    return f"{socket.gethostname()}:{os.getpid()}:{random.getrandbits(32):08x}"


class Dispatcher:
    """Sends one run to its end, or until told to stop."""

    def __init__(
        self,
        journal: Journal,
        endpoint: Endpoint,
        limiter: Limiter,
        head: Head,
        *,
        run: int,
        pace: Pace,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send the batches of `run` from `journal` to `endpoint` as fast as `limiter` lets.

        `clock` gives the seconds since the epoch that the journal keeps.
        """
        self.tally = Tally()
        self._journal = journal
        self._endpoint = endpoint
        self._limiter = limiter
        self._head = head
        self._run = run
        self._pace = pace
        self._clock = clock
        self._chance = chance
        self._owner = new_owner()
        self._queue: asyncio.Queue[Claim | None] = asyncio.Queue(pace.workers)
        self._posts: set[asyncio.Task[Answer]] = set()
        self._probe = asyncio.Lock()
        self._ended = asyncio.Event()
        self._aborted = False
        self._outcome = Outcome(Ending.FINISHED)
        self._rest = Rest(since=0.0)
        self._refused_in_row = 0

    async def run(self, stop: asyncio.Event) -> Outcome:
        """Send until nothing is left, `stop` is set, or there is no point in going on.

        Once `stop` is set nothing more is claimed; posts under way have `drain_timeout` seconds,
        and what then has no answer is in doubt.

        Raises JournalError if the journal fails; nothing is sent that could not be recorded first.
        """
        self._rest = Rest(since=self._now())
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._renew_leases(), name="leases"),
                    tasks.create_task(self._watch(stop), name="stop"),
                ]
                async with asyncio.TaskGroup() as senders:
                    senders.create_task(self._feed(), name="feeder")
                    for number in range(self._pace.workers):
                        senders.create_task(self._work(), name=f"worker {number + 1}")
                for helper in helpers:
                    helper.cancel()
        except* JournalError as failed:
            raise _first(failed) from None
        return self._outcome

    # ---- when to end

    def _end(self, outcome: Outcome) -> None:
        if not self._ended.is_set():
            self._outcome = outcome
            self._ended.set()

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._end(Outcome(Ending.TOLD))
        await asyncio.sleep(self._pace.drain_timeout)
        self.abort()

    def abort(self) -> None:
        """End the posts under way at once; what was sent without an answer is in doubt."""
        self._end(Outcome(Ending.TOLD))
        self._aborted = True
        for post in self._posts:
            post.cancel()

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._pace.lease / 3)
            await self._journal.renew(self._owner, self._lease_until())

    # ---- the feeder

    async def _feed(self) -> None:
        """Keep the workers supplied; at the end, tell each of them that there is no more."""
        while not self._ended.is_set():
            claims = await self._journal.claim(
                self._run,
                owner=self._owner,
                limit=self._pace.workers,
                now=self._clock(),
                lease_until=self._lease_until(),
            )
            for claim in claims:
                await self._queue.put(claim)
            if not claims and not await self._wait_for_work():
                break
        for _ in range(self._pace.workers):
            await self._queue.put(None)

    async def _wait_for_work(self) -> bool:
        """Wait until there may be something to claim; say False when there will never be."""
        work = await self._journal.next_work(self._run)
        if work.control is not Control.GO:
            self._end(Outcome(Ending.TOLD, f"the run is {work.control}"))
            return False
        if not work.reading and work.not_before is None and work.lease_until is None:
            return False
        if work.lease_until is not None and work.lease_until <= self._clock():
            await self._journal.recover(self._clock())
        await self._journal.wait(_IDLE_SECONDS)
        return True

    # ---- the workers

    async def _work(self) -> None:
        while (claim := await self._queue.get()) is not None:
            if self._ended.is_set() or not await self._send(claim):
                await self._journal.release([claim.batch], self._owner)

    async def _send(self, claim: Claim) -> bool:
        """Send one batch and settle it; say False if it was not sent and is to be given back."""
        calls = thaw(claim.body)
        if self._past(claim):
            await self._set_apart_expired(claim, calls)
            return True
        async with self._turn():
            granted = await self._limiter.acquire(claim.calls)
            if self._ended.is_set():
                return False
            if self._past(claim):
                await self._set_apart_expired(claim, calls)
                return True
            if not await self._mark_sending(claim):
                return True
            if self._limiter.stale(granted):
                await self._limiter.acquire(claim.calls)
            sent_at = self._now()
            answer = await self._post(self._head.body(calls, claim.variant))
        await self._conclude(claim, calls, answer, sent_at)
        return True

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait while the endpoint rests; after a failure, let one request at a time find out."""
        if self._rest.failures:
            async with self._probe:
                await self._rested()
                if self._rest.failures:
                    yield
                    return
        yield

    async def _rested(self) -> None:
        while (wait := self._rest.until - self._now()) > 0 and not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), wait)

    async def _mark_sending(self, claim: Claim) -> bool:
        head = self._head.digest(claim.variant)
        try:
            await self._journal.send(claim, head, self._owner, self._clock())
        except TransitionError:
            # The lease ran out (this process was suspended, say): it is not ours to send any more.
            log.warning("batch.lease_lost", run=claim.run, batch=claim.batch)
            return False
        self.tally.requests += 1
        return True

    async def _post(self, body: bytes) -> Answer:
        post = asyncio.create_task(self._endpoint.post(body))
        self._posts.add(post)
        try:
            return await post
        except asyncio.CancelledError:
            if not (self._aborted and post.cancelled()):
                raise
            return Answer(Verdict.LOST, "told to stop before the answer came")
        finally:
            self._posts.discard(post)

    # ---- what follows from an answer

    async def _conclude(self, claim: Claim, calls: bytes, answer: Answer, sent_at: float) -> None:
        facts = Facts(claim.calls, claim.variant, claim.doubted, claim.denied)
        decision = decide(answer, facts)
        self._learn(claim, answer, decision, sent_at)
        if decision.stop is not None:
            await self._block(decision.stop)
        settlement = _settlement(decision, answer, claim, calls)
        try:
            if decision.action is Action.SPLIT:
                await self._halve(claim, calls, settlement)
            else:
                await self._journal.settle(claim.batch, settlement, self._owner, self._clock())
        except TransitionError:
            log.warning("batch.lease_lost", run=claim.run, batch=claim.batch)
            return
        self._count(claim, settlement)
        await self._stop_if_all_is_refused(answer, settlement)

    def _learn(self, claim: Claim, answer: Answer, decision: Decision, sent_at: float) -> None:
        """Note how the endpoint fares, and leave it alone if it does not fare well."""
        now = self._now()
        if not decision.rest:
            if self._rest.failures:
                log.info("endpoint.answers_again", run=claim.run)
            self._rest = self._rest.after_success(now)
            self.tally.resting = None
            return
        before = self._rest
        self._rest = before.after_failure(answer, sent_at, now, self._pace.policy, self._chance())
        if self._rest.failures > before.failures:
            self.tally.resting = decision.reason
            wait = round(self._rest.until - now, 1)
            log.warning("endpoint.resting", run=claim.run, why=decision.reason, seconds=wait)
        if self._rest.given_up(now, self._pace.policy):
            self._end(Outcome(Ending.GIVEN_UP, decision.reason))

    async def _block(self, reason: str) -> None:
        if not self._ended.is_set():
            self._end(Outcome(Ending.BLOCKED, reason))
            await self._journal.control(
                self._run, Control.STOPPED, [Control.GO, Control.STOPPED], reason
            )

    async def _halve(self, claim: Claim, calls: bytes, settlement: Settlement) -> None:
        """Replace a batch with something bad in it by its halves."""
        rows = thaw_rows(claim.first_row, claim.calls, claim.rows)
        middle = claim.calls // 2
        halves = [
            freeze(part(calls, rows, range(middle))),
            freeze(part(calls, rows, range(middle, claim.calls))),
        ]
        reason = settlement.reason or settlement.verdict
        await self._journal.split(
            claim, halves, self._owner, self._clock(), answered=settlement, reason=reason
        )

    async def _set_apart_expired(self, claim: Claim, calls: bytes) -> None:
        """Expire the calls of a batch whose start date has passed, and keep the others."""
        past, current = _by_date(calls, self._today())
        self.tally.expired += len(past)
        if not current:
            await self._journal.expire(claim.batch, self._owner, self._clock(), EXPIRED)
            return
        rows = thaw_rows(claim.first_row, claim.calls, claim.rows)
        await self._journal.split(
            claim,
            [freeze(part(calls, rows, current))],
            self._owner,
            self._clock(),
            reason=EXPIRED,
            expired=freeze(part(calls, rows, past)),
        )

    def _count(self, claim: Claim, settlement: Settlement) -> None:
        self.tally.accepted += settlement.accepted
        if settlement.state is State.ACCEPTED:
            self.tally.refused += claim.calls - settlement.accepted
            self._refused_in_row = 0
        elif settlement.state is State.REFUSED:
            self.tally.refused += claim.calls
        elif settlement.state is State.IN_DOUBT:
            self.tally.in_doubt += claim.calls
            log.warning("batch.in_doubt", run=claim.run, batch=claim.batch, why=settlement.reason)

    async def _stop_if_all_is_refused(self, answer: Answer, settlement: Settlement) -> None:
        if answer.verdict is Verdict.BAD_DATA and settlement.state is State.REFUSED:
            self._refused_in_row += 1
        if self._refused_in_row >= REFUSALS_BEFORE_STOP:
            await self._block(
                f"the provider refused {self._refused_in_row} calls one after the other, the last "
                f"with {settlement.reason}: all rows seem to share what is wrong"
            )

    # ---- time

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _lease_until(self) -> float:
        return self._clock() + self._pace.lease

    def _today(self) -> str:
        return today_in_india(self._clock()).isoformat()

    def _past(self, claim: Claim) -> bool:
        return claim.start_date < self._today()


_STATES = {
    Action.ACCEPT: State.ACCEPTED,
    Action.REFUSE: State.REFUSED,
    Action.SPLIT: State.SPLIT,
    Action.DOUBT: State.IN_DOUBT,
    Action.AGAIN: State.READY,
}


def _settlement(decision: Decision, answer: Answer, claim: Claim, calls: bytes) -> Settlement:
    """Return what the journal is to remember of an answer and of what follows from it."""
    state, accepted, reason = _STATES[decision.action], 0, decision.reason
    if state is State.ACCEPTED:
        accepted = claim.calls
        if answer.verdict is Verdict.PARTIAL:
            accepted = _count_placed(answer, calls)
            reason = NOT_PLACED if accepted < claim.calls else None
            state = State.ACCEPTED if accepted else State.REFUSED
    keep = answer.details or answer.verdict is Verdict.UNCLEAR
    return Settlement(
        state=state,
        verdict=answer.verdict,
        reason=reason,
        accepted=accepted,
        request_id=answer.request_id,
        answer=answer.body if keep and answer.body else None,
        variant=decision.variant,
        denied=decision.denied,
        http_status=answer.http_status,
        code=answer.code,
        message=answer.message,
    )


def _count_placed(answer: Answer, calls: bytes) -> int:
    identifiers = [call["client-identifier"] for call in orjson.loads(b"[" + calls + b"]")]
    return sum(detail is not None for detail in placed(identifiers, answer.details or ()))


def _by_date(calls: bytes, today: str) -> tuple[Sequence[int], Sequence[int]]:
    """Return the positions of the calls whose start date is past, and of the others."""
    dates = [start_date(call).isoformat() for call in orjson.loads(b"[" + calls + b"]")]
    past = [i for i, day in enumerate(dates) if day < today]
    return past, [i for i, day in enumerate(dates) if day >= today]


def _first(group: BaseExceptionGroup[JournalError]) -> JournalError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, JournalError):
        raise TypeError(type(error))
    return error
