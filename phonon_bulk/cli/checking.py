"""What `phonon-bulk check` does: reads and checks a list, and adds up what would come of it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phonon_bulk.batch import SECURITY_ID_LENGTH, room_for_calls
from phonon_bulk.call import read_end
from phonon_bulk.cli import lists
from phonon_bulk.cli.jobs import end_of
from phonon_bulk.cli.session import set_limits
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import JournalUnusable, SettingsError
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.plan import Pace, add_up, first_body, timing
from phonon_bulk.report.plan_text import Plan

if TYPE_CHECKING:
    from phonon_bulk.source.contacts import ContactList

_DAY = 86_400.0


def begins_at(text: str | None, now: float) -> float:
    """Return the moment for which a plan is made: now, or the next time that it is so late.

    `text` is a time of day like "01:20" (in India), or a date and time. Raises SettingsError for
    anything else, and for a date and time that is past.
    """
    if text is None:
        return now
    try:
        at = read_end(text, now)
    except ValueError:
        problem = f'--at: expected a time of day like "01:20", or a date and time, found "{text}"'
        raise SettingsError([problem]) from None
    if at < now and len(text) <= len("01:20"):
        at += _DAY
    if at < now:
        raise SettingsError([f"--at: {text} is past"])
    return at


def check(
    settings: Settings, campaign: Campaign, contacts: "ContactList", begins: float, *, quiet: bool
) -> Plan:
    """Read and check all rows, as `run` would if it were begun at `begins` (since the epoch).

    Raises ListError if the list can't be read to its end.
    """
    room = room_for_calls(campaign.flow_id, SECURITY_ID_LENGTH)
    reading = lists.read_from(settings, contacts, campaign).contacts
    number = _next_run(settings)
    chunks = reading.chunks(run=number, now=begins, room=room)
    with _progress(contacts.rows, quiet=quiet) as progress:
        sums = add_up(chunks, room, progress)
    end = end_of(campaign, begins, own_start_times=contacts.own_start_times)
    pace = _pace(settings, campaign)
    window = campaign.checks.window
    return Plan(
        campaign=campaign.name,
        source=contacts.name,
        sums=sums,
        timing=timing(sums.calls_of, pace, begins, end),
        limit=pace.limits.in_words(),
        window=None if window is None else str(window),
        unused_columns=contacts.unused_columns,
        remarks=(*contacts.remarks, *_known(settings, campaign, contacts, begins)),
        first_body=first_body(sums, campaign.flow_id),
    )


def _pace(settings: Settings, campaign: Campaign) -> Pace:
    """Return how fast the endpoint may be used: by the settings, or by what is in force now."""
    chosen = settings.endpoint(campaign.endpoint)
    limits = set_limits(settings, campaign.endpoint)
    if settings.journal_path.exists():
        with SqliteBooks(settings.journal_path) as books:
            rate = books.rate(campaign.account, campaign.endpoint)
        limits = limits if rate is None else rate.limits
    return Pace(limits, chosen.headroom, chosen.ramp)


def _next_run(settings: Settings) -> int:
    """Return the number that a run would have."""
    if not settings.journal_path.exists():
        return 1
    with SqliteBooks(settings.journal_path) as books:
        return max((run.id for run in books.runs(1)), default=0) + 1


def _known(
    settings: Settings, campaign: Campaign, contacts: "ContactList", now: float
) -> Iterator[str]:
    """Say so if the campaign has a run of this very list already."""
    if not settings.journal_path.exists():
        return
    identity = lists.run_identity(campaign, contacts.sha256, now)
    try:
        with SqliteBooks(settings.journal_path) as books:
            run = books.find(identity)
    except JournalUnusable:
        return
    if run is not None:
        yield (
            f"run {run} of this campaign is of this very list: `run` goes on with it, or says that"
            " it is done; --again sends all of it once more"
        )


@contextmanager
def _progress(rows: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and nothing elsewhere: it takes about 3 s a million rows."""
    if quiet or not sys.stderr.isatty():
        yield lambda _row: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=rows)
        yield lambda row: bar.update(task, completed=row)


def now() -> float:
    """Return the moment, in seconds since the epoch."""
    return time.time()
