"""Wires a run together: journal, limiter, endpoint, dispatcher, list, progress, signals."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import structlog
from pydantic import SecretStr

from phonon_bulk.batch import Head
from phonon_bulk.cli.progress import Progress
from phonon_bulk.cli.session import Flags, begin_logging, on_signals
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.dispatch import Dispatcher, Outcome
from phonon_bulk.errors import JournalError
from phonon_bulk.jobs import lists
from phonon_bulk.jobs.opening import Job
from phonon_bulk.jobs.wiring import ask_of, limiter_for, pace_of
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.runner import carry_out, read_list

log = structlog.get_logger("phonon_bulk")


def security_id(settings: Settings, campaign: Campaign) -> SecretStr:
    """Return the security id of the campaign's account; warn if others can read its file.

    Raises SettingsError if there is none.
    """
    found = settings.security_id(campaign.account)
    warning = settings.security_id_file_warning(campaign.account)
    if warning:
        log.warning("security_id.readable_by_others", what=warning)
    return found


@contextlib.asynccontextmanager
async def open_journal(settings: Settings) -> AsyncIterator[SqliteJournal]:
    """Open the journal of the settings for writing."""
    journal = SqliteJournal(settings.journal_path, settings.sending.journal_wait)
    try:
        yield journal
    finally:
        await journal.close()
        lists.clear_kept(settings)


async def send(
    journal: SqliteJournal, job: Job, settings: Settings, security_id: SecretStr, flags: Flags
) -> Outcome:
    """Send a run until it is done or stopped, showing how it goes."""
    from phonon_bulk.endpoint import Endpoint  # slow to load

    name = job.campaign.endpoint
    chosen = settings.endpoint(name)
    ask = ask_of(
        settings,
        job.campaign.account,
        name,
        owner=journal.owner,
        run=job.run,
        weight=job.campaign.weight,
    )
    stop, slots = asyncio.Event(), limiter_for(journal, ask)
    async with Endpoint(name, chosen) as endpoint:
        dispatcher = Dispatcher(
            journal,
            endpoint,
            slots,
            Head(security_id.get_secret_value(), job.flow_id),
            run=job.run,
            pace=pace_of(settings.sending, chosen.workers),
            not_after=job.not_after,
        )
        on_signals(stop, dispatcher.abort, settings.sending.drain_timeout)
        async with Progress(
            dispatcher.tally,
            quiet=flags.quiet,
            rate=lambda: slots.rate,
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


def now() -> float:
    """Return the moment from which a command counts its seconds."""
    return time.monotonic()


def begin(flags: Flags) -> float:
    """Begin a sending command: logging is on, the clock runs."""
    begin_logging(flags)
    return now()
