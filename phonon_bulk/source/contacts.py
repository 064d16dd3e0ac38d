"""A contact list: opened, looked over, and read as chunks of calls."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pyarrow as pa

from phonon_bulk.batch import Chunk
from phonon_bulk.call import today_in_india
from phonon_bulk.config import MappingSettings
from phonon_bulk.errors import ListError
from phonon_bulk.source.calls import write_calls
from phonon_bulk.source.columns import Columns, describe_difference, plan_columns
from phonon_bulk.source.files import Mark, find_files
from phonon_bulk.source.row import Given
from phonon_bulk.source.rows import read_rows
from phonon_bulk.source.scan import Header, ScannedFile, read_header, scan_file


@dataclass(frozen=True, slots=True)
class ContactList:
    """A list that was looked over and can be read; `open_list` makes it."""

    files: tuple[Path, ...]
    bytes: int
    rows: int
    """Data rows in all files, as they are numbered: from 1, blank lines not counted."""
    sha256: str
    """Over the length and then the bytes of each file, in hexadecimal."""
    marks: tuple[Mark, ...]
    """The mark of each file, as it was when it was looked over."""
    looked_at: float
    """Seconds since the epoch before the first of them was."""
    columns: tuple[str, ...]
    unused_columns: tuple[str, ...]
    """Columns of which nothing is sent."""
    _scanned: tuple[ScannedFile, ...] = field(repr=False)
    _plan: Columns = field(repr=False)
    _delimiter: str = field(repr=False)

    def chunks(self, *, run: int, now: float, room: int, after_row: int = 0) -> Iterator[Chunk]:
        """Yield the calls, and the rows that are none, in the order of the list.

        `run` goes into client-identifiers that the list doesn't have; `now` (seconds since the
        epoch) is the start-time where the list has none, and says which dates are past; `room` is
        how many bytes a call may have (`batch.room_for_calls`); rows up to and with `after_row`
        are left out. Blocks: it reads files.

        Raises ListError, at once or under way: a file was changed, or one start-time is set for
        all calls and its date is past. What was yielded before stands.
        """
        moment = self._plan.start_time
        if not isinstance(moment, int) and moment and moment.date() < today_in_india(now):
            raise ListError(
                f"start_time is {moment.isoformat()}, and its date is past: every call would be"
                " rejected; set another one in the campaign's [mapping]"
            )
        given = Given(run=run, now=now, room=room)
        return write_calls(self._plan, given, self._tables(after_row))

    def _tables(self, after_row: int) -> Iterator[pa.Table]:
        before = 0
        for file in self._scanned:
            yield from read_rows(file, len(self.columns), self._delimiter, before, after_row)
            before += file.rows


def open_list(
    paths: Sequence[str], mapping: MappingSettings | None, delimiter: str | None = None
) -> ContactList:
    """Find the files, look over every byte of them, and return the list they make.

    `paths` are files or patterns; several files must have the same columns. Without a mapping the
    list is in Phonon's template; without a delimiter the header shows it. Takes about 6 s a
    gigabyte, and 15 s where fields are in quotes.

    Raises ListError for whatever stands against reading it, saying where and what to do.
    """
    now = time.time()
    files = find_files(paths)
    headers = _headers(files, delimiter)
    plan = plan_columns(headers[0].names, mapping)
    digest = sha256()
    scanned = tuple(scan_file(f, h, digest.update) for f, h in zip(files, headers, strict=True))
    rows = sum(file.rows for file in scanned)
    if not rows:
        raise ListError(f"there are no rows after the header in {', '.join(map(str, files))}")
    return ContactList(
        files=files,
        bytes=sum(file.size for file in scanned),
        rows=rows,
        sha256=digest.hexdigest(),
        marks=tuple(file.mark for file in scanned),
        looked_at=now,
        columns=plan.names,
        unused_columns=plan.unused,
        _scanned=scanned,
        _plan=plan,
        _delimiter=headers[0].delimiter,
    )


def _headers(files: Sequence[Path], delimiter: str | None) -> list[Header]:
    first = read_header(files[0], delimiter)
    headers = [first, *(read_header(file, first.delimiter) for file in files[1:])]
    expected = [name.strip() for name in first.names]
    for file, header in zip(files, headers, strict=True):
        names = [name.strip() for name in header.names]
        if names != expected:
            raise ListError(
                f"{file} has other columns than {files[0]}:"
                f" {describe_difference(names, expected)}. Files read together need the same ones"
            )
    return headers
