"""When each request to an endpoint may leave: no 60 seconds hold more than its limit.

The provider says "30,000 per minute" and not how a minute is cut, so the limit is held in *any* 60
seconds, and as the server counts: by arrival. The token of a request is a *slot*, a moment from
which the request may leave. All processes take their slots from one schedule, which the journal
keeps, so there is one sequence of slots s1 <= s2 <= ... per account and endpoint, whoever uses
them. A request leaves at its slot or up to `life` later, or not with this slot; and it arrives up
to `way` after it left. With

    headroom = life + way,   W = 60 + headroom

what arrives in the 60 seconds from t on has its slot in the open interval (t - headroom, t + 60),
whose length is W. So it is enough that no open interval of length W holds more slots than the
limit.

*Requests.* Slots have a pace: the n-th is due d = (W + burst) / limit seconds after the one before
it, or now, if that is later; and none is more than `burst` seconds before it is due (the generic
cell rate algorithm). So n slots take up at least (n - 1) x d - burst seconds, and an open interval
of length W holds fewer than 1 + (W + burst) / d of them, which is at most `limit`. It stays so if
the limit, and d with it, changes in between. The general law, which a judge with another window can
check: in any T seconds arrive at most ceil(limit x (T + headroom + burst) / (W + burst)).

Bulk requests have no burst: nothing is lost to it, 60 / W of the limit is filled, 99.2 % with the
default headroom of 0.5 s. Single calls come when they like, two at the same moment too, and are to
leave at once: their endpoint has one (see `burst_of`), and 98.2 % are filled.

*Calls.* They have a pace of their own: a request of c calls moves it on by c x W / limit seconds,
and no slot is before it by more than a full batch. A pace alone would allow one batch too many:
batches are lumps, and an interval may begin just before one and end just after one. Taking 500 off
the limit would cost 1.7 % of 30,000. So what was granted in the last W seconds is kept, and a slot
is put off until the sum with it is within the limit again.

Slots are granted for requests that wait, no further ahead than `ahead`, and expire after `life`, so
that they can't be hoarded; a process that dies takes a few with it. A process that comes late finds
slots granted up to `grace` back: they are no more than the schedule had there, so the law holds,
and the time that a commit takes is not lost. The schedule starts empty: a restart adds no burst.

*Shares.* A run has a schedule of its own besides, at its part of the rate: its weight among those
of the runs that are asking. A slot is for the one of those who wait whose own schedule is furthest
behind. If it does not come, slots that are about to be lost are free to all.

*Clocks.* All moments are of the journal's own time, which no setting of a clock moves. Where that
is the wall clock after all (see journal/clock.py) and it was set back, the schedule lies in the
future and is waited for; if that is more than a minute, a whole window is waited, and it begins
anew.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from phonon_bulk.batch import MAX_CALLS
from phonon_bulk.throttle import LONGEST_RETRY_AFTER, SLOWEST, WINDOW, Throttle

IDLE = 10.0
"""Seconds without a slot after which the ramp begins anew."""

_LIFE, _GRACE, _AHEAD, _FREE = 0.6, 0.25, 0.1, 0.1
"""Parts of the headroom: the life of a slot, how late and how early one is granted, and after how
long one that nobody with a right to it has come for is free to all."""

_BURSTS = {"realtime": 0.6}
"""Seconds; each costs 1 / 61 of the limit."""

_CATCH_UP = 0.985
_RAMP_FROM = 0.1
MEMORY = 100.0
"""Seconds for which the limits of a process hold that asks no more and did not say so: as long as
its requests may share a minute with others, the longest headroom included."""

_SOON, _LATER = 0.005, 0.0125
"""Seconds after which it may ask again at the earliest: if it got all it wanted, if it did not."""

MOST_TOKENS = 1000
"""So many tokens are counted at most: without a limit there are any number of them."""

_ASKING = 1.0
"""Seconds for which a process counts among those that ask, after it could have asked again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an endpoint may be sent in any 60 seconds; None is no limit."""

    requests: int | None = None
    calls: int | None = None

    def in_words(self) -> str:
        """Return the limits as an operator reads them."""
        given = [
            f"{limit:,} {what}"
            for limit, what in ((self.requests, "requests"), (self.calls, "calls"))
            if limit is not None
        ]
        return f"{' and '.join(given)} a minute" if given else "no limit"

    def part(self, requests: int, calls: int) -> float:
        """Return which part of the limits so many requests and calls a minute are."""
        pairs = ((requests, self.requests), (calls, self.calls))
        return max((used / limit for used, limit in pairs if limit is not None), default=1.0)

    @property
    def slowest(self) -> float:
        """The part of the limits below which a "too many" does not lower the rate."""
        return min(0.1, self.part(SLOWEST, SLOWEST * MAX_CALLS))

    def lower(self, other: "Limits") -> "Limits":
        """Return the lower of each."""
        return Limits(_lower(self.requests, other.requests), _lower(self.calls, other.calls))

    def amended(self, by: "Limits") -> "Limits":
        """Return these, but for those that `by` has."""
        return Limits(
            self.requests if by.requests is None else by.requests,
            self.calls if by.calls is None else by.calls,
        )


def _lower(one: int | None, other: int | None) -> int | None:
    given = [limit for limit in (one, other) if limit is not None]
    return min(given) if given else None


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for slots of which endpoint, under which settings, and for which requests."""

    account: str
    endpoint: str
    owner: str
    """The process; see `Journal.owner`."""
    run: int
    weight: float
    limits: Limits
    """As this process's settings have them."""
    headroom: float
    """Seconds."""
    ramp: float
    """Seconds from a tenth of the rate to all of it, after idleness; 0 is none."""
    wants: Sequence[int] = ()
    """The calls of each request that waits, in their order."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A process that asks, or asked lately."""

    owner: str
    run: int
    weight: float
    limits: Limits
    headroom: float
    next_at: float = 0.0
    """Where its own schedule stands."""
    waits: bool = False
    """Whether it asked for more than it got."""
    until: float = 0.0
    """Up to when it counts among those that ask."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state of one account's endpoint, for all processes. Moments: the journal's own time."""

    last_at: float = 0.0
    """When the last slot was due; it may have been granted for earlier, by the burst."""
    calls_at: float = 0.0
    """Where the pace of the calls stands."""
    began_at: float = 0.0
    """When the ramp began."""
    hold_until: float = 0.0
    """No slot before; set when the clock was seen to be set back."""
    ordered: Limits = Limits()
    """What an operator has set with `phonon-bulk limit`; it goes over all settings."""
    throttle: Throttle | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast an endpoint may be used just now, and why."""

    limits: Limits
    """In force."""
    factor: float = 1.0
    """The part of them that is used now."""
    why: str | None = None
    """None where it is all of them."""
    advice: str | None = None
    """What the settings should say, if what was let through is far below what they say."""
    by_hand: bool = False
    """Whether an operator has set them, over the settings."""
    rests: float = 0.0
    """Seconds for which the endpoint is left alone before anything is sent again."""

    @property
    def present(self) -> Limits:
        """What may be sent now, a minute."""
        return Limits(
            _part(self.limits.requests, self.factor), _part(self.limits.calls, self.factor)
        )


def _part(limit: int | None, factor: float) -> int | None:
    return None if limit is None else max(1, round(limit * factor))


@dataclass(frozen=True, slots=True)
class Lease:
    """Slots for the first of the requests that were asked for."""

    slots: Sequence[float]
    """From when on each may leave."""
    life: float
    """Seconds after which a slot is worth nothing."""
    ask_at: float
    """When it is worth asking for more."""
    rate: Rate
    burst: float = 0.0
    """Seconds before its time that a slot may be, at most."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What an ask led to: the answer, and what is to be kept."""

    lease: Lease
    bucket: Bucket
    sender: Sender
    spent: Sequence[tuple[float, int]]
    """(slot, calls) of each that was granted."""


def window_of(headroom: float) -> float:
    """Return the seconds between the first and the last slot whose requests may share a minute."""
    return WINDOW + headroom


def burst_of(endpoint: str) -> float:
    """Return by how many seconds a slot of an endpoint may be before it is due, at most.

    At the documented 500 real-time requests a minute (phonon-api.md) that is five or six requests
    that leave at once after a quiet spell. It is not a setting, because all processes that use an
    endpoint must agree on it.
    """
    return _BURSTS.get(endpoint, 0.0)


def limits_in_force(bucket: Bucket, senders: Iterable[Sender]) -> Limits:
    """Return the limits that hold: the lowest that a process has set, or what an operator says."""
    lowest = Limits()
    for sender in senders:
        lowest = lowest.lower(sender.limits)
    return lowest.amended(bucket.ordered)


def grant(
    bucket: Bucket,
    senders: Iterable[Sender],
    spent: Iterable[tuple[float, int]],
    ask: Ask,
    now: float,
) -> Granted:
    """Return the slots that an ask gets, and the state after it.

    `senders` are those of whom something is known; `spent` is what was granted in the last
    60 + 2 x headroom seconds at least (a slot may be granted late), as (slot, calls) in order, and
    may be empty where calls are not limited.
    """
    before = bucket
    own, known = _take_part(senders, ask, now)
    asking = [sender for sender in known if sender.until > now or sender is own]
    headroom = max(sender.headroom for sender in known)
    limits = limits_in_force(bucket, known)
    burst = burst_of(ask.endpoint)
    bucket, idle = _woken(bucket, limits, headroom, now)
    rate = rate_at(bucket, limits, ask.ramp, now)
    costs = _Cost(limits, rate.factor, window_of(headroom), burst)
    # Whoever was told "too many" goes on evenly.
    early = burst if rate.factor == 1.0 else 0.0
    share = _share(own, asking)
    window = _Window(spent, limits.calls, costs.window, now)
    not_before = now + rate.rests if rate.rests else 0.0
    grace, ahead, free = _GRACE * headroom, _AHEAD * headroom, _FREE * headroom
    # Nobody saves up a right to slots, nor pays later for those that nobody else wanted.
    most = now + ahead + costs.of(MAX_CALLS) / share
    own = replace(own, next_at=min(max(own.next_at, now - grace), most))
    others_at = max(now - grace, _next_of_others(asking, own))
    # A pace that was put down at a lower rate is worth no more than now.
    bucket = replace(bucket, calls_at=min(bucket.calls_at, now + ahead + 2 * costs.batch))
    slots: list[tuple[float, int]] = []
    ask_at, lost_from = now + min(_SOON, ahead / 10), now - free
    for calls in ask.wants:
        due = bucket.last_at + costs.request
        at = max(
            now if idle else due - early,
            bucket.calls_at - costs.batch,
            now - grace,
            window.room_from(calls),
            not_before,
        )
        if at > now + ahead:
            ask_at = max(at - ahead / 2, now + min(_LATER, ahead / 4))
            break
        if own.next_at > others_at + ahead:
            if at > lost_from:
                ask_at = max(at + free, now + min(_LATER, ahead / 4))
                break
            lost_from = now  # all that is late is free, not one slot at a time
        own = replace(own, next_at=own.next_at + costs.of(calls) / share)
        calls_at = max(bucket.calls_at, at) + costs.calls(calls)
        bucket, idle = replace(bucket, last_at=max(due, at), calls_at=calls_at), False
        window.add(at, calls)
        slots.append((at, calls))
        ask_at = max(ask_at, at - ahead / 2)
    if not slots:  # the ramp begins with the first slot, not with the first who asks
        bucket = replace(bucket, began_at=before.began_at)
    own = replace(own, until=ask_at + _ASKING, waits=len(slots) < len(ask.wants))
    lease = Lease([at for at, _ in slots], _LIFE * headroom, ask_at, rate, early)
    return Granted(lease, bucket, own, slots)


def tokens(
    bucket: Bucket,
    endpoint: str,
    limits: Limits,
    headroom: float,
    spent: Iterable[tuple[float, int]],
    now: float,
) -> int:
    """Return how many requests of one call could leave at `now` without waiting, whoever asks.

    They are the slots that somebody who asked now would get for now or before; `MOST_TOKENS` at
    most. `limits` are those in force, `headroom` is in seconds, `spent` is as in `grant`. They are
    few: the endpoint's burst and those of the last quarter of the headroom, 1 after idleness where
    there is no burst.
    """
    ask = Ask("", endpoint, "", 0, 1.0, limits, headroom, ramp=0.0, wants=(1,) * MOST_TOKENS)
    return sum(slot <= now for slot in grant(bucket, (), spent, ask, now).lease.slots)


def _take_part(senders: Iterable[Sender], ask: Ask, now: float) -> tuple[Sender, list[Sender]]:
    """Return the sender that asks, as it is now, and all whose requests may still arrive.

    A process whose workers all wait for answers does not ask for a while; its limits and its
    headroom hold all the same.
    """
    others, next_at = [], 0.0
    for sender in senders:
        if sender.owner == ask.owner:
            next_at = sender.next_at
        elif now - MEMORY < sender.until < now + MEMORY:
            others.append(sender)
    own = Sender(ask.owner, ask.run, ask.weight, ask.limits, ask.headroom, next_at)
    return own, [*others, own]


def _woken(bucket: Bucket, limits: Limits, headroom: float, now: float) -> tuple[Bucket, bool]:
    """Return the bucket as it is found, and whether nothing was sent for a while.

    If the clock was set back, a whole window is held, and what was granted before is void.
    """
    width = window_of(headroom)
    if bucket.last_at > now + WINDOW:
        return replace(bucket, last_at=now, calls_at=now, hold_until=now + width), False
    if bucket.hold_until > now + width:
        bucket = replace(bucket, hold_until=now + width)
    held = 1.0 if bucket.throttle is None else bucket.throttle.at_time(now)
    cost = _Cost(limits, held, width, 0.0).request
    if now - bucket.last_at - cost <= IDLE:
        return bucket, False
    return replace(bucket, began_at=now), True


def rate_at(bucket: Bucket, limits: Limits, ramp: float, now: float) -> Rate:
    """Return how fast an endpoint may be used at `now` under the limits in force, and why."""
    factor, why, told = 1.0, None, 0.0
    since = now - bucket.began_at
    if 0 <= since < ramp and limits != Limits():
        factor = _RAMP_FROM + (1 - _RAMP_FROM) * since / ramp
        why = "starting"
    if bucket.throttle is not None:
        told = min(bucket.throttle.rest_until, now + LONGEST_RETRY_AFTER)
        held = bucket.throttle.at_time(now)
        if held < 1.0:
            factor, why = factor * held, bucket.throttle.reason
    rests = max(0.0, max(bucket.hold_until, told) - now)
    return Rate(limits, factor, why, by_hand=bucket.ordered != Limits(), rests=rests)


def _share(own: Sender, asking: Sequence[Sender]) -> float:
    """Return the part of the rate that a process has a right to: its run's, among the run's."""
    weights = {sender.run: sender.weight for sender in asking} | {own.run: own.weight}
    processes = sum(sender.run == own.run for sender in asking)
    return own.weight / sum(weights.values()) / processes


def _next_of_others(asking: Sequence[Sender], own: Sender) -> float:
    """Return where the schedule of that one of the others stands whose turn is next."""
    waiting = (s.next_at for s in asking if s.waits and s.owner != own.owner)
    return min(waiting, default=math.inf)


class _Cost:
    """Seconds of the schedule that a request takes."""

    def __init__(self, limits: Limits, factor: float, window: float, burst: float) -> None:
        self.window = window
        per_minute = limits.requests
        self.request = 0.0 if per_minute is None else (window + burst) / per_minute / factor
        # A little faster than the limit allows: what was granted in the last W seconds has the last
        # word, and the time for which it puts a slot off could not be made good otherwise.
        self._call = 0.0 if limits.calls is None else _CATCH_UP * window / limits.calls / factor

    @property
    def batch(self) -> float:
        """Those of a full batch's calls."""
        return self.calls(MAX_CALLS)

    def calls(self, calls: int) -> float:
        """Those of so many calls, at the pace of the calls."""
        return calls * self._call

    def of(self, calls: int) -> float:
        """Those of one request, in the unit that is scarcer."""
        return max(self.request, self.calls(calls))


class _Window:
    """What was granted in the last W seconds, and when there is room for more."""

    def __init__(
        self, spent: Iterable[tuple[float, int]], limit: int | None, width: float, now: float
    ) -> None:
        self._limit, self._width = limit, width
        # What lies further ahead is from before a clock was set back.
        kept = (one for one in spent if one[0] <= now + WINDOW)
        self._spent = deque(kept if limit is not None else ())
        self._sum = sum(calls for _, calls in self._spent)
        self._from = 0.0

    def room_from(self, calls: int) -> float:
        """Return the moment from which on so many more calls are within the limit."""
        while self._limit is not None and self._spent and self._sum + calls > self._limit:
            at, oldest = self._spent.popleft()
            self._sum -= oldest
            self._from = at + self._width
        return self._from

    def add(self, at: float, calls: int) -> None:
        self._spent.append((at, calls))
        self._sum += calls
