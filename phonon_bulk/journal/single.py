"""Single calls, as the intake takes them: kept as they come, gathered, found again.

Functions over a connection, in a transaction, as in `changes.py`.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from phonon_bulk.batch import State
from phonon_bulk.errors import RunError, RunHeldError, TransitionError
from phonon_bulk.journal import buckets
from phonon_bulk.journal.changes import arrival, claim_with_body, execute, run_of, send
from phonon_bulk.journal.clock import Moment
from phonon_bulk.journal.frozen import FrozenBatch, thaw_rows
from phonon_bulk.journal.records import (
    Admitted,
    Claim,
    Control,
    Dash,
    Kind,
    NewOrder,
    Order,
    Repeat,
)

Connection = sqlite3.Connection


def admit(
    db: Connection, new: NewOrder, dash: Dash | None, clock: Callable[[], Moment]
) -> Admitted:
    """Keep an order, and send it in the same breath if `dash` says how and a slot is free."""
    if new.key is not None:
        found = execute(db, "order_of_key", {"key": new.key}).fetchone()
        if found is not None:
            return Admitted(order_of(found), is_new=False)
    now = clock()
    batch = _keep(db, new, now)
    order = Order(new.id, new.run, batch, now.wall, new.request_sha256)
    if dash is None:
        return Admitted(order, is_new=True)
    return _dashed(db, Admitted(order, is_new=True), dash, now)


def _keep(db: Connection, new: NewOrder, now: Moment) -> int:
    frozen = new.batch
    counted = execute(db, "count_single", {"run": new.run, "calls": frozen.calls}).fetchall()
    if len(counted) != 1:
        raise _no_calls_to(run_of(db, new.run))
    batch = insert(
        db, new.run, replace(frozen, first_row=counted[0]["rows"] - frozen.calls + 1), now.wall
    )
    values = {
        "id": new.id,
        "run": new.run,
        "batch": batch,
        "came_at": now.wall,
        "key": new.key,
        "request": new.request_sha256,
    }
    execute(db, "insert_order", values)
    return batch


def _no_calls_to(run: sqlite3.Row) -> RunError:
    """Return why a run takes no calls: not just now, or never again."""
    is_open = run["kind"] == Kind.INTAKE and run["read_at"] is None
    if is_open and run["control"] != Control.CANCELLED:
        return RunHeldError(
            f"run {run['id']}, which takes the calls to this flow, is {run['control']}"
        )
    return RunError(f"run {run['id']} takes no calls any more")


def insert(
    db: Connection,
    run: int,
    batch: FrozenBatch,
    came_at: float,
    held: tuple[str, float] | None = None,
) -> int:
    """Add a batch of single calls, ready; or claimed, if `held` says by whom and until when."""
    owner, lease_until = held or (None, None)
    values = {
        **{name: getattr(batch, name) for name in FrozenBatch.__slots__},
        "run": run,
        "came_at": came_at,
        "state": State.CLAIMED if held else State.READY,
        "owner": owner,
        "lease_until": lease_until,
    }
    number = int(execute(db, "insert_single", values).fetchone()[0])
    execute(db, "insert_body", {**values, "batch": number})
    return number


def _dashed(db: Connection, admitted: Admitted, dash: Dash, now: Moment) -> Admitted:
    """Take a slot for what was kept just now, if there is one, and mark it as sending."""
    order = admitted.order
    waiting = execute(db, "others_ready", {"run": order.run, "batch": order.batch}).fetchone()
    if waiting is not None:  # whoever came first goes first
        return admitted
    lease = buckets.lease(db, dash.ask, now)
    if not lease.slots:
        return admitted
    held = {"batch": order.batch, "owner": dash.owner, "lease_until": now.steady + dash.lease}
    claim = claim_with_body(db, execute(db, "claim_one", held).fetchone())
    sent = send(db, claim, dash.digest(claim.variant), dash.owner, now, dash.lease)
    if isinstance(sent, Repeat):
        if sent.halve:
            execute(db, "release", {"batch": order.batch, "owner": dash.owner})
        return admitted
    return replace(admitted, claim=claim, slot=lease.slots[0], life=lease.life, marked_at=now)


def gather(
    db: Connection,
    members: Sequence[Claim],
    whole: FrozenBatch,
    owner: str,
    now: Moment,
    lease: float,
) -> Claim:
    """Put claimed batches of single calls into one, which takes their place and is claimed."""
    if whole.calls != sum(member.calls for member in members):
        raise TransitionError("a batch does not hold all the calls that it is to gather")
    run = members[0].run
    came_at = min(member.came_at or now.wall for member in members)
    number = insert(db, run, whole, came_at, (owner, now.steady + lease))
    for member in members:
        values = {"batch": member.batch, "run": run, "owner": owner, "into": number}
        if execute(db, "gather", {**values, "now": now.wall}).rowcount != 1:
            raise TransitionError(f"batch {member.batch} is not claimed by {owner}")
    row = execute(db, "batch", {"batch": number}).fetchone()
    return claim_with_body(db, row)


def arrivals(db: Connection, claim: Claim) -> list[float]:
    """Return when each call of a batch of single calls came in, in the order of their rows."""
    rows = thaw_rows(claim.first_row, claim.calls, claim.rows)
    return [arrival(db, claim.run, row) or 0.0 for row in rows]


def order_of(row: sqlite3.Row) -> Order:
    """Return an order as its row has it."""
    return Order(row["id"], row["run"], row["batch"], row["came_at"], row["request"])
