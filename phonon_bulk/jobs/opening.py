"""Which run a sending command works on: begun anew, found, or gone on with."""

import contextlib
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import orjson
import structlog

from phonon_bulk.call import read_end, read_start_time
from phonon_bulk.config import Campaign, Kind, Settings
from phonon_bulk.errors import ReadElsewhereError, RunError, SettingsError
from phonon_bulk.jobs import lists
from phonon_bulk.journal import Control, NewRun, Run
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.summary import Summary, summarize
from phonon_bulk.runner import Reading
from phonon_bulk.source.times import window_closes

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


def new_run(campaign: Campaign, contacts: "ContactList", now: float) -> NewRun:
    """Return the run of a campaign over a list, as the journal keeps it.

    `now` is in seconds since the epoch.
    """
    files = [
        {"path": str(path.absolute()), "mark": mark}
        for path, mark in zip(contacts.files, contacts.marks, strict=True)
    ]
    read = {
        "files": files,
        "bytes": contacts.bytes,
        "looked_at": contacts.looked_at,
        "own_start_times": contacts.own_start_times,
    }
    return NewRun(
        campaign=campaign.name,
        account=campaign.account,
        endpoint=campaign.endpoint,
        flow_id=campaign.flow_id,
        definition=campaign.to_json(),
        list=orjson.dumps(read).decode(),
        list_sha256=contacts.sha256,
        identity=lists.run_identity(campaign, contacts.sha256, now),
        not_after=end_of(campaign, now, own_start_times=contacts.own_start_times),
    )


def end_of(campaign: Campaign, now: float, *, own_start_times: bool) -> float | None:
    """Return the moment after which nothing of a campaign is sent that is started at `now`.

    It is its own, or when the calling window closes, if that is earlier: a call sent after that
    would start at once. Where the rows say themselves on which day they are to be called, the
    window is no end.
    """
    own = None if campaign.not_after is None else read_end(campaign.not_after, now)
    if own_start_times:
        return own
    value = campaign.mapping.start_time if campaign.mapping else None
    zone = ZoneInfo(campaign.checks.time_zone)
    moment = read_start_time(value.text, zone) if value and value.kind is not Kind.SQL else None
    closes = window_closes(campaign.checks, moment, now)
    return min((end for end in (own, closes) if end is not None), default=None)


def refuse_to_begin_late(campaign: Campaign, now: float) -> None:
    """Raise SettingsError for a run to be begun at `now` of which nothing could be sent."""
    end = None if campaign.not_after is None else read_end(campaign.not_after, now)
    if end is not None and end <= now:
        problem = (
            f"campaign.not_after: {campaign.not_after} is past, so nothing of this list could be "
            "sent. Set a later one (a time of day is that of today in India)"
        )
        raise SettingsError([problem])


def campaign_of(settings: Settings, number: int) -> Campaign:
    """Return the campaign of a run, as it was begun. Raises RunError if there is no such run."""
    with SqliteBooks(settings.journal_path) as books:
        return Campaign.from_json(books.run(number).definition)


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
        contacts = lists.reopen_list(settings, run, campaign)
    end = _end_to_resume(run, summary, campaign, time.time())
    return _job(settings, run, summary, campaign, contacts, flow_id or run.flow_id, end)


def _end_to_resume(run: Run, summary: Summary, campaign: Campaign, now: float) -> float | None:
    """Return a run's end; the window's next one, if its own was that of the window and is past.

    Raises RunError outside of the window, if calls would start at once.
    """
    window, zone = campaign.checks.window, ZoneInfo(campaign.checks.time_zone)
    if campaign.not_after is not None or run.not_after is None or now < run.not_after:
        return run.not_after
    if window is None or datetime.fromtimestamp(run.not_after, zone).time() != window.closes:
        return run.not_after
    _refuse_outside_window(run, summary, campaign, now)
    own_start_times = bool(orjson.loads(run.list).get("own_start_times"))
    return end_of(campaign, now, own_start_times=own_start_times)


def _cancelled(run: int) -> RunError:
    return RunError(
        f"run {run} was cancelled, and nothing of it can be sent any more; to send its list "
        "all the same: `phonon-bulk run` with --again"
    )


def _job(
    settings: Settings,
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
        reading=lists.read_from(settings, contacts, campaign, after_row=run.rows)
        if contacts
        else None,
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
            contacts.check_start(now)
    opened = await journal.open_run(new, now, again=again)
    if not opened.is_new:
        return await _found(journal, settings, opened.run, campaign, contacts)
    log.info(
        "run.opened",
        run=opened.run,
        campaign=campaign.name,
        endpoint=campaign.endpoint,
        url=settings.endpoint(campaign.endpoint).url,
    )
    lists.keep(settings, opened.run, contacts)
    reading = lists.read_from(settings, contacts, campaign)
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
    now = time.time()
    _refuse_outside_window(run, summary, campaign, now)
    log.info("run.found", run=number, campaign=campaign.name, state=summary.state)
    begun = Campaign.from_json(run.definition)
    if _lasting(campaign) != _lasting(begun):
        log.warning("campaign.changed", run=number, what="the run goes on as it was begun")
    rest = None
    if run.read_at is None and contacts is not None:
        lists.keep(settings, number, contacts)
        same = _read_how(campaign) == _read_how(begun)
        rest = contacts if same else lists.reopen_list(settings, run, begun)
    own_start_times = bool(orjson.loads(run.list).get("own_start_times"))
    end = end_of(campaign, now, own_start_times=own_start_times)
    job = _job(settings, run, summary, begun, rest, campaign.flow_id, end)
    await set_going(journal, job, end_reading=False)
    return job


def _refuse_outside_window(run: Run, summary: Summary, campaign: Campaign, now: float) -> None:
    """Raise RunError if calls that were made for a window that has closed would start at once."""
    window = campaign.checks.window
    if window is None or not summary.to_send:
        return
    local = datetime.fromtimestamp(now, ZoneInfo(campaign.checks.time_zone)).time()
    has_closed = run.not_after is not None and run.not_after <= now
    if has_closed and not window.opens <= local < window.closes:
        raise RunError(
            f"run {run.id} has calls that were made for a window which has closed, and they would"
            f" start at once: go on with it within {window}"
        )


def _lasting(campaign: Campaign) -> Campaign:
    """Return a campaign but for what may change between a run's beginning and its end."""
    passing = {"flow_id": "", "not_after": None, "paths": (), "watch": None, "folder": ""}
    return campaign.model_copy(update=passing)


def _read_how(campaign: Campaign) -> tuple[object, ...]:
    """Return all that has a say in what the rows of a list become."""
    text = (campaign.delimiter, campaign.quote, campaign.encoding, campaign.sheet)
    return (*text, campaign.mapping, campaign.checks)


async def set_going(journal: SqliteJournal, job: Job, *, end_reading: bool) -> None:
    """Let a run go on that was stopped or paused, with what was changed for it.

    That first: a worker may take the run up as soon as it is to go on.
    """
    await journal.amend(job.run, job.flow_id, job.not_after)
    if end_reading:
        with contextlib.suppress(ReadElsewhereError):  # it was read to its end already
            await journal.finish_reading(job.run, time.time(), whole=False)
    await journal.control(job.run, Control.GO, [Control.GO, Control.STOPPED, Control.PAUSED])
