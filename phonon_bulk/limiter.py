"""The token bucket of an endpoint: no 60-second window exceeds its limits.

The provider says "30,000 per minute" and not how a minute is cut, so the limit is held in *any* 60
seconds. A bucket of b tokens that refills at r a second lets at most b + r T through in any T
seconds. What the provider counts is arrival, up to `slack` seconds after the token was taken, so
the arrivals of a 60-second window took their tokens within 60 + slack seconds, and

    b + r (60 + slack) <= limit     =>     r = (limit - b) / (60 + slack)

holds it, as long as no request takes longer than the slack to arrive: one that is held up by
seconds (a connection that is slow to open, say) may add to the minute it arrives in. b is small (a
thousandth of the limit for requests, one full batch for calls), or the first minute would let
through twice the limit, as aiolimiter alone does. The bucket starts empty: a restart can't add a
burst to what the process before it has sent.

Where both requests and calls are limited, the token for the request is taken first and may wait
for those of its calls; one at a time, so the request limit is kept one lower.

aiolimiter serves whoever fits, so a batch of 500 calls would starve behind small ones. A lock
before it serves strictly in order of arrival.
"""

import asyncio

from aiolimiter import AsyncLimiter

from phonon_bulk.batch import MAX_CALLS

WINDOW = 60.0
"""Seconds; the window over which the provider's limits are stated."""

SLACK = 0.5
"""Seconds between taking a token and the request's arrival, at most."""


def rate(limit: float, burst: float, slack: float = SLACK) -> float:
    """Return the tokens a second with which no window exceeds `limit`; see the module."""
    return (limit - burst) / (WINDOW + slack)


class Limiter:
    """Tokens for the requests to one endpoint of one account; None means no limit."""

    def __init__(
        self,
        requests_per_minute: int | None,
        calls_per_minute: int | None = None,
        slack: float = SLACK,
    ) -> None:
        """Hold the given limits.

        Raises ValueError for a limit too small to send anything under it: 2 requests, or the
        calls of two full batches.
        """
        self._slack = slack
        self._turn = asyncio.Lock()
        self._requests = self._calls = None
        if requests_per_minute is not None:
            spare = 1 if calls_per_minute is not None else 0
            burst = max(1, requests_per_minute // 1000)
            self._requests = _Bucket(requests_per_minute, burst, slack, spare)
        if calls_per_minute is not None:
            self._calls = _Bucket(calls_per_minute, MAX_CALLS, slack)

    async def acquire(self, calls: int) -> float:
        """Wait for one request with so many calls; return the moment it was granted.

        The moment is the event loop's time, for `stale`. May be cancelled while it waits.
        """
        async with self._turn:
            if self._requests is not None:
                await self._requests.acquire(1)
            if self._calls is not None:
                await self._calls.acquire(calls)
            return asyncio.get_running_loop().time()

    def stale(self, granted: float) -> bool:
        """Say whether a grant is too old to be used: another must be acquired in its place.

        Half of the slack may pass before the request leaves; the other half is for its way.
        """
        return asyncio.get_running_loop().time() - granted > self._slack / 2


class _Bucket:
    """An aiolimiter shaped by `rate`, empty at the start."""

    def __init__(self, limit: int, burst: int, slack: float, spare: int = 0) -> None:
        least = 2 * burst + spare
        if limit < least:
            raise ValueError(f"a limit of {limit} a minute is too small: at least {least}")
        self._burst = burst
        self._limiter = AsyncLimiter(burst, burst / rate(limit - spare, burst, slack))
        self._started = False

    async def acquire(self, amount: int) -> None:
        if not self._started:
            self._started = True
            await self._limiter.acquire(self._burst)
        await self._limiter.acquire(amount)
