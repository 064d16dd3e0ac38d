"""List -> journal: reads a contact list, packs its calls and freezes them.

Reading, packing and compressing run on a thread of their own, one block ahead of the journal. Every
append says up to which row the list is accounted for, so reading can go on there after any end.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from phonon_bulk.call import LeftOutRow
from phonon_bulk.journal import FrozenBatch, Journal
from phonon_bulk.journal.frozen import freeze
from phonon_bulk.packing import Chunk, Packer


class Readable(Protocol):
    """A contact list, ready to be read."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    def chunks(self, *, run: int, now: float, room: int, after_row: int = 0) -> Iterator[Chunk]:
        """Yield the rows after `after_row` as calls and rows left out; blocks."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What rows `after_row` + 1 to `last_row` became."""

    batches: list[FrozenBatch]
    left_out: list[LeftOutRow]
    notes: list[tuple[str, int, int]]
    """What was changed in calls of these rows, in how many, and the first of the rows."""
    after_row: int
    last_row: int


async def submit(
    journal: Journal,
    contacts: Readable,
    *,
    run: int,
    room: int,
    now: Callable[[], float],
    after_row: int = 0,
    stop: asyncio.Event,
    progress: Callable[["Portion"], None] = lambda _portion: None,
) -> bool:
    """Freeze the rows of `contacts` after `after_row` into `run`; say whether all were read.

    `room` is the bytes of calls that fit a body. When `stop` is set, reading ends after the block
    at hand and False is returned; `progress` is told of every portion in the journal.

    Raises ListError if the list can't be read to its end, ReadElsewhereError if another process
    reads it into the same run, JournalError if the journal fails; what was appended before stays.
    """
    chunks = contacts.chunks(run=run, now=now(), room=room, after_row=after_row)
    steps = portions(chunks, room, after_row)
    with ThreadPoolExecutor(1, thread_name_prefix="list-reader") as thread:
        loop = asyncio.get_running_loop()
        coming = loop.run_in_executor(thread, next, steps, None)
        while (portion := await coming) is not None:
            if stop.is_set():
                return False
            coming = loop.run_in_executor(thread, next, steps, None)
            try:
                await _append(journal, run, portion)
            except BaseException:
                await asyncio.wait([coming])  # the thread ends before its list is let go
                coming.exception()  # seen: it may hold contact data, and would be logged
                raise
            progress(portion)
    await journal.finish_reading(run, now())
    return True


async def _append(journal: Journal, run: int, portion: Portion) -> None:
    await journal.append(
        run,
        portion.batches,
        portion.left_out,
        after_row=portion.after_row,
        last_row=portion.last_row,
        notes=portion.notes,
    )


def portions(chunks: Iterator[Chunk], room: int, after_row: int) -> Iterator[Portion]:
    """Pack and freeze what the reader yields, as far as it fills batches; the rest at the end.

    A row is in a portion only when all rows before it are, so calls held back for a fuller batch
    hold back what comes after them: rows left out, and what is noted of the calls themselves.
    """
    packer, waiting = Packer(room), _Waiting()
    last_row = after_row
    for chunk in chunks:
        batches = [freeze(batch) for batch in packer.add(chunk.calls)]
        waiting.add(chunk)
        last_row = chunk.last_row
        held = packer.first_held
        upto = last_row if held is None else held - 1
        if upto > after_row:
            yield Portion(batches, *waiting.take(upto), after_row, upto)
            after_row = upto
    batches = [freeze(batch) for batch in packer.finish()]
    if last_row > after_row:
        yield Portion(batches, *waiting.take(last_row), after_row, last_row)


class _Waiting:
    """Rows left out, and notes, until the portion that they belong to."""

    def __init__(self) -> None:
        self._left_out: list[LeftOutRow] = []
        self._notes: list[tuple[str, Sequence[int]]] = []

    def add(self, chunk: Chunk) -> None:
        """Keep what a chunk has of both."""
        self._left_out += chunk.left_out
        self._notes += chunk.notes

    def take(self, upto: int) -> tuple[list[LeftOutRow], list[tuple[str, int, int]]]:
        """Hand out what belongs to rows up to `upto`, the notes added up."""
        cut = bisect_right(self._left_out, upto, key=lambda row: row.row)
        left_out, self._left_out = self._left_out[:cut], self._left_out[cut:]
        return left_out, self._take_notes(upto)

    def _take_notes(self, upto: int) -> list[tuple[str, int, int]]:
        taken: dict[str, tuple[int, int]] = {}
        rest = []
        for note, rows in self._notes:
            cut = bisect_right(rows, upto)
            if cut:
                first = int(rows[0])  # the rows may be numpy's
                contacts, before = taken.get(note, (0, first))
                taken[note] = contacts + cut, min(before, first)
            if cut < len(rows):
                rest.append((note, rows[cut:]))
        self._notes = rest
        return [(note, contacts, first) for note, (contacts, first) in taken.items()]
