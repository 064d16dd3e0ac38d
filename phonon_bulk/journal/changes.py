"""What each verb of the journal does to its tables: functions over a connection, in a transaction.

Whoever calls them commits, or rolls back what raised. `_move` and its like are the guards: a
statement that must move a row and moves none is an error.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from phonon_bulk.batch import MAX_VARIANT, TRANSITIONS, State
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.errors import ReadElsewhereError, RunError, RunHeldError, TransitionError
from phonon_bulk.journal.alive import is_dead
from phonon_bulk.journal.clock import Moment
from phonon_bulk.journal.frozen import FrozenBatch, compress
from phonon_bulk.journal.records import (
    Claim,
    Control,
    NewRun,
    NextWork,
    Opened,
    Repeat,
    Settlement,
)
from phonon_bulk.journal.statements import SQL

Connection = sqlite3.Connection
_FINAL = {State.ACCEPTED, State.REFUSED, State.SPLIT}


def execute(db: Connection, name: str, values: dict[str, Any]) -> sqlite3.Cursor:
    return db.execute(SQL[name], values)


def move(db: Connection, name: str, otherwise: str, **values: Any) -> None:
    """Run a guarded statement that must move exactly one row."""
    if execute(db, name, values).rowcount != 1:
        raise TransitionError(otherwise)


def each(db: Connection, name: str, batches: Sequence[int], owner: str, **values: Any) -> None:
    for batch in batches:
        otherwise = f"batch {batch} is not claimed by {owner}"
        move(db, name, otherwise, batch=batch, owner=owner, **values)


def open_run(db: Connection, new: NewRun, now: float, *, again: bool) -> Opened:
    found = execute(db, "newest_of_identity", {"identity": new.identity}).fetchone()
    if found["runs"] and not again:
        return Opened(int(found["id"]), is_new=False)
    runs = int(found["runs"])
    variant = max(runs, int(found["variant"]) + 1) if runs else 0
    if variant > MAX_VARIANT:
        raise RunError(
            f"this list was sent {runs} times by this campaign; its bodies can't be made to "
            "differ once more. Change something in the list, or the campaign's name"
        )
    values = {
        **{name: getattr(new, name) for name in NewRun.__slots__},
        "identity": f"{new.identity}+{runs}" if runs else new.identity,
        "variant": variant,
        "created_at": now,
    }
    return Opened(int(execute(db, "insert_run", values).fetchone()[0]), is_new=True)


def append(
    db: Connection,
    run: int,
    batches: Sequence[FrozenBatch],
    left_out: Sequence[LeftOutRow],
    after_row: int,
    last_row: int,
    notes: Sequence[tuple[str, int, int]],
) -> None:
    states = Counter(row.state for row in left_out)
    values = {
        "run": run,
        "after_row": after_row,
        "last_row": last_row,
        "rejected": states[LeftOut.REJECTED],
        "suppressed": states[LeftOut.SUPPRESSED],
        "duplicates": states[LeftOut.DUPLICATE],
        "calls": sum(batch.calls for batch in batches),
    }
    if execute(db, "count_rows", values).rowcount != 1:
        raise ReadElsewhereError(f"the list of run {run} is being read by another process")
    for batch in batches:
        _insert_batch(db, run, batch)
    db.executemany(SQL["insert_left_out"], [_left_out_values(run, row) for row in left_out])
    for note, contacts, row in notes:
        execute(db, "add_note", {"run": run, "note": note, "contacts": contacts, "row": row})


def _left_out_values(run: int, row: LeftOutRow) -> tuple[Any, ...]:
    """Return the values in the order of the statement: there may be millions, and names cost."""
    numbers = orjson.dumps(row.contact_numbers).decode()
    state = row.state.value  # SQLite is slower at enums
    return (run, row.row, state, row.reason, row.client_identifier, numbers, row.fields)


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
        "came_at": None if parent is None else arrival(db, run, batch.first_row),
    }
    number = execute(db, "insert_batch", values).fetchone()[0]
    execute(db, "insert_body", {**values, "batch": number})


def arrival(db: Connection, run: int, row: int) -> float | None:
    """Return when a single call came in, by its row; None for the rows of a list."""
    found: float | None = execute(db, "arrival", {"run": run, "row": row}).fetchone()["came_at"]
    return found


def finish_reading(db: Connection, run: int, now: float, *, whole: bool) -> None:
    if execute(db, "finish_reading", {"run": run, "now": now, "whole": whole}).rowcount != 1:
        raise ReadElsewhereError(f"the list of run {run} was read to its end")


def read_so_far(db: Connection, run: int) -> int | None:
    row = run_of(db, run)
    return int(row["rows"]) if row["read_at"] is None else None


def run_of(db: Connection, run: int) -> sqlite3.Row:
    row: sqlite3.Row | None = execute(db, "run", {"run": run}).fetchone()
    if row is None:
        raise RunError(f"there is no run {run}: `phonon-bulk runs` lists them")
    return row


def _raise_if_held(db: Connection, run: int) -> None:
    """Raise RunHeldError if nothing of a run is to be sent now."""
    control = execute(db, "run_control", {"run": run}).fetchone()["control"]
    if control != Control.GO:
        raise RunHeldError(f"the run is {control}")


def claim(
    db: Connection, run: int, owner: str, limit: int, now: Moment, lease: float
) -> list[Claim]:
    values = {
        "run": run,
        "owner": owner,
        "limit": limit,
        "now": now.steady,
        "lease_until": now.steady + lease,
    }
    rows = execute(db, "claim", values).fetchall()
    return [claim_with_body(db, row) for row in sorted(rows, key=_in_order)]


def _in_order(row: sqlite3.Row) -> tuple[int, int]:
    return row["first_row"], row["id"]


def claim_with_body(db: Connection, row: sqlite3.Row, *, replay: bool = False) -> Claim:
    body = execute(db, "claimed_body", {"batch": row["id"]}).fetchone()
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
        doubted=None
        if row["doubted_at"] is None
        else Moment(row["doubted_at"], row["doubted_steady"]),
        denied=bool(row["denied"]),
        came_at=row["came_at"],
        whole=row["parent"] is None,
        body=body["calls"],
        rows=body["rows"],
        replay=replay,
    )


def send(
    db: Connection, claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
) -> int | Repeat:
    _raise_if_held(db, claim.run)
    repeat = _repeat_of(db, claim, head_sha256, owner, now, lease)
    if repeat is not None:
        return repeat
    values = {
        "batch": claim.batch,
        "attempts": claim.attempts,
        "owner": owner,
        "head_sha256": head_sha256,
        "lease_until": now.steady + lease,
    }
    moved = execute(db, "send", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {claim.batch} is not claimed by {owner}: it was not sent")
    return _attempt(db, claim.batch, int(moved[0][0]), head_sha256, now)


def _repeat_of(
    db: Connection, claim: Claim, head_sha256: bytes, owner: str, now: Moment, lease: float
) -> Repeat | None:
    """Return why a batch is not to be sent, and do with it what follows; None if it is."""
    values = {"batch": claim.batch, "sha256": claim.sha256, "head_sha256": head_sha256}
    twin = execute(db, "earlier_twin", values).fetchone()
    if twin is None:
        return None
    there = "this run" if twin["run"] == claim.run else f"run {twin['run']}"
    reason = f"repeats {there}: the same bytes went out there before"
    held = {"batch": claim.batch, "owner": owner}
    otherwise = f"batch {claim.batch} is not claimed by {owner}: it was not sent"
    match State(twin["state"]):
        case State.SENDING:
            move(db, "put_off", otherwise, **held, not_before=now.steady + _PUT_OFF)
            return Repeat(reason)
        case State.SPLIT if claim.calls > 1:
            move(db, "keep", otherwise, **held, lease_until=now.steady + lease)
            return Repeat(f"{reason}, and live on in parts", halve=True)
        case State.ACCEPTED:
            reason = f"{reason}, and were accepted"
        case _:
            reason = f"{reason}, and they may have been taken"
    each(db, "refuse", [claim.batch], owner, now=now.wall, reason=reason)
    return Repeat(reason, refused=True)


_PUT_OFF = 2.0
"""Seconds after which is asked again what came of a batch with the same bytes."""


def _attempt(db: Connection, batch: int, n: int, head_sha256: bytes, now: Moment) -> int:
    values = {
        "batch": batch,
        "n": n,
        "now": now.wall,
        "steady": now.steady,
        "head_sha256": head_sha256,
    }
    execute(db, "insert_attempt", values)
    return n


def settle(db: Connection, batch: int, settlement: Settlement, owner: str, now: float) -> None:
    if (State.SENDING, settlement.state) not in TRANSITIONS or settlement.state == State.SPLIT:
        raise TransitionError(f"a batch does not go from sending to {settlement.state}")
    values = {
        **_fields(settlement),
        "batch": batch,
        "owner": owner,
        "settled_at": now if settlement.state in _FINAL else None,
    }
    moved = execute(db, "settle", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {batch} is not being sent by {owner}: it was not settled")
    _end_attempt(db, batch, int(moved[0][0]), settlement, now)


def _fields(settlement: Settlement) -> dict[str, Any]:
    """Return what it holds; `asdict` takes eight times as long, and there is one for each batch."""
    return {name: getattr(settlement, name) for name in Settlement.__slots__}


def _end_attempt(
    db: Connection, batch: int, attempt: int, settlement: Settlement, now: float
) -> None:
    values = {**_fields(settlement), "batch": batch, "n": attempt, "now": now}
    if execute(db, "end_attempt", values).rowcount != 1:
        raise TransitionError(f"attempt {attempt} of batch {batch} has ended already")
    if settlement.answer is not None:
        execute(db, "insert_answer", {"batch": batch, "body": compress(settlement.answer)})


def split(
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
    moved = execute(db, "split", values).fetchall()
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


def window(run: int, now: Moment, within: float, today: str, but: Sequence[int]) -> dict[str, Any]:
    return {
        "run": run,
        "now": now.steady,
        "since": now.wall - within,
        "steady_since": now.steady - within,
        "today": today,
        "but": orjson.dumps(list(but)).decode(),
    }


def owners(db: Connection) -> list[str]:
    return [str(row["owner"]) for row in execute(db, "owners", {})]


def recover(
    db: Connection, path: Path, now: Moment, replay_after: float
) -> tuple[list[str], int, int]:
    holding = owners(db)
    dead = [owner for owner in holding if is_dead(path, owner)]
    values = {
        "now": now.steady,
        "replay_at": now.steady + replay_after,
        "dead": orjson.dumps(dead).decode(),
    }
    returned = execute(db, "return_lost_claims", values).rowcount
    doubted = execute(db, "doubt_lost_sendings", values).rowcount
    return sorted(set(holding) - set(dead)), returned, doubted


def doubts(db: Connection, values: dict[str, Any]) -> list[Claim]:
    rows = execute(db, "doubts", values).fetchall()
    return [claim_with_body(db, row, replay=True) for row in rows]


def replay(db: Connection, claim: Claim, owner: str, now: Moment, lease: float) -> int:
    _raise_if_held(db, claim.run)
    values = {
        "batch": claim.batch,
        "attempts": claim.attempts,
        "owner": owner,
        "lease_until": now.steady + lease,
    }
    moved = execute(db, "replay", values).fetchall()
    if len(moved) != 1:
        raise TransitionError(f"batch {claim.batch} is no longer in doubt: it was not replayed")
    return _attempt(db, claim.batch, int(moved[0][0]), moved[0][1], now)


def resolve(
    db: Connection, run: int, batches: Sequence[int], outcome: State, who: str, now: Moment
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
            "settled_at": None if outcome is State.READY else now.wall,
            "now": now.wall,
            "steady": now.steady,
        }
        if execute(db, "resolve", values).rowcount != 1:
            raise RunError(f"batch {batch} is not a batch of run {run} that is in doubt")
        resolution = {"batch": batch, "now": now.wall, "who": who, "state": outcome}
        execute(db, "insert_resolution", resolution)


_SAID = {State.ACCEPTED: "accepted, according to", State.ABANDONED: "given up by"}


def next_work(db: Connection, run: int, window: dict[str, Any]) -> NextWork:
    row = run_of(db, run)
    return NextWork(
        control=Control(row["control"]),
        reading=row["read_at"] is None,
        not_before=execute(db, "next_ready", {"run": run}).fetchone()[0],
        lease_until=execute(db, "next_lease", {"run": run}).fetchone()[0],
        replay_at=execute(db, "next_doubt", window).fetchone()[0],
    )
