"""Wires a run together: journal, limiter, endpoint, dispatcher, list, progress, signals."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import structlog
from pydantic import SecretStr

from phonon_bulk.batch import Head
from phonon_bulk.cli.progress import Progress
from phonon_bulk.cli.session import Flags, on_signals
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.dispatch import Dispatcher, Ending, Outcome
from phonon_bulk.errors import JournalError
from phonon_bulk.jobs import lists
from phonon_bulk.jobs.alone import wait_to_be_alone
from phonon_bulk.jobs.hours import Bounds
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
    journal: SqliteJournal,
    job: Job,
    settings: Settings,
    security_id: SecretStr,
    flags: Flags,
    *,
    bounds: Bounds,
    alone: bool,
) -> Outcome:
    """Send a run until it is done, stopped or out of time, showing how it goes.

    Raises NotNowError if it is to be alone, and another process is at work on its campaign.
    """
    what = ("reads", "sends") if job.reading else ("sends",)
    try:
        async with at_work(journal, job.run, *what):
            if alone:
                await wait_to_be_alone(settings, job.campaign, journal.owner)
            return await _send(journal, job, settings, security_id, flags, bounds)
    except JournalError as error:
        again = f"`phonon-bulk resume {job.run}`"
        raise JournalError(f"{error}. When that is mended, go on with {again}") from None


@contextlib.asynccontextmanager
async def at_work(journal: SqliteJournal, run: int, *whats: str) -> AsyncIterator[None]:
    """Let others see that this process is at work on a run: that it `reads`, or `sends`.

    A journal that has failed can't be told that it ended; that this process is dead then says it.
    """
    since = time.time()
    try:
        for what in whats:
            await journal.begin_work(run, what, since)
        yield
    finally:
        with contextlib.suppress(JournalError):
            for what in whats:
                await journal.end_work(run, what)


async def _send(
    journal: SqliteJournal,
    job: Job,
    settings: Settings,
    security_id: SecretStr,
    flags: Flags,
    bounds: Bounds,
) -> Outcome:
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
            pace=pace_of(settings.sending, chosen),
            not_after=job.not_after,
        )
        on_signals(stop, dispatcher.abort, settings.sending.drain_timeout)
        progress = Progress(
            dispatcher.tally,
            quiet=flags.quiet,
            rate=lambda: slots.rate,
            known=job.contacts_known,
            done=job.contacts_done,
            rows_to_read=job.reading.contacts.rows if job.reading else None,
        )
        async with progress:
            with stopping_in_time(bounds, stop) as over:
                outcome = await carry_out(
                    journal, dispatcher, job.run, reading=job.reading, stop=stop, watcher=progress
                )
    if over and outcome == Outcome(Ending.TOLD):
        return replace(outcome, reason=over[0])
    return outcome


@contextlib.contextmanager
def stopping_in_time(bounds: Bounds, stop: asyncio.Event) -> Iterator[list[str]]:
    """Set `stop` when the time is up; the list that is given then holds why."""
    over: list[str] = []

    async def watch() -> None:
        while (why := bounds.over(time.time(), time.monotonic())) is None:
            left = bounds.left(time.time(), time.monotonic())
            # The clock may be set, and the machine may sleep: so it is looked at now and then.
            await asyncio.sleep(_LOOK_AGAIN if left is None else min(left, _LOOK_AGAIN))
        if not stop.is_set():
            over.append(why)
            log.info("stop.out_of_time", why=why)
            stop.set()

    if bounds.left(time.time(), time.monotonic()) is None:
        yield over
        return
    task = asyncio.create_task(watch(), name="bounds")
    try:
        yield over
    finally:
        task.cancel()


_LOOK_AGAIN = 10.0
"""Seconds."""


async def only_read(journal: SqliteJournal, job: Job, flags: Flags) -> bool:
    """Read a list into the journal without sending; say whether it was read to its end."""
    stop = asyncio.Event()
    on_signals(stop, stop.set, 0)
    if job.reading is None:
        return True
    async with (
        at_work(journal, job.run, "reads"),
        Progress(None, quiet=flags.quiet, rows_to_read=job.reading.contacts.rows) as progress,
    ):
        return await read_list(journal, job.run, job.reading, stop, progress)
