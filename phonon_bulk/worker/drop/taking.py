"""One file of a watched folder, from its arrival into its run: what it becomes, and what to say.

The calls are sent by whoever sends what is in the journal. A run that was found is read on and left
otherwise as it is: one that somebody has paused stays so.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import (
    DamagedBodyError,
    JournalError,
    JournalUnusable,
    ListError,
    ReadElsewhereError,
    RunError,
    SettingsError,
)
from phonon_bulk.jobs import lists
from phonon_bulk.jobs.opening import Done, open_job
from phonon_bulk.journal import Control, Run
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.summary import Summary, summarize
from phonon_bulk.runner import Reading, read_list
from phonon_bulk.source.files import Mark, mark_now, mark_of
from phonon_bulk.submit import Portion
from phonon_bulk.worker.drop import slips
from phonon_bulk.worker.drop.arrivals import Step, by_content, by_mark, cut_off
from phonon_bulk.worker.drop.slips import Slip

if TYPE_CHECKING:  # DuckDB and Arrow are slow to load
    from phonon_bulk.source.contacts import ContactList

log = structlog.get_logger("phonon_bulk.drop")

READ_ELSEWHERE = 10.0
"""Seconds until a list is looked at again that another process reads into the same run."""
UNREADABLE_NOW = 60.0
"""Seconds until the rest of a begun list is tried again that can't be read just now."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Later:
    """The file stays where it is, and is looked at again after so many seconds."""

    seconds: float = 0.0
    why: str | None = None
    """What an operator should know; None if it is in the nature of things."""


class _Quiet:
    """Shows nothing: a file says at its end what became of it."""

    def read(self, portion: Portion) -> None:
        """See `runner.Watcher`."""

    def list_done(self) -> None:
        """See `runner.Watcher`."""


@dataclass(frozen=True, slots=True)
class Taking:
    """A file that is whole, and held by this process."""

    journal: SqliteJournal
    settings: Settings
    campaign: Campaign
    path: Path
    mark: Mark
    """As it was when it was held."""
    stop: asyncio.Event

    async def carry_out(self) -> Slip | Later:
        """Read the file into its run; return what became of it.

        Raises JournalError if the journal fails: what was read before stays, and is gone on with.
        """
        try:
            outcome = await self._carry_out()
        except JournalUnusable as error:  # it was there when the journal was opened
            raise JournalError(str(error)) from None
        if isinstance(outcome, Slip) and outcome.folder == slips.DONE and self._is_written_to():
            assert outcome.summary is not None  # noqa: S101 - some run has its rows
            return slips.written_to(outcome.summary)
        return outcome

    async def _carry_out(self) -> Slip | Later:
        runs = await self._ask(self._runs_of_file)
        if known := by_mark(runs, self.mark):
            assert known.run is not None  # noqa: S101 - it was known by its run
            return await self._of_run(known.step, known.run)
        try:
            contacts = await self._look_over(self.campaign)
        except ListError as error:
            return await self._not_a_list(runs, str(error))
        if contacts.marks[0] != self.mark:
            return Later()
        same = await self._ask(lambda books: self._same_list(books, contacts.sha256))
        decided = by_content(runs, same, contacts.sha256)
        if decided.run is not None:
            return await self._of_run(decided.step, decided.run)
        for run in decided.abandoned:
            await self._take_back(run, "its list was changed before the first row was read")
        return await self._begin(contacts)

    def _runs_of_file(self, books: SqliteBooks) -> list[Run]:
        of = self.campaign
        return books.runs_of_file(of.name, of.account, of.endpoint, str(self.path))

    def _same_list(self, books: SqliteBooks, sha256: str) -> Run | None:
        found = books.find(lists.run_identity(self.campaign, sha256, time.time()))
        return None if found is None else books.run(found)

    async def _look_over(self, campaign: Campaign) -> "ContactList":
        """Open the file as a list. Raises ListError, also where a fault of the program shows."""
        try:
            return await asyncio.to_thread(lists.look_over, campaign, [str(self.path)])
        except (ListError, JournalError, JournalUnusable):
            raise
        except Exception as error:  # noqa: BLE001 - a file must not end the worker
            raise ListError(_fault(error)) from None

    async def _of_run(self, step: Step, run: Run) -> Slip | Later:
        match step:
            case Step.GO_ON:
                return await self._go_on(run)
            case Step.FILE:
                return slips.taken(await self._summary(run.id))
            case Step.REPEAT:
                return slips.repeated(await self._summary(run.id))
            case Step.CANCELLED:
                return slips.cancelled(await self._summary(run.id))
            case Step.CHANGED:
                return await self._changed(run.id)
            case _:
                why = run.reason or "the rest of it was given up"
                return slips.cut_short(await self._summary(run.id), why)

    async def _not_a_list(self, runs: Sequence[Run], why: str) -> Slip | Later:
        """Say what becomes of a file that can't be read as a list, or not any more."""
        if await self._is_changed():
            return Later()
        run = cut_off(runs)
        return slips.unusable(why) if run is None else await self._cut_short(run.id, why)

    async def _begin(self, contacts: "ContactList") -> Slip | Later:
        try:
            job = await open_job(self.journal, self.settings, self.campaign, contacts, again=False)
        except (ListError, RunError, SettingsError) as error:
            return slips.unusable(str(error))
        if isinstance(job, Done):
            return slips.repeated(await self._summary(job.run))
        if job.reading is None:
            return slips.repeated(await self._summary(job.run))
        return await self._read(job.run, job.reading, _remarks(contacts))

    async def _go_on(self, run: Run) -> Slip | Later:
        """Read the rest of a list into its run, as it was begun."""
        begun = Campaign.from_json(run.definition)
        try:
            contacts = await self._look_over(begun)
        except ListError as error:  # what is amiss may be another file, of numbers not to be called
            return Later(UNREADABLE_NOW, str(error))
        if contacts.sha256 != run.list_sha256:
            return await self._changed(run.id)
        log.info("drop.gone_on", run=run.id, campaign=run.campaign, after_row=run.rows)
        reading = lists.read_from(self.settings, contacts, begun, after_row=run.rows)
        return await self._read(run.id, reading, _remarks(contacts))

    async def _read(self, run: int, reading: Reading, remarks: tuple[str, ...]) -> Slip | Later:
        await self.journal.begin_work(run, "reads", time.time())
        try:
            whole = await read_list(self.journal, run, reading, self.stop, _Quiet())
        except ReadElsewhereError:
            return Later(READ_ELSEWHERE)
        except (DamagedBodyError, ListError) as error:
            return await self._cut_short(run, str(error))
        except (JournalError, JournalUnusable):
            raise
        except Exception as error:  # noqa: BLE001 - a file must not end the worker, whatever is in it
            return await self._cut_short(run, _fault(error))
        finally:
            with contextlib.suppress(JournalError):
                await self.journal.end_work(run, "reads")
        return slips.taken(await self._summary(run), remarks) if whole else Later()

    async def _changed(self, run: int) -> Slip | Later:
        if await self._is_changed():
            return Later()  # just now: it is to be whole first
        return await self._cut_short(run, "its file has another content now")

    async def _cut_short(self, run: int, why: str) -> Slip | Later:
        """Hold a run whose list can't be read on until somebody decides; take an empty one back."""
        if await self.journal.read_so_far(run) == 0:
            await self._take_back(run, why)
            return Later() if await self._is_changed() else slips.unusable(why)
        with contextlib.suppress(RunError):  # it was cancelled: nothing of it is sent anyhow
            held = [Control.GO, Control.PAUSED, Control.STOPPED]
            await self.journal.control(run, Control.STOPPED, held, f"its list: {why}")
        return slips.cut_short(await self._summary(run), why)

    async def _take_back(self, run: int, why: str) -> None:
        with contextlib.suppress(RunError):  # that was done already
            await self.journal.cancel(run, time.time(), why)

    async def _is_changed(self) -> bool:
        """Say whether the file is another one than that which was looked at, or gone."""
        try:
            return await asyncio.to_thread(mark_now, self.path) != self.mark
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _is_written_to(self) -> bool:
        """Say whether somebody wrote into the file since; to put another in its place is fine."""
        try:
            size, changed, _, inode = mark_of(self.path.lstat())
        except OSError:
            return False
        return inode == self.mark[3] and (size, changed) != self.mark[:2]

    async def _summary(self, run: int) -> Summary:
        return await self._ask(lambda books: summarize(books, run))

    async def _ask(self, question: Callable[[SqliteBooks], T]) -> T:
        """Look something up in the journal, on a thread."""

        def ask() -> T:
            with SqliteBooks(self.settings.journal_path) as books:
                return question(books)

        return await asyncio.to_thread(ask)


def _fault(error: Exception) -> str:
    """Return what is said of a fault; its own text may hold contact data."""
    return f"a fault of phonon-bulk ({type(error).__name__}): please report it"


def _remarks(contacts: "ContactList") -> tuple[str, ...]:
    """Return what is to be seen of a list."""
    unused = contacts.unused_columns
    columns = [f"columns of which nothing is sent: {', '.join(unused)}"] if unused else []
    return (*contacts.remarks, *columns)
