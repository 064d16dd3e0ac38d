"""Reading a journal while others write to it: what status, summaries and exports are made of."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar

import orjson

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut, LeftOutRow
from phonon_bulk.errors import DamagedBodyError, JournalError, RunError
from phonon_bulk.journal import (
    AtWork,
    Backlog,
    Control,
    Doubt,
    Kind,
    LimitChange,
    Order,
    Run,
    RunCounts,
    SettledBatch,
    StoppedRun,
    buckets,
)
from phonon_bulk.journal.alive import is_gone
from phonon_bulk.journal.clock import read_clock
from phonon_bulk.journal.connection import connect_to_read, explain
from phonon_bulk.journal.frozen import thaw, thaw_rows
from phonon_bulk.journal.keys import Key, keys_of
from phonon_bulk.journal.single import order_of
from phonon_bulk.journal.statements import SQL
from phonon_bulk.schedule import Limits, Rate

E = TypeVar("E", bound=StrEnum)


class SqliteBooks:
    """`Books` over one SQLite file, on a connection that can't write."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`; see `connection.connect_to_read` for what is raised."""
        self.path = path
        self._connection = connect_to_read(path)
        self._place = _place(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See `Books`. One within another is part of it."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:  # what failed may have ended it
                self._connection.execute("ROLLBACK")

    def run(self, run: int) -> Run:
        """See `Books`."""
        for row in self._rows("run", run=run):
            return _run(row)
        raise RunError(f"there is no run {run} in {self.path}: `phonon-bulk runs` lists them")

    def runs_of(self, campaign: str, account: str, endpoint: str) -> list[Run]:
        """See `Books`."""
        values = {"campaign": campaign, "account": account, "endpoint": endpoint}
        return [_run(row) for row in self._rows("runs_of", **values)]

    def runs_of_file(self, campaign: str, account: str, endpoint: str, path: str) -> list[Run]:
        """See `Books`."""
        values = {"campaign": campaign, "account": account, "endpoint": endpoint, "path": path}
        return [_run(row) for row in self._rows("runs_of_file", **values)]

    def find(self, identity: str) -> int | None:
        """See `Books`."""
        for row in self._rows("newest_of_identity", identity=identity):
            return None if row["id"] is None else int(row["id"])
        return None

    def runs(self, limit: int) -> list[Run]:
        """See `Books`."""
        return [_run(row) for row in self._rows("runs", limit=limit)]

    def counts(self, run: int) -> RunCounts:
        """See `Books`."""
        rows = list(self._rows("counts", run=run))
        settled = [row["settled_at"] for row in rows if row["settled_at"] is not None]
        return RunCounts(
            batches={self._state(row): row["batches"] for row in rows},
            calls={self._state(row): row["calls"] for row in rows},
            accepted=sum(row["accepted"] for row in rows),
            requests=sum(row["requests"] for row in rows),
            settled_at=max(settled, default=None),
        )

    def reasons(self, run: int, limit: int) -> list[tuple[str, str, int]]:
        """See `Books`."""
        rows = self._rows("reasons", run=run, limit=limit)
        return [(row["state"], row["reason"], row["calls"]) for row in rows]

    def left_out_reasons(self, run: int, limit: int) -> list[tuple[LeftOut, str, int, int]]:
        """See `Books`."""
        rows = self._rows("left_out_reasons", run=run, limit=limit)
        return [(self._left_out(row), row["reason"], row["rows"], row["row"]) for row in rows]

    def notes(self, run: int, limit: int) -> list[tuple[str, int, int]]:
        """See `Books`."""
        rows = self._rows("notes", run=run, limit=limit)
        return [(row["note"], row["contacts"], row["row"]) for row in rows]

    def doubts(self, run: int) -> list[Doubt]:
        """See `Books`."""
        return [Doubt(**dict(row)) for row in self._rows("all_doubts", run=run)]

    def batches(self, run: int) -> Iterator[SettledBatch]:
        """See `Books`."""
        for row in self._rows("settled_batches", run=run):
            yield self._settled_batch(row)

    def _settled_batch(self, row: sqlite3.Row) -> SettledBatch:
        return SettledBatch(
            batch=row["id"],
            state=self._state(row),
            reason=row["reason"],
            request_id=row["request_id"],
            accepted=row["accepted"],
            attempts=row["attempts"],
            settled_at=row["settled_at"],
            rows=_thawed_rows(row),
            calls=_thawed(row["body"]),
            answer=_thawed(row["answer"]),
        )

    def left_out(self, run: int) -> Iterator[LeftOutRow]:
        """See `Books`."""
        for row in self._rows("left_out_rows", run=run):
            yield LeftOutRow(
                row=row["row"],
                reason=row["reason"],
                client_identifier=row["client_identifier"],
                contact_numbers=tuple(orjson.loads(row["contact_numbers"])),
                fields=row["fields"],
                state=self._left_out(row),
            )

    def placed(
        self, campaign: str, account: str, *, since: float, by: Key, but_not: int | None = None
    ) -> Iterator[list[str]]:
        """See `Books`."""
        which = {"campaign": campaign, "account": account, "since": since, "but_not": but_not}
        for row in self._rows("placed", **which):
            yield keys_of(row, by)

    def placed_in(self, run: int, by: Key) -> Iterator[list[str]]:
        """See `Books`."""
        for row in self._rows("placed_in", run=run):
            yield keys_of(row, by)

    def at_work(self) -> list[AtWork]:
        """See `Books`."""
        rows = [AtWork(**dict(row)) for row in self._rows("at_work")]
        return [one for one in rows if not is_gone(self.path, one.owner)]

    def order(self, number: str) -> Order | None:
        """See `Books`."""
        for row in self._rows("order", id=number):
            return order_of(row)
        return None

    def order_of_key(self, key: bytes) -> Order | None:
        """See `Books`."""
        for row in self._rows("order_of_key", key=key):
            return order_of(row)
        return None

    def pruned_since(
        self, campaign: str, account: str, since: float, but_not: int | None = None
    ) -> list[Run]:
        """See `Books`."""
        which = {"campaign": campaign, "account": account, "since": since, "but_not": but_not}
        return [_run(row) for row in self._rows("pruned_since", **which)]

    def leaves(self, batches: Sequence[int]) -> Iterator[tuple[int, range, SettledBatch]]:
        """See `Books`."""
        for row in self._rows("leaves", batches=orjson.dumps(list(batches)).decode()):
            rows = range(row["from_row"], row["from_row"] + row["of_calls"])
            yield row["origin"], rows, self._settled_batch(row)

    def stopped(self, today: str) -> list[StoppedRun]:
        """See `Books`."""
        return [
            StoppedRun(row["id"], row["account"], row["flow_id"], row["reason"] or "")
            for row in self._rows("stopped", today=today)
        ]

    def waiting(self, runs: Sequence[int]) -> int:
        """See `Books`."""
        (row,) = self._rows("waiting", runs=orjson.dumps(list(runs)).decode())
        return int(row["calls"])

    def open_intakes(self) -> list[Run]:
        """See `Books`."""
        return [_run(row) for row in self._rows("open_intakes")]

    def settled(self, batches: Sequence[int]) -> list[int]:
        """See `Books`."""
        rows = self._rows("settled_origins", batches=orjson.dumps(list(batches)).decode())
        return [int(row["origin"]) for row in rows]

    def version(self) -> int:
        """See `Books`."""
        if _place(self.path) != self._place:
            raise JournalError(
                f"the journal {self.path} was moved away or replaced while it was in use: put back"
                " the file that was there, with its -wal"
            )
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise explain(error, self.path) from None

    def backlog(self) -> list[Backlog]:
        """See `Books`."""
        found: dict[tuple[str, str], Backlog] = {}
        for row in self._rows("backlog"):
            of = (row["account"], row["endpoint"])
            one = found.setdefault(of, Backlog(*of, {}, {}, None))
            state = State(row["state"])
            one.calls[state] = row["calls"]
            one.batches[state] = row["batches"]
            oldest = [at for at in (one.oldest_at, row["oldest_at"]) if at is not None]
            found[of] = replace(one, oldest_at=min(oldest, default=None))
        return list(found.values())

    def rate(self, account: str, endpoint: str) -> Rate | None:
        """See `Books`."""
        now = read_clock(self._connection).now().steady
        return buckets.present(self._connection, account, endpoint, now)

    def tokens(self, account: str, endpoint: str) -> int | None:
        """See `Books`."""
        return buckets.free(self._connection, account, endpoint, read_clock(self._connection).now())

    def is_used(self, account: str, endpoint: str) -> bool:
        """See `Books`."""
        now = read_clock(self._connection).now().steady
        return buckets.is_used(self._connection, account, endpoint, now)

    def limit_changes(self) -> list[LimitChange]:
        """See `Books`."""
        changes = []
        for row in self._rows("limit_changes"):
            fields = dict(row)
            limits = Limits(fields.pop("requests"), fields.pop("calls"))
            changes.append(LimitChange(**fields, limits=limits))
        return changes

    def _state(self, row: sqlite3.Row) -> State:
        return self._known(State, row["state"])

    def _left_out(self, row: sqlite3.Row) -> LeftOut:
        return self._known(LeftOut, row["state"])

    def _known(self, kind: type[E], text: str) -> E:
        try:
            return kind(text)
        except ValueError:
            raise explain(sqlite3.DatabaseError("malformed"), self.path) from None

    def _rows(self, name: str, **values: Any) -> Iterator[sqlite3.Row]:
        try:
            # No "yield from": it would close the cursor, perhaps after the connection was closed.
            for row in self._connection.execute(SQL[name], values):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise explain(error, self.path) from None


def _place(path: Path) -> tuple[int, int] | None:
    """Return by which the system knows the file at a path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _thawed(frame: bytes | None) -> bytes | None:
    """Return what was frozen; None if it can't be read any more, or was deleted."""
    if frame is None:
        return None
    try:
        return thaw(frame)
    except DamagedBodyError:
        return None


def _thawed_rows(row: sqlite3.Row) -> Sequence[int]:
    """Return the rows of a batch; the first one for all of them if they can't be read any more."""
    try:
        return thaw_rows(row["first_row"], row["calls"], row["rows"])
    except DamagedBodyError:
        return [row["first_row"]] * row["calls"]


def _run(row: sqlite3.Row) -> Run:
    fields = dict(row)
    return Run(**{**fields, "control": Control(fields["control"]), "kind": Kind(fields["kind"])})
