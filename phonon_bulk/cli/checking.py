"""What `phonon-bulk check` does: reads and checks a list, and adds up what would come of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from phonon_bulk.batch import SECURITY_ID_LENGTH, Head, room_for_calls
from phonon_bulk.call import read_end
from phonon_bulk.cli.limiting import in_force
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import SettingsError
from phonon_bulk.jobs import lists
from phonon_bulk.jobs.opening import end_of
from phonon_bulk.jobs.wiring import set_limits
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import is_current
from phonon_bulk.report.plan import Pace, add_up, first_body, timing
from phonon_bulk.report.plan_text import Plan
from phonon_bulk.schedule import Limits

if TYPE_CHECKING:
    from phonon_bulk.source.contacts import ContactList


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
        at += lists.DAY
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
    known = _Known.look(settings, campaign, contacts, begins)
    reading = lists.read_from(settings, contacts, campaign).contacts if known.is_there else contacts
    chunks = reading.chunks(run=known.run, now=begins, room=room)
    with _progress(contacts.rows, quiet=quiet) as progress:
        around = len(Head("0" * SECURITY_ID_LENGTH, campaign.flow_id).body(b""))
        sums = add_up(chunks, room, progress, around=around)
    end = end_of(campaign, begins, own_start_times=contacts.own_start_times)
    chosen = settings.endpoint(campaign.endpoint)
    pace = Pace(known.limits, chosen.headroom, chosen.ramp)
    window = campaign.checks.window
    return Plan(
        campaign=campaign.name,
        source=contacts.name,
        sums=sums,
        timing=timing(sums.calls_of, pace, begins, end),
        to=chosen.url,
        limit=pace.limits.in_words(),
        window=None if window is None else str(window),
        unused_columns=contacts.unused_columns,
        remarks=(*contacts.remarks, *known.remarks, *_without_window(campaign, contacts)),
        first_body=first_body(sums, campaign.flow_id),
    )


def _without_window(campaign: Campaign, contacts: "ContactList") -> Iterator[str]:
    """Say so if calls start whenever they are sent."""
    timed = contacts.own_start_times or (campaign.mapping and campaign.mapping.start_time)
    if campaign.checks.window is None and campaign.checks.spread is None and not timed:
        yield "no calling window is set (checks.window): calls start as soon as they are sent"


@dataclass(frozen=True, slots=True)
class _Known:
    """What the journal has to say; nothing, if there is none or if it is of an older version."""

    is_there: bool
    run: int
    """The number that the run of this list has, or would have."""
    limits: Limits
    """Those in force now, or those of the settings."""
    remarks: tuple[str, ...]

    @classmethod
    def look(
        cls, settings: Settings, campaign: Campaign, contacts: "ContactList", now: float
    ) -> Self:
        """Look into the journal without changing it."""
        limits, path = set_limits(settings, campaign.endpoint), settings.journal_path
        if not is_current(path):
            remarks = (_OLDER,) if path.exists() else ()
            return cls(is_there=False, run=1, limits=limits, remarks=remarks)
        identity = lists.run_identity(campaign, contacts.sha256, now)
        with SqliteBooks(path) as books:
            newest = max((run.id for run in books.runs(1)), default=0)
            rate = books.rate(campaign.account, campaign.endpoint)
            used = books.is_used(campaign.account, campaign.endpoint)
            run = books.find(identity)
        return cls(
            is_there=True,
            run=newest + 1 if run is None else run,
            limits=in_force(rate, limits, used=used).limits,
            remarks=() if run is None else (_SAME.format(run=run),),
        )


_OLDER = (
    "the journal is of an older version, and is not looked into: earlier runs and the limit in"
    " force are not known (`phonon-bulk status` brings it up to date; end what"
    " is running first)"
)
_SAME = (
    "run {run} of this campaign is of this very list: `run` goes on with it, or says that it is"
    " done; --again sends all of it once more"
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
