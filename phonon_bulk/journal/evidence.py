"""What the audit recomputes the promises from: everything in a journal, as it was written down."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from phonon_bulk.batch import State
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import explain


@dataclass(frozen=True, slots=True, repr=False)
class Frozen:
    """A batch's calls as they are kept; the frames as they stand in the file."""

    batch: int
    run: int
    state: State
    first_row: int
    calls: int
    size: int
    sha256: bytes
    body: bytes | None
    """None if there is none, which is a fault."""
    rows: bytes | None
    is_pruned: int
    """Whether its calls were deleted with the contact data of the run."""


@dataclass(frozen=True, slots=True)
class Try:
    """One time a batch's bytes were handed to the network."""

    ended: bool
    verdict: str | None
    head_sha256: bytes | None


@dataclass(frozen=True, slots=True)
class History:
    """All tries of one batch, in order, and what persons decided: (after which try, outcome)."""

    batch: int
    run: int
    state: State
    tries: Sequence[Try]
    resolutions: Sequence[tuple[int, State]]


@dataclass(frozen=True, slots=True)
class Post:
    """A request that may have reached the provider; `at` is on the journal's own time.

    It is when it was marked as sending.
    """

    account: str
    endpoint: str
    at: float
    wall: float
    calls: int


class SqliteEvidence(SqliteBooks):
    """The books with all that the audit needs besides. `run` None is for all runs."""

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the file and between its tables; [] if nothing.

        It is the quick form of its check: indexes are not compared with their tables.
        """
        faults = [str(row[0]) for row in self._pragma("quick_check") if row[0] != "ok"]
        strays = [str(row[0]) for row in self._pragma("foreign_key_check")]
        return faults + [f"rows of {name} belong to nothing" for name in dict.fromkeys(strays)]

    def _pragma(self, name: str) -> list[sqlite3.Row]:
        try:
            return self._connection.execute(f"PRAGMA {name}").fetchall()
        except sqlite3.Error as error:
            raise explain(error, self.path) from None

    def frozen(self, run: int | None) -> Iterator[Frozen]:
        """Yield the frozen calls of every batch, those that were split too, by run."""
        for row in self._rows("frozen", run=run):
            yield Frozen(**{**dict(row), "state": self._state(row)})

    def histories(self, run: int | None) -> Iterator[History]:
        """Yield the history of every batch that was sent at least once."""
        decided: dict[int, list[tuple[int, State]]] = {}
        for row in self._rows("resolutions", run=run):
            decided.setdefault(row["batch"], []).append((row["after_try"], State(row["outcome"])))
        history: History | None = None
        tries: list[Try] = []
        for row in self._rows("histories", run=run):
            if history is None or history.batch != row["batch"]:
                if history is not None:
                    yield history
                batch, tries = row["batch"], []
                state, resolutions = self._state(row), decided.get(batch, [])
                history = History(batch, row["run"], state, tries, resolutions)
            ended = row["ended_at"] is not None
            tries.append(Try(ended, row["verdict"], row["head_sha256"]))
        if history is not None:
            yield history

    def posts(self, run: int | None) -> Iterator[Post]:
        """Yield every request that may have reached the provider, in their order."""
        for row in self._rows("posts", run=run):
            yield Post(**dict(row))

    def left_out_counts(self, run: int) -> dict[str, int]:
        """Return how many rows became no call, by state."""
        return {row["state"]: row["rows"] for row in self._rows("left_out_counts", run=run)}

    def uneven_splits(self, run: int | None) -> list[tuple[int, int, int]]:
        """Return (batch, calls, calls in its parts) where the two differ."""
        rows = self._rows("uneven_splits", run=run)
        return [(row["batch"], row["calls"], row["in_parts"]) for row in rows]

    def uneven_counts(self, run: int | None) -> list[tuple[int, int, int]]:
        """Return (batch, attempts it counts, attempts noted) where the two differ."""
        rows = self._rows("uneven_counts", run=run)
        return [(row["batch"], row["attempts"], row["noted"]) for row in rows]

    def accepted_twice(self, run: int | None) -> list[tuple[int, int]]:
        """Return (batch, batches) for bytes that were accepted from several batches."""
        return [(row["batch"], row["batches"]) for row in self._rows("accepted_twice", run=run)]

    def unexplained(self, run: int | None) -> list[tuple[str, int]]:
        """Return ("batch" or "row", its number) for what was left out without a reason."""
        return [(row["what"], row["number"]) for row in self._rows("unexplained", run=run)]

    def refused_together(self, run: int | None) -> list[tuple[int, int]]:
        """Return (batch, calls) for several calls refused for bad data at once."""
        return [(row["batch"], row["calls"]) for row in self._rows("refused_together", run=run)]
