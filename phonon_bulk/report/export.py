"""One line for every contact of a list: what became of it. And the rejected rows, to be mended.

The columns are fixed: operators' scripts read them. A contact's state is that of its batch, but for
a call that a partial success leaves out (`refused`) and a row that became no call (`rejected`,
`suppressed`, `duplicate`); a batch that a process has claimed and not begun to send is `ready` like
any other.

Rejected rows by themselves are written in the shape of their list. Nothing in a CSV is a formula to
a spreadsheet; see `spreadsheet.py`.
"""

import contextlib
import csv
import io
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from phonon_bulk.batch import State
from phonon_bulk.call import INDIA, LeftOut, LeftOutRow
from phonon_bulk.errors import UnusableError
from phonon_bulk.journal import Books, Contact, SettledBatch
from phonon_bulk.response import CallDetail, call_details, placed
from phonon_bulk.spreadsheet import harmless, own_columns

COLUMNS = (
    "row",
    "client_identifier",
    "contact_numbers",
    "state",
    "reason",
    "request_id",
    "phonon_uuid",
    "batch",
    "attempts",
    "settled_at",
)

STATES = frozenset({*LeftOut, *State} - {State.CLAIMED, State.SPLIT})
"""What stands in the column `state`."""

_PARQUET_ROWS = 50_000
"""Rows in a Parquet row group, and so in memory at a time."""


def contacts(books: Books, run: int, only: Collection[str] = STATES) -> Iterator[Contact]:
    """Yield what became of every row read so far, in the list's order; of those in `only` alone."""
    calls = (contact for batch in _batches(books, run, only) for contact in contacts_of(batch))
    left_out = (_of_left_out(row) for row in _left_out(books, run, only))
    for contact in merge(calls, left_out, key=lambda contact: contact.row):
        if contact.state in only:
            yield contact


def _batches(books: Books, run: int, only: Collection[str]) -> Iterator[SettledBatch]:
    """Yield the batches that may have a call in one of these states; calls are slow to read."""
    if STATES.difference(LeftOut).isdisjoint(only):
        return
    for batch in books.batches(run):
        states = {_state(batch, None)[0], _state(batch, _SOME_CALL)[0]}
        if not states.isdisjoint(only):
            yield batch


def _left_out(books: Books, run: int, only: Collection[str]) -> Iterator[LeftOutRow]:
    return iter(()) if set(LeftOut).isdisjoint(only) else books.left_out(run)


def contacts_of(batch: SettledBatch) -> Iterator[Contact]:
    """Yield what became of each call of a batch."""
    if batch.calls is None:
        yield from _of_damaged(batch)
        return
    calls = orjson.loads(b"[" + batch.calls + b"]")
    details = _details(batch, [call["client-identifier"] for call in calls])
    for call, row, detail in zip(calls, batch.rows, details, strict=True):
        state, reason = _state(batch, detail)
        yield Contact(
            row=row,
            client_identifier=call["client-identifier"],
            contact_numbers=tuple(call["contact-numbers"]),
            state=state,
            reason=reason,
            request_id=batch.request_id,
            phonon_uuid=detail.phonon_uuid if detail else None,
            batch=batch.batch,
            attempts=batch.attempts,
            settled_at=batch.settled_at,
        )


def _of_damaged(batch: SettledBatch) -> Iterator[Contact]:
    """Yield the contacts of a batch whose calls can't be read any more: their rows are known."""
    reason = batch.reason or "the journal's copy of this call is damaged"
    for row in batch.rows:
        yield Contact(
            row=row,
            client_identifier=None,
            contact_numbers=(),
            state=_state(batch, None)[0],
            reason=reason,
            request_id=batch.request_id,
            phonon_uuid=None,
            batch=batch.batch,
            attempts=batch.attempts,
            settled_at=batch.settled_at,
        )


def _details(batch: SettledBatch, identifiers: Sequence[str]) -> Sequence[CallDetail | None]:
    if batch.answer is None or batch.state is not State.ACCEPTED:
        return [None] * len(identifiers)
    return placed(identifiers, call_details(batch.answer) or ())


def _state(batch: SettledBatch, detail: CallDetail | None) -> tuple[str, str | None]:
    if batch.state is State.CLAIMED:
        return State.READY, batch.reason
    if batch.state is State.ACCEPTED and batch.accepted < len(batch.rows):
        return (State.ACCEPTED, None) if detail else (State.REFUSED, batch.reason)
    return batch.state, batch.reason


_SOME_CALL = CallDetail("", "")


def _of_left_out(row: LeftOutRow) -> Contact:
    return Contact(
        row=row.row,
        client_identifier=row.client_identifier,
        contact_numbers=row.contact_numbers,
        state=row.state,
        reason=row.reason,
        request_id=None,
        phonon_uuid=None,
        batch=None,
        attempts=0,
        settled_at=None,
    )


# ---- rejected rows


def export_rejected(books: Books, run: int, path: Path) -> int:
    """Write the rejected rows of a run as they stood in the list, to be mended and sent again.

    After the list's own columns come `row` and `reason`; see `spreadsheet.own_columns`. The rest
    is as in `export`.
    """
    with books.snapshot():  # the columns must be those of all the rows
        return _write(_mend_sheet(books, run), path)


def _mend_sheet(books: Books, run: int) -> "_Sheet":
    columns = _list_columns(fields for _, fields in _rejected(books, run))
    place, reason = own_columns(columns)
    blank = dict.fromkeys(columns)
    records = (
        {**blank, **fields, place: row.row, reason: row.reason}
        for row, fields in _rejected(books, run)
    )
    return _Sheet({**dict.fromkeys(columns, "text"), place: "int64", reason: "text"}, records)


def _rejected(books: Books, run: int) -> Iterator[tuple[LeftOutRow, dict[str, str | None]]]:
    for row in books.left_out(run):
        if row.state is LeftOut.REJECTED:
            yield row, orjson.loads(row.fields)


def _list_columns(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the columns of all rows; one that not all have comes after the one it stands after."""
    columns: list[str] = []
    known: set[str] = set()
    for row in rows:
        if row.keys() <= known:
            continue
        place = 0
        for name in row:
            if name not in known:
                columns.insert(place, name)
                known.add(name)
            place = columns.index(name) + 1
    return columns


# ---- files


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What is written to a file."""

    columns: Mapping[str, str]
    """The names, in order, and what is in each; see `_arrow_types`."""
    records: Iterable[dict[str, Any]]
    """Each has all columns, in their order."""
    mark: bool = True
    """Whether a CSV begins with a byte order mark: without it, Excel does not take it for UTF-8."""


def export(lines: Iterable[Contact], path: Path) -> int:
    """Write `lines` to `path` as CSV, NDJSON or Parquet, by its ending; return how many.

    The file is readable by its owner only (0600) and takes its name when it is whole.

    Raises UnusableError for another ending, or if the file can't be written.
    """
    types = {name: _TYPES.get(name, "text") for name in COLUMNS}
    return _write(_Sheet(types, (_record(contact) for contact in lines), mark=False), path)


_TYPES = {
    "row": "int64",
    "contact_numbers": "texts",
    "batch": "int64",
    "attempts": "int32",
    "settled_at": "moment",
}


def _write(sheet: _Sheet, path: Path) -> int:
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        known = ", ".join(_WRITERS)
        raise UnusableError(f"an export's file ends in one of {known}; {path.name} does not")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "xb", opener=_private) as file:
            count = write(sheet, file)
        partial.replace(path)
    except OSError as error:
        raise UnusableError(f"{path} can't be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return count


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, INDIA)


def _record(contact: Contact) -> dict[str, Any]:
    record = {name: getattr(contact, name) for name in COLUMNS}
    record["settled_at"] = _moment(contact.settled_at)
    return record


def _write_csv(sheet: _Sheet, file: IO[bytes]) -> int:
    """Several numbers of a contact are separated by a space; a missing value is empty."""
    text = io.TextIOWrapper(file, "utf-8-sig" if sheet.mark else "utf-8", newline="")
    writer = csv.writer(_EndingInLineFeed(text), lineterminator="\r\n")
    writer.writerow([harmless(name) for name in sheet.columns])
    count = 0
    for count, record in enumerate(sheet.records, 1):  # noqa: B007 - it is returned
        writer.writerow([_cell(value) for value in record.values()])
    text.flush()
    text.detach()  # the file is closed by whoever opened it
    return count


class _EndingInLineFeed:
    """Ends lines in a line feed where the csv module does not.

    It puts a text in quotes for what is in its line end: if that were a line feed alone, a carriage
    return within a text would end the line for whoever reads the file.
    """

    def __init__(self, text: IO[str]) -> None:
        self._text = text

    def write(self, line: str) -> None:
        """Write a line."""
        self._text.write(f"{line[:-2]}\n")


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return value.isoformat("T", "seconds")
    return harmless(value if isinstance(value, str) else " ".join(value))


def _write_ndjson(sheet: _Sheet, file: IO[bytes]) -> int:
    count = 0
    for count, record in enumerate(sheet.records, 1):  # noqa: B007 - it is returned
        file.write(orjson.dumps(record, option=_NDJSON))
    return count


_NDJSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_OMIT_MICROSECONDS


def _write_parquet(sheet: _Sheet, file: IO[bytes]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    types = _arrow_types()
    schema = pa.schema([(name, types[of]) for name, of in sheet.columns.items()])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(sheet.records, _PARQUET_ROWS):
            writer.write_table(pa.Table.from_pylist(group, schema))
            count += len(group)
    return count


def _arrow_types() -> dict[str, Any]:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "moment": pa.timestamp("ms", tz="+05:30"),
    }


def _groups(records: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    records = iter(records)
    while group := list(islice(records, size)):
        yield group


_WRITERS: dict[str, Callable[[_Sheet, IO[bytes]], int]] = {
    ".csv": _write_csv,
    ".ndjson": _write_ndjson,
    ".parquet": _write_parquet,
}
