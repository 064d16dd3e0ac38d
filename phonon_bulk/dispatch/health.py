"""Whether the endpoint may be used just now: whoever wants to post takes a turn here first.

How it fares is a `retry.Rest`; here it is waited by. After a failure nobody gets a turn until the
rest is over, then one request at a time finds out, until one is answered clearly.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from phonon_bulk.dispatch.outcome import Tally
from phonon_bulk.response import Answer, Verdict
from phonon_bulk.retry import Decision, Policy, Rest

log = structlog.get_logger("phonon_bulk.dispatch")


class Health:
    """How one endpoint fares, as one run's requests have shown it."""

    def __init__(
        self,
        run: int,
        policy: Policy,
        tally: Tally,
        ended: asyncio.Event,
        chance: Callable[[], float],
    ) -> None:
        """Rest by `policy`; nobody rests any more once `ended` is set."""
        self._run = run
        self._policy = policy
        self._tally = tally
        self._ended = ended
        self._chance = chance
        self._rest = Rest()
        self._probe = asyncio.Lock()

    @property
    def failing(self) -> bool:
        """Whether the last that was heard of it was a failure."""
        return self._rest.failures > 0

    @contextlib.asynccontextmanager
    async def turn(self, until: Callable[[], float]) -> AsyncIterator[bool]:
        """Wait while the endpoint rests, but for no longer than `until` says (in seconds).

        Yields whether this is the request that finds out how it is.
        """
        if self.failing:
            async with self._probe:
                await self._rested(until)
                if self.failing:
                    yield True
                    return
        yield False

    async def _rested(self, until: Callable[[], float]) -> None:
        while not self._ended.is_set():
            wait = min(self._rest.until - _now(), until())
            if wait <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), wait)

    def learn(self, answer: Answer, decision: Decision, sent_at: float) -> bool:
        """Note how a request fared that was sent at `sent_at`; say whether to give up for now."""
        if answer.verdict is Verdict.HELD_BACK:
            return False  # that says nothing about the endpoint
        now, before = _now(), self._rest
        if not decision.rest:
            self._rest = before.after_success(sent_at)
            if not self.failing:
                if before.failures:
                    log.info("endpoint.answers_again", run=self._run)
                self._tally.resting = None
            return False
        self._rest = before.after_failure(answer, sent_at, now, self._policy, self._chance())
        if self._rest.failures > before.failures:
            self._tally.resting = decision.reason
            self._tally.resting_until = self._rest.until
            wait = round(self._rest.until - now, 1)
            log.warning("endpoint.resting", run=self._run, why=decision.reason, seconds=wait)
        return self._rest.given_up(now, self._policy)


def _now() -> float:
    return asyncio.get_running_loop().time()
