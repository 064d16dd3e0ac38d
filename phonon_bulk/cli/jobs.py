"""Which run a sending command works on: begun anew, found, or gone on with."""

import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from phonon_bulk.batch import SECURITY_ID_LENGTH, room_for_calls
from phonon_bulk.call import read_end, today_in_india
from phonon_bulk.config import Campaign, Once, Settings
from phonon_bulk.errors import ListError, ReadElsewhereError, RunError, SettingsError
from phonon_bulk.journal import Control, NewRun, Run, identity_of
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.summary import Summary, summarize
from phonon_bulk.runner import Reading
from phonon_bulk.source.files import find_files, mark_now

if TYPE_CHECKING:  # DuckDB and Arrow are slow to load, and a run that was read needs neither
    from phonon_bulk.source.contacts import ContactList

log = structlog.get_logger("phonon_bulk")

_FLOW_ID = re.compile(r"[A-Za-z0-9]{8}")


@dataclass(frozen=True, slots=True)
class Job:
    """One run, with all that is needed to send it."""

    run: int
    campaign: Campaign
    flow_id: str
    not_after: float | None
    """Seconds since the epoch after which nothing is sent."""
    reading: Reading | None
    contacts_known: int = 0
    """Calls in the journal already."""
    contacts_done: int = 0
    """Calls settled already."""


@dataclass(frozen=True, slots=True)
class Done:
    """A run with nothing left to do."""

    run: int


def read_from(contacts: "ContactList", campaign: Campaign, *, after_row: int = 0) -> Reading:
    """Return the list as it is to be read into bodies of this campaign."""
    return Reading(contacts, room_for_calls(campaign.flow_id, SECURITY_ID_LENGTH), after_row)


def open_campaign_list(campaign: Campaign, given: Sequence[str]) -> "ContactList":
    """Open the list that the command line names, or else the campaign; warn of unused columns.

    Raises ListError if there is none, or if it can't be used.
    """
    paths = list(given) or list(campaign.paths)
    if not paths:
        raise ListError(
            "which list? Name it after the campaign file, or in the campaign's [source] as path"
        )
    from phonon_bulk.source.contacts import open_list

    contacts = open_list(paths, campaign.mapping, campaign.delimiter)
    if contacts.unused_columns:
        log.warning("list.unused_columns", columns=list(contacts.unused_columns))
    return contacts


def new_run(campaign: Campaign, contacts: "ContactList", now: float) -> NewRun:
    """Return the run of a campaign over a list, as the journal keeps it.

    `now` is in seconds since the epoch.
    """
    files = [
        {"path": str(path.absolute()), "mark": mark}
        for path, mark in zip(contacts.files, contacts.marks, strict=True)
    ]
    read = {"files": files, "bytes": contacts.bytes, "looked_at": contacts.looked_at}
    return NewRun(
        campaign=campaign.name,
        account=campaign.account,
        endpoint=campaign.endpoint,
        flow_id=campaign.flow_id,
        definition=campaign.to_json(),
        list=orjson.dumps(read).decode(),
        list_sha256=contacts.sha256,
        identity=_identity(campaign, contacts.sha256, now),
        not_after=end_of(campaign, now),
    )


def _identity(campaign: Campaign, list_sha256: str, now: float) -> str:
    day = str(today_in_india(now)) if campaign.once is Once.DAY else None
    return identity_of(campaign.name, campaign.account, campaign.endpoint, list_sha256, day)


def known_run(settings: Settings, campaign: Campaign, given: Sequence[str]) -> int | None:
    """Return the run that has read this very list to its end, if that can be told without reading.

    The files must be those that were read then, untouched since: of the same size, times and
    inode. A file that had been changed within the last seconds before it was read is not trusted,
    as its times can't tell two changes in a row.
    """
    paths = list(given) or list(campaign.paths)
    if not paths or not settings.journal_path.exists():
        return None
    try:
        marks = {str(file.absolute()): list(mark_now(file)) for file in find_files(paths)}
    except OSError:  # gone meanwhile; whoever reads it will say so
        return None
    with SqliteBooks(settings.journal_path) as books:
        for run in books.runs_of(campaign.name, campaign.account, campaign.endpoint):
            if run.read_at is not None and _is_of(orjson.loads(run.list), marks):
                found = books.find(_identity(campaign, run.list_sha256, time.time()))
                is_read = found is not None and books.run(found).read_at is not None
                return found if is_read else None
    return None


def _is_of(read: dict[str, Any], marks: dict[str, list[int]]) -> bool:
    """Say whether a list, as the journal has it, was read from files with these marks."""
    trusted_before = (read.get("looked_at", 0.0) - _COARSEST_TICK) * 1e9
    as_read = {entry["path"]: entry.get("mark") for entry in read["files"]}
    return as_read == marks and all(changed < trusted_before for _, _, changed, _ in marks.values())


def find_list(
    settings: Settings, campaign: Campaign, given: Sequence[str], *, again: bool
) -> "ContactList | int":
    """Return the run that has read the list to its end; or the list, looked over.

    Raises ListError if there is none, or if it can't be used.
    """
    run = None if again else known_run(settings, campaign, given)
    return open_campaign_list(campaign, given) if run is None else run


_COARSEST_TICK = 2.0
"""Seconds: no file system's times are coarser."""


def end_of(campaign: Campaign, now: float) -> float | None:
    """Return the moment after which nothing of a campaign is sent that is started at `now`."""
    return None if campaign.not_after is None else read_end(campaign.not_after, now)


def refuse_to_begin_late(campaign: Campaign, now: float) -> None:
    """Raise SettingsError for a run to be begun at `now` of which nothing could be sent."""
    end = end_of(campaign, now)
    if end is not None and end <= now:
        problem = (
            f"campaign.not_after: {campaign.not_after} is past, so nothing of this list could be "
            "sent. Set a later one (a time of day is that of today in India)"
        )
        raise SettingsError([problem])


def reopen_list(run: Run, campaign: Campaign, paths: Sequence[str]) -> "ContactList":
    """Open the list of a run that was not read to its end, and see that it is the same still.

    Raises ListError if it has changed since: its rows can't be told from those read already.
    """
    from phonon_bulk.source.contacts import open_list

    contacts = open_list(paths, campaign.mapping, campaign.delimiter)
    if contacts.sha256 != run.list_sha256:
        raise ListError(
            f"the list of run {run.id} was read up to row {run.rows:,} and has changed since, so "
            "it can't be read on. Put the old file back; or send only what was read, with "
            f"`phonon-bulk resume {run.id} --without-rest`"
        )
    return contacts


def job_to_resume(
    settings: Settings, number: int, flow_id: str | None, *, without_rest: bool
) -> Job:
    """Return a run as it is to be gone on with.

    Raises RunError if there is no such run or it was cancelled, ListError if the rest of its list
    can't be read, SettingsError if `flow_id` is none.
    """
    with SqliteBooks(settings.journal_path) as books:
        run, summary = books.run(number), summarize(books, number)
    if run.control is Control.CANCELLED:
        raise _cancelled(number)
    campaign = Campaign.from_json(run.definition)
    if flow_id is not None and not _FLOW_ID.fullmatch(flow_id):
        raise SettingsError(["--flow-id: expected 8 letters and digits"])
    contacts = None
    if run.read_at is None and not without_rest:
        paths = [entry["path"] for entry in orjson.loads(run.list)["files"]]
        contacts = reopen_list(run, campaign, paths)
    return _job(run, summary, campaign, contacts, flow_id or run.flow_id, run.not_after)


def _cancelled(run: int) -> RunError:
    return RunError(
        f"run {run} was cancelled, and nothing of it can be sent any more; to send its list "
        "all the same: `phonon-bulk run` with --again"
    )


def _job(
    run: Run,
    summary: Summary,
    campaign: Campaign,
    contacts: "ContactList | None",
    flow_id: str,
    not_after: float | None,
) -> Job:
    return Job(
        run=run.id,
        campaign=campaign,
        flow_id=flow_id,
        not_after=not_after,
        reading=read_from(contacts, campaign, after_row=run.rows) if contacts else None,
        contacts_known=summary.calls,
        contacts_done=summary.calls - summary.to_send,
    )


async def open_job(
    journal: SqliteJournal,
    settings: Settings,
    campaign: Campaign,
    contacts: "ContactList | int",
    *,
    again: bool,
) -> Job | Done:
    """Open a run of a campaign over a list, or go on with the one there is.

    `contacts` is the list, or the number of the run that has read it to its end.

    Raises RunError if the run there is was cancelled, SettingsError if it is too late to begin one.
    """
    if isinstance(contacts, int):
        return await _found(journal, settings, contacts, campaign, None)
    now = time.time()
    new = new_run(campaign, contacts, now)
    with SqliteBooks(settings.journal_path) as books:
        if again or books.find(new.identity) is None:
            refuse_to_begin_late(campaign, now)
    opened = await journal.open_run(new, now, again=again)
    if not opened.is_new:
        return await _found(journal, settings, opened.run, campaign, contacts)
    log.info("run.opened", run=opened.run, campaign=campaign.name, endpoint=campaign.endpoint)
    reading = read_from(contacts, campaign)
    return Job(opened.run, campaign, campaign.flow_id, new.not_after, reading)


async def _found(
    journal: SqliteJournal,
    settings: Settings,
    number: int,
    campaign: Campaign,
    contacts: "ContactList | None",
) -> Job | Done:
    """Go on with a run that was found; the flow and the end are those of the campaign at hand."""
    with SqliteBooks(settings.journal_path) as books:
        run, summary = books.run(number), summarize(books, number)
    if summary.state == "done":
        return Done(number)
    if run.control is Control.CANCELLED:
        raise _cancelled(number)
    log.info("run.found", run=number, campaign=campaign.name, state=summary.state)
    begun = Campaign.from_json(run.definition)
    if _lasting(campaign) != _lasting(begun):
        log.warning("campaign.changed", run=number, what="the run goes on as it was begun")
    rest = None
    if run.read_at is None and contacts is not None:
        same = (begun.mapping, begun.delimiter) == (campaign.mapping, campaign.delimiter)
        paths = [str(path) for path in contacts.files]
        rest = contacts if same else reopen_list(run, begun, paths)
    end = end_of(campaign, time.time())
    job = _job(run, summary, begun, rest, campaign.flow_id, end)
    await set_going(journal, job, end_reading=False)
    return job


def _lasting(campaign: Campaign) -> Campaign:
    """Return a campaign but for what may change between a run's beginning and its end."""
    return campaign.model_copy(update={"flow_id": "", "not_after": None, "paths": ()})


async def set_going(journal: SqliteJournal, job: Job, *, end_reading: bool) -> None:
    """Let a run go on that was stopped or paused, with what was changed for it."""
    await journal.control(job.run, Control.GO, [Control.GO, Control.STOPPED, Control.PAUSED])
    await journal.amend(job.run, job.flow_id, job.not_after)
    if end_reading:
        with contextlib.suppress(ReadElsewhereError):  # it was read to its end already
            await journal.finish_reading(job.run, time.time(), whole=False)
