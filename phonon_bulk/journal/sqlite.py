"""The journal of one machine, in SQLite: WAL, synchronous=FULL, one writer thread.

Each verb is a small function over a connection, handed to the writer (`writer.py`), which commits
what has gathered and only then lets the verb return.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from phonon_bulk.batch import MAX_VARIANT, TRANSITIONS, State
from phonon_bulk.call import RejectedRow
from phonon_bulk.errors import ReadElsewhereError, RunError, TransitionError
from phonon_bulk.journal import Claim, Control, NewRun, NextWork, Opened, Settlement
from phonon_bulk.journal.alive import Sign, is_dead, sweep
from phonon_bulk.journal.connection import connect, explain
from phonon_bulk.journal.frozen import FrozenBatch, compress
from phonon_bulk.journal.statements import SQL
from phonon_bulk.journal.writer import Writer

Connection = sqlite3.Connection
_FINAL = {State.ACCEPTED, State.REFUSED, State.SPLIT}


class SqliteJournal:
    """A `Journal` in one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal at `path`; see `connection.connect` for what is raised."""
        self.path = path
        connection = connect(path)
        self.owner = new_owner()
        self._sign = Sign(path, self.owner)
        self._writer = Writer(connection, lambda error: explain(error, path))
        self._appended = asyncio.Event()

    async def open_run(self, new: NewRun, now: float, *, again: bool = False) -> Opened:
        """See `Journal`."""
        return await self._writer.do(lambda db: _open_run(db, new, now, again=again))

    async def append(
        self,
        run: int,
        batches: Sequence[FrozenBatch],
        rejected: Sequence[RejectedRow],
        *,
        after_row: int,
        last_row: int,
    ) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: _append(db, run, batches, rejected, after_row, last_row))
        self._appended.set()

    async def finish_reading(self, run: int, now: float, *, whole: bool = True) -> None:
        """See `Journal`."""
        values = {"run": run, "now": now, "whole": whole}
        await self._writer.do(
            lambda db: _move(db, "finish_reading", f"run {run} is read already", **values)
        )
        self._appended.set()

    async def claim(
        self, run: int, *, owner: str, limit: int, now: float, lease_until: float
    ) -> list[Claim]:
        """See `Journal`."""
        self._appended.clear()
        return await self._writer.do(lambda db: _claim(db, run, owner, limit, now, lease_until))

    async def renew(self, owner: str, lease_until: float) -> None:
        """See `Journal`."""
        values = {"owner": owner, "lease_until": lease_until}
        await self._writer.do(lambda db: _execute(db, "renew", values))

    async def release(self, batches: Sequence[int], owner: str) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: _each(db, "release", batches, owner))

    async def send(self, claim: Claim, head_sha256: bytes, owner: str, now: float) -> int:
        """See `Journal`."""
        return await self._writer.do(lambda db: _send(db, claim, head_sha256, owner, now))

    async def settle(self, batch: int, settlement: Settlement, owner: str, now: float) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: _settle(db, batch, settlement, owner, now))

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
            lambda db: _split(db, claim, parts, owner, now, answered, reason, expired)
        )
        self._appended.set()

    async def expire(self, batch: int, owner: str, now: float, reason: str) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: _each(db, "expire", [batch], owner, now=now, reason=reason)
        )

    async def cancel_ready(self, run: int, now: float, reason: str) -> int:
        """See `Journal`."""
        values = {"run": run, "now": now, "reason": reason}
        return await self._writer.do(lambda db: _execute(db, "cancel_ready", values).rowcount)

    async def recover(self, now: float, replay_after: float = 0.0) -> tuple[int, int]:
        """See `Journal`."""
        holding, returned, doubted = await self._writer.do(
            lambda db: _recover(db, self.path, now, now + replay_after)
        )
        sweep(self.path, holding)
        return returned, doubted

    async def doubts(
        self, run: int, *, limit: int, now: float, since: float, today: str, but: Sequence[int]
    ) -> list[Claim]:
        """See `Journal`."""
        values = _window(run, now, since, today, but)
        return await self._writer.do(lambda db: _doubts(db, {**values, "limit": limit}))

    async def replay(self, claim: Claim, owner: str, now: float, lease_until: float) -> int:
        """See `Journal`."""
        return await self._writer.do(lambda db: _replay(db, claim, owner, now, lease_until))

    async def resolve(
        self, run: int, batches: Sequence[int], outcome: State, *, who: str, now: float
    ) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: _resolve(db, run, batches, outcome, who, now))

    async def control(
        self, run: int, control: Control, allowed: Sequence[Control], reason: str | None = None
    ) -> None:
        """See `Journal`."""
        await self._writer.do(lambda db: _control(db, run, control, allowed, reason))

    async def set_flow(self, run: int, flow_id: str) -> None:
        """See `Journal`."""
        await self._writer.do(
            lambda db: _move(db, "set_flow", f"there is no run {run}", run=run, flow_id=flow_id)
        )

    async def next_work(
        self, run: int, *, now: float, since: float, today: str, but: Sequence[int] = ()
    ) -> NextWork:
        """See `Journal`."""
        values = _window(run, now, since, today, but)
        return await self._writer.do(lambda db: _next_work(db, run, values))

    async def wait(self, seconds: float) -> None:
        """See `Journal`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._appended.wait(), seconds)

    async def close(self) -> None:
        """See `Journal`."""
        await self._writer.close()
        self._sign.take_away()


def new_owner() -> str:
    """Return a name for this process that no other has or had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"


def _execute(db: Connection, name: str, values: dict[str, Any]) -> sqlite3.Cursor:
    return db.execute(SQL[name], values)


def _move(db: Connection, name: str, otherwise: str, **values: Any) -> None:
    """Run a guarded statement that must move exactly one row."""
    if _execute(db, name, values).rowcount != 1:
        raise TransitionError(otherwise)


def _each(db: Connection, name: str, batches: Sequence[int], owner: str, **values: Any) -> None:
    for batch in batches:
        otherwise = f"batch {batch} is not claimed by {owner}"
        _move(db, name, otherwise, batch=batch, owner=owner, **values)


def _open_run(db: Connection, new: NewRun, now: float, *, again: bool) -> Opened:
    found = _execute(db, "newest_of_identity", {"identity": new.identity}).fetchone()
    if found["runs"] and not again:
        return Opened(int(found["id"]), is_new=False)
    variant = int(found["runs"])
    if variant > MAX_VARIANT:
        raise RunError(
            f"this list was sent {variant} times by this campaign; its bodies can't be made to "
            "differ once more. Change something in the list, or the campaign's name"
        )
    values = {
        **{name: getattr(new, name) for name in NewRun.__slots__},
        "identity": f"{new.identity}+{variant}" if variant else new.identity,
        "variant": variant,
        "created_at": now,
    }
    return Opened(int(_execute(db, "insert_run", values).fetchone()[0]), is_new=True)


def _append(
    db: Connection,
    run: int,
    batches: Sequence[FrozenBatch],
    rejected: Sequence[RejectedRow],
    after_row: int,
    last_row: int,
) -> None:
    values = {
        "run": run,
        "after_row": after_row,
        "last_row": last_row,
        "rejected": len(rejected),
        "calls": sum(batch.calls for batch in batches),
    }
    if _execute(db, "count_rows", values).rowcount != 1:
        raise ReadElsewhereError(f"the list of run {run} is being read by another process")
    for batch in batches:
        _insert_batch(db, run, batch)
    db.executemany(SQL["insert_rejected"], [_rejected_values(run, row) for row in rejected])


def _rejected_values(run: int, row: RejectedRow) -> dict[str, Any]:
    return {
        "run": run,
        "row": row.row,
        "reason": row.reason,
        "client_identifier": row.client_identifier,
        "contact_numbers": orjson.dumps(row.contact_numbers).decode(),
        "fields": row.fields,
    }


def _insert_batch(
    db: Connection,
    run: int,
    batch: FrozenBatch,
    *,
    parent: int | None = None,
    expired: tuple[float, str] | None = None,
) -> None:
    settled_at, reason = expired or (None, None)
    values = {
        **{name: getattr(batch, name) for name in FrozenBatch.__slots__},
        "run": run,
        "parent": parent,
        "state": State.EXPIRED if expired else State.READY,
        "settled_at": settled_at,
        "reason": reason,
    }
    number = _execute(db, "insert_batch", values).fetchone()[0]
    _execute(db, "insert_body", {**values, "batch": number})


def _claim(
    db: Connection, run: int, owner: str, limit: int, now: float, lease_until: float
) -> list[Claim]:
    values = {
        "run": run,
        "owner": owner,
        "limit": limit,
        "now": now,
        "lease_until": lease_until,
    }
    rows = _execute(db, "claim", values).fetchall()
    return [_claim_with_body(db, row) for row in sorted(rows, key=_in_order)]


def _in_order(row: sqlite3.Row) -> tuple[int, int]:
    return row["first_row"], row["id"]


def _claim_with_body(db: Connection, row: sqlite3.Row, *, replay: bool = False) -> Claim:
    body = _execute(db, "claimed_body", {"batch": row["id"]}).fetchone()
    return Claim(
        batch=row["id"],
        run=row["run"],
        first_row=row["first_row"],
        calls=row["calls"],
        start_date=row["start_date"],
        sha256=row["sha256"],
        variant=row["variant"],
        head_sha256=row["head_sha256"],
        attempts=row["attempts"],
        doubted_at=row["doubted_at"],
        denied=bool(row["denied"]),
        body=body["calls"],
        rows=body["rows"],
        replay=replay,
    )


def _send(db: Connection, claim: Claim, head_sha256: bytes, owner: str, now: float) -> int:
    values = {"batch": claim.batch, "owner": owner, "head_sha256": head_sha256}
    moved = _execute(db, "send", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {claim.batch} is not claimed by {owner}: it was not sent")
    attempt = int(moved[0][0])
    _execute(db, "insert_attempt", {"batch": claim.batch, "n": attempt, "now": now})
    return attempt


def _settle(db: Connection, batch: int, settlement: Settlement, owner: str, now: float) -> None:
    if (State.SENDING, settlement.state) not in TRANSITIONS or settlement.state == State.SPLIT:
        raise TransitionError(f"a batch does not go from sending to {settlement.state}")
    values = {
        **{name: getattr(settlement, name) for name in Settlement.__slots__},
        "batch": batch,
        "owner": owner,
        "settled_at": now if settlement.state in _FINAL else None,
    }
    moved = _execute(db, "settle", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {batch} is not being sent by {owner}: it was not settled")
    _end_attempt(db, batch, int(moved[0][0]), settlement, now)


def _end_attempt(
    db: Connection, batch: int, attempt: int, settlement: Settlement, now: float
) -> None:
    values = {**asdict(settlement), "batch": batch, "n": attempt, "now": now}
    if _execute(db, "end_attempt", values).rowcount != 1:
        raise TransitionError(f"attempt {attempt} of batch {batch} has ended already")
    if settlement.answer is not None:
        _execute(db, "insert_answer", {"batch": batch, "body": compress(settlement.answer)})


def _split(
    db: Connection,
    claim: Claim,
    parts: Sequence[FrozenBatch],
    owner: str,
    now: float,
    answered: Settlement | None,
    reason: str,
    expired: FrozenBatch | None,
) -> None:
    state = State.SENDING if answered else State.CLAIMED
    values = {"batch": claim.batch, "owner": owner, "now": now, "reason": reason, "state": state}
    moved = _execute(db, "split", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {claim.batch} is not {state} by {owner}: it was not split")
    run, calls, attempts = moved[0]
    if calls != sum(part.calls for part in (*parts, *([expired] if expired else []))):
        raise TransitionError(f"the parts of batch {claim.batch} do not hold all of its calls")
    if answered:
        _end_attempt(db, claim.batch, attempts, answered, now)
    for part in parts:
        _insert_batch(db, run, part, parent=claim.batch)
    if expired:
        _insert_batch(db, run, expired, parent=claim.batch, expired=(now, reason))


def _control(
    db: Connection, run: int, control: Control, allowed: Sequence[Control], reason: str | None
) -> None:
    values = {
        "run": run,
        "control": control,
        "reason": reason,
        "allowed": orjson.dumps(list(allowed)).decode(),
    }
    if _execute(db, "set_control", values).rowcount != 1:
        row = _execute(db, "run", {"run": run}).fetchone()
        if row is None:
            raise RunError(f"there is no run {run}: `phonon-bulk runs` lists them")
        raise RunError(f"run {run} is {row['control']}")


def _window(run: int, now: float, since: float, today: str, but: Sequence[int]) -> dict[str, Any]:
    but_ = orjson.dumps(list(but)).decode()
    return {"run": run, "now": now, "since": since, "today": today, "but": but_}


def _recover(
    db: Connection, path: Path, now: float, replay_at: float
) -> tuple[list[str], int, int]:
    owners = [str(row["owner"]) for row in _execute(db, "owners", {})]
    dead = [owner for owner in owners if is_dead(path, owner)]
    values = {"now": now, "replay_at": replay_at, "dead": orjson.dumps(dead).decode()}
    returned = _execute(db, "return_lost_claims", values).rowcount
    doubted = _execute(db, "doubt_lost_sendings", values).rowcount
    return sorted(set(owners) - set(dead)), returned, doubted


def _doubts(db: Connection, values: dict[str, Any]) -> list[Claim]:
    rows = _execute(db, "doubts", values).fetchall()
    return [_claim_with_body(db, row, replay=True) for row in rows]


def _replay(db: Connection, claim: Claim, owner: str, now: float, lease_until: float) -> int:
    values = {
        "batch": claim.batch,
        "attempts": claim.attempts,
        "owner": owner,
        "lease_until": lease_until,
    }
    moved = _execute(db, "replay", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {claim.batch} is no longer in doubt: it was not replayed")
    attempt = int(moved[0][0])
    _execute(db, "insert_attempt", {"batch": claim.batch, "n": attempt, "now": now})
    return attempt


def _resolve(
    db: Connection, run: int, batches: Sequence[int], outcome: State, who: str, now: float
) -> None:
    if (State.IN_DOUBT, outcome) not in TRANSITIONS or outcome is State.SENDING:
        raise TransitionError(f"a person does not settle a doubt as {outcome}")
    reason = None if outcome is State.READY else f"{_SAID[outcome]} {who}"
    for batch in batches:
        values = {
            "batch": batch,
            "run": run,
            "state": outcome,
            "reason": reason,
            "settled_at": None if outcome is State.READY else now,
            "now": now,
        }
        if _execute(db, "resolve", values).rowcount != 1:
            raise RunError(f"batch {batch} is not a batch of run {run} that is in doubt")
        resolution = {"batch": batch, "now": now, "who": who, "state": outcome}
        _execute(db, "insert_resolution", resolution)


_SAID = {State.ACCEPTED: "accepted, according to", State.ABANDONED: "given up by"}


def _next_work(db: Connection, run: int, window: dict[str, Any]) -> NextWork:
    row = _execute(db, "run", {"run": run}).fetchone()
    return NextWork(
        control=Control(row["control"]),
        reading=row["read_at"] is None,
        not_before=_execute(db, "next_ready", {"run": run}).fetchone()[0],
        lease_until=_execute(db, "next_lease", {"run": run}).fetchone()[0],
        replay_at=_execute(db, "next_doubt", window).fetchone()[0],
    )
