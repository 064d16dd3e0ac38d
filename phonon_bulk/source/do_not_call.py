"""Lists of numbers that are not to be called, read from files and queries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.config import Campaign, DoNotCall
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import find_column, quoted, seems_a_contact
from phonon_bulk.source.formats.opening import Options
from phonon_bulk.source.formats.tables import BROKEN, ROW, Part, column_name
from phonon_bulk.source.numbers import NumberReader, is_empty
from phonon_bulk.source.origin import open_places, open_query
from phonon_bulk.source.suppression import Numbers, Suppressed

_NUMBER_NAMES = ("number", "phone", "mobile", "tel", "msisdn", "contact", "dnd")


@dataclass(frozen=True, slots=True)
class Listed:
    """All numbers of all lists, and what should be seen about them."""

    numbers: Suppressed
    remarks: tuple[str, ...]


def load(campaign: Campaign, numbers: NumberReader, environ: Mapping[str, str]) -> Listed:
    """Return the numbers that a campaign must not call.

    Raises ListError for a list that can't be read, or in which no number can be.
    """
    remarks: list[str] = []
    parts = [
        _Reading(part, entry, numbers, remarks)
        for entry in campaign.checks.suppress
        for part in _parts(entry, campaign, environ, remarks)
    ]
    return Listed(Suppressed(found for part in parts for found in part.numbers()), tuple(remarks))


def _parts(
    entry: DoNotCall, campaign: Campaign, environ: Mapping[str, str], remarks: list[str]
) -> tuple[Part, ...]:
    if entry.query is not None:
        return (open_query(entry.query, entry.database, campaign.folder, environ),)
    assert entry.path is not None  # noqa: S101 - the settings see to it
    opened = open_places([entry.path], Options())
    remarks += opened.remarks
    return opened.parts


@dataclass(slots=True)
class _Reading:
    """One list of them."""

    _part: Part
    _entry: DoNotCall
    _reader: NumberReader
    _remarks: list[str]
    _unreadable: list[int] = field(default_factory=list)

    def numbers(self) -> Iterator[Numbers]:
        """Yield them, many at once."""
        found = 0
        place = self._place()
        for numbers in self._read(place):
            found += len(numbers)
            yield numbers
        name, column = self._part.name, self._names[place]
        if self._part.rows and not found:
            raise ListError(
                f'the do-not-call list {name} has no number in its column "{column}" that can be'
                " read: is it the right one?"
            )
        if self._unreadable:
            self._remarks.append(
                f"{len(self._unreadable):,} rows of the do-not-call list {name} are no numbers, and"
                f" keep nobody from being called (row {self._unreadable[0]:,}, for one)"
            )

    @property
    def _names(self) -> list[str]:
        return [name.strip() for name in self._part.names]

    def _place(self) -> int:
        """Return which column holds the numbers."""
        names = self._names
        if self._entry.column is not None:
            of = f"the do-not-call list {self._part.name}"
            return find_column(names, self._entry.column, of)
        if len(names) == 1:
            return 0
        likely = [i for i, name in enumerate(names) if _is_likely(name)]
        if len(likely) == 1:
            return likely[0]
        raise ListError(
            f"which column of the do-not-call list {self._part.name} holds the numbers? Its columns"
            f" are {quoted(names)}; say so in the campaign's [checks], for example: suppress ="
            ' { path = "dnd.csv", column = "number" }'
        )

    def _read(self, column: int) -> Iterator[Numbers]:
        names = self._names
        if len(names) == 1 and seems_a_contact(names):  # a list of numbers without a header
            yield self._exactly([(0, names)])
        place = column_name(column)
        ordinary = f"^(?:{self._reader.international})$"
        for table in self._part.tables(0, 0):
            texts = table.column(place)
            quick = pc.match_substring_regex(texts, ordinary).fill_null(fill_value=False)
            yield texts.filter(quick).cast(pa.int64()).to_numpy()
            rest = table.filter(pc.invert(quick)).select([ROW, place, BROKEN]).to_pylist()
            # Of a row that does not fit the header nobody knows which field is the number, and
            # whoever stands there does not want to be called: each one that is a number counts.
            yield self._exactly([(row[ROW], row[BROKEN] or [row[place]]) for row in rest])

    def _exactly(self, rows: Sequence[tuple[int, Sequence[str]]]) -> Numbers:
        found: list[int] = []
        for row, fields in rows:
            if all(map(is_empty, fields)):
                continue
            read = [number for text in fields for number in self._reader.several(text)]
            numbers = [number for number in read if isinstance(number, str)]
            found += map(int, numbers)
            if not numbers:
                self._unreadable.append(row)
        return np.array(found, np.int64)


def _is_likely(name: str) -> bool:
    return any(part in name.casefold() for part in _NUMBER_NAMES)
