"""Contact data leaves the journal: of runs that have ended, in steps, beside others that send.

A run that is pruned is marked first (`pruned_at`); from then on nobody reads its contact data. Then
its bodies, answers and rows are emptied, some at a time, so that a sender never waits long for its
turn to write. What was known of it in numbers stays: counts, states, reasons, request-ids, tries.

SQLite overwrites what it deletes (`secure_delete`). But it also moves rows about when a page gets
too full or too empty, and then pieces of them may stay behind in the unused part of a page. So the
file is written anew (`compact`) as soon as nobody is at work; until then the run has `traces`.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson

from phonon_bulk.journal.alive import is_dead
from phonon_bulk.journal.changes import execute, run_of
from phonon_bulk.journal.connection import connect, connect_to_read, explain
from phonon_bulk.journal.records import Control, Kind, Pruned
from phonon_bulk.journal.statements import SQL

Connection = sqlite3.Connection
T = TypeVar("T")

STEP_SECONDS = 0.005
"""How long a step is to take, but for the disk; the next one does more or less, accordingly."""
_MOST_AT_ONCE = 2000
_BYTES_AT_ONCE = 500_000
_PAUSE = 2.0
"""How long others have the journal for themselves after a step, in lengths of that step."""
_LEAST_PAUSE = 0.01

_SHORT_SECONDS = 2.0
"""How long a turn to write the file anew is waited for."""
_EMPTYING_SECONDS = 2.0
"""For how long is tried to empty the -wal; a reader may keep it."""

DELETED = "(deleted)"
"""Stands in a campaign that is kept where a query stood: it may have named people."""


class Do(Protocol):
    """Runs an operation in a transaction, see `writer.Writer.do`."""

    def __call__(self, operation: Callable[[Connection], T], /) -> Awaitable[T]:
        """Return what it returns, once that is on disk."""


@dataclass(frozen=True, slots=True)
class Old:
    """A run that was opened long enough ago, and has its contact data still."""

    run: int
    calls: int
    ended_at: float
    """When the last thing happened to it; it has not ended if something `keeps` it."""
    keeps: str | None
    """Why it has not ended, as an operator reads it; None if it has."""


# ---- what is to be pruned; nothing is written


def survey(path: Path, before: float) -> list[Old]:
    """Return the runs opened before a moment that have their contact data, by their numbers.

    Raises JournalUnusable if there is no journal at `path`, JournalError if it can't be read.
    """
    with _reading(path) as db:
        return [_old(db, path, row) for row in execute(db, "old_runs", {"before": before})]


def bytes_of(path: Path, runs: list[int]) -> int:
    """Return how many bytes the contact data of runs takes in the journal, about."""
    with _reading(path) as db:
        sums = [execute(db, "bytes_of_run", {"run": run}).fetchone()[0] for run in runs]
    return sum(int(each) for each in sums)


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    db = connect_to_read(path)
    try:
        yield db
    except sqlite3.Error as error:
        raise explain(error, path) from None
    finally:
        db.close()


def _old(db: Connection, path: Path, row: sqlite3.Row) -> Old:
    keeps = _keeps(db, path, row)
    last = 0.0 if keeps else execute(db, "last_of_run", {"run": row["id"]}).fetchone()[0]
    known = (row["created_at"], row["read_at"], row["cancelled_at"], last)
    return Old(row["id"], row["calls"], max(at or 0.0 for at in known), keeps)


def _keeps(db: Connection, path: Path, row: sqlite3.Row) -> str | None:
    """Return why a run has not ended, None if it has."""
    run = {"run": row["id"]}
    if execute(db, "has_unsent", run).fetchone():
        return "calls are still to be sent"
    if execute(db, "has_doubts", run).fetchone():
        return "calls are in doubt"
    closes = row["control"] == Control.CANCELLED or row["kind"] == Kind.INTAKE
    if row["read_at"] is None and not closes:
        return "its list is not read to the end"
    if any(each["run"] == row["id"] for each in _at_work(db, path)):
        return "a process is at work on it"
    return None


def _at_work(db: Connection, path: Path) -> list[sqlite3.Row]:
    """Return which living processes are at work on which runs."""
    rows = execute(db, "at_work", {}).fetchall()
    return [row for row in rows if not is_dead(path, row["owner"])]


def _busy(db: Connection, path: Path) -> list[int]:
    """Return the runs of which somebody has something to write, by their numbers.

    Who only waits for single calls that may come has not.
    """
    return sorted(
        {
            row["run"]
            for row in _at_work(db, path)
            if row["what"] == "reads" or execute(db, "has_unsent", {"run": row["run"]}).fetchone()
        }
    )


# ---- the steps: functions over a connection, in a transaction


def begin(db: Connection, path: Path, run: int, now: float) -> bool:
    """Mark a run as pruned, from now on; say whether it was so, and not kept by something."""
    row = run_of(db, run)
    if row["pruned_at"] is not None or _keeps(db, path, row):
        return False
    values = {"run": run, "now": now, "definition": without_queries(row["definition"])}
    return execute(db, "begin_pruning", values).rowcount == 1


def without_queries(definition: str) -> str:
    """Return a campaign as the journal keeps it, with its SQL taken out: it may name people."""

    def cut(value: Any) -> Any:
        if isinstance(value, list):
            return [cut(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: DELETED if name in {"query", "sql"} and isinstance(each, str) else cut(each)
            for name, each in value.items()
        }

    return orjson.dumps(cut(orjson.loads(definition))).decode()


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run is emptied, and what was in it."""

    run: int
    what: str = "bodies"
    """`bodies`, `left out`, `orders`, then `nothing`."""
    after: tuple[Any, ...] = (0, 0)
    bytes: int = 0


def empty_some(place: Place, db: Connection, most: int) -> Place:
    """Empty the next `most` things of a run."""
    return _EMPTY[place.what](db, place, most)


def _empty_bodies(db: Connection, place: Place, most: int) -> Place:
    row, batch = place.after
    values = {"run": place.run, "row": row, "batch": batch, "limit": most}
    found = _not_too_large(execute(db, "full_bodies", values))
    if not found:
        return replace(place, what="left out", after=(0,))
    numbers = [(each["id"],) for each in found]
    for name in ("delete_body", "empty_body", "delete_answer", "forget_hash"):
        db.executemany(SQL[name], numbers)
    after = (found[-1]["first_row"], found[-1]["id"])
    return replace(place, after=after, bytes=place.bytes + sum(each["bytes"] for each in found))


def _not_too_large(rows: Iterator[sqlite3.Row]) -> list[sqlite3.Row]:
    """Return the first bodies, as many as can be emptied at once: large ones may follow small."""
    found, size = [], 0
    for row in rows:
        found.append(row)
        size += row["bytes"]
        if size > _BYTES_AT_ONCE:
            break
    return found


def _empty_left_out(db: Connection, place: Place, most: int) -> Place:
    values = {"run": place.run, "row": place.after[0], "limit": most}
    found = execute(db, "next_left_out", values).fetchone()
    if found["last"] is None:
        return replace(place, what="orders", after=("",))
    execute(db, "empty_left_out", {**values, "last": found["last"]})
    return replace(place, after=(found["last"],), bytes=place.bytes + found["bytes"])


def _empty_orders(db: Connection, place: Place, most: int) -> Place:
    values = {"run": place.run, "after": place.after[0], "limit": most}
    last = execute(db, "next_orders", values).fetchone()[0]
    if last is None:
        execute(db, "end_pruning", {"run": place.run})
        return replace(place, what="nothing", after=())
    execute(db, "empty_orders", {**values, "last": last})
    return replace(place, after=(last,))


_EMPTY = {"bodies": _empty_bodies, "left out": _empty_left_out, "orders": _empty_orders}


def give_back(db: Connection, most: int) -> int:
    """Give up to `most` free pages back to the file system; return how many are left.

    None are, as far as can be helped, if the journal is of a version that did not prepare for it.
    """
    if db.execute("PRAGMA auto_vacuum").fetchone()[0] != _INCREMENTAL:
        return 0
    free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    for _ in range(min(free, most)):
        db.execute("PRAGMA incremental_vacuum(1)")  # Python steps it once, whatever the number
    return max(0, free - most)


_INCREMENTAL = 2


# ---- all of it, while others write


async def prune(do: Do, path: Path, before: float, now: float, run: int | None) -> Pruned:
    """Let the contact data of runs that ended before a moment leave; see `Journal.prune`."""
    old = [each for each in await asyncio.to_thread(survey, path, before) if _is(each.run, run)]
    gone = Pruned(left={each.run: each.keeps for each in old if each.keeps})
    for each in old:
        if each.keeps is None and each.ended_at < before:
            await do(_beginning(path, each.run, now))
    with closing(connect(path, busy_seconds=0)) as aside:
        for number, calls in await do(_begun):
            if _is(number, run):
                gone = replace(
                    gone,
                    runs=(*gone.runs, number),
                    calls=gone.calls + calls,
                    bytes_freed=gone.bytes_freed + await _empty(_Steps(do, aside), number),
                )
        steps, left = _Steps(do, aside), 1
        while left:
            left = await steps.next(give_back)
    await asyncio.to_thread(empty_wal, path)
    return gone


def _is(run: int, wanted: int | None) -> bool:
    return wanted in (None, run)


def _beginning(path: Path, run: int, now: float) -> Callable[[Connection], bool]:
    return lambda db: begin(db, path, run, now)


def _begun(db: Connection) -> list[tuple[int, int]]:
    """Return the runs of which something is still to be emptied, those of before included."""
    return [(row["id"], row["calls"]) for row in execute(db, "pruned_runs", {"remains": "data"})]


async def _empty(steps: "_Steps", run: int) -> int:
    """Empty a run; return how many bytes that were."""
    place = Place(run)
    while place.what != "nothing":
        place = await steps.next(partial(empty_some, place))
    return place.bytes


@dataclass(slots=True)
class _Steps:
    """Steps of which none keeps others waiting for long."""

    do: Do
    aside: Connection
    """By which the -wal is brought into the file; else a sender's commit would have to do it."""
    most: int = 16

    async def next(self, work: Callable[[Connection, int], T]) -> T:
        """Do a step, then leave the journal to others for a little."""
        result, took = await self.do(lambda db: _timed(work, db, self.most))
        self.most = at_once(self.most, took)
        with suppress(sqlite3.OperationalError):  # somebody else is at just that
            await _to_the_end(self.aside.execute, "PRAGMA wal_checkpoint(PASSIVE)")
        await asyncio.sleep(max(_LEAST_PAUSE, took * _PAUSE))
        return result


async def _to_the_end(call: Callable[[str], object], statement: str) -> None:
    """Run a statement on a thread, and return when it has ended, also if cancelled meanwhile.

    Its connection is closed next; to close one while a thread is in it ends the whole process.
    """
    running = asyncio.create_task(asyncio.to_thread(call, statement))
    cancelled = False
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        running.exception()  # whoever cancelled does not want to know
        raise asyncio.CancelledError
    await running


def _timed(work: Callable[[Connection, int], T], db: Connection, most: int) -> tuple[T, float]:
    """Do some work, and say how many seconds it took, without what was waited for before."""
    began = time.perf_counter()
    return work(db, most), time.perf_counter() - began


def at_once(most: int, took: float) -> int:
    """Return how much to do in the next step, after one that did `most` in `took` seconds."""
    wanted = most * STEP_SECONDS / max(took, 1e-6)
    return max(1, min(_MOST_AT_ONCE, most * 2, round(max(wanted, most / 4))))


# ---- the file


def empty_wal(path: Path) -> bool:
    """Bring all that is in the -wal into the file, and cut the -wal off; say whether it could be.

    It can't while somebody reads what was there before; nobody is kept waiting for that.

    Raises JournalError if the journal can't be written.
    """
    db = connect(path, busy_seconds=0)
    try:
        deadline = time.monotonic() + _EMPTYING_SECONDS
        while True:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # most of it, without a lock
            if not db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    except sqlite3.Error as error:
        raise explain(error, path) from None
    finally:
        db.close()


def traces(path: Path) -> list[int]:
    """Return the pruned runs of which pieces may be left in the file."""
    with _reading(path) as db:
        return [row["id"] for row in execute(db, "pruned_runs", {"remains": "traces"})]


def compact(path: Path) -> str | None:
    """Write the file anew, without what was deleted; see `Journal.compact`."""
    gone = traces(path)
    if not gone:
        return None
    db = connect(path, _SHORT_SECONDS)
    try:
        if runs := _busy(db, path):
            return f"somebody is at work on run {', '.join(map(str, runs))}"
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("VACUUM")
        if not empty_wal(path):
            return "somebody reads the journal (an export, a backup)"
        for run in gone:
            execute(db, "no_traces", {"run": run})
    except sqlite3.Error as error:
        if "locked" in str(error):
            return "another program writes to the journal"
        raise explain(error, path) from None
    finally:
        db.close()
    return None
