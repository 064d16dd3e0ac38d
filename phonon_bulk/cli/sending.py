"""Wires a run together: journal, limiter, endpoint, dispatcher, list, progress, signals."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import structlog
from pydantic import SecretStr

from phonon_bulk.batch import MAX_CALLS, Head
from phonon_bulk.cli import lists
from phonon_bulk.cli.jobs import Job
from phonon_bulk.cli.progress import Progress
from phonon_bulk.cli.session import Flags, begin_logging, on_signals, set_limits
from phonon_bulk.config import Campaign, EndpointName, SendingSettings, Settings
from phonon_bulk.dispatch import Dispatcher, JournalTokens, Outcome, Pace
from phonon_bulk.errors import JournalError, SettingsError
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.limiter import Limiter
from phonon_bulk.retry import Policy
from phonon_bulk.runner import carry_out, read_list
from phonon_bulk.schedule import Ask

log = structlog.get_logger("phonon_bulk")


def check_limits(settings: Settings, name: EndpointName) -> None:
    """Raise SettingsError for a limit under which a full batch could never be sent."""
    calls = settings.endpoint(name).calls_per_minute
    if calls is not None and calls < MAX_CALLS:
        text = f"endpoints.{name}.calls_per_minute: {calls} is too small: one request may hold"
        raise SettingsError([f"{text} {MAX_CALLS} calls"])


def limiter(journal: SqliteJournal, job: Job, settings: Settings) -> Limiter:
    """Return what grants slots to this process, out of the schedule that all share."""
    name = job.campaign.endpoint
    chosen = settings.endpoint(name)
    ask = Ask(
        account=job.campaign.account,
        endpoint=name,
        owner=journal.owner,
        run=job.run,
        weight=job.campaign.weight,
        limits=set_limits(settings, name),
        headroom=chosen.headroom,
        ramp=chosen.ramp,
    )
    return Limiter(JournalTokens(journal, ask), lambda: journal.now().steady)


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
    stop, slots = asyncio.Event(), limiter(journal, job, settings)
    async with Endpoint(name, chosen) as endpoint:
        dispatcher = Dispatcher(
            journal,
            endpoint,
            slots,
            Head(security_id.get_secret_value(), job.flow_id),
            run=job.run,
            pace=_pace(settings.sending, chosen.workers),
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


def now() -> float:
    """Return the moment from which a command counts its seconds."""
    return time.monotonic()


def begin(flags: Flags) -> float:
    """Begin a sending command: logging is on, the clock runs."""
    begin_logging(flags)
    return now()
