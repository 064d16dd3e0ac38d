"""A contact list: opened, looked over, and read as chunks of calls."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa

from phonon_bulk.call import LeftOut, start_time_text, today_in_india
from phonon_bulk.config import Campaign, ChecksSettings, Duplicates, DuplicatesBy
from phonon_bulk.errors import ListError
from phonon_bulk.packing import Chunk
from phonon_bulk.source import do_not_call, mended, origin
from phonon_bulk.source.calls import write_calls
from phonon_bulk.source.columns import Columns, describe_difference, plan_columns
from phonon_bulk.source.expressions import Expressions
from phonon_bulk.source.files import Mark
from phonon_bulk.source.formats.tables import Part, TablePart
from phonon_bulk.source.numbers import NumberReader
from phonon_bulk.source.row import Rules, identifier_key
from phonon_bulk.source.seen import Keys, Seen
from phonon_bulk.source.suppression import Suppressed
from phonon_bulk.source.times import Start, StartTimes

_READ_AT_ONCE = 1 << 20

Placed = Callable[[int, int], Iterable[Sequence[str]]]
"""Given a run and the row after which its list is read, the keys (numbers that are called first, or
client-identifiers) of the calls that make a row with the same key a duplicate."""


@dataclass(frozen=True, slots=True)
class ContactList:
    """A list that was looked over and can be read; `open_list` makes it."""

    name: str
    """What messages call it."""
    files: tuple[Path, ...]
    """The files of the user's that it is read from; none if it can be read once only."""
    marks: tuple[Mark, ...]
    """The mark of each file, as it was when it was looked over."""
    bytes: int
    rows: int
    """Data rows in all parts, as they are numbered: from 1, blank lines not counted."""
    sha256: str
    """Of the content, in hexadecimal."""
    looked_at: float
    """Seconds since the epoch before any of it was."""
    columns: tuple[str, ...]
    unused_columns: tuple[str, ...]
    """Columns of which nothing is sent."""
    remarks: tuple[str, ...]
    """What was taken for granted and should be seen: sentences without contact data."""
    _parts: tuple[Part, ...] = field(repr=False)
    _plan: Columns = field(repr=False)
    _checks: ChecksSettings = field(repr=False)
    _numbers: NumberReader = field(repr=False)
    _suppressed: Suppressed | None = field(repr=False)
    _placed: Placed = field(repr=False, default=lambda _run, _after_row: ())

    @property
    def own_start_times(self) -> bool:
        """Whether each row says itself when it is to be called."""
        return isinstance(self._plan.start_time, int)

    def with_placed(self, placed: Placed) -> "ContactList":
        """Return the list as it is read where calls were placed before."""
        return replace(self, _placed=placed)

    def check_start(self, now: float) -> None:
        """Raise ListError if no call could have a start-time, read at `now` (since the epoch)."""
        _start_of_all(self._plan, StartTimes(self._checks, now, self.rows), now)

    def chunks(self, *, run: int, now: float, room: int, after_row: int = 0) -> Iterator[Chunk]:
        """Yield the calls, and the rows that are none, in the order of the list.

        `run` goes into client-identifiers that the list doesn't have; `now` (seconds since the
        epoch) is the start-time where the list has none, and says which dates are past; `room` is
        how many bytes a call may have (`batch.room_for_calls`); rows up to and with `after_row`
        are left out. Blocks: it reads files.

        Raises ListError, at once or under way: a file was changed, or one start-time is set for
        all calls and can't be used. What was yielded before stands.
        """
        starts = StartTimes(self._checks, now, self.rows)
        duplicates = self._checks.duplicates
        rules = Rules(
            run=run,
            room=room,
            numbers=self._numbers,
            starts=starts,
            start=_start_of_all(self._plan, starts, now),
            suppressed=self._suppressed,
            key=None if duplicates is Duplicates.KEEP else self._checks.duplicates_by,
        )
        return self._read(rules, after_row)

    def keep(self, folder: Path) -> None:
        """Copy a list that can be read once only into a new folder, so that `open_kept` finds it.

        The files can be read by their owner only (0600). Raises ListError if that can't be done.
        """
        origin.keep(self._parts, folder)

    def _read(self, rules: Rules, after_row: int) -> Iterator[Chunk]:
        seen = Seen()
        if (by := rules.key) is not None:
            seen = Seen(_keys(by, texts) for texts in self._placed(rules.run, after_row))
        rejects = self._checks.duplicates is Duplicates.REJECT
        state = LeftOut.REJECTED if rejects else LeftOut.DUPLICATE
        with Expressions(self._plan) as expressions:
            tables = expressions.add(self._tables(after_row))
            last_row = after_row
            for chunk in write_calls(self._plan, rules, tables, seen, state):
                last_row = chunk.last_row
                yield chunk
        if last_row < self.rows:
            raise ListError(f"rows were lost after row {last_row}; please report this")

    def _tables(self, after_row: int) -> Iterator[pa.Table]:
        before = 0
        for part in self._parts:
            tables = part.tables(before, after_row)
            undo = self._plan.is_mended and mended.has_marks(part)
            yield from mended.as_they_were(tables) if undo else tables
            before += part.rows


def open_list(
    campaign: Campaign, given: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> ContactList:
    """Find a campaign's list, look over every byte of it, and return it.

    `given` are files, patterns, folders, URLs or `-` from the command line, which take the place of
    what the campaign names; `environ` has the credentials for a database. Takes about 3 s a
    gigabyte of CSV.

    Raises ListError for whatever stands against reading it, saying where and what to do.
    """
    looked_at = time.time()
    environ = environ or {}
    return _looked_over(campaign, origin.open_origin(campaign, given, environ), looked_at, environ)


def open_kept(campaign: Campaign, folder: Path, environ: Mapping[str, str]) -> ContactList:
    """Return the list that `ContactList.keep` has copied to a folder.

    Raises ListError if it isn't there, or can't be read.
    """
    return _looked_over(campaign, origin.open_kept(campaign, folder), time.time(), environ)


def _looked_over(
    campaign: Campaign, found: origin.Origin, looked_at: float, environ: Mapping[str, str]
) -> ContactList:
    parts = found.parts
    _refuse_other_columns(parts)
    _refuse_the_same_twice(parts)
    plan = plan_columns(parts[0].names, campaign.mapping, campaign.checks)
    _check_there_is_a_key(plan, campaign.checks)
    with Expressions(plan):  # which says what is wrong with one
        pass
    rows = sum(part.rows for part in parts)
    if not rows:
        queried = isinstance(parts[0], TablePart) and not found.files
        where = "in" if queried else "after the header in"
        raise ListError(f"there are no rows {where} {found.name}: there is nobody to call")
    numbers = NumberReader(campaign.checks.region)
    listed = do_not_call.load(campaign, numbers, environ) if campaign.checks.suppress else None
    remarks = [remark for part in parts for remark in part.remarks]
    return ContactList(
        name=found.name,
        files=tuple(file.path for file in found.files),
        marks=tuple(file.mark for file in found.files),
        bytes=sum(part.size for part in parts),
        rows=rows,
        sha256=_digest(parts),
        looked_at=looked_at,
        columns=plan.own,
        unused_columns=plan.unused,
        remarks=(*found.remarks, *remarks, *(listed.remarks if listed else ())),
        _parts=parts,
        _plan=plan,
        _checks=campaign.checks,
        _numbers=numbers,
        _suppressed=listed.numbers if listed else None,
    )


def _check_there_is_a_key(plan: Columns, checks: ChecksSettings) -> None:
    """Raise ListError if duplicates are to be known by what the list has not."""
    compares = checks.duplicates is not Duplicates.KEEP
    by_identifier = checks.duplicates_by is DuplicatesBy.CLIENT_IDENTIFIER
    if compares and by_identifier and plan.client_identifier is None:
        raise ListError(
            "checks.duplicates_by is client_identifier, and the list has no column for it"
        )


def _digest(parts: Sequence[Part]) -> str:
    """Return the SHA-256 of a list: of one part its own, of several over all, one after the other.

    Journals know lists by it, so it is to stay as it is.
    """
    if len(parts) == 1:
        return parts[0].digest.hex()
    digest = sha256()
    for part in parts:
        if isinstance(part, TablePart):
            digest.update(part.digest)
            continue
        digest.update(part.size.to_bytes(8, "big"))
        with part.stored.open() as file:
            while block := file.read(_READ_AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


def _refuse_other_columns(parts: Sequence[Part]) -> None:
    expected = [name.strip() for name in parts[0].names]
    for part in parts[1:]:
        names = [name.strip() for name in part.names]
        if names != expected:
            raise ListError(
                f"{part.name} has other columns than {parts[0].name}:"
                f" {describe_difference(names, expected)}. Files read together need the same ones"
            )


def _refuse_the_same_twice(parts: Sequence[Part]) -> None:
    seen: dict[bytes, str] = {}
    for part in parts:
        if part.rows and part.digest in seen:
            raise ListError(
                f"{part.name} holds the very rows of {seen[part.digest]}: its customers would be"
                " called twice"
            )
        seen[part.digest] = part.name


def _start_of_all(plan: Columns, starts: StartTimes, now: float) -> Start | None:
    """Return the start of all calls, None if each row has its own.

    Raises ListError if it is one that no call can have.
    """
    moment = plan.start_time
    if isinstance(moment, int) or (moment is None and starts.spreads):
        return None
    if moment is None:
        start = starts.at_once()
        what = "now"
    else:
        start = starts.read(start_time_text(moment))
        what = f"start_time is {moment.isoformat()}, and it"
        if moment.date() < today_in_india(now):
            raise ListError(
                f"start_time is {moment.isoformat()}, and its date is past: every call would be"
                " rejected; set another one in the campaign's [mapping]"
            )
    if isinstance(start, str):
        raise ListError(f"{what}{start}: every call would be rejected")
    return start


def _keys(by: DuplicatesBy, texts: Sequence[str]) -> Keys:
    if by is DuplicatesBy.NUMBER:
        return np.array([int(text) for text in texts], np.int64)
    return np.array([identifier_key(text) for text in texts], "S16")
