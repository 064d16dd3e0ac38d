"""One line for every contact of a list: what became of it.

The columns are fixed: operators' scripts read them. A contact's state is that of its batch, but for
a call that a partial success leaves out (`refused`) and a row that became no call (`rejected`); a
batch that a process has claimed and not begun to send is `ready` like any other.
"""

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import IO, Any

import orjson

from phonon_bulk.batch import State
from phonon_bulk.call import INDIA, RejectedRow
from phonon_bulk.errors import UnusableError
from phonon_bulk.journal import Books, Contact, SettledBatch
from phonon_bulk.response import CallDetail, call_details, placed

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

_PARQUET_ROWS = 50_000
"""Rows in a Parquet row group, and so in memory at a time."""


def contacts(books: Books, run: int) -> Iterator[Contact]:
    """Yield what became of every row read so far, in the list's order."""
    calls = (contact for batch in books.batches(run) for contact in _of_batch(batch))
    rejected = (_of_rejected(row) for row in books.rejected(run))
    yield from merge(calls, rejected, key=lambda contact: contact.row)


def _of_batch(batch: SettledBatch) -> Iterator[Contact]:
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


def _of_rejected(row: RejectedRow) -> Contact:
    return Contact(
        row=row.row,
        client_identifier=row.client_identifier,
        contact_numbers=row.contact_numbers,
        state="rejected",
        reason=row.reason,
        request_id=None,
        phonon_uuid=None,
        batch=None,
        attempts=0,
        settled_at=None,
    )


def export(lines: Iterable[Contact], path: Path) -> int:
    """Write `lines` to `path` as CSV, NDJSON or Parquet, by its ending; return how many.

    The file is readable by its owner only (0600) and takes its name when it is whole.

    Raises UnusableError for another ending, or if the file can't be written.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        known = ", ".join(_WRITERS)
        raise UnusableError(f"an export's file ends in one of {known}; {path.name} does not")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "xb", opener=_private) as file:
            count = write(lines, file)
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


def _write_csv(lines: Iterable[Contact], file: IO[bytes]) -> int:
    """Several numbers of a contact are separated by a space; a missing value is empty."""
    count = 0
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for contact in lines:
        count += 1
        record = _record(contact)
        record["contact_numbers"] = " ".join(contact.contact_numbers)
        moment: datetime | None = record["settled_at"]
        record["settled_at"] = moment and moment.isoformat("T", "seconds")
        writer.writerow(record.values())
    text.flush()
    text.detach()  # the file is closed by whoever opened it
    return count


def _write_ndjson(lines: Iterable[Contact], file: IO[bytes]) -> int:
    count = 0
    for contact in lines:
        count += 1
        file.write(orjson.dumps(_record(contact), option=_NDJSON))
    return count


_NDJSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_OMIT_MICROSECONDS


def _write_parquet(lines: Iterable[Contact], file: IO[bytes]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    types = {
        "row": pa.int64(),
        "contact_numbers": pa.list_(text),
        "batch": pa.int64(),
        "attempts": pa.int32(),
        "settled_at": pa.timestamp("ms", tz="+05:30"),
    }
    schema = pa.schema([(name, types.get(name, text)) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(lines, _PARQUET_ROWS):
            writer.write_table(pa.Table.from_pylist([_record(c) for c in group], schema))
            count += len(group)
    return count


def _groups(lines: Iterable[Contact], size: int) -> Iterator[list[Contact]]:
    group: list[Contact] = []
    for contact in lines:
        group.append(contact)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


_WRITERS: dict[str, Callable[[Iterable[Contact], IO[bytes]], int]] = {
    ".csv": _write_csv,
    ".ndjson": _write_ndjson,
    ".parquet": _write_parquet,
}
