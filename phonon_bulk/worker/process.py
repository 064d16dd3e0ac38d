"""The whole of the worker: what runs while a journal is open, and what outlives that.

The door, the metrics and the signals live as long as the process. All that needs the journal lives
in a session: it ends when the process is told to stop, when the settings are reloaded, or when the
journal fails, and then begins anew as soon as the journal can be used again.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog

from phonon_bulk.config import Campaign, Settings
from phonon_bulk.dispatch import Posted, Tally
from phonon_bulk.errors import JournalError, JournalUnusable
from phonon_bulk.jobs import lists
from phonon_bulk.journal import StoppedRun
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.observe.standing import Standing
from phonon_bulk.response import concerns_account
from phonon_bulk.worker.crew import Crew
from phonon_bulk.worker.drop import DropFolders
from phonon_bulk.worker.looking import look_for_runs
from phonon_bulk.worker.pruning import prune_old
from phonon_bulk.worker.realtime import Behind, Realtime, close_days, count_waiting
from phonon_bulk.worker.reload import changes, kept_back
from phonon_bulk.worker.senders import Senders, add
from phonon_bulk.worker.tickets import Tickets

log = structlog.get_logger("phonon_bulk.worker")

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 10.0
"""Seconds between two tries to open a journal that is away."""

_MORE_THAN_DRAIN = 15.0
"""Seconds beyond `drain_timeout` that a session's tasks have to end in."""


class Told(StrEnum):
    """What the process was told last."""

    GO_ON = "go on"
    RELOAD = "reload"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Hooks:
    """Whom the worker tells what it does: metrics, traces."""

    posted: Callable[[Posted], None] = lambda _posted: None
    committed: Callable[[float, int], None] = lambda _seconds, _changes: None


class Worker:
    """Sends whatever is in the journal until it is told to stop."""

    def __init__(self, settings: Settings, campaigns: Sequence[Campaign] = ()) -> None:
        """Send as `settings` have it, and take what comes into the folders of `campaigns`."""
        self.settings = settings
        self.campaigns = campaigns
        self.realtime = Realtime(settings)
        self.hooks = Hooks()
        self.aborted = False
        """Whether it was told to end at once."""
        self._since = time.time()
        self._totals = Tally()
        self._told = Told.GO_ON
        self._waker = asyncio.Event()
        self._crew: Crew | None = None
        self._senders: Senders | None = None
        self._problem: str | None = None
        self._opened_once = False
        self.opened = asyncio.Event()
        """Set when the journal was opened for the first time."""

    # ---- what it is told

    def stop(self) -> None:
        """End gently: nothing more is sent, what is under way may end."""
        self._told = Told.STOP
        self.realtime.closed = "the worker is stopping"
        self._wake()

    def abort(self) -> None:
        """End at once: what was in flight is in doubt."""
        self.aborted = True
        self.stop()
        if self._senders is not None:
            self._senders.abort()

    def reload(self, settings: Settings, campaigns: Sequence[Campaign] = ()) -> None:
        """Go on with other settings and campaigns, and say what was changed."""
        self.campaigns = campaigns
        found = changes(self.settings, settings)
        for change in found:
            what = {"setting": change.name, "was": change.was, "now": change.now}
            log.info("settings.changed", **what, takes_hold=_when(at_once=change.at_once))
        if not found:
            log.info("settings.unchanged")
        # Security ids are in no comparison: those are read anew in any case.
        self.settings = kept_back(self.settings, settings)
        self.realtime.settings = self.settings
        if self._told is Told.GO_ON:
            self._told = Told.RELOAD
            self._wake()

    def _wake(self) -> None:
        self._waker.set()
        if self._crew is not None:
            self._crew.end.set()

    # ---- how it stands

    def standing(self) -> Standing:
        """Return how it stands just now."""
        totals, senders = Tally(), self._senders
        add(totals, self._totals)
        for tally in senders.tallies if senders else ():
            add(totals, tally)
        held = [*senders.unsendable.values(), *senders.stopped] if senders else []
        resting = senders.resting if senders else {}
        return Standing(
            since=self._since,
            sending=senders.busy if senders else (),
            accepted=totals.accepted,
            refused=totals.refused,
            in_doubt=totals.in_doubt,
            expired=totals.expired,
            requests=totals.requests,
            journal_problem=self._problem,
            blocked=tuple(f"run {run}: {why}" for run, why in sorted(_reasons(held).items())),
            barred=any(self._bars_all(one) for one in held),
            resting=tuple(f"run {run}: {why}" for run, why in resting.items()),
            draining=self._told is Told.STOP,
        )

    def _bars_all(self, held: StoppedRun) -> bool:
        """Say whether that which stopped a run stops all that this worker is for.

        One flow id that is wrong does not: anybody who may post a call can name one.
        """
        intake = self.settings.intake
        if not intake.enabled:
            return concerns_account(held.reason)
        if held.account != intake.account:
            return False
        return held.flow_id == intake.flow_id or concerns_account(held.reason)

    @property
    def ended(self) -> tuple[str, ...]:
        """The names of tasks that should go on and do not."""
        return tuple(self._crew.died) if self._crew is not None else ()

    # ---- its life

    async def run(self) -> None:
        """Live until told to stop.

        Raises JournalUnusable if the journal can't be opened at the start; later it is waited for.
        Raises what a task of its died of, after the others have ended what they were at.
        """
        wait = _FIRST_WAIT
        while self._told is not Told.STOP:
            self._told, began = Told.GO_ON, time.monotonic()
            self._waker.clear()
            try:
                await self._session()
            except JournalError as error:
                self._away(str(error))
            except JournalUnusable as error:
                if not self._opened_once:
                    raise
                self._away(str(error))
            else:
                continue
            wait = _FIRST_WAIT if time.monotonic() - began > _LONGEST_WAIT else wait
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._waker.wait(), wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _away(self, problem: str) -> None:
        if self._problem != problem:
            log.error("journal.away", what=problem)
        self._problem = problem

    async def _session(self) -> None:
        """Do all that needs a journal, until told otherwise; raises as opening a journal does."""
        settings = self.settings
        if self._opened_once and not settings.journal_path.exists():
            # A new one in its place would hide what the old one holds, and go when it comes back.
            raise JournalUnusable(
                f"the journal {settings.journal_path} is not there any more: put it back, with its"
                " -wal"
            )
        journal = SqliteJournal(
            settings.journal_path, settings.sending.journal_wait, self.hooks.committed
        )
        try:
            with SqliteBooks(journal.path) as books:
                await self._with(journal, books)
        finally:
            await journal.close()
            lists.clear_kept(settings)

    async def _with(self, journal: SqliteJournal, books: SqliteBooks) -> None:
        await journal.beat(time.time())  # a full disk can be opened
        returned, doubted = await journal.recover(journal.now(), self.settings.sending.replay_after)
        if returned or doubted:
            log.info("journal.recovered", returned=returned, in_doubt=doubted)
        tickets = Tickets(SqliteBooks(journal.path))
        self._is_there()
        crew = self._crew = Crew()
        senders = self._senders = self._make_senders(journal, crew)
        behind = Behind(journal, senders, tickets, crew.fail)
        self.realtime.attach(behind)
        try:
            self._start(crew, journal, books, behind)
            if self._told is not Told.GO_ON:
                crew.end.set()
            await crew.watch(self.settings.sending.drain_timeout + _MORE_THAN_DRAIN)
        finally:
            self.realtime.detach()
            self._crew = self._senders = None
            await tickets.close()  # the last answers are in the journal by now

    def _is_there(self) -> None:
        if self._problem is not None:
            log.info("journal.back")
        self._problem, self._opened_once = None, True
        self.opened.set()

    def _make_senders(self, journal: SqliteJournal, crew: Crew) -> Senders:
        return Senders(
            journal,
            self.settings,
            crew,
            observe=self._posted,
            totals=self._totals,
            stays=self.realtime.stays,
        )

    def _posted(self, posted: Posted) -> None:
        self.realtime.posted(posted)
        self.hooks.posted(posted)

    def _start(
        self, crew: Crew, journal: SqliteJournal, books: SqliteBooks, behind: Behind
    ) -> None:
        looking = look_for_runs(journal, books, behind.senders, self.settings, crew.end)
        crew.start("runs", looking)
        crew.start("tickets", behind.tickets.tell(crew.end))
        crew.start("count", count_waiting(behind, crew.end))
        crew.start("days", close_days(behind, crew.end))
        days = self.settings.worker.prune_after_days
        if days is not None:
            crew.start("pruning", prune_old(journal, days, crew.end))
        if self.campaigns:
            folders = DropFolders(self.settings, self.campaigns)
            crew.start("drop folders", folders.watch(journal, crew.end))


def _reasons(held: Sequence[StoppedRun]) -> dict[int, str]:
    return {one.run: one.reason for one in held}


def _when(*, at_once: bool) -> str:
    return "now" if at_once else "at the next start"
