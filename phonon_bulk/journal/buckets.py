"""The limit that all processes share, in the journal: functions over a connection.

They run in a transaction. What is decided is decided in schedule.py and throttle.py; here is only
what they need to know, and what is to be kept of it.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson

from phonon_bulk.errors import TransitionError
from phonon_bulk.journal.clock import Moment
from phonon_bulk.journal.statements import SQL
from phonon_bulk.schedule import (
    MEMORY,
    Ask,
    Bucket,
    Granted,
    Lease,
    Limits,
    Rate,
    Sender,
    grant,
    rate_at,
    tokens,
    window_of,
)
from phonon_bulk.throttle import (
    WINDOW,
    BackOff,
    LetThrough,
    No,
    Throttle,
    advice,
    after_no,
    counts_as_one,
    relieved,
    rested,
)

Connection = sqlite3.Connection

_TICKS = 16
"""A second has so many ticks; what is spent is kept by the tick."""


def lease(db: Connection, ask: Ask, now: Moment) -> Lease:
    """Grant slots to who asks, and keep that they are."""
    of = {"account": ask.account, "endpoint": ask.endpoint}
    db.execute(SQL["open_bucket"], of)
    bucket = bucket_of(db.execute(SQL["bucket"], of).fetchone())
    senders = [_sender(row) for row in db.execute(SQL["senders"], of)]
    granted = grant(bucket, senders, _spent(db, of, bucket, senders, ask, now), ask, now.steady)
    _keep(db, of, bucket, granted, now)
    _note_limits(db, of, granted.lease.rate.limits, bucket, now)
    rate = _advised(granted.lease.rate, granted.bucket.throttle, ask.endpoint)
    return replace(granted.lease, rate=rate)


def _spent(
    db: Connection,
    of: dict[str, str],
    bucket: Bucket,
    senders: Sequence[Sender],
    ask: Ask,
    now: Moment,
) -> list[tuple[float, int]]:
    """Return what was granted in the last minute and a little more, where calls are limited."""
    limits = [ask.limits, bucket.ordered, *(sender.limits for sender in senders)]
    if all(limit.calls is None for limit in limits):
        return []
    headroom = max([ask.headroom, *(sender.headroom for sender in senders)])
    since = now.steady - window_of(headroom) - headroom  # a slot may be granted up to that late
    return [(row["at"], row["calls"]) for row in db.execute(SQL["spent"], {**of, "since": since})]


def _keep(
    db: Connection, of: dict[str, str], before: Bucket, granted: Granted, now: Moment
) -> None:
    bucket, sender = granted.bucket, granted.sender
    values = {
        **of,
        "last_at": bucket.last_at,
        "calls_at": bucket.calls_at,
        "began_at": bucket.began_at,
        "hold_until": bucket.hold_until,
        "after": before.last_at,
    }
    if db.execute(SQL["grant"], values).rowcount != 1:
        raise TransitionError("another process was granted the same slots")
    fields = {name: getattr(sender, name) for name in Sender.__slots__ if name != "limits"}
    db.execute(SQL["keep_sender"], {**fields, **asdict(sender.limits), **of})
    db.execute(SQL["forget_senders"], {**of, "owner": "", "before": now.steady - MEMORY})
    ticks: dict[int, tuple[float, int]] = {}
    for at, calls in granted.spent:
        tick = int(at * _TICKS)
        ticks[tick] = (at, calls + ticks.get(tick, (0.0, 0))[1])
    for tick, (at, calls) in ticks.items():
        db.execute(SQL["spend"], {**of, "tick": tick, "at": at, "calls": calls})
    oldest, newest = now.steady - 2 * WINDOW, now.steady + WINDOW
    values = {**of, "oldest": int(oldest * _TICKS), "newest": int(newest * _TICKS)}
    db.execute(SQL["forget_spent"], values)


def _note_limits(
    db: Connection, of: dict[str, str], limits: Limits, bucket: Bucket, now: Moment
) -> None:
    """Write down which limits hold from now on, if others did before."""
    noted = noted_limits(db, of["account"], of["endpoint"])
    if noted == limits:
        return
    why = "settings" if bucket.ordered == Limits() else "settings, and what was set by hand"
    values = {**of, **asdict(limits), "at": now.wall, "steady": now.steady, "why": why}
    db.execute(SQL["note_limits"], values)
    if bucket.throttle is not None:
        db.execute(SQL["throttle"], {**of, "throttle": _as_json(relieved(bucket.throttle))})


def _as_json(throttle: Throttle) -> str:
    return orjson.dumps(asdict(throttle)).decode()


def noted_limits(db: Connection, account: str, endpoint: str) -> Limits | None:
    """Return the limits that were in force last, None if nothing was ever sent."""
    of = {"account": account, "endpoint": endpoint}
    row = db.execute(SQL["limits_noted"], of).fetchone()
    return None if row is None else Limits(row["requests"], row["calls"])


def _advised(rate: Rate, throttle: Throttle | None, endpoint: str) -> Rate:
    """Return a rate with what the settings should say, if a "too many" holds it down."""
    if throttle is None or rate.why != throttle.reason:
        return rate
    text = advice(throttle, rate.limits.requests, rate.limits.calls, endpoint)
    return replace(rate, advice=text)


def said_no(
    db: Connection, account: str, endpoint: str, no: No, back_off: BackOff, now: Moment
) -> Throttle:
    """Hold an endpoint back that said "too many"; return how."""
    of = {"account": account, "endpoint": endpoint}
    db.execute(SQL["open_bucket"], of)
    before = bucket_of(db.execute(SQL["bucket"], of).fetchone()).throttle
    if before is not None and counts_as_one(before, no):  # many come at once, and are quick
        throttle = rested(before, no, now.steady)
    else:
        limits = noted_limits(db, account, endpoint) or Limits()
        seen = _let_through(db, of, limits, before, now.steady)
        throttle = after_no(before, no, seen, now.steady, back_off)
    if throttle != before:
        db.execute(SQL["throttle"], {**of, "throttle": _as_json(throttle)})
    return throttle


def _let_through(
    db: Connection, of: dict[str, str], limits: Limits, before: Throttle | None, now: float
) -> LetThrough:
    row = db.execute(SQL["let_through"], {**of, "since": now - WINDOW}).fetchone()
    return LetThrough(
        requests=row["requests"],
        calls=row["calls"],
        factor=limits.part(row["requests"], row["calls"]),
        slowest=limits.slowest,
        oldest=row["oldest"] or now,
        since_last_no=before is not None and (row["newest"] or 0.0) > before.at,
    )


def present(db: Connection, account: str, endpoint: str, now: float) -> Rate | None:
    """Return how fast an endpoint may be used just now; None if nothing was ever sent to it."""
    of = {"account": account, "endpoint": endpoint}
    row, limits = db.execute(SQL["bucket"], of).fetchone(), noted_limits(db, account, endpoint)
    if row is None or limits is None:
        return None
    bucket = bucket_of(row)
    return _advised(rate_at(bucket, limits, 0.0, now), bucket.throttle, endpoint)


def free(db: Connection, account: str, endpoint: str, now: Moment) -> int | None:
    """Return how many requests could leave now without waiting; None if nothing was ever sent."""
    of = {"account": account, "endpoint": endpoint}
    row, limits = db.execute(SQL["bucket"], of).fetchone(), noted_limits(db, account, endpoint)
    if row is None or limits is None:
        return None
    bucket, senders = bucket_of(row), [_sender(one) for one in db.execute(SQL["senders"], of)]
    headroom = max((sender.headroom for sender in senders), default=0.0)
    ask = Ask(account, endpoint, "", 0, 1.0, limits, headroom, ramp=0.0)
    spent = _spent(db, of, bucket, senders, ask, now)
    return tokens(bucket, endpoint, limits, headroom, spent, now.steady)


def is_used(db: Connection, account: str, endpoint: str, now: float) -> bool:
    """Say whether somebody sends to an endpoint, or did just now."""
    of = {"account": account, "endpoint": endpoint}
    return any(row["until"] > now - WINDOW for row in db.execute(SQL["senders"], of))


def leave(db: Connection, account: str, endpoint: str, owner: str) -> None:
    """Forget a process that asks for no more."""
    values = {"account": account, "endpoint": endpoint, "owner": owner, "before": 0.0}
    db.execute(SQL["forget_senders"], values)


def order(
    db: Connection,
    account: str,
    endpoint: str,
    limits: Limits,
    settings: Limits,
    who: str,
    now: Moment,
) -> None:
    """Put an operator's limits in force over those of the settings; empty ones lift them."""
    of = {"account": account, "endpoint": endpoint}
    db.execute(SQL["open_bucket"], of)
    bucket = bucket_of(db.execute(SQL["bucket"], of).fetchone())
    lifted = limits == Limits()
    ordered = limits if lifted else bucket.ordered.amended(limits)
    # What the endpoint let through was a part of limits that hold no more.
    throttle = None if bucket.throttle is None else _as_json(relieved(bucket.throttle))
    db.execute(SQL["order_limits"], {**of, **asdict(ordered), "throttle": throttle})
    in_force, why = settings.amended(ordered), f"{'lifted' if lifted else 'set'} by {who}"
    values = {**of, **asdict(in_force), "at": now.wall, "steady": now.steady, "why": why}
    db.execute(SQL["note_limits"], values)


def bucket_of(row: sqlite3.Row) -> Bucket:
    """Return a bucket as its row has it."""
    fields: dict[str, Any] = dict(row)
    ordered = Limits(fields.pop("ordered_requests"), fields.pop("ordered_calls"))
    throttle = fields.pop("throttle")
    held = None if throttle is None else _throttle_of(throttle)
    return Bucket(**fields, ordered=ordered, throttle=held)


def _throttle_of(text: str) -> Throttle | None:
    """Return what `_as_json` wrote; None for what another version wrote differently.

    That costs a "too many" more, and no journal must become useless for it.
    """
    try:
        return Throttle(**orjson.loads(text))
    except TypeError:
        return None


def _sender(row: sqlite3.Row) -> Sender:
    fields: dict[str, Any] = dict(row)
    limits = Limits(fields.pop("requests"), fields.pop("calls"))
    return Sender(**{**fields, "waits": bool(fields["waits"])}, limits=limits)
