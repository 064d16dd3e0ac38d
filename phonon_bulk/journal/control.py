"""What is to happen with runs, and who is at work on them: functions over a connection.

They run in a transaction, as those in `changes.py`.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from phonon_bulk.errors import RunError
from phonon_bulk.journal.alive import is_gone
from phonon_bulk.journal.changes import execute, run_of
from phonon_bulk.journal.records import Control, DueRun

Connection = sqlite3.Connection


def set_control(
    db: Connection, run: int, control: Control, allowed: Sequence[Control], reason: str | None
) -> None:
    """Change what is to happen with a run that is in one of `allowed`."""
    values = {
        "run": run,
        "control": control,
        "reason": reason,
        "allowed": orjson.dumps(list(allowed)).decode(),
    }
    if execute(db, "set_control", values).rowcount != 1:
        raise RunError(f"run {run} is {run_of(db, run)['control']}")


def cancel(db: Connection, run: int, now: float, reason: str) -> int:
    """Take a run back; return how many calls were ready. What others give back later follows."""
    values = {"run": run, "now": now, "reason": reason}
    if execute(db, "take_back", values).rowcount != 1:
        raise RunError(f"run {run} is {run_of(db, run)['control']}")
    return sum(int(row["calls"]) for row in execute(db, "cancel_ready", values).fetchall())


def begin_work(db: Connection, run: int, owner: str, what: str, now: float) -> None:
    """Take note that a process is at work on a run."""
    execute(db, "begin_work", {"run": run, "owner": owner, "what": what, "now": now})


def end_work(db: Connection, run: int, owner: str, what: str) -> None:
    """Take note that it is not any more."""
    execute(db, "end_work", {"run": run, "owner": owner, "what": what})


def forget_dead(db: Connection, path: Path) -> None:
    """Forget the work of processes that have ended."""
    for row in execute(db, "workers", {}).fetchall():
        if is_gone(path, row["owner"]):
            execute(db, "forget_work", {"owner": row["owner"]})


def due(db: Connection, window: dict[str, Any]) -> tuple[list[DueRun], float | None]:
    """Return the runs with something to do now, and when the next of the others has."""
    runs = [DueRun(**dict(row)) for row in execute(db, "due_runs", window)]
    next_at = execute(db, "next_due", window).fetchone()[0]
    return runs, None if next_at is None else float(next_at)
