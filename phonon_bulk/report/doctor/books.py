"""The journal: its file and who may use it, its disk, its content, and what waits in it."""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from phonon_bulk.call import INDIA
from phonon_bulk.config import Settings
from phonon_bulk.errors import PhononBulkError
from phonon_bulk.journal import AtWork, Books, Control, Kind, Run
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import is_current, try_to_write, unusable
from phonon_bulk.journal.evidence import SqliteEvidence
from phonon_bulk.report.audit import conservation
from phonon_bulk.report.doctor import lines
from phonon_bulk.report.doctor.aside import T, aside
from phonon_bulk.report.doctor.files import OTHERS, OTHERS_WRITE, in_bytes
from phonon_bulk.report.doctor.lines import Check
from phonon_bulk.report.doctor.machine import folder_of
from phonon_bulk.report.summary import Summary, resuming, summarize

_SECONDS = 5.0
"""For each part of the examination."""
_RUNS_LOOKED_AT = 20
_LARGE_LOG = 512 << 20
"""Bytes; SQLite merges its log at 4 MB, if nobody reads."""

_MOUNTS = Path("/proc/self/mounts")
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre"}
_NETWORK |= {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "davfs", "fuse.davfs2"}
_SHARED = {"9p", "virtiofs", "vboxsf", "drvfs", "fuse", "fuseblk"}
_MEMORY = {"tmpfs", "ramfs"}
_CONTAINER = {"overlay", "aufs"}


async def examine(settings: Settings) -> list[Check]:
    """Return what is found of the journal, within about ten seconds."""
    path = settings.journal_path
    found, usable = await _in_time(
        lambda: look_at_file(path),
        ([lines.JOURNAL_LATE.check(path=path, seconds=f"{_SECONDS:g}")], False),
    )
    if not usable:
        return found
    late = {"seconds": f"{_SECONDS:g}", "path": path}
    parts = await asyncio.gather(
        _in_time(lambda: integrity(path), [lines.INTEGRITY_LATE.check(**late)]),
        _in_time(lambda: sums(path), [lines.CONSERVATION_LATE.check(**late)]),
        _in_time(lambda: waiting(path), [lines.JOURNAL_LATE.check(**late)]),
    )
    return list(dict.fromkeys([*found, *(check for part in parts for check in part)]))


async def _in_time(work: Callable[[], T], late: T) -> T:
    try:
        return await aside(work, _SECONDS)
    except TimeoutError:
        return late


# ---- the file


def look_at_file(path: Path) -> tuple[list[Check], bool]:
    """Return what is found of the file, and whether it can be looked into."""
    found: list[Check] = []
    if path.parent == Path(path.anchor):
        values = {"path": path, "root": path.anchor, "name": path.name}
        found.append(lines.JOURNAL_SLASHES.check(**values))
    try:
        if not path.exists():
            return [*found, _none(path), *_place(path)], False
        found += [*_modes(path), *_place(path)]
        if not is_current(path):
            return [*found, *_not_current(path)], False
    except OSError as error:
        return [*found, lines.JOURNAL_ILL.check(problem=unusable(error, path))], False
    except PhononBulkError as error:
        return [*found, lines.JOURNAL_ILL.check(problem=error)], False
    return [*found, _writable(path)], True


def _not_current(path: Path) -> Iterator[Check]:
    """Yield what is found of a file that the next command brings up to date; it is left alone."""
    line = lines.JOURNAL_OLDER if path.stat().st_size else lines.JOURNAL_EMPTY
    yield line.check(path=path)
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)):
        yield lines.JOURNAL_FIXED.check(path=path)


def _none(path: Path) -> Check:
    folder = folder_of(path)
    if os.access(folder, os.W_OK | os.X_OK):
        return lines.JOURNAL_NONE.check(path=path)
    return lines.JOURNAL_NO_FOLDER.check(path=path, folder=folder)


def _modes(path: Path) -> Iterator[Check]:
    """Yield who may use the journal's files. SQLite gives its side files the mode of the first."""
    status = path.stat()
    is_open = [file for file, mode in _modes_of((path, *_side_files(path))) if mode & OTHERS]
    for file in is_open:
        yield lines.JOURNAL_OPEN.check(path=file)
    if not is_open:
        yield lines.JOURNAL_FILE.check(path=path)
    folder = path.parent.stat().st_mode
    if folder & OTHERS_WRITE and not folder & 0o1000:  # sticky: others' files are not theirs
        yield lines.JOURNAL_FOLDER.check(path=path.parent)
    if os.name != "nt" and status.st_uid != os.geteuid():
        yield lines.JOURNAL_OWNER.check(path=path, owner=status.st_uid, user=os.geteuid())
    kept = path.with_name(f"{path.name}.lists")
    with contextlib.suppress(FileNotFoundError):  # a run that ends takes its lists away
        if any(mode & OTHERS for _, mode in _modes_of((kept, *kept.rglob("*")))):
            yield lines.KEPT_OPEN.check(path=kept)


def _side_files(path: Path) -> tuple[Path, Path]:
    """Return SQLite's files beside the journal: its log, and the log's index.

    They need not be there, and who closes the journal last takes them away at any moment.
    """
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _modes_of(files: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Yield those files that are there, with their modes."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            yield file, file.stat().st_mode


def _writable(path: Path) -> Check:
    try:
        try_to_write(path)
    except PhononBulkError as error:
        return lines.WRITABLE_ILL.check(problem=error)
    return lines.WRITABLE.check()


# ---- its disk


def _place(path: Path) -> Iterator[Check]:
    try:
        mounts = _MOUNTS.read_text("utf-8", "replace")
    except OSError:  # no Linux
        return
    found = mount_of(folder_of(path).resolve(), mounts)
    if found is not None:
        yield grade_place(*found)


def mount_of(folder: Path, mounts: str) -> tuple[str, Path] | None:
    """Return the kind of file system that a folder is on, and where that is mounted.

    `mounts` is the content of /proc/self/mounts; of two on one place the later covers the other.
    """
    best: tuple[str, Path] | None = None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:  # noqa: PLR2004 - device, place, kind
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1]))
        within = folder == place or place in folder.parents
        if within and (best is None or len(place.parts) >= len(best[1].parts)):
            best = fields[2], place
    return best


def grade_place(kind: str, mount: Path) -> Check:
    """Return how well a kind of file system suits a journal."""
    kinds = {
        lines.PLACE_NETWORK: _NETWORK,
        lines.PLACE_SHARED: _SHARED,
        lines.PLACE_MEMORY: _MEMORY,
        lines.PLACE_CONTAINER: _CONTAINER,
    }
    unknown = lines.PLACE_SHARED if kind.startswith("fuse.") else lines.PLACE
    line = next((line for line, names in kinds.items() if kind in names), unknown)
    return line.check(kind=kind, mount=mount)


# ---- its content


def integrity(path: Path) -> list[Check]:
    """Return what SQLite's quick check finds."""
    try:
        with SqliteEvidence(path) as evidence:
            faults = evidence.integrity()
    except PhononBulkError as error:
        return [lines.JOURNAL_ILL.check(problem=error)]
    if not faults:
        return [lines.INTEGRITY.check()]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return [lines.INTEGRITY_ILL.check(problem=faults[0] + more)]


def sums(path: Path) -> list[Check]:
    """Return whether every row and every call is accounted for."""
    try:
        with SqliteEvidence(path) as evidence:
            finding = conservation(evidence, evidence.runs(-1))
    except PhononBulkError as error:
        return [lines.JOURNAL_ILL.check(problem=error)]
    if finding.holds:
        return [lines.CONSERVATION.check(promise=finding.promise, seen=finding.seen)]
    return [lines.CONSERVATION_ILL.check(problem=finding.faults[0])]


def waiting(path: Path) -> list[Check]:
    """Return how large the journal is, who is at work on it, and which runs wait for a person."""
    try:
        with SqliteBooks(path) as books:
            return [_size(path, books), *_runs(books)]
    except PhononBulkError as error:
        return [lines.JOURNAL_ILL.check(problem=error)]


def _size(path: Path, books: Books) -> Check:
    runs = books.runs(-1)
    log = 0
    with contextlib.suppress(FileNotFoundError):
        log = _side_files(path)[0].stat().st_size
    return (lines.SIZE_WAL if log > _LARGE_LOG else lines.SIZE).check(
        size=in_bytes(path.stat().st_size),
        runs=f"{len(runs):,}",
        calls=f"{sum(run.calls for run in runs):,}",
        wal=in_bytes(log),
    )


def _runs(books: Books) -> Iterator[Check]:
    at_work = books.at_work()
    yield lines.AT_WORK.check(who="; ".join(map(_who, at_work)) or "nobody, as far as is known")
    found = [
        check
        for run in books.runs(_RUNS_LOOKED_AT)
        for check in to_do(run, summarize(books, run.id), {one.run for one in at_work})
    ]
    yield from found or [lines.RUNS.check(number=_RUNS_LOOKED_AT)]


def _who(work: AtWork) -> str:
    host, _, rest = work.owner.partition(":")
    since = datetime.fromtimestamp(work.since, INDIA)
    process = rest.partition(":")[0]
    return (
        f"run {work.run}: process {process} on {host} {work.what} since {since:%d %b %H:%M} (India)"
    )


def to_do(run: Run, summary: Summary, at_work: set[int]) -> Iterator[Check]:
    """Yield what a run waits for from a person; `at_work` are the runs that somebody works on."""
    left = f"{summary.to_send:,}"
    if run.control is Control.STOPPED and summary.state == "stopped":
        yield lines.RUN_STOPPED.check(run=run.id, reason=summary.reason, resuming=resuming(summary))
    elif run.control is Control.PAUSED and summary.state == "paused":
        yield lines.RUN_PAUSED.check(run=run.id, left=left, resuming=resuming(summary))
    elif run.id in at_work:
        return
    elif run.kind is Kind.INTAKE and summary.to_send:
        yield lines.RUN_SINGLE.check(run=run.id, left=left)
    elif summary.to_send:
        yield lines.RUN_LEFT.check(run=run.id, left=left)
    elif summary.state == "reading" and run.kind is Kind.LIST:
        yield lines.RUN_UNREAD.check(run=run.id)
    elif summary.in_doubt:
        yield lines.RUN_DOUBT.check(run=run.id, left=f"{summary.in_doubt:,}")
