"""The list of a run: known again, kept until it is read, and what makes its rows duplicates."""

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from builders import FLOW_ID, make_batch, make_run

from phonon_bulk.call import INDIA
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import ListError, RunError
from phonon_bulk.jobs import lists, opening
from phonon_bulk.jobs.lists import _is_of, clear_kept, kept_folder, known_run, placed_before
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.runner import read_list
from phonon_bulk.source.contacts import ContactList, open_list
from phonon_bulk.submit import Portion

NOW = 1_795_000_000.0
LATER = 10.0
"""Seconds after which a file's times are trusted."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose journal is in the test's folder."""
    return Settings(journal=str(tmp_path / "journal" / "j.db"))


@pytest.fixture
async def journal(settings: Settings) -> AsyncIterator[SqliteJournal]:
    """Open the journal."""
    settings.journal_path.parent.mkdir()
    opened = SqliteJournal(settings.journal_path)
    yield opened
    await opened.close()


def campaign(**changes: Any) -> Campaign:
    """Return a campaign."""
    return Campaign.model_validate({"name": "test", "flow_id": FLOW_ID, **changes})


def write(folder: Path, text: str = "tel1\n9812345671\n9812345672\n", name: str = "l.csv") -> str:
    """Return the path of a new list."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def looked_over(of: Campaign, path: str) -> ContactList:
    """Open a list as it would be if its file had not been touched for a while."""
    contacts = open_list(of, [path])
    return replace(contacts, looked_at=contacts.looked_at + LATER)


def pipe(monkeypatch: pytest.MonkeyPatch, text: str = "tel1\n9812345671\n9812345672\n") -> None:
    """Let a text be on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


async def begin(
    journal: SqliteJournal, of: Campaign, contacts: ContactList, *, is_read: bool = True
) -> int:
    """Open a run over a list and say that it was read."""
    run = (await journal.open_run(opening.new_run(of, contacts, time.time()), time.time())).run
    if is_read:
        await journal.finish_reading(run, time.time())
    return run


# ---- by its marks

SECOND = 1_000_000_000
MARK = [100, 50 * SECOND, 60 * SECOND, 7]


def read(mark: list[int] | None = None, looked_at: float = 70.0) -> dict[str, Any]:
    """Return a list as a journal has it."""
    return {"files": [{"path": "/l.csv", "mark": mark or MARK}], "looked_at": looked_at}


def test_an_untouched_file() -> None:
    """The same place, size, times and inode: the same list."""
    assert _is_of(read(), {"/l.csv": MARK})


@pytest.mark.parametrize("place", range(4))
def test_a_file_that_was_touched(place: int) -> None:
    """Whatever of the mark is another, the file is to be read."""
    other = [value + (n == place) for n, value in enumerate(MARK)]
    assert not _is_of(read(), {"/l.csv": other})


def test_other_files() -> None:
    """One more file, or the same one elsewhere, is another list."""
    assert not _is_of(read(), {"/l.csv": MARK, "/m.csv": MARK})
    assert not _is_of(read(), {"/m.csv": MARK})


@pytest.mark.parametrize("looked_at", [60.0, 61.9])
def test_a_file_changed_just_before_it_was_read(looked_at: float) -> None:
    """It could have been changed once more within the same tick of its file system's clock."""
    assert not _is_of(read(looked_at=looked_at), {"/l.csv": MARK})


def test_a_list_of_an_older_version() -> None:
    """Without a mark in the journal the file is read."""
    assert not _is_of({"files": [{"path": "/l.csv"}], "bytes": 5}, {"/l.csv": MARK})


# ---- by the journal


async def test_a_list_that_was_read_is_known_unread(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """Named on the command line or by the campaign; not by another one, nor after a change."""
    path = write(tmp_path)
    of = campaign(paths=[path])
    run = await begin(journal, of, looked_over(of, path))
    assert known_run(settings, of, []) == run
    assert known_run(settings, campaign(), [path]) == run
    assert known_run(settings, campaign(name="other"), [path]) is None
    assert known_run(settings, campaign(endpoint="realtime"), [path]) is None
    assert lists.find_list(settings, of, [], again=False) == run
    assert isinstance(lists.find_list(settings, of, [], again=True), ContactList)
    write(tmp_path, "tel1\n9812345671\n9812345673\n")
    assert known_run(settings, of, []) is None
    assert isinstance(lists.find_list(settings, of, [], again=False), ContactList)


async def test_a_file_that_was_just_written_is_read(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """Its times can't tell."""
    path = write(tmp_path)
    await begin(journal, campaign(), open_list(campaign(), [path]))
    assert known_run(settings, campaign(), [path]) is None


async def test_a_list_that_was_not_read_to_its_end_is_not_known(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """Its run is found when it was looked over."""
    path = write(tmp_path)
    await begin(journal, campaign(), looked_over(campaign(), path), is_read=False)
    assert known_run(settings, campaign(), [path]) is None


async def test_yesterdays_run_of_a_daily_campaign_is_another(
    tmp_path: Path, settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same list is sent once a day."""
    path = write(tmp_path)
    of = campaign(once="day")
    run = await begin(journal, of, looked_over(of, path))
    assert known_run(settings, of, [path]) == run
    tomorrow = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    assert known_run(settings, of, [path]) is None


async def test_lists_of_no_files_are_never_known(
    tmp_path: Path, settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is piped in, fetched or asked for may be another every time."""
    pipe(monkeypatch)
    await begin(journal, campaign(), open_list(campaign(), ["-"]))
    write(tmp_path)
    asked = campaign(folder=str(tmp_path), query="FROM 'l.csv'")
    await begin(journal, asked, open_list(asked))
    assert known_run(settings, campaign(), ["-"]) is None
    assert known_run(settings, campaign(), ["https://example.com/l.csv"]) is None
    assert known_run(settings, asked, []) is None


def test_without_a_journal_nothing_is_known(tmp_path: Path, settings: Settings) -> None:
    """Nor is one made."""
    assert known_run(settings, campaign(), [write(tmp_path)]) is None
    assert list(placed_before(settings, campaign(), 1, 5)) == []
    clear_kept(settings)
    assert not settings.journal_path.parent.exists()


# ---- kept


async def test_what_was_piped_in_is_kept_until_it_is_read(
    settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a run that was killed can be gone on with; then nothing of it is left on the disk."""
    pipe(monkeypatch)
    of = campaign()
    job = await opening.open_job(journal, settings, of, open_list(of, ["-"]), again=False)
    assert isinstance(job, opening.Job)
    folder = kept_folder(settings, job.run)
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o077 == 0
    clear_kept(settings)
    assert folder.is_dir(), "it is needed still"
    await journal.append(job.run, [make_batch([1])], [], after_row=0, last_row=1)
    resumed = opening.job_to_resume(settings, job.run, None, without_rest=False)
    assert resumed.reading is not None
    assert resumed.reading.after_row == 1
    chunks = list(resumed.reading.contacts.chunks(run=job.run, now=NOW, room=500, after_row=1))
    assert [row for chunk in chunks for row in chunk.calls.rows] == [2]
    await journal.finish_reading(job.run, NOW)
    clear_kept(settings)
    assert not folder.parent.exists()


async def test_the_users_own_files_are_not_kept(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """They are where they are."""
    of = campaign()
    path = write(tmp_path)
    await opening.open_job(journal, settings, of, open_list(of, [path]), again=False)
    assert not kept_folder(settings, 1).parent.exists()
    resumed = opening.job_to_resume(settings, 1, None, without_rest=False)
    assert resumed.reading is not None
    write(tmp_path, "tel1\n9812345679\n")
    with pytest.raises(ListError, match="has changed since, so it can't be read on"):
        opening.job_to_resume(settings, 1, None, without_rest=False)
    assert opening.job_to_resume(settings, 1, None, without_rest=True).reading is None


async def test_a_kept_list_that_is_gone(
    settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and piped in again the run goes on, and it is kept again."""
    of = campaign()
    pipe(monkeypatch)
    await opening.open_job(journal, settings, of, open_list(of, ["-"]), again=False)
    folder = kept_folder(settings, 1)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(ListError, match="its copy is not there any more"):
        opening.job_to_resume(settings, 1, None, without_rest=False)
    pipe(monkeypatch)
    job = await opening.open_job(journal, settings, of, open_list(of, ["-"]), again=False)
    assert isinstance(job, opening.Job)
    assert job.run == 1
    assert job.reading is not None
    assert folder.is_dir()


async def test_what_no_run_needs_is_cleared_away(
    settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of runs that there are not, that were read, or that were given up half copied."""
    of = campaign()
    pipe(monkeypatch)
    await opening.open_job(journal, settings, of, open_list(of, ["-"]), again=False)
    needed = kept_folder(settings, 1)
    for name in ("run-99", "run-x", "run-98.part"):
        needed.with_name(name).mkdir()
    other = needed.with_name("of somebody else")
    other.mkdir()
    clear_kept(settings)
    assert {path.name for path in needed.parent.iterdir()} == {needed.name, other.name}


# ---- what makes duplicates


async def test_calls_that_make_duplicates(
    settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this run's own rows, if it is gone on with; those of others as the campaign says."""
    runs = []
    for number in (1, 2):
        runs.append((await journal.open_run(make_run(campaign="test"), NOW)).run)
        await journal.append(runs[-1], [make_batch([number])], [], after_row=0, last_row=1)
    drop = {"duplicates": "drop"}
    by_number = campaign(checks=drop)
    assert list(placed_before(settings, by_number, runs[1], 0)) == []
    assert list(placed_before(settings, by_number, runs[1], 1)) == [["919900000002"]]
    by_identifier = campaign(checks={**drop, "duplicates_by": "client_identifier"})
    assert list(placed_before(settings, by_identifier, runs[0], 1)) == [["ACC0000001"]]
    for days, found in ((1, []), (3, [["919900000001"]])):
        looking_back = campaign(checks={**drop, "duplicates_days": days})
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: NOW + 2 * 86_400)
            assert list(placed_before(settings, looking_back, runs[1], 0)) == found
            own = list(placed_before(settings, looking_back, runs[1], 1))
        assert own == [*found, ["919900000002"]]


async def test_another_sheet_is_another_list(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """The same file, untouched, holds other people where another sheet is named."""
    path = write(tmp_path)
    run = await begin(journal, campaign(sheet="Jan"), looked_over(campaign(), path))
    assert known_run(settings, campaign(sheet="Jan"), [path]) == run
    assert known_run(settings, campaign(sheet="Feb"), [path]) is None
    assert known_run(settings, campaign(sheet="Jan", encoding="utf-16"), [path]) is None


async def test_everybody_once_more_means_everybody(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """A run that was begun with --again looks at no earlier one."""
    checks = {"duplicates": "drop", "duplicates_days": 9}
    of, path = campaign(checks=checks), write(tmp_path)
    for again, calls in ((False, 2), (True, 2)):
        contacts = open_list(of, [path])
        job = await opening.open_job(journal, settings, of, contacts, again=again)
        assert isinstance(job, opening.Job)
        assert job.reading is not None
        chunks = job.reading.contacts.chunks(run=job.run, now=time.time(), room=250_000)
        assert sum(len(chunk.calls) for chunk in chunks) == calls
        await read_list(journal, job.run, job.reading, asyncio.Event(), Nobody())


class Nobody:
    """Watches nothing."""

    def read(self, portion: Portion) -> None:
        """See `Watcher`."""

    def list_done(self) -> None:
        """See `Watcher`."""


async def test_a_window_that_has_closed_is_waited_for(
    tmp_path: Path, settings: Settings, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls made for it would start at once; within the next one the run goes on."""
    of, path = campaign(checks={"window": "10:00-19:00"}), write(tmp_path)
    noon = datetime(2026, 11, 24, 12, 0, tzinfo=INDIA).timestamp()
    now = noon
    monkeypatch.setattr(time, "time", lambda: now)
    job = await opening.open_job(journal, settings, of, open_list(of, [path]), again=False)
    assert isinstance(job, opening.Job)
    assert job.reading is not None
    await read_list(journal, job.run, job.reading, asyncio.Event(), Nobody())
    now = noon + 8 * 3600
    with pytest.raises(RunError, match="within 10:00-19:00"):
        await opening.open_job(journal, settings, of, open_list(of, [path]), again=False)
    with pytest.raises(RunError, match="within 10:00-19:00"):
        opening.job_to_resume(settings, job.run, None, without_rest=False)
    now = noon + 24 * 3600
    resumed = opening.job_to_resume(settings, job.run, None, without_rest=False)
    assert resumed.not_after == noon + 31 * 3600
    found = await opening.open_job(journal, settings, of, open_list(of, [path]), again=False)
    assert isinstance(found, opening.Job)
    assert found.not_after == noon + 31 * 3600


async def test_a_run_of_which_every_call_would_be_rejected_is_not_begun(
    tmp_path: Path, settings: Settings, journal: SqliteJournal
) -> None:
    """Nothing is left in the journal that could not be mended."""
    mapping = {"contact_numbers": "tel1", "start_time": "2020-01-01T10:00:00+05:30"}
    of, path = campaign(mapping=mapping), write(tmp_path)
    with pytest.raises(ListError, match="its date is past"):
        await opening.open_job(journal, settings, of, open_list(of, [path]), again=False)
    with SqliteBooks(settings.journal_path) as books:
        assert books.runs(5) == []
