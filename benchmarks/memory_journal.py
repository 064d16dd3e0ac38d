"""A journal that writes nothing down: what is left of a run's cost when it keeps no books.

For `stages.py`, and for nothing else. It has the verbs that a plain run needs (a list is read,
every batch is accepted) and keeps what is still to be sent in memory, where it is gone with the
process. Whatever is no plain run ends it with an error: a doubt, a refusal, a split.

mypy holds the verbs to those of `Journal`; a verb that is missing here, and asked for, says so.
"""

# ruff: noqa: ARG002 - the verbs take what those of `Journal` take, and need less of it

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOutRow
from phonon_bulk.journal import (
    Claim,
    Control,
    FrozenBatch,
    Journal,
    Moment,
    NewRun,
    NextWork,
    Opened,
    Settlement,
)
from phonon_bulk.journal.clock import Clock
from phonon_bulk.schedule import Ask, Bucket, Lease, Sender, grant

RUN = 1
_LEASE = 60.0
"""Seconds; what is held here is never lost."""


class MemoryJournal(Journal):
    """A `Journal` in memory, for one plain run in one process."""

    def __init__(self) -> None:
        self.accepted = 0
        """Calls."""
        self._clock = Clock(0.0)
        self._ready: deque[Claim] = deque()
        self._held: dict[int, Claim] = {}
        self._batches = 0
        self._is_read = False
        self._news = asyncio.Event()
        self._bucket = Bucket()
        self._senders: list[Sender] = []

    @property
    def owner(self) -> str:
        """See `Journal`."""
        return "memory"

    def now(self) -> Moment:
        """See `Journal`."""
        return self._clock.now()

    async def open_run(self, new: NewRun, now: float, *, again: bool = False) -> Opened:
        """See `Journal`."""
        return Opened(RUN, is_new=True)

    # ---- the list

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
        for batch in batches:
            self._batches += 1
            self._ready.append(_claim(self._batches, run, batch))
        self._news.set()

    async def finish_reading(self, run: int, now: float, *, whole: bool = True) -> None:
        """See `Journal`."""
        self._is_read = True
        self._news.set()

    # ---- the batches

    async def claim(
        self, run: int, *, owner: str, limit: int, now: Moment, lease: float
    ) -> list[Claim]:
        """See `Journal`."""
        self._news.clear()
        claims = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        self._held |= {claim.batch: claim for claim in claims}
        return claims

    async def release(self, batches: Sequence[int], owner: str) -> None:
        """See `Journal`."""
        self._ready.extendleft(self._held.pop(batch) for batch in reversed(batches))

    async def send(
        self, claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
    ) -> int:
        """See `Journal`."""
        return claim.attempts + 1

    async def settle(self, batch: int, settlement: Settlement, owner: str, now: float) -> None:
        """See `Journal`."""
        if settlement.state is not State.ACCEPTED:
            raise RuntimeError(f"this is no plain run: {settlement!r}")
        del self._held[batch]
        self.accepted += settlement.accepted

    async def renew(self, owner: str, now: Moment, lease: float) -> None:
        """See `Journal`."""

    async def recover(self, now: Moment, replay_after: float = 0.0) -> tuple[int, int]:
        """See `Journal`."""
        return 0, 0

    async def doubts(
        self, run: int, *, limit: int, now: Moment, within: float, today: str, but: Sequence[int]
    ) -> list[Claim]:
        """See `Journal`."""
        return []

    async def next_work(
        self, run: int, *, now: Moment, within: float, today: str, but: Sequence[int] = ()
    ) -> NextWork:
        """See `Journal`."""
        return NextWork(
            control=Control.GO,
            reading=not self._is_read,
            not_before=0.0 if self._ready else None,
            lease_until=now.steady + _LEASE if self._held else None,
        )

    async def wait(self, run: int, seconds: float) -> None:
        """See `Journal`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    # ---- who is at work, and the limit

    async def begin_work(self, run: int, what: str, now: float) -> None:
        """See `Journal`."""

    async def end_work(self, run: int, what: str) -> None:
        """See `Journal`."""

    async def lease(self, ask: Ask, clock: Callable[[], Moment]) -> Lease:
        """See `Journal`."""
        granted = grant(self._bucket, self._senders, (), ask, clock().steady)
        self._bucket, self._senders = granted.bucket, [granted.sender]
        return granted.lease

    async def leave(self, account: str, endpoint: str, owner: str) -> None:
        """See `Journal`."""

    async def close(self) -> None:
        """See `Journal`."""


def _claim(number: int, run: int, batch: FrozenBatch) -> Claim:
    return Claim(
        batch=number,
        run=run,
        first_row=batch.first_row,
        calls=batch.calls,
        start_date=batch.start_date,
        sha256=batch.sha256,
        variant=0,
        head_sha256=None,
        attempts=0,
        doubted=None,
        denied=False,
        body=batch.body,
        rows=batch.rows,
    )


def _missing(verb: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError(f"the journal in memory has no verb {verb!r}: see memory_journal.py")

    return refuse


def _refuse_what_is_missing() -> None:
    """Have verbs that are not written here raise; those of a protocol would do nothing."""
    for verb in vars(Journal):
        if not verb.startswith("_") and verb not in vars(MemoryJournal):
            setattr(MemoryJournal, verb, _missing(verb))


_refuse_what_is_missing()


def memory_journal() -> MemoryJournal:
    """Return an empty one; made within a running event loop."""
    return MemoryJournal()  # type: ignore[abstract]
