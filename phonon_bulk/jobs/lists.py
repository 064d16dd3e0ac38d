"""The list of a run: found, opened, kept until it is read, known again."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from phonon_bulk.batch import SECURITY_ID_LENGTH, room_for_calls
from phonon_bulk.call import today_in_india
from phonon_bulk.config import Campaign, Once, Settings
from phonon_bulk.errors import JournalError, ListError, RunError
from phonon_bulk.journal import Run, identity_of
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import is_there
from phonon_bulk.runner import Reading
from phonon_bulk.source.files import find_files, mark_now

if TYPE_CHECKING:  # DuckDB and Arrow are slow to load, and a run that was read needs neither
    from phonon_bulk.source.contacts import ContactList

log = structlog.get_logger("phonon_bulk")

_COARSEST_TICK = 2.0
"""Seconds: no file system's times are coarser."""
DAY = 86_400.0
"""Seconds."""


def find_list(
    settings: Settings, campaign: Campaign, given: Sequence[str], *, again: bool
) -> "ContactList | int":
    """Return the run that has read the list to its end; or the list, looked over.

    Raises ListError if there is none, or if it can't be used.
    """
    run = None if again else known_run(settings, campaign, given)
    return open_campaign_list(campaign, given) if run is None else run


def open_campaign_list(campaign: Campaign, given: Sequence[str]) -> "ContactList":
    """Open the list that the command line names, or else the campaign; warn of unused columns.

    Raises ListError if there is none, or if it can't be used.
    """
    contacts = look_over(campaign, given)
    for remark in contacts.remarks:
        log.warning("list.remark", what=remark)
    if contacts.unused_columns:
        # With a mapping they were chosen; in Phonon's template one may be misspelt.
        tell = log.warning if campaign.mapping is None else log.info
        tell("list.unused_columns", columns=list(contacts.unused_columns))
    return contacts


def look_over(campaign: Campaign, given: Sequence[str]) -> "ContactList":
    """Open the list that the command line names, or else the campaign.

    Raises ListError if there is none, or if it can't be used.
    """
    from phonon_bulk.source.contacts import open_list

    return open_list(campaign, given, os.environ)


def known_run(settings: Settings, campaign: Campaign, given: Sequence[str]) -> int | None:
    """Return the run that has read this very list to its end, if that can be told without reading.

    The files must be those that were read then, untouched since: of the same size, times and
    inode. A file that had been changed within the last seconds before it was read is not trusted,
    as its times can't tell two changes in a row.
    """
    paths = list(given) or list(campaign.paths)
    elsewhere = any(path == "-" or "://" in path for path in paths)
    if not paths or elsewhere or not is_there(settings.journal_path):
        return None
    try:
        marks = {str(file.absolute()): list(mark_now(file)) for file in find_files(paths).files}
    except OSError:  # gone meanwhile; whoever reads it will say so
        return None
    with SqliteBooks(settings.journal_path) as books:
        for run in books.runs_of(campaign.name, campaign.account, campaign.endpoint):
            is_same = _decoded_alike(run, campaign) and _is_of(orjson.loads(run.list), marks)
            if run.read_at is not None and is_same:
                found = books.find(run_identity(campaign, run.list_sha256, time.time()))
                is_read = found is not None and books.run(found).read_at is not None
                return found if is_read else None
    return None


def _decoded_alike(run: Run, campaign: Campaign) -> bool:
    """Say whether the same file gives the same list: another sheet of a workbook is another one."""
    begun = orjson.loads(run.definition)
    return (begun.get("sheet"), begun.get("encoding")) == (campaign.sheet, campaign.encoding)


def _is_of(read: dict[str, Any], marks: dict[str, list[int]]) -> bool:
    """Say whether a list, as the journal has it, was read from files with these marks."""
    trusted_before = (read.get("looked_at", 0.0) - _COARSEST_TICK) * 1e9
    as_read = {entry["path"]: entry.get("mark") for entry in read["files"]}
    return as_read == marks and all(changed < trusted_before for _, _, changed, _ in marks.values())


def run_identity(campaign: Campaign, list_sha256: str, now: float) -> str:
    """Return what makes a run of a campaign over a list the same as another, begun at `now`."""
    day = str(today_in_india(now)) if campaign.once is Once.DAY else None
    return identity_of(campaign.name, campaign.account, campaign.endpoint, list_sha256, day)


def read_from(
    settings: Settings, contacts: "ContactList", campaign: Campaign, *, after_row: int = 0
) -> Reading:
    """Return the list as it is to be read into bodies of this campaign."""

    def placed(run: int, after_row: int) -> Iterator[Sequence[str]]:
        return placed_before(settings, campaign, run, after_row)

    room = room_for_calls(campaign.flow_id, SECURITY_ID_LENGTH)
    return Reading(contacts.with_placed(placed), room, after_row)


def placed_before(
    settings: Settings, campaign: Campaign, run: int, after_row: int
) -> Iterator[Sequence[str]]:
    """Yield the keys of calls that make a row of this run a duplicate, many at once.

    They are those of earlier runs of the campaign, as far back as it says, and of this run itself
    as far as its list was read (`after_row`). Opens the journal when the first is asked for.
    """
    if not is_there(settings.journal_path):
        return
    by, days = campaign.checks.duplicates_by, campaign.checks.duplicates_days
    with SqliteBooks(settings.journal_path) as books:
        if days and not _is_again(books, run):
            since = time.time() - days * DAY
            _warn_of_pruned(books, campaign, since, run)
            yield from books.placed(
                campaign.name, campaign.account, since=since, by=by.value, but_not=run
            )
        if after_row:
            yield from books.placed_in(run, by.value)


def _warn_of_pruned(books: SqliteBooks, campaign: Campaign, since: float, run: int) -> None:
    """Say which earlier runs have duplicates that can't be found: nobody knows whom they called."""
    pruned = books.pruned_since(campaign.name, campaign.account, since, but_not=run)
    if pruned:
        log.warning(
            "duplicates.unknown",
            runs=[one.id for one in pruned],
            opened_on=sorted({str(today_in_india(one.created_at)) for one in pruned}),
            what="whom these runs called was deleted (prune), so that is not known any more within"
            f" the {campaign.checks.duplicates_days} days of checks.duplicates_days: set it lower"
            " than the days after which contact data is pruned",
        )


def _is_again(books: SqliteBooks, run: int) -> bool:
    """Say whether a run was begun to call everybody once more, whoever was called before."""
    with contextlib.suppress(RunError):  # there is none yet: its list is only checked
        return "+" in books.run(run).identity
    return False


def kept_folder(settings: Settings, run: int) -> Path:
    """Return where the list of a run is kept that could be read once only, until it is read."""
    journal = settings.journal_path
    return journal.with_name(f"{journal.name}.lists") / f"run-{run}"


def keep(settings: Settings, run: int, contacts: "ContactList") -> None:
    """Keep a list that can be read once only, so that `resume` can read on.

    Raises ListError if there is no room for it.
    """
    folder = kept_folder(settings, run)
    if not contacts.files and not folder.exists():
        contacts.keep(folder)


def clear_kept(settings: Settings) -> None:
    """Delete the kept lists of runs that need them no more."""
    kept = kept_folder(settings, 0).parent
    if not kept.is_dir():
        return
    # A journal that fails has been complained of already.
    with contextlib.suppress(JournalError), SqliteBooks(settings.journal_path) as books:
        for folder in kept.glob("run-*"):
            with contextlib.suppress(RunError, ValueError):
                number = folder.name.removeprefix("run-").partition(".")[0]
                if books.run(int(number)).read_at is None:
                    continue
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are in it
        kept.rmdir()


def reopen_list(settings: Settings, run: Run, campaign: Campaign) -> "ContactList":
    """Open the list of a run that was not read to its end, and see that it is the same still.

    Raises ListError if it has changed since: its rows can't be told from those read already.
    """
    from phonon_bulk.source.contacts import open_kept, open_list

    paths = [entry["path"] for entry in orjson.loads(run.list)["files"]]
    if paths:
        contacts = open_list(campaign, paths, os.environ)
    else:
        contacts = open_kept(campaign, kept_folder(settings, run.id), os.environ)
    if contacts.sha256 != run.list_sha256:
        raise ListError(
            f"the list of run {run.id} was read up to row {run.rows:,} and has changed since, so "
            "it can't be read on. Put the old file back; or send only what was read, with "
            f"`phonon-bulk resume {run.id} --without-rest`"
        )
    return contacts
