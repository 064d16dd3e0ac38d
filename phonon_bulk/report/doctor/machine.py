"""The machine: free disk against what is planned, open files, and what day it is in India."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from phonon_bulk.batch import State
from phonon_bulk.call import INDIA
from phonon_bulk.config import FIRST_WORKERS, EndpointSettings, Settings
from phonon_bulk.errors import ListError, PhononBulkError
from phonon_bulk.journal import Books, Kind
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import is_current
from phonon_bulk.report.doctor import lines
from phonon_bulk.report.doctor.files import Planned, in_bytes
from phonon_bulk.report.doctor.lines import Check

_FEW_BYTES, _TOO_FEW_BYTES = 1 << 30, 1 << 26

_USUAL_PER_CALL = 100.0
"""Bytes of the journal, as long as it does not tell better; measured with four flow variables."""
_LEAST_PER_CALL = 40.0
"""An answer in real time has a phonon-uuid for each call, which can't be packed."""
_USUAL_PER_ROW = 60.0
"""Bytes of a list."""
_ENOUGH_CALLS = 10_000
"""From so many on, a journal says what a call takes."""
_UNPACKED = {".gz": 8, ".zst": 8, ".zip": 8, ".parquet": 6, ".xlsx": 6}
"""How many times the size of the file its rows would have as text, at most in general."""
_LOG = 64 << 20
"""Bytes that the write-ahead log may take while much is written."""

_BASE_FILES = 64
"""The journal, its log and locks, the list, sockets that listen, and what Python has open."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a journal says of the sizes of calls and rows, in bytes."""

    per_call: float = _USUAL_PER_CALL
    per_row: float = _USUAL_PER_ROW
    to_send: int = 0
    """Calls that are still to be sent."""


def disk(settings: Settings, planned: Sequence[Planned]) -> Check:
    """Return whether what is planned fits on the journal's disk."""
    path = settings.journal_path
    folder = folder_of(path)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return lines.DISK_ILL.check(problem=(error.strerror or "").lower())
    need = bytes_needed(costs_of(path), planned)
    return grade_disk(folder, free, need)


def folder_of(path: Path) -> Path:
    """Return the nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def grade_disk(folder: Path, free: int, need: float) -> Check:
    """Return how well `free` bytes in a folder suit a need of so many."""
    values = {"folder": folder, "free": in_bytes(free)}
    if free < _TOO_FEW_BYTES:
        return lines.DISK_FULL.check(**values)
    if need and free < need + _LOG:
        wanted = f"what is planned takes about {in_bytes(need + _LOG)}"
        return lines.DISK_SHORT.check(**values, need=wanted)
    if free < _FEW_BYTES:
        return lines.DISK_FEW.check(**values)
    planned = f"what is planned takes about {in_bytes(need)}" if need else "nothing is planned"
    return lines.DISK.check(**values, need=planned)


def bytes_needed(costs: Costs, planned: Sequence[Planned]) -> float:
    """Return about how many bytes of the journal the planned runs take: what waits, and lists."""
    rows = sum(_text_bytes(one) for one in planned) / costs.per_row
    return costs.per_call * (costs.to_send + rows)


def _text_bytes(planned: Planned) -> float:
    try:
        size = planned.list_bytes or 0
    except (ListError, OSError):  # said of the campaign already
        return 0
    paths = planned.campaign.paths if planned.campaign else ()
    return size * max((_UNPACKED.get(Path(path).suffix.lower(), 1) for path in paths), default=1)


def costs_of(path: Path) -> Costs:
    """Return what the journal at `path` says; what is usual, if it is none or can't be read."""
    try:
        if not is_current(path):
            return Costs()
        with SqliteBooks(path) as books:
            return costs_in(books, path.stat().st_size)
    except (PhononBulkError, OSError):  # said of the journal itself
        return Costs()


def costs_in(books: Books, size: int) -> Costs:
    """Return what the books of a journal of `size` bytes say."""
    runs = books.runs(-1)
    waiting = (State.READY, State.CLAIMED, State.SENDING)
    to_send = sum(one.calls.get(state, 0) for one in books.backlog() for state in waiting)
    calls = sum(run.calls for run in runs if run.pruned_at is None)
    read = [(orjson.loads(run.list), run.rows) for run in runs if run.kind is Kind.LIST]
    rows = sum(rows for known, rows in read if known.get("bytes"))
    text = sum(known["bytes"] for known, rows in read if known.get("bytes") and rows)
    return Costs(
        per_call=max(_LEAST_PER_CALL, size / calls) if calls >= _ENOUGH_CALLS else _USUAL_PER_CALL,
        per_row=text / rows if rows >= _ENOUGH_CALLS and text else _USUAL_PER_ROW,
        to_send=to_send,
    )


def open_files(settings: Settings) -> Iterator[Check]:
    """Yield whether enough files and sockets may be open; nothing where the system has no limit."""
    if os.name == "nt":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY:
        yield grade_open_files(settings, limit)


def grade_open_files(settings: Settings, limit: int) -> Check:
    """Return how well a limit of open files suits the number of workers."""
    ends = settings.endpoints
    for_run = max(ends.bulk.most_workers, ends.realtime.most_workers) + _BASE_FILES
    of_lists = max(_of_lists(settings, end) for end in (ends.bulk, ends.realtime))
    for_worker = of_lists + (ends.realtime.workers or FIRST_WORKERS) + 2 * _BASE_FILES
    if limit < for_run:
        return lines.OPEN_FILES_ILL.check(limit=limit, need=for_run)
    if limit < for_worker:
        return lines.OPEN_FILES_FEW.check(limit=limit, need=for_worker)
    return lines.OPEN_FILES.check(limit=limit, need=for_worker)


def _of_lists(settings: Settings, endpoint: EndpointSettings) -> int:
    """Return how many connections the runs of lists may have together.

    They share the limit: where nothing is set, they seldom need more together than one alone.
    """
    runs = settings.worker.runs
    if endpoint.workers is None:
        return max(endpoint.most_workers, runs * FIRST_WORKERS)
    return runs * endpoint.workers


def india(now: float) -> Check:
    """Return what day it is for the provider at `now`, in seconds since the epoch."""
    there = datetime.fromtimestamp(now, UTC).astimezone(INDIA)
    return lines.INDIA.check(date=f"{there:%Y-%m-%d}", time=f"{there:%H:%M:%S}")
