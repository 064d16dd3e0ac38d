"""Wires a run together: journal, limiter, endpoint, dispatcher, list, progress, signals."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson
import structlog
import typer
from pydantic import SecretStr

from phonon_bulk.batch import SECURITY_ID_LENGTH, Head, room_for_calls
from phonon_bulk.cli.progress import Progress
from phonon_bulk.cli.session import Flags, begin_logging, on_signals, print_json
from phonon_bulk.config import Campaign, EndpointName, SendingSettings, Settings
from phonon_bulk.dispatch import Dispatcher, Ending, Outcome, Pace
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.errors import (
    Exit,
    JournalError,
    ListError,
    RunError,
    SettingsError,
    TransitionError,
)
from phonon_bulk.journal import Control, NewRun, Run, identity_of
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.limiter import Limiter
from phonon_bulk.report.summary import Summary, summarize, to_text
from phonon_bulk.retry import Policy
from phonon_bulk.runner import Reading, carry_out, read_list
from phonon_bulk.source import ContactList, open_list

log = structlog.get_logger("phonon_bulk")

_FLOW_ID = re.compile(r"[A-Za-z0-9]{8}")


@dataclass(frozen=True, slots=True)
class Job:
    """One run, with all that is needed to send it."""

    run: int
    campaign: Campaign
    flow_id: str
    reading: Reading | None
    contacts_known: int = 0
    """Calls in the journal already."""
    contacts_done: int = 0
    """Calls settled already."""


def limiter(settings: Settings, name: EndpointName) -> Limiter:
    """Return the limiter of an endpoint.

    Raises SettingsError for limits under which nothing could be sent.
    """
    chosen = settings.endpoint(name)
    try:
        return Limiter(chosen.requests_per_minute, chosen.calls_per_minute)
    except ValueError as error:
        raise SettingsError([f"endpoints.{name}: {error}"]) from None


def read_from(contacts: ContactList, campaign: Campaign, *, after_row: int = 0) -> Reading:
    """Return the list as it is to be read into bodies of this campaign."""
    return Reading(contacts, room_for_calls(campaign.flow_id, SECURITY_ID_LENGTH), after_row)


def open_campaign_list(campaign: Campaign, given: Sequence[str]) -> ContactList:
    """Open the list that the command line names, or else the campaign; warn of unused columns.

    Raises ListError if there is none, or if it can't be used.
    """
    paths = list(given) or list(campaign.paths)
    if not paths:
        raise ListError(
            "which list? Name it after the campaign file, or in the campaign's [source] as path"
        )
    contacts = open_list(paths, campaign.mapping, campaign.delimiter)
    if contacts.unused_columns:
        log.warning("list.unused_columns", columns=list(contacts.unused_columns))
    return contacts


def new_run(campaign: Campaign, contacts: ContactList) -> NewRun:
    """Return the run of a campaign over a list, as the journal keeps it."""
    files = [{"path": str(path.absolute())} for path in contacts.files]
    return NewRun(
        campaign=campaign.name,
        account=campaign.account,
        endpoint=campaign.endpoint,
        flow_id=campaign.flow_id,
        definition=campaign.to_json(),
        list=orjson.dumps({"files": files, "bytes": contacts.bytes}).decode(),
        list_sha256=contacts.sha256,
        identity=identity_of(campaign.name, campaign.account, campaign.endpoint, contacts.sha256),
    )


def reopen_list(run: Run, campaign: Campaign, at_hand: ContactList | None) -> ContactList:
    """Open the list of a run that was not read to its end, and see that it is the same still.

    `at_hand` is the same list as the caller found it, wherever it lies now.

    Raises ListError if it has changed since: its rows can't be told from those read already.
    """
    if at_hand is None:
        paths = [entry["path"] for entry in orjson.loads(run.list)["files"]]
    else:
        paths = [str(path) for path in at_hand.files]
    contacts = open_list(paths, campaign.mapping, campaign.delimiter)
    if contacts.sha256 != run.list_sha256:
        raise ListError(
            f"the list of run {run.id} was read up to row {run.rows:,} and has changed since, so "
            "it can't be read on. Put the old file back; or send only what was read, with "
            f"`phonon-bulk resume {run.id} --without-rest`"
        )
    return contacts


def security_id(settings: Settings, campaign: Campaign) -> SecretStr:
    """Return the security id of the campaign's account; warn if others can read its file.

    Raises SettingsError if there is none.
    """
    found = settings.security_id(campaign.account)
    warning = settings.security_id_file_warning(campaign.account)
    if warning:
        log.warning("security_id.readable_by_others", what=warning)
    return found


def job_to_resume(
    settings: Settings,
    number: int,
    flow_id: str | None,
    *,
    without_rest: bool,
    at_hand: ContactList | None = None,
) -> Job:
    """Return a run as it is to be gone on with; `at_hand` is as in `reopen_list`.

    Raises RunError if there is no such run or it was cancelled, ListError if the rest of its list
    can't be read, SettingsError if `flow_id` is none.
    """
    with SqliteBooks(settings.journal_path) as books:
        run, summary = books.run(number), summarize(books, number)
    if run.control is Control.CANCELLED:
        raise RunError(
            f"run {number} was cancelled, and nothing of it can be sent any more; to send its list "
            "all the same: `phonon-bulk run` with --again"
        )
    campaign = Campaign.from_json(run.definition)
    if flow_id is not None and not _FLOW_ID.fullmatch(flow_id):
        raise SettingsError(["--flow-id: expected 8 letters and digits"])
    reading = None
    if run.read_at is None and not without_rest:
        reading = read_from(reopen_list(run, campaign, at_hand), campaign, after_row=run.rows)
    return Job(
        run=number,
        campaign=campaign,
        flow_id=flow_id or run.flow_id,
        reading=reading,
        contacts_known=summary.calls,
        contacts_done=summary.calls - summary.to_send,
    )


async def open_job(
    journal: SqliteJournal,
    settings: Settings,
    campaign: Campaign,
    contacts: ContactList,
    *,
    again: bool,
) -> tuple[Job, bool]:
    """Open a run of a campaign over a list; or go on with the one there is.

    The second value is whether there is anything to do: False for a run that is done.

    Raises RunError if the run there is was cancelled.
    """
    opened = await journal.open_run(new_run(campaign, contacts), time.time(), again=again)
    if opened.is_new:
        log.info("run.opened", run=opened.run, campaign=campaign.name, endpoint=campaign.endpoint)
        return Job(opened.run, campaign, campaign.flow_id, read_from(contacts, campaign)), True
    with SqliteBooks(settings.journal_path) as books:
        run, summary = books.run(opened.run), summarize(books, opened.run)
    if summary.state == "done":
        return Job(opened.run, campaign, run.flow_id, None), False
    log.info("run.found", run=opened.run, campaign=campaign.name, state=summary.state)
    if without_flow(campaign) != without_flow(Campaign.from_json(run.definition)):
        log.warning("campaign.changed", run=opened.run, what="the run goes on as it was begun")
    job = job_to_resume(
        settings, opened.run, campaign.flow_id, without_rest=False, at_hand=contacts
    )
    await set_going(journal, job, end_reading=False)
    return job, True


def without_flow(campaign: Campaign) -> Campaign:
    """Return a campaign but for what may change between a run's beginning and its end."""
    return campaign.model_copy(update={"flow_id": "", "paths": ()})


def say_done(settings: Settings, run: int, flags: Flags) -> None:
    """Say that a list was sent already, by which run, and how to send it anew."""
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run)
    if flags.json:
        print_json(replace(summary, exit=Exit.DONE).to_dict())
    if not flags.quiet:
        typer.echo(
            f"phonon-bulk: done, run {run}: this campaign has sent this very list before "
            f"({summary.accepted:,} accepted). To call everybody in it once more: --again",
            err=flags.json,
        )


async def set_going(journal: SqliteJournal, job: Job, *, end_reading: bool) -> None:
    """Let a run go on that was stopped or paused, with what was changed for it."""
    await journal.control(job.run, Control.GO, [Control.GO, Control.STOPPED, Control.PAUSED])
    await journal.set_flow(job.run, job.flow_id)
    if end_reading:
        with contextlib.suppress(TransitionError):  # it was read to its end already
            await journal.finish_reading(job.run, time.time(), whole=False)


@contextlib.asynccontextmanager
async def open_journal(settings: Settings) -> AsyncIterator[SqliteJournal]:
    """Open the journal of the settings for writing."""
    journal = SqliteJournal(settings.journal_path)
    try:
        yield journal
    finally:
        await journal.close()


async def send(
    journal: SqliteJournal, job: Job, settings: Settings, security_id: SecretStr, flags: Flags
) -> Outcome:
    """Send a run until it is done or stopped, showing how it goes."""
    name = job.campaign.endpoint
    chosen = settings.endpoint(name)
    stop = asyncio.Event()
    async with Endpoint(name, chosen) as endpoint:
        dispatcher = Dispatcher(
            journal,
            endpoint,
            limiter(settings, name),
            Head(security_id.get_secret_value(), job.flow_id),
            run=job.run,
            pace=_pace(settings.sending, chosen.workers),
        )
        on_signals(stop, dispatcher.abort, settings.sending.drain_timeout)
        async with Progress(
            dispatcher.tally,
            quiet=flags.quiet,
            requests_per_minute=chosen.requests_per_minute,
            known=job.contacts_known,
            done=job.contacts_done,
            rows_to_read=job.reading.contacts.rows if job.reading else None,
        ) as progress:
            try:
                return await carry_out(
                    journal, dispatcher, job.run, reading=job.reading, stop=stop, watcher=progress
                )
            except JournalError as error:
                again = f"`phonon-bulk resume {job.run}`"
                raise JournalError(f"{error}. When that is mended, go on with {again}") from None


def _pace(sending: SendingSettings, workers: int) -> Pace:
    policy = Policy(sending.back_off_first, sending.back_off_most, sending.give_up_after)
    return Pace(
        workers=workers,
        lease=sending.lease,
        drain_timeout=sending.drain_timeout,
        replay_after=sending.replay_after,
        replay_within=sending.replay_within,
        policy=policy,
    )


async def only_read(journal: SqliteJournal, job: Job, flags: Flags) -> bool:
    """Read a list into the journal without sending; say whether it was read to its end."""
    stop = asyncio.Event()
    on_signals(stop, stop.set, 0)
    if job.reading is None:
        return True
    async with Progress(
        None, quiet=flags.quiet, rows_to_read=job.reading.contacts.rows
    ) as progress:
        return await read_list(journal, job.run, job.reading, stop, progress)


def report(
    settings: Settings, run: int, flags: Flags, seconds: float, *, only_read: bool = False
) -> Summary:
    """Print the summary of a run, as text or JSON.

    With `only_read` its exit code is that of reading alone: to be sent is not to have failed.
    """
    with SqliteBooks(settings.journal_path) as books:
        summary = summarize(books, run, seconds)
    if only_read and summary.list_read:
        summary = replace(summary, exit=Exit.SOME_FAILED if summary.rejected else Exit.DONE)
    if flags.json:
        print_json(summary.to_dict())
    elif not flags.quiet:
        typer.echo(to_text(summary))
    return summary


def conclude(settings: Settings, run: int, flags: Flags, outcome: Outcome, seconds: float) -> Exit:
    """Print the summary, say what to do next if the run is not done, return the exit code."""
    summary = report(settings, run, flags, seconds)
    for sentence in advice(outcome, summary):
        typer.echo(f"phonon-bulk: {sentence}", err=True)
    return Exit(summary.exit)


def advice(outcome: Outcome, summary: Summary) -> Iterator[str]:
    """Yield what the operator is to know and to do, a sentence or two each."""
    again = f"`phonon-bulk resume {summary.run}`"
    unfinished = bool(summary.to_send) or summary.state == "reading"
    match outcome.ending:
        case Ending.BLOCKED:
            reason = outcome.reason or ""
            yield f"stopped: {reason}. {how_to_mend(reason, summary.run)}"
        case Ending.LIST_BROKEN:
            yield (
                f"{outcome.reason}. Run {summary.run} ended at row {summary.rows:,}. Do not start "
                "the list anew: that would call again whom it has called. Put the list back as "
                f"it was and go on with {again}, or send only what was read with "
                f"`phonon-bulk resume {summary.run} --without-rest`"
            )
        case Ending.GIVEN_UP if unfinished:
            yield f"given up for now: {outcome.reason}. What is not sent is kept: {again} goes on"
        case Ending.TOLD if unfinished:
            why = f" ({outcome.reason})" if outcome.reason else ""
            yield f"stopped{why}. What is not sent is kept; go on with {again}"
    if summary.in_doubt:
        yield (
            f"{summary.in_doubt:,} calls may or may not have been taken by the provider. See "
            f"them with `phonon-bulk resolve {summary.run}`, and settle there what you can find out"
        )


def how_to_mend(reason: str, run: int) -> str:
    """Return what the operator is to do about a reason for which the provider refuses all."""
    for words, step in _MENDS.items():
        if words in reason:
            flag = " --flow-id ID" if "flow_id" in step else ""
            return f"{step}, then go on with `phonon-bulk resume {run}{flag}`"
    return f"Mend it with Phonon, then go on with `phonon-bulk resume {run}`"


_MENDS = {
    "Invalid Flow ID": "Correct flow_id in the campaign file (it stands on the flow's edit page in "
    "Phonon's console)",
    "Invalid Flow Version": "Publish the flow anew in Phonon's console, or correct flow_id in the "
    "campaign file",
    "Invalid Security ID": "Set the right security id (PHONON_BULK_SECURITY_ID, or the file named "
    "by security_id_file; it stands on the flow's edit page in Phonon's console)",
    "API Version not Supported": "Upgrade phonon-bulk",
    "IP Not Whitelisted": "Have this machine's public IP address allowed in Phonon's console",
    "IP is not allowed": "Have this machine's public IP address allowed in Phonon's console",
    "Insufficient Balance": "Top up the account with Phonon",
    "Validity Expired": "Renew the account with Phonon",
    "DID Not Mapped": "Have a caller number (DID) mapped to the flow in Phonon's console",
    "No Mask Available": "Have a caller mask added in Phonon's console",
    "Invalid SMS Gateway": "Have the flow's SMS gateway set right in Phonon's console",
    "endpoint's URL": "Correct the endpoint's url in phonon-bulk.toml",
    "a proxy on the way": "Set the proxy's login in the HTTPS_PROXY variable",
    "all rows seem to share": "See the list, the mapping and the flow's variables",
}


def now() -> float:
    """Return the moment from which a command counts its seconds."""
    return time.monotonic()


def begin(flags: Flags) -> float:
    """Begin a sending command: logging is on, the clock runs."""
    begin_logging(flags)
    return now()
