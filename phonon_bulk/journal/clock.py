"""The journal's own time, which no setting of the machine's clock moves.

Leases, put-offs and the ages of doubts decide who may send what. Counted by the wall clock, a clock
set back by hours would make an old doubt look young (it would be replayed when the provider may
have forgotten it, and the customer called twice), and one set forward would take batches from
processes that are at work. So they are counted by the machine's time since it was started, which
goes on while the machine sleeps and is the same for all processes, plus a `zero` that the journal
keeps: what the wall clock said at the machine's start, as it was seen first.

After a restart of the machine there is a new zero, chosen so that the journal's time does not go
back behind anything in it; what happened before a restart with a clock that is behind counts as
old. Where a system does not tell one start from another (`boot_id` is Linux's) the journal's time
is the wall clock.

What is only shown to people, and the provider's date, is of the wall clock. An age is the longer of
what both clocks say: a virtual machine that was stopped for an hour may know it by one only.
"""

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from phonon_bulk.journal.statements import SQL

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SINCE_START = getattr(time, "CLOCK_BOOTTIME", None)


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on two clocks, both in seconds since the epoch."""

    wall: float
    """What the machine's clock says: for people, and for dates."""
    steady: float
    """The journal's own time: for leases, put-offs and ages."""


class Clock:
    """Tells a journal's time."""

    def __init__(self, zero: float | None) -> None:
        """Count from `zero`; None is for systems where only the wall clock can be had."""
        self._zero = zero

    def now(self) -> Moment:
        """Return this moment."""
        wall = time.time()
        if self._zero is None or _SINCE_START is None:
            return Moment(wall, wall)
        return Moment(wall, self._zero + time.clock_gettime(_SINCE_START))


def open_clock(connection: sqlite3.Connection) -> Clock:
    """Return the clock of the journal behind `connection`."""
    boot = boot_id()
    if boot is None or _SINCE_START is None:
        return Clock(None)
    return Clock(zero_of(connection, boot, time.time(), time.clock_gettime(_SINCE_START)))


def read_clock(connection: sqlite3.Connection) -> Clock:
    """Return the clock of a journal that is only read; the wall clock if nobody has set it yet."""
    boot = boot_id()
    return Clock(None if boot is None else _known(connection, boot))


def boot_id() -> str | None:
    """Return what tells this start of the machine from all others, None if there is no such."""
    try:
        return _BOOT_ID.read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def zero_of(connection: sqlite3.Connection, boot: str, wall: float, since_start: float) -> float:
    """Return the zero of this start of the machine, chosen and kept if it is seen first now."""
    zero = _known(connection, boot)
    if zero is not None:
        return zero
    connection.execute("BEGIN IMMEDIATE")
    try:
        zero = _known(connection, boot)  # another process may have been quicker
        if zero is None:
            newest = connection.execute(SQL["newest_moment"]).fetchone()[0]
            zero = _zero(wall, newest) - since_start
            connection.execute(SQL["set_clock"], {"boot": boot, "zero": zero})
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return zero


def _zero(wall: float, newest: float) -> float:
    """Return what the journal's time is, seen first after a start of the machine.

    A wall clock that is behind what was written down before tells nothing of how long the machine
    was off (it may have no battery). So it was off for long: no doubt from before is young.
    """
    return wall if wall > newest else newest + _LONG_OFF


_LONG_OFF = 7 * 86_400.0
"""Seconds; as long as `sending.replay_within` can be at most."""


def _known(connection: sqlite3.Connection, boot: str) -> float | None:
    row = connection.execute(SQL["clock"]).fetchone()
    return float(row["zero"]) if row is not None and row["boot"] == boot else None
