"""How fast an endpoint may be used that has said "too many": a pure function of time.

The provider's true limit may not be the one that is set: the account may count calls where the
settings say requests, another program may use the same account, or the provider may have a bad
day. What tells is its *no* (HTTP 429, code 429). After one:

- the endpoint is left alone: for as long as it says (Retry-After), or for a back-off that doubles
  while nothing is accepted in between, but not beyond the moment at which what it has let through
  begins to leave its minute;
- the rate is halved. When the very next tries are met with a no as well, halving is too slow (500
  calls a request are nine halvings away from one), and the rate falls to what the endpoint was seen
  to let through in the minute before it said no;
- from there it grows slowly: in half a minute back to what was let through, where it stays for a
  while, then doubling each minute until the set limit is reached or the next no comes. The stay is
  twice as long after each no in a row, so that near the true limit one no in many minutes is the
  price of knowing that it has not been raised.

All of it is kept as a *factor* of the limit in force, in the journal, for all processes.
"""

import math
from dataclasses import dataclass, replace

WINDOW = 60.0
"""Seconds; the window over which the provider's limits are stated."""

CLIMB = 30.0
"""Seconds in which the rate grows back to what was let through."""

STAY = 15.0
"""Seconds for which it stays there, after the first no; doubled with each that follows."""

LONGEST_STAY = 960.0
DOUBLING = 60.0
"""Seconds in which the rate doubles after that."""

LONGEST_RETRY_AFTER = 3600.0
"""Seconds of a Retry-After that are obeyed; after that the endpoint is asked once more."""

SLOWEST = 60
"""Requests a minute below which the rate is not lowered (nor below a tenth of the limit, if that is
less): from there on the rests do what is needed, and the end of the trouble is noticed."""

FORGET = 600.0
"""Seconds after which a no is of another day, if the rate is the full one again."""

_RAISED = 1.5
"""A rate so many times what was let through before: that was not the true limit."""


@dataclass(frozen=True, slots=True)
class LetThrough:
    """What the endpoint let through in the minute before it said no."""

    requests: int
    calls: int
    factor: float
    """As a part of the limit in force."""
    slowest: float
    """The part of the limit in force below which it is not worth to go: some requests a minute."""
    oldest: float
    """When the first of them was sent."""
    since_last_no: bool
    """Whether anything was let through since the rate was lowered last."""


@dataclass(frozen=True, slots=True)
class No:
    """An answer that says "too many"."""

    sent_at: float
    """When the request was marked as sending."""
    retry_after: float | None
    """Seconds, if it says."""
    reason: str
    """In the provider's words, for the operator."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait where the endpoint doesn't say: seconds, and a chance from 0 to 1."""

    first: float
    most: float
    chance: float

    def after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row (1 and up).

        Doubled each time up to `most`; of that, between half and all, by chance, so that several
        processes do not come back in step.
        """
        whole = min(self.most, self.first * 2.0 ** min(failures - 1, 60))
        return whole * (0.5 + self.chance / 2)


@dataclass(frozen=True, slots=True)
class Throttle:
    """How an endpoint is held back. Moments are of the journal's own time."""

    at: float
    """When the rate was lowered."""
    factor: float
    """Of the limit in force, right then."""
    good: float
    """The factor that was let through before."""
    requests: int
    calls: int
    """What that was, in the minute before."""
    noes: int
    """How often it said no since the rate was the full one."""
    in_a_row: int
    """How often without letting anything through in between."""
    rest_until: float
    reason: str

    def at_time(self, now: float) -> float:
        """Return the factor of the limit in force that holds at `now`, from 0 to 1."""
        since = max(0.0, now - self.at)
        top = max(self.factor, self.good)
        stay = min(STAY * 2.0 ** min(self.noes - 1, 10), LONGEST_STAY)
        if since < CLIMB:
            now_is = self.factor + (top - self.factor) * since / CLIMB
        else:
            now_is = top * 2.0 ** min(60.0, max(0.0, since - CLIMB - stay) / DOUBLING)
        return min(1.0, now_is)


def after_no(
    before: Throttle | None, no: No, seen: LetThrough, now: float, back_off: BackOff
) -> Throttle:
    """Return how the endpoint is held back after it has said no to a request.

    Requests that were under way together when it began to say no count as one, and so do those
    that left before all processes had heard of the rest.
    """
    if before is not None and counts_as_one(before, no):
        return rested(before, no, now)
    forgiven = before is not None and before.at_time(now) >= 1.0
    if before is not None and forgiven and (seen.since_last_no or now - before.at > FORGET):
        before = None
    in_a_row = 1 if before is None or seen.since_last_no else before.in_a_row + 1
    factor = 1.0 if before is None else before.at_time(now)
    noes = 1 if before is None or factor > _RAISED * before.good else before.noes + 1
    good, requests, calls = seen.factor if seen.requests else 1.0, seen.requests, seen.calls
    if before is not None and not seen.since_last_no:
        good, requests, calls = before.good, before.requests, before.calls
    factor /= 2
    if in_a_row > 1:
        factor = min(factor, good)
    until = _retry_at(no, now)
    if until is not None:
        until = max(until, now + back_off.after(1))
    else:
        until = now + back_off.after(in_a_row)
        if seen.requests:
            until = min(until, max(now + back_off.after(1), seen.oldest + WINDOW))
    return Throttle(
        at=now,
        factor=max(factor, seen.slowest),
        good=min(1.0, max(good, seen.slowest)),
        requests=requests,
        calls=calls,
        noes=noes,
        in_a_row=in_a_row,
        rest_until=until if before is None else max(until, before.rest_until),
        reason=no.reason,
    )


def _retry_at(no: No, now: float) -> float | None:
    if no.retry_after is None:
        return None
    return now + min(max(0.0, no.retry_after), LONGEST_RETRY_AFTER)


def counts_as_one(before: Throttle, no: No) -> bool:
    """Say whether a request was under way already when the endpoint said no before."""
    return no.sent_at <= max(before.at, before.rest_until)


def rested(before: Throttle, no: No, now: float) -> Throttle:
    """Return how it is held back after one more no that counts as one with the last."""
    until = _retry_at(no, now)
    if until is None or until <= before.rest_until:
        return before
    return replace(before, rest_until=until)


def relieved(throttle: Throttle) -> Throttle:
    """Return a throttle that only rests: what it knew was a part of limits that hold no more."""
    return replace(throttle, factor=1.0, good=1.0, noes=1, in_a_row=1)


_NEARLY = 0.1
_FAR = 0.5


def advice(
    throttle: Throttle, requests: int | None, calls: int | None, endpoint: str
) -> str | None:
    """Return what the settings should say, if what was let through is far below what they say.

    `requests` and `calls` are the limits in force, a minute.
    """
    if calls is not None or requests is None or not throttle.requests:
        return None
    if throttle.requests > _FAR * requests or throttle.calls <= throttle.requests:
        return None
    seen = f"it let {throttle.calls:,} calls in {throttle.requests:,} requests through in a minute"
    setting = f"endpoints.{endpoint}.calls_per_minute"
    if abs(throttle.calls - requests) <= _NEARLY * requests:
        return f"{seen}, so the account seems to count calls: set {setting} = {requests}"
    if throttle.noes > 1 or throttle.in_a_row > 1:
        figure = _round(throttle.calls)
        return f"{seen}: if the account counts calls, set {setting} = {figure}"
    return None


def _round(number: int) -> int:
    """Return the number with two digits that say something."""
    digits = max(0, math.floor(math.log10(number)) - 1)
    return int(round(number, -digits))
