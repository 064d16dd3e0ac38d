"""The drop folders, on real files, journals and processes."""

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from desk import until
from dropping import HEADER, STEPS, Place, a_list, made_old, opened, take
from working import working

from phonon_bulk import runner
from phonon_bulk.call import today_in_india
from phonon_bulk.config import Settings, load_campaign
from phonon_bulk.errors import JournalError, ListError, SettingsError
from phonon_bulk.jobs import lists
from phonon_bulk.journal import Control
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.source.contacts import open_list
from phonon_bulk.worker.drop import DropFolders, filing, load_watched, taking

TESTS = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a place with a campaign that watches `incoming`."""
    made = Place(tmp_path)
    made.campaign()
    return made


def once(rows: range, *, but: tuple[int, ...] = ()) -> Counter[str]:
    """Return that each of these contacts is called once."""
    return Counter(f"ACC{row}" for row in rows if row not in but)


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


# ---- what becomes of a file


async def test_a_good_list(place: Place) -> None:
    """It is read into a run, and put into done/ with a report; nobody else can read it."""
    place.drop("list.csv", a_list(range(10)))
    await take(place)
    assert place.called() == once(range(10))
    assert place.names("done") == ["list.csv", "list.csv.report.txt"]
    assert place.text("done/list.csv") == a_list(range(10))
    report = place.text("done/list.csv.report.txt")
    assert "run 1 has all of its rows" in report
    assert "phonon-bulk status 1" in report
    assert mode(place.folder / "done") == 0o700
    assert {mode(path) for path in (place.folder / "done").iterdir()} == {0o600}


async def test_rejected_rows(place: Place) -> None:
    """They are put beside the list; mended and dropped, they are called too."""
    place.drop("list.csv", a_list(range(5), bad=[2, 3]))
    await take(place)
    assert place.names("done") == [
        "list.csv",
        "list.csv.rejected.csv",
        "list.csv.report.txt",
    ]
    rejected = place.text("done/list.csv.rejected.csv")
    assert rejected.splitlines()[0].startswith(f"{HEADER},")
    assert rejected.count("none,ACC") == 2
    report = place.text("done/list.csv.report.txt")
    assert "rejected               2" in report
    assert "919000" not in report
    mended = rejected.replace("none,ACC2", "919000000002,ACC2").replace("none", "919000000003")
    place.drop("mended.csv", mended)
    await take(place)
    assert place.called() == once(range(5))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        (HEADER + "\n", "no rows"),
        ("a,b\n1,2\n", "no column"),
        (b"\x00\xff" * 50, "list.csv"),
        (b"\xd0\xcf\x11\xe0" * 9, "old Excel workbook"),
    ],
)
async def test_what_is_no_list(place: Place, text: str | bytes, why: str) -> None:
    """It goes to failed/, with the reason, and nobody is called."""
    place.drop("list.csv", text)
    await take(place)
    assert place.names("failed") == ["list.csv", "list.csv.report.txt"]
    report = place.text("failed/list.csv.report.txt")
    assert "nobody is called from it" in report
    assert why in report
    assert (place.called(), place.runs()) == (Counter(), [])


async def test_a_campaign_that_is_over(place: Place) -> None:
    """A list that comes after the end of its campaign is not called."""
    place.campaign(rest='not_after = "2020-01-01T10:00:00+05:30"')
    place.drop("list.csv", a_list(range(3)))
    await take(place)
    assert "is past" in place.text("failed/list.csv.report.txt")
    assert place.runs() == []


async def test_the_same_list_again(place: Place) -> None:
    """Under another name, or under the same: nobody is called twice, and the report says so."""
    place.drop("list.csv", a_list(range(5)))
    await take(place)
    place.drop("list.csv", a_list(range(5)))
    place.drop("other.csv", a_list(range(5)))
    await take(place)
    assert place.called() == once(range(5))
    assert len(place.runs()) == 1
    assert {"list.2.csv", "list.2.csv.report.txt", "other.csv"} < set(place.names("done"))
    for name in ("list.2.csv", "other.csv"):
        report = place.text(f"done/{name}.report.txt")
        assert "run 1 of this campaign has this very list already" in report


async def test_a_daily_campaign(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With once = "day" the same list is another run on another day."""
    place.campaign(rest='once = "day"')
    day = today_in_india(time.time())
    for name in ("a.csv", "b.csv"):
        place.drop(name, a_list(range(3)))
        await take(place)
    assert len(place.runs()) == 1
    monkeypatch.setattr("phonon_bulk.jobs.lists.today_in_india", lambda _now: f"after {day}")
    place.drop("c.csv", a_list(range(3)))
    await take(place)
    assert [run.read_at is not None for run in place.runs()] == [True, True]
    assert "run 2 has all of its rows" in place.text("done/c.csv.report.txt")


async def test_a_list_whose_run_was_cancelled(place: Place) -> None:
    """It goes to failed/: what was taken back stays so."""
    place.drop("list.csv", a_list(range(3)))
    await take(place)
    async with opened(place) as journal:
        await journal.cancel(1, time.time(), "taken back")
    place.drop("again.csv", a_list(range(3)))
    await take(place)
    assert "run 1 of this very list was cancelled" in place.text("failed/again.csv.report.txt")
    assert place.called() == Counter()


async def test_nothing_is_overwritten(place: Place) -> None:
    """Whatever is in done/ stays as it is, were it only a report."""
    (place.folder / "done").mkdir()
    (place.folder / "done" / "list.csv.report.txt").write_text("mine")
    (place.folder / "done" / "list.2.csv").write_text("mine, too")
    place.drop("list.csv", a_list(range(3)))
    await take(place)
    assert place.text("done/list.csv.report.txt") == "mine"
    assert place.text("done/list.2.csv") == "mine, too"
    assert {"list.3.csv", "list.3.csv.report.txt"} < set(place.names("done"))


# ---- awkward files


@pytest.mark.parametrize("kind", ["link", "link to a pipe", "pipe", "device", "dangling link"])
async def test_what_is_no_file(place: Place, kind: str) -> None:
    """It is put into failed/ without being opened, so that nothing hangs and nothing leaks."""
    path, other = place.incoming / "list.csv", place.folder / "secret"
    match kind:
        case "link":
            other.write_text(a_list(range(3)))
            path.symlink_to(other)
        case "link to a pipe":
            os.mkfifo(other)
            path.symlink_to(other)
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to("nowhere")
    made_old(path)
    await take(place, settle=0.1)
    assert place.names("failed") == ["list.csv", "list.csv.report.txt"]
    assert "no ordinary file" in place.text("failed/list.csv.report.txt")
    if kind == "link":
        assert other.read_text() == a_list(range(3))
    assert place.runs() == []


@pytest.mark.parametrize(
    "name", ["सूची 1.csv", "two\nlines.csv", "a[1]*.csv", "~.csv", "-.csv", f"{'x' * 251}.csv"]
)
async def test_names(place: Place, name: str) -> None:
    """Any name that a file can have, and that is text."""
    place.drop(name, a_list(range(3)))
    await take(place)
    assert place.called() == once(range(3))
    assert len(place.names("done")) == 2


async def test_a_name_that_is_no_text(place: Place) -> None:
    """The journal could not name it."""
    place.drop(os.fsdecode(b"\xff\xfe.csv"), a_list(range(3)))
    await take(place)
    report = next(name for name in place.names("failed") if name.endswith(".txt"))
    assert "its name is not in UTF-8" in place.text(f"failed/{report}")


async def test_what_is_passed_over(place: Place) -> None:
    """Folders, hidden files and other names stay where they are."""
    (place.incoming / "folder.csv").mkdir()
    for name in (".hidden.csv", "~$lock.csv", "list.csv.part", "LIST.CSV"):
        place.drop(name, a_list(range(3)))
    place.drop("list.csv", a_list(range(3)))
    await take(place, until=lambda: "list.csv" in place.names("done"))
    assert len(place.names("incoming")) == 5
    assert len(place.runs()) == 1


async def test_every_format(place: Place) -> None:
    """A folder takes what has the ending of a list, packed or not."""
    import gzip

    place.campaign(watch="incoming")
    place.drop("a.CSV.gz", gzip.compress(a_list(range(3)).encode()))
    place.drop("b.ndjson", '{"tel1":"919000000003","client-identifier":"ACC3"}\n')
    place.drop("c.pdf", "no list")
    await take(place, until=lambda: len(place.names("done")) == 4)
    assert place.called() == once(range(4))
    assert place.names("incoming") == ["c.pdf"]


async def test_a_file_that_others_own_or_link_to(place: Place) -> None:
    """What is put away is a copy that nobody else can read, and theirs is as it was."""
    other = place.folder / "theirs.csv"
    other.write_text(a_list(range(3)))
    other.chmod(0o644)
    os.link(other, place.incoming / "list.csv")
    made_old(other)
    await take(place)
    assert mode(place.folder / "done" / "list.csv") == 0o600
    assert mode(other) == 0o644
    assert place.text("done/list.csv") == other.read_text()
    assert not (place.folder / "done" / "list.csv").samefile(other)


async def test_another_file_system(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is copied, and then taken away."""
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.parent != Path(target).parent and self.parent == place.incoming:
            raise OSError(18, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    place.drop("list.csv", a_list(range(3), bad=[1]))
    await take(place)
    assert place.names("done") == ["list.csv", "list.csv.rejected.csv", "list.csv.report.txt"]
    assert place.text("done/list.csv") == a_list(range(3), bad=[1])
    assert mode(place.folder / "done" / "list.csv") == 0o600


async def test_a_disk_that_is_full(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays, is put away when there is room, and is read once."""
    full = True
    real = filing._write
    monkeypatch.setattr("phonon_bulk.worker.drop.folders.CANT_BE_FILED", 0.05)

    def write(path: Path, text: str) -> None:
        if full:
            raise OSError(28, "No space left on device")
        real(path, text)

    monkeypatch.setattr(filing, "_write", write)
    place.drop("list.csv", a_list(range(3), bad=[1]))
    watching = asyncio.create_task(take(place))
    await asyncio.to_thread(until, (place.folder / "done").exists)
    assert place.names("incoming") == ["list.csv"]
    full = False
    await watching
    assert place.names("done") == ["list.csv", "list.csv.rejected.csv", "list.csv.report.txt"]
    assert place.called() == once(range(3), but=(1,))


async def test_a_folder_that_comes_later(place: Place) -> None:
    """Until it is there, it is looked for."""
    place.incoming.rmdir()
    watching = asyncio.create_task(take(place, until=lambda: bool(place.names("done"))))
    await asyncio.sleep(0.1)
    place.incoming.mkdir()
    place.drop("list.csv", a_list(range(3)))
    await watching
    assert place.called() == once(range(3))


async def test_a_file_that_cannot_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to failed/: to move it needs no right to read it."""
    real = os.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> int:
        if path == place.incoming / "list.csv":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    place.drop("list.csv", a_list(range(3)))
    await take(place)
    assert "can't be read: Permission denied" in place.text("failed/list.csv.report.txt")
    assert place.runs() == []


# ---- files that change


async def test_a_file_that_is_still_written(place: Place) -> None:
    """It is taken when its writer has been silent for a while, and whole."""
    path = place.drop("list.csv", a_list(range(3)), age=0)
    watching = asyncio.create_task(take(place, settle=0.5))
    await asyncio.sleep(0.3)
    with path.open("a") as file:
        file.write("919000000003,ACC3\n")
    await asyncio.sleep(0.3)
    assert place.names("incoming") == ["list.csv"]
    await watching
    assert place.called() == once(range(4))


async def test_a_file_that_changes_before_its_first_row_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken as it is then, and what was begun with it is taken back."""
    path = place.drop("list.csv", a_list(range(3)))
    real = runner.read_list
    changed = False

    async def read_list(*arguments: Any) -> bool:
        nonlocal changed
        if not changed:
            changed = True
            path.write_text(a_list(range(7)))
            made_old(path, 1800)
        return await real(*arguments)

    monkeypatch.setattr(taking, "read_list", read_list)
    await take(place)
    assert place.called() == once(range(7))
    assert [run.control for run in place.runs()] == [Control.CANCELLED, Control.GO]
    assert place.names("failed") == []


async def test_a_file_that_changes_while_it_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is stopped, so that a person decides; the file goes to failed/; nobody twice."""
    rows = range(200_000)
    path = place.drop("list.csv", a_list(rows))
    real = SqliteJournal.append

    async def append(self: SqliteJournal, *arguments: Any, **more: Any) -> None:
        await real(self, *arguments, **more)
        path.write_text(a_list(range(100_000, 100_010)))

    monkeypatch.setattr(SqliteJournal, "append", append)
    await take(place)
    (run,) = place.runs()
    assert 0 < run.rows < len(rows)
    assert (run.control, run.read_at is not None, run.whole) == (Control.STOPPED, True, 0)
    report = place.text("failed/list.csv.report.txt")
    assert f"up to row {run.rows:,} only" in report
    assert "resume 1 --without-rest" in report
    assert max(place.called().values()) == 1


async def test_a_file_that_is_written_to_after_it_was_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can know whether that is a new list or the rest of the old one: a person decides."""
    path = place.drop("list.csv", a_list(range(3)))
    real = SqliteJournal.finish_reading

    async def finish_reading(self: SqliteJournal, *arguments: Any, **more: Any) -> None:
        await real(self, *arguments, **more)
        with path.open("a") as file:
            file.write("919000000003,ACC3\n")

    monkeypatch.setattr(SqliteJournal, "finish_reading", finish_reading)
    await take(place)
    assert place.called() == once(range(3))
    report = place.text("failed/list.csv.report.txt")
    assert "run 1 has the 3 rows that it had before" in report


async def test_a_file_that_changed_while_nobody_was_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rows of what it was were read: it is not begun anew."""
    path = place.drop("list.csv", a_list(range(60_000)))
    await stopped_half_way(place, monkeypatch)
    (run,) = place.runs()
    path.write_text(a_list(range(59_990)))
    made_old(path)
    await take(place)
    (run,) = place.runs()
    assert (run.control, run.whole) == (Control.STOPPED, 0)
    assert "has another content now" in place.text("failed/list.csv.report.txt")
    assert max(place.called().values()) == 1


async def test_a_file_that_is_gone_while_it_is_looked_at(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to be said of it."""
    path = place.drop("list.csv", a_list(range(3)))
    real = lists.look_over

    def look_over(*arguments: Any) -> Any:
        path.unlink()
        return real(*arguments)

    monkeypatch.setattr(lists, "look_over", look_over)
    await take(place)
    assert (place.names("done"), place.names("failed"), place.runs()) == ([], [], [])


async def test_another_file_of_the_name_while_it_is_put_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers who always use one name: each list is taken, and each is put away once."""
    path = place.drop("list.csv", a_list(range(3)))
    real = filing._write
    replaced = False

    def write(paper: Path, text: str) -> None:
        nonlocal replaced
        if not replaced:
            replaced = True
            place.drop("new", a_list(range(3, 6))).replace(path)
        real(paper, text)

    monkeypatch.setattr(filing, "_write", write)
    await take(place)
    assert place.called() == once(range(6))
    assert place.text("done/list.csv") == a_list(range(3, 6))


# ---- stops, faults and other processes


async def stopped_half_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files until a part of one is in the journal, and be told to stop then."""
    appended = asyncio.Event()
    real = SqliteJournal.append

    async def append(self: SqliteJournal, *arguments: Any, **more: Any) -> None:
        await real(self, *arguments, **more)
        appended.set()
        await asyncio.sleep(0.1)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteJournal, "append", append)
        await take(place, until=appended.is_set)


async def test_told_to_stop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays where it is, and the next start reads on; a paused run stays paused."""
    place.drop("list.csv", a_list(range(60_000)))
    await stopped_half_way(place, monkeypatch)
    (run,) = place.runs()
    assert 0 < run.rows < 60_000
    assert place.names("incoming") == ["list.csv"]
    async with opened(place) as journal:
        await journal.control(1, Control.PAUSED, [Control.GO])
    await take(place)
    (run,) = place.runs()
    assert (run.rows, run.control) == (60_000, Control.PAUSED)
    assert place.called() == once(range(60_000))
    assert "run 1 has all of its rows" in place.text("done/list.csv.report.txt")


async def test_the_rest_of_a_list_that_cannot_be_read_just_now(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again: what is amiss may be a list of numbers that are not to be called."""
    place.drop("list.csv", a_list(range(60_000)))
    await stopped_half_way(place, monkeypatch)
    real, failed = lists.look_over, False
    monkeypatch.setattr(taking, "UNREADABLE_NOW", 0.05)

    def look_over(*arguments: Any) -> Any:
        nonlocal failed
        if not failed:
            failed = True
            raise ListError("dnd.csv is not there")
        return real(*arguments)

    monkeypatch.setattr(lists, "look_over", look_over)
    await take(place)
    assert failed
    assert place.called() == once(range(60_000))


async def test_a_fault_of_the_program(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that shows one is put into failed/, and the others are taken."""
    place.drop("bad.csv", a_list(range(3)), age=7200)
    place.drop("good.csv", a_list(range(3, 6)))
    real = lists.look_over

    def look_over(campaign: Any, given: list[str]) -> Any:
        if given[0].endswith("bad.csv"):
            raise ZeroDivisionError("919000000001")
        return real(campaign, given)

    monkeypatch.setattr(lists, "look_over", look_over)
    await take(place)
    assert place.called() == once(range(3, 6))
    report = place.text("failed/bad.csv.report.txt")
    assert "a fault of phonon-bulk (ZeroDivisionError)" in report
    assert "919000000001" not in report


async def test_a_journal_that_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches over the task is told, and starts it again."""
    place.drop("list.csv", a_list(range(3)))

    async def append(*_arguments: Any, **_more: Any) -> None:
        raise JournalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteJournal, "append", append)
        with pytest.raises(JournalError, match="the disk is full"):
            await take(place)
    assert place.names("incoming") == ["list.csv"]
    await take(place)
    assert place.called() == once(range(3))
    assert place.names("done") == ["list.csv", "list.csv.report.txt"]


async def test_ten_thousand_files(place: Place) -> None:
    """All are seen, and the oldest are taken first, a block at a time."""
    for n in range(10_000):
        (place.incoming / f"{n}.csv").touch()
        made_old(place.incoming / f"{n}.csv", 30)
    for n in range(3):
        place.drop(f"full{n}.csv", a_list(range(n, n + 1)), age=9000 - n)
    await take(place, until=lambda: len(place.names("done")) == 6)
    assert place.called() == once(range(3))
    first = [orjson.loads(run.list)["files"][0]["path"][-9:] for run in place.runs()]
    assert first == ["full0.csv", "full1.csv", "full2.csv"]
    assert len(place.names("incoming")) == 10_000


async def test_two_workers_on_one_folder(place: Place) -> None:
    """Each file is taken by one of them."""
    for n in range(20):
        place.drop(f"{n}.csv", a_list(range(n * 10, n * 10 + 10)))
    await asyncio.gather(take(place), take(place))
    assert place.called() == once(range(200))
    assert len(place.runs()) == 20
    assert len(place.names("done")) == 40


async def test_a_file_that_another_worker_has(place: Place) -> None:
    """It is left alone until that one lets go of it."""
    path = place.drop("list.csv", a_list(range(3)))
    campaign = load_campaign(place.folder / "reminder.toml")
    folders = DropFolders(place.settings, [campaign], look_every=0.01)
    stop = asyncio.Event()
    async with opened(place) as journal:
        with filing.held(path) as descriptor:
            assert descriptor is not None
            watching = asyncio.create_task(folders.watch(journal, stop))
            await asyncio.sleep(0.3)
        stop.set()
        await watching
    assert place.runs() == []
    await take(place)
    assert place.called() == once(range(3))


async def test_the_worker_sends_it(place: Place) -> None:
    """What was read is sent by whoever sends what is in the journal."""
    place.drop("list.csv", a_list(range(1200), bad=[5]))
    async with working(place.folder) as desk:
        await take(place)
        await asyncio.to_thread(until, lambda: len(desk.numbers) == 1199)
        assert desk.numbers == once(range(1200), but=(5,))


# ---- killed


def dropping(place: Place, point: str | None, journal_point: str | None = None) -> int:
    """Let a process take the files; return how it ended."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    if journal_point:
        environment["PYTHONPATH"] = f"{TESTS / 'saboteur'}:{TESTS}"
        environment["SABOTEUR_KILL"] = journal_point
    arguments = [str(place.folder), *([point] if point else [])]
    command = [sys.executable, str(TESTS / "dropping.py"), *arguments]
    return subprocess.run(command, env=environment, check=False, timeout=60).returncode


KILLS = [
    *(("", point) for point in ("before:open_run#1", "after:open_run#1")),
    *(("", point) for point in ("before:append#2", "after:append#1", "after:append#2")),
    *(("", point) for point in ("before:finish_reading#1", "after:finish_reading#1")),
    *((f"{when}:{step}", "") for step in STEPS for when in ("before", "after")),
    *((f"rename#{n}", "") for n in (1, 2, 3, 4)),
]


@pytest.mark.parametrize(("point", "journal_point"), KILLS, ids=["".join(kill) for kill in KILLS])
async def test_killed(place: Place, point: str, journal_point: str) -> None:
    """Wherever a process dies, the next one brings it to the same end; nothing lost or doubled."""
    rows = range(45_000)
    place.drop("list.csv", a_list(rows, bad=[7]))
    ended = await asyncio.to_thread(dropping, place, point or None, journal_point or None)
    assert ended == -signal.SIGKILL, "the point was not reached"
    await take(place)
    assert place.called() == once(rows, but=(7,))
    (run,) = place.runs()
    assert (run.rows, run.rejected) == (len(rows), 1)
    assert place.names("incoming") == []
    assert place.names("done") == ["list.csv", "list.csv.rejected.csv", "list.csv.report.txt"]
    assert "run 1 has all of its rows" in place.text("done/list.csv.report.txt")
    assert {mode(path) for path in (place.folder / "done").iterdir()} == {0o600}


# ---- which campaigns can be watched for


def watched(*campaigns: Path) -> Settings:
    """Return settings whose worker has these campaigns."""
    return Settings.model_validate({"journal": "j", "worker": {"campaigns": campaigns}})


def test_campaigns_that_are_watched_for(place: Place) -> None:
    """Each with what it watches, made absolute."""
    other = place.campaign("other", watch="elsewhere/")
    loaded = load_watched(watched(place.folder / "reminder.toml", other))
    assert [campaign.watch for campaign in loaded] == [
        f"{place.folder}/incoming/*.csv",
        f"{place.folder}/elsewhere",
    ]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("incoming/*.csv", "may take the same files"),
        ("incoming", "may take the same files"),
        ("link/a.csv", "may take the same files"),
        ("done/*.csv", "where files are put"),
        ("sub/failed/*.csv", "where files are put"),
    ],
)
def test_campaigns_that_stand_in_each_others_way(place: Place, other: str, why: str) -> None:
    """Said at the start, not when a list has gone out with the wrong flow."""
    (place.folder / "link").symlink_to("incoming")
    paths = [place.folder / "reminder.toml", place.campaign("other", watch=other)]
    with pytest.raises(SettingsError, match=why):
        load_watched(watched(*paths))


def test_everything_wrong_is_said_at_once(place: Place) -> None:
    """A campaign that is not there, one that watches nothing, one of no account."""
    bare = place.folder / "bare.toml"
    bare.write_text('[campaign]\nname = "bare"\nflow_id = "QG8k000A"\n')
    strange = place.campaign("strange", rest='account = "nobody"', watch="x/*")
    with pytest.raises(SettingsError) as caught:
        load_watched(watched(bare, strange, place.folder / "nowhere.toml"))
    said = "\n".join(caught.value.problems)
    assert "bare.toml: source.watch: missing" in said
    assert 'no account "nobody"' in said
    assert "nowhere.toml: there is no such file" in said


@pytest.mark.parametrize(
    ("watch", "why"),
    [
        ("https://host/x.csv", "a URL"),
        ("in*/x.csv", "a pattern can stand for names of files"),
        ("incoming/**", "a pattern can stand for names of files"),
    ],
)
def test_what_cannot_be_watched(place: Place, watch: str, why: str) -> None:
    """Said with the campaign's file and key."""
    with pytest.raises(SettingsError, match=rf"source\.watch: .*{why}"):
        load_campaign(place.campaign("x", watch=watch))


def test_the_command_line_needs_a_list(place: Place) -> None:
    """Of a campaign that watches, no other command takes the files."""
    with pytest.raises(ListError, match="taken by the worker as they come"):
        open_list(load_campaign(place.folder / "reminder.toml"))


def test_every_event_is_documented() -> None:
    """The manual has each line that the log may have."""
    package, page = TESTS.parent / "phonon_bulk/worker/drop", TESTS.parent / "docs/drop-folder.md"
    source = "".join(module.read_text() for module in package.glob("*.py"))
    said = set(re.findall(r'log\.\w+\(\s*"(drop\.\w+)"', source))
    assert said == set(re.findall(r"^\| `(drop\.\w+)` \|", page.read_text(), re.MULTILINE))
    assert len(said) == 6


def test_a_campaign_takes_lists_in_one_way(place: Place) -> None:
    """From a folder, or from a path or a query."""
    path = place.campaign("x")
    path.write_text(path.read_text() + 'path = "a.csv"\n')
    with pytest.raises(SettingsError, match="or from elsewhere"):
        load_campaign(path)
