"""The drop folders: a campaign with `source.watch` takes each file once that comes whole.

Files are taken one after the other, the oldest first, each by one process alone (`filing.held`).
What a file becomes is decided in `arrivals` and done in `taking`; then it is put away with its
papers (`filing`, `slips`). A process that dies leaves every file where it was, or filed but for its
name; the next one goes on.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from phonon_bulk.config import Campaign, Settings, load_campaign
from phonon_bulk.config.problems import plain
from phonon_bulk.errors import JournalError, SettingsError, UnusableError
from phonon_bulk.jobs.wiring import check_limits
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.export import export_rejected
from phonon_bulk.source.files import mark_of
from phonon_bulk.worker.drop import filing, slips
from phonon_bulk.worker.drop.arrivals import SETTLE, SETTLE_EMPTY, Arrivals, Sight, Watch
from phonon_bulk.worker.drop.filing import AnotherFileError
from phonon_bulk.worker.drop.slips import Slip
from phonon_bulk.worker.drop.taking import Later, Taking

log = structlog.get_logger("phonon_bulk.drop")

LOOK_EVERY = 2.0
"""Seconds between two looks at a folder."""
AT_ONCE = 100
"""Files of one folder that are taken before the others have their turn."""
CANT_BE_FILED = 60.0
"""Seconds until a file is tried again that could not be moved."""
TAKEN_ELSEWHERE = 10.0


def load_watched(settings: Settings) -> list[Campaign]:
    """Return the campaigns of `worker.campaigns`, whose folders are watched.

    Raises SettingsError with everything that is wrong: a campaign that can't be used or has no
    `source.watch`, an account that isn't set, a limit below a full request, two campaigns that may
    take the same files.
    """
    problems: list[str] = []
    campaigns: list[tuple[Path, Campaign]] = []
    for path in settings.worker.campaigns:
        try:
            campaign = load_campaign(path)
            settings.account(campaign.account)
            check_limits(settings, campaign.endpoint)
        except SettingsError as error:
            problems += error.problems
            continue
        campaigns.append((path, campaign))
    problems += _contradictions(campaigns)
    if problems:
        raise SettingsError(problems)
    return [campaign for _path, campaign in campaigns]


def _contradictions(campaigns: Sequence[tuple[Path, Campaign]]) -> Iterator[str]:
    """Yield what stands against watching for all of these campaigns at once."""
    watched: list[tuple[str, Watch, Path]] = []
    for path, campaign in campaigns:
        place = f"{plain(str(path))}: source.watch"
        if campaign.watch is None:
            yield f"{place}: missing; the worker takes lists of campaigns that watch a folder"
            continue
        watch = Watch.of(campaign.watch)
        here = Path(os.path.realpath(watch.folder))
        for other_place, other, there in watched:
            if here == there and watch.may_share(other):
                yield (
                    f"{place}: it may take the same files as {other_place} ({plain(str(here))}):"
                    " give each campaign a folder of its own, or patterns that begin or end"
                    " differently"
                )
        watched.append((place, watch, here))
    put_away = {_real_beside(watch, name) for _, watch, _ in watched for name in _FOLDERS}
    for place, _watch, here in watched:
        if here in put_away:
            yield f"{place}: {plain(str(here))} is where files are put that were taken"


_FOLDERS = (slips.DONE, slips.FAILED)


def _real_beside(watch: Watch, name: str) -> Path:
    return Path(os.path.realpath(watch.folder.parent / name))


@dataclass(slots=True)
class _Folder:
    """A watched folder, for one campaign."""

    campaign: Campaign
    watch: Watch
    arrivals: Arrivals
    is_missing: bool = field(default=False)

    def sights(self) -> list[Sight]:
        """Return what is in it for the campaign. Raises OSError if it can't be looked at."""
        seen = []
        with os.scandir(self.watch.folder) as entries:
            for entry in entries:
                if not self.watch.wants(entry.name):
                    continue
                with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                    if not entry.is_dir(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        ordinary = filing.is_ordinary(status)
                        seen.append(Sight(entry.name, mark_of(status), ordinary))
        return seen

    def whole(self) -> list[Sight]:
        """Return the oldest files in it that are whole. Raises OSError as `sights` does."""
        now = {"wall": time.time(), "steady": time.monotonic()}
        return self.arrivals.whole(self.sights(), **now, most=AT_ONCE)

    def beside(self, name: str) -> Path:
        """Return the folder of that name beside it."""
        return self.watch.folder.parent / name


class DropFolders:
    """Watches the folders of campaigns, and reads what comes into the journal."""

    def __init__(
        self,
        settings: Settings,
        campaigns: Sequence[Campaign],
        *,
        settle: float = SETTLE,
        settle_empty: float = SETTLE_EMPTY,
        look_every: float = LOOK_EVERY,
    ) -> None:
        """Watch for `campaigns`, as `load_watched` returns them; the rest is in seconds."""
        self._settings = settings
        self._look_every = look_every
        self._folders = [
            _Folder(campaign, Watch.of(campaign.watch), Arrivals(settle, settle_empty))
            for campaign in campaigns
            if campaign.watch is not None
        ]
        self._half_filed = True
        """Something may be left in a hidden folder; at the start a dead process may have done so"""

    async def watch(self, journal: SqliteJournal, stop: asyncio.Event) -> None:
        """Take files until told to stop; the file at hand is left after the block at hand.

        No file ends it. Raises JournalError if the journal fails; started again, it goes on.
        """
        while not stop.is_set():
            await self._finish_filing()
            more = [await self._take_some(folder, journal, stop) for folder in self._folders]
            if not any(more):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._look_every)

    async def _finish_filing(self) -> None:
        if not self._half_filed:
            return
        self._half_filed = False
        for place in {folder.beside(name) for folder in self._folders for name in _FOLDERS}:
            try:
                await asyncio.to_thread(filing.finish, place)
            except OSError as error:
                self._half_filed = True
                log.warning("drop.not_filed", folder=plain(str(place)), why=error.strerror)

    async def _take_some(
        self, folder: _Folder, journal: SqliteJournal, stop: asyncio.Event
    ) -> bool:
        """Take the oldest files of a folder; say whether there may be more at once."""
        whole = await self._look(folder)
        for sight in whole:
            if stop.is_set():
                return False
            later = await self._take(folder, sight, journal, stop)
            if later is not None:
                folder.arrivals.put_aside(sight, time.monotonic() + later.seconds)
                if later.why is not None:
                    file, of = plain(sight.name), folder.campaign.name
                    log.warning("drop.put_aside", campaign=of, file=file, why=later.why)
        return len(whole) == AT_ONCE

    async def _look(self, folder: _Folder) -> list[Sight]:
        try:
            whole = await asyncio.to_thread(folder.whole)
        except OSError as error:
            if not folder.is_missing:
                place = plain(str(folder.watch.folder))
                log.warning("drop.folder_missing", folder=place, why=error.strerror)
            folder.is_missing = True
            return []
        folder.is_missing = False
        return whole

    async def _take(
        self, folder: _Folder, sight: Sight, journal: SqliteJournal, stop: asyncio.Event
    ) -> Later | None:
        """Take one file; return None if it is done with."""
        path = folder.watch.folder / sight.name
        if (why := _cant_be_a_list(sight)) is not None:
            return await self._file(folder, path, None, slips.unusable(why))
        with contextlib.ExitStack() as stack:
            try:
                descriptor = stack.enter_context(filing.held(path))
            except FileNotFoundError:
                return Later()
            except OSError as error:
                why = f"the file can't be read: {error.strerror}"
                return await self._file(folder, path, None, slips.unusable(why))
            if descriptor is None:
                return Later(TAKEN_ELSEWHERE)
            if mark_of(os.fstat(descriptor)) != sight.mark:
                return Later()
            taking = Taking(journal, self._settings, folder.campaign, path, sight.mark, stop)
            slip = await _carried_out(taking)
            if isinstance(slip, Later):
                return slip
            later = await self._file(folder, path, descriptor, slip)
        if later is None and slip.gives_up is not None:
            with contextlib.suppress(UnusableError):  # it was said before
                await journal.finish_reading(slip.gives_up, time.time(), whole=False)
        return later

    async def _file(
        self, folder: _Folder, path: Path, descriptor: int | None, slip: Slip
    ) -> Later | None:
        """Put a file away with its papers; return None if that is done."""
        report = slips.text_of(slip, path.name, time.time())
        rejected = self._rejected_of(slip)
        try:
            place = await asyncio.to_thread(
                filing.file_away, path, descriptor, folder.beside(slip.folder), report, rejected
            )
        except (AnotherFileError, FileNotFoundError):
            return Later()
        except (OSError, UnusableError) as error:
            self._half_filed = True
            why = getattr(error, "strerror", None) or str(error)
            return Later(CANT_BE_FILED, f"it can't be moved to {slip.folder}: {why}")
        _log_filed(folder, place, slip)
        return None

    def _rejected_of(self, slip: Slip) -> filing.WriteRejected | None:
        run = slip.rejected_of
        if run is None:
            return None

        def write(path: Path) -> None:
            with SqliteBooks(self._settings.journal_path) as books:
                export_rejected(books, run, path)

        return write


async def _carried_out(taking: Taking) -> Slip | Later:
    """Let no file end the worker, whatever is in it. Raises JournalError."""
    try:
        return await taking.carry_out()
    except JournalError:
        raise
    except Exception as error:  # noqa: BLE001 - its text may hold contact data, and is not shown
        return Later(CANT_BE_FILED, f"a fault of phonon-bulk ({type(error).__name__})")


def _cant_be_a_list(sight: Sight) -> str | None:
    """Return why something can't be a list, whatever is in it; None if it may be one."""
    if not sight.is_ordinary:
        return "it is no ordinary file but a link, a pipe or a device: put the file itself there"
    try:
        sight.name.encode()
    except UnicodeEncodeError:
        return "its name is not in UTF-8: rename it"
    return None


def _log_filed(folder: _Folder, place: Path, slip: Slip) -> None:
    of, file = folder.campaign.name, plain(place.name)
    run = None if slip.summary is None else slip.summary.run
    if slip.folder == slips.DONE:
        log.info("drop.done", campaign=of, file=file, run=run, what=slip.why)
    else:
        log.warning("drop.failed", campaign=of, file=file, run=run, what=slip.why)
