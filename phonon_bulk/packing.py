"""Packs calls into batches: as many in a request as the provider's limits let.

Calls come from the list reader many at once, as one run of bytes, and go into batches as slices of
it: each byte is copied once.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt

from phonon_bulk.batch import MAX_CALLS, Batch
from phonon_bulk.call import LeftOutRow

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, repr=False)
class CallBlock:
    """Calls as the list reader hands them over: many at once, none as a Python object.

    `data` holds the calls one after the other, each followed by one comma; call i is
    `data[ends[i]:ends[i + 1]]`, so `ends` is one longer than there are calls, its first entry
    being where the first call begins. `rows` are the calls' row numbers, `days` their start dates
    in days since 1970-01-01.
    """

    data: bytes | memoryview
    ends: Sequence[int]
    rows: Sequence[int]
    days: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def between(self, start: int, stop: int) -> "CallBlock":
        """Return the calls from `start` to before `stop` as a block of its own, copied."""
        base = self.ends[start]
        return CallBlock(
            bytes(self.data[base : self.ends[stop]]),
            array("q", [end - base for end in self.ends[start : stop + 1]]),
            self.rows[start:stop],
            self.days[start:stop],
        )

    def followed_by(self, other: "CallBlock") -> "CallBlock":
        """Return both blocks as one, copied."""
        base, shift = other.ends[0], self.ends[-1]
        ends = np.asarray(other.ends[1:], np.int64) + (shift - base)
        return CallBlock(
            b"".join((self.data[:shift], other.data[base : other.ends[-1]])),
            _joined(self.ends, ends),
            _joined(self.rows, other.rows),
            _joined(self.days, other.days),
        )


def _joined(*parts: "Sequence[int] | npt.NDArray[np.int64]") -> Sequence[int]:
    """Return all as one; Python's own numbers come out of it again."""
    joined = np.concatenate([np.asarray(part, np.int64) for part in parts])
    return cast(Sequence[int], joined.data)


EMPTY_BLOCK = CallBlock(b"", array("q", [0]), array("q"), array("q"))


@dataclass(frozen=True, slots=True, repr=False)
class Chunk:
    """Some rows of a list, read."""

    calls: CallBlock
    """May be empty."""
    left_out: list[LeftOutRow]
    """The rows up to `last_row` that are no calls, in their order."""
    last_row: int
    """All rows up to and with this one are accounted for by the chunks so far."""
    notes: Sequence[tuple[str, Sequence[int]]] = ()
    """What was changed in calls and should be seen, each with its rows, ascending."""


def cut(ends: Sequence[int], room: int, max_calls: int = MAX_CALLS) -> list[int]:
    """Return where to cut calls into batches: 0, the first call of each next batch, and the end.

    Greedy and in order: each batch takes calls while they are at most `max_calls` and their bytes,
    without the last comma, at most `room`. `ends` is as in `CallBlock`.

    Raises ValueError if one call alone is larger than `room`; the list reader rejects those.
    """
    total = len(ends) - 1
    cuts = [0]
    while (start := cuts[-1]) < total:
        largest_end = ends[start] + room + 1
        stop = bisect_right(ends, largest_end, start, min(start + max_calls, total) + 1) - 1
        if stop == start:
            raise ValueError(f"a call of {ends[start + 1] - ends[start] - 1} bytes fits no body")
        cuts.append(stop)
    return cuts


class Packer:
    """Packs blocks of calls into batches, holding back what may still grow into a fuller one."""

    def __init__(self, room: int, max_calls: int = MAX_CALLS) -> None:
        """Pack batches of at most `room` bytes (see `room_for_calls`) and `max_calls` calls."""
        self._room = room
        self._max_calls = max_calls
        self._held = EMPTY_BLOCK

    @property
    def first_held(self) -> int | None:
        """The row of the first call held back, or None if none is."""
        return self._held.rows[0] if len(self._held) else None

    def add(self, block: CallBlock) -> Iterator[Batch]:
        """Yield the batches that are full; hold the rest back."""
        start = 0
        if len(self._held):
            # Only what may go into the batch with what is held is copied, not the whole block.
            fill = min(len(block), self._max_calls - len(self._held))
            joined = self._held.followed_by(block.between(0, fill))
            first = cut(joined.ends, self._room, self._max_calls)[1]
            if first == len(joined) < self._max_calls:
                self._held = joined
                return
            yield _batch(joined, 0, first)
            start = first - len(self._held)
            self._held = EMPTY_BLOCK
        if start == len(block):
            return
        cuts = [start + at for at in cut(block.ends[start:], self._room, self._max_calls)]
        for one, following in pairwise(cuts[:-1]):
            yield _batch(block, one, following)
        self._held = block.between(cuts[-2], len(block))

    def finish(self) -> Iterator[Batch]:
        """Yield what was held back."""
        if len(self._held):
            yield _batch(self._held, 0, len(self._held))
        self._held = EMPTY_BLOCK


def _batch(block: CallBlock, start: int, stop: int) -> Batch:
    return Batch(
        data=bytes(block.data[block.ends[start] : block.ends[stop] - 1]),
        rows=block.rows[start:stop],
        start_date=_EPOCH + timedelta(days=int(np.min(block.days[start:stop]))),
    )
