"""The journal of one machine, in SQLite: WAL, synchronous=FULL, one writer thread.

Each verb is a small function over a connection (`changes.py`), handed to the writer (`writer.py`),
which commits what has gathered and only then lets the verb return.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOutRow
from phonon_bulk.errors import JournalError
from phonon_bulk.journal import buckets, changes, control, pruning, single
from phonon_bulk.journal.alive import Sign, sweep
from phonon_bulk.journal.clock import Moment, open_clock
from phonon_bulk.journal.connection import BUSY_SECONDS, connect, explain, unusable
from phonon_bulk.journal.frozen import FrozenBatch
from phonon_bulk.journal.records import (
    Admitted,
    Claim,
    Control,
    Dash,
    DueRun,
    NewOrder,
    NewRun,
    NextWork,
    Opened,
    Pruned,
    Repeat,
    Settlement,
)
from phonon_bulk.journal.writer import Writer
from phonon_bulk.schedule import Ask, Lease, Limits
from phonon_bulk.throttle import BackOff, No, Throttle


class SqliteJournal:
    """A `Journal` in one SQLite file."""

    def __init__(
        self,
        path: Path,
        busy_seconds: float = BUSY_SECONDS,
        committed: Callable[[float, int], None] = lambda _seconds, _changes: None,
    ) -> None:
        """Open or create the journal at `path`; see `connection.connect` for what is raised.

        `busy_seconds` is how long a change waits while another program keeps the file locked;
        `committed` is told of every transaction, see `Writer`.
        """
        self.path = path
        self.owner = new_owner()
        connection = connect(path, busy_seconds)
        try:
            self._clock = open_clock(connection)
            self._sign = Sign(path, self.owner)
        except (OSError, sqlite3.Error) as error:
            connection.close()
            raise unusable(error, path) from None
        self._failed = False
        self._writer = Writer(connection, self._explain, committed)
        self._appended: dict[int, asyncio.Event] = {}

    def now(self) -> Moment:
        """See `Journal`."""
        return self._clock.now()

    async def open_run(self, new: NewRun, now: float, *, again: bool = False) -> Opened:
        """See `Journal`."""
        return await self._writer.do(lambda db: changes.open_run(db, new, now, again=again))

    async def append(
        self,
        run: int,
        batches: Sequence[FrozenBatch],
        left_out: Sequence[LeftOutRow],
        *,
        after_row: int,
        last_row: int,
        notes: Sequence[tuple[str, int, int]] = (),
    ) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: changes.append(db, run, batches, left_out, after_row, last_row, notes)
        )
        self._news(run).set()

    async def finish_reading(self, run: int, now: float, *, whole: bool = True) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: changes.finish_reading(db, run, now, whole=whole))
        self._news(run).set()

    async def read_so_far(self, run: int) -> int | None:
        """See `Journal`."""
        return await self._writer.do(lambda db: changes.read_so_far(db, run))

    async def claim(
        self, run: int, *, owner: str, limit: int, now: Moment, lease: float
    ) -> list[Claim]:
        """See `Journal`."""
        self._news(run).clear()
        return await self._writer.do(lambda db: changes.claim(db, run, owner, limit, now, lease))

    async def renew(self, owner: str, now: Moment, lease: float) -> None:
        """See `Journal`."""
        values = {"owner": owner, "lease_until": now.steady + lease}
        await self._writer.do(lambda db: changes.execute(db, "renew", values))

    async def release(self, batches: Sequence[int], owner: str) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: changes.each(db, "release", batches, owner))

    async def send(
        self, claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
    ) -> int | Repeat:
        """See `Journal`."""
        return await self._writer.do(
            lambda db: changes.send(db, claim, head_sha256, owner, now, lease)
        )

    async def refuse(self, batch: int, owner: str, now: float, reason: str) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: changes.each(db, "refuse", [batch], owner, now=now, reason=reason)
        )

    async def settle(self, batch: int, settlement: Settlement, owner: str, now: float) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: changes.settle(db, batch, settlement, owner, now))

    async def split(
        self,
        claim: Claim,
        parts: Sequence[FrozenBatch],
        owner: str,
        now: float,
        *,
        answered: Settlement | None = None,
        reason: str,
        expired: FrozenBatch | None = None,
    ) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: changes.split(db, claim, parts, owner, now, answered, reason, expired)
        )
        self._news(claim.run).set()

    async def expire(self, batch: int, owner: str, now: float, reason: str) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: changes.each(db, "expire", [batch], owner, now=now, reason=reason)
        )

    async def cancel(self, run: int, now: float, reason: str) -> int:
        """See `Journal`."""
        return await self._writer.do(lambda db: control.cancel(db, run, now, reason))

    async def recover(self, now: Moment, replay_after: float = 0.0) -> tuple[int, int]:
        """See `Journal`."""
        holding, returned, doubted = await self._writer.do(
            lambda db: changes.recover(db, self.path, now, replay_after)
        )
        await self._writer.do(lambda db: control.forget_dead(db, self.path))
        sweep(self.path, holding)
        return returned, doubted

    async def doubts(
        self, run: int, *, limit: int, now: Moment, within: float, today: str, but: Sequence[int]
    ) -> list[Claim]:
        """See `Journal`."""
        values = changes.window(run, now, within, today, but)
        return await self._writer.do(lambda db: changes.doubts(db, {**values, "limit": limit}))

    async def replay(self, claim: Claim, owner: str, now: Moment, lease: float) -> int:
        """See `Journal`."""
        return await self._writer.do(lambda db: changes.replay(db, claim, owner, now, lease))

    async def resolve(
        self, run: int, batches: Sequence[int], outcome: State, *, who: str, now: Moment
    ) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: changes.resolve(db, run, batches, outcome, who, now))

    async def control(
        self, run: int, wanted: Control, allowed: Sequence[Control], reason: str | None = None
    ) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: control.set_control(db, run, wanted, allowed, reason))

    async def begin_work(self, run: int, what: str, now: float) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: control.begin_work(db, run, self.owner, what, now))

    async def end_work(self, run: int, what: str) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: control.end_work(db, run, self.owner, what))
        self._appended.pop(run, None)  # a process that is always there comes by many runs

    async def beat(self, now: float) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: changes.execute(db, "beat", {"now": now}))

    async def due(
        self, *, now: Moment, within: float, today: str
    ) -> tuple[list[DueRun], float | None]:
        """See `Journal`."""
        values = changes.window(0, now, within, today, [])
        return await self._writer.do(lambda db: control.due(db, values))

    async def admit(
        self, new: NewOrder, dash: Dash | None, clock: Callable[[], Moment]
    ) -> Admitted:
        """See `Journal`."""
        admitted = await self._writer.do(
            lambda db: single.admit(db, new, dash, clock), urgent=dash is not None
        )
        if admitted.is_new and admitted.claim is None:
            self._news(new.run).set()
        return admitted

    async def gather(
        self,
        members: Sequence[Claim],
        whole: FrozenBatch,
        owner: str,
        now: Moment,
        lease: float,
    ) -> Claim:
        """See `Journal`."""
        return await self._writer.do(
            lambda db: single.gather(db, members, whole, owner, now, lease)
        )

    async def arrivals(self, claim: Claim) -> list[float]:
        """See `Journal`."""
        return await self._writer.do(lambda db: single.arrivals(db, claim))

    async def amend(self, run: int, flow_id: str, not_after: float | None) -> None:
        """See `Journal`."""
        values = {"run": run, "flow_id": flow_id, "not_after": not_after}
        await self._writer.do(
            lambda db: changes.move(db, "amend", f"there is no run {run}", **values)
        )

    async def next_work(
        self, run: int, *, now: Moment, within: float, today: str, but: Sequence[int] = ()
    ) -> NextWork:
        """See `Journal`."""
        values = changes.window(run, now, within, today, but)
        return await self._writer.do(lambda db: changes.next_work(db, run, values))

    async def wait(self, run: int, seconds: float) -> None:
        """See `Journal`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news(run).wait(), seconds)

    def _news(self, run: int) -> asyncio.Event:
        """Return what is set when something was appended to a run, and cleared by who claims."""
        return self._appended.setdefault(run, asyncio.Event())

    async def lease(self, ask: Ask, clock: Callable[[], Moment]) -> Lease:
        """See `Journal`."""
        return await self._writer.do(lambda db: buckets.lease(db, ask, clock()))

    async def said_no(
        self, account: str, endpoint: str, no: No, back_off: BackOff, now: Moment
    ) -> Throttle:
        """See `Journal`."""
        return await self._writer.do(
            lambda db: buckets.said_no(db, account, endpoint, no, back_off, now)
        )

    async def leave(self, account: str, endpoint: str, owner: str) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: buckets.leave(db, account, endpoint, owner))

    async def order_limits(
        self,
        account: str,
        endpoint: str,
        limits: Limits,
        *,
        settings: Limits,
        who: str,
        now: Moment,
    ) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: buckets.order(db, account, endpoint, limits, settings, who, now)
        )

    async def prune(self, before: float, now: float, *, run: int | None = None) -> Pruned:
        """See `Journal`."""
        return await pruning.prune(self._writer.do, self.path, before, now, run)

    async def compact(self) -> str | None:
        """See `Journal`."""
        return await asyncio.to_thread(pruning.compact, self.path)

    async def close(self) -> None:
        """See `Journal`."""
        holds_nothing = await self._holds_nothing()
        await self._writer.close()
        if holds_nothing:
            self._sign.take_away()
        else:
            self._sign.leave()

    async def _holds_nothing(self) -> bool:
        """Say whether nothing is surely held; if something is, others must see this one as dead."""
        if self._failed:
            return False
        mine = {"owner": self.owner}
        try:  # what it said to be at is over too, whoever failed to say so
            await self._writer.do(lambda db: changes.execute(db, "forget_work", mine))
            owners = await self._writer.do(changes.owners)
        except JournalError:
            return False
        return self.owner not in owners

    def _explain(self, error: sqlite3.Error) -> JournalError:
        self._failed = True
        return explain(error, self.path)


def new_owner() -> str:
    """Return a name for this process that no other has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
