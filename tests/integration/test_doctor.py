"""The doctor and real files: settings, tokens, campaigns, journals, and disks that hang."""

import asyncio
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import SECURITY_ID, make_batch, make_run

from phonon_bulk.config import (
    Campaign,
    EndpointName,
    EndpointSettings,
    EndpointsSettings,
    Settings,
    WorkerSettings,
)
from phonon_bulk.config.settings import AccountSettings
from phonon_bulk.journal.connection import connect
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.journal.statements import migrations
from phonon_bulk.report.doctor import Check, Planned, Subject, books, examination, examine, files
from phonon_bulk.report.doctor.aside import aside


def settings(folder: Path, **more: Any) -> Settings:
    """Return settings whose journal is in a folder of its own."""
    return Settings(journal=f"sqlite://{folder}/j/journal.db", **more)


def journal_in(folder: Path, work: Callable[[SqliteJournal], Any] | None = None) -> Path:
    """Make a journal with one run of three calls, and let more be done with it."""
    path = folder / "j" / "journal.db"

    async def main() -> None:
        journal = SqliteJournal(path)
        run = (await journal.open_run(make_run(), time.time())).run
        await journal.append(run, [make_batch(range(1, 4))], [], after_row=0, last_row=3)
        if work is not None:
            await work(journal)
        await journal.close()

    asyncio.run(main())
    return path


def looked_at(settings: Settings) -> dict[str, Check]:
    """Return what is found of the journal, by what was looked at; the last of each."""
    return {check.what: check for check in asyncio.run(books.examine(settings))}


def of_files(settings: Settings, file: Path | None = None, *planned: Planned) -> list[Check]:
    """Return what is found of settings and what they name."""
    return list(files.examine(settings, file, planned))


# ---- files


def test_security_ids(tmp_path: Path) -> None:
    """Each account's: there, open to others, missing."""
    well, is_open = tmp_path / "well", tmp_path / "open"
    for path, mode in ((well, 0o600), (is_open, 0o644)):
        path.write_text(SECURITY_ID)
        path.chmod(mode)
    accounts = {
        "a": AccountSettings(security_id_file=well),
        "b": AccountSettings(security_id_file=is_open),
        "c": AccountSettings(security_id_file=tmp_path / "none"),
    }
    found = of_files(settings(tmp_path, accounts=accounts))[1:]
    assert [(check.what, check.grade.value) for check in found] == [
        ("security id of a", "well"),
        ("security id of b", "mind"),
        ("security id of c", "ill"),
    ]
    assert f"chmod 600 {is_open}" in found[1].found
    assert SECURITY_ID not in str(found)


def test_a_settings_file_that_others_can_change(tmp_path: Path) -> None:
    """They could send the security id elsewhere; that they can read it is no harm."""
    file = tmp_path / "phonon-bulk.toml"
    file.touch(0o644)
    assert "settings file" not in {c.what for c in of_files(settings(tmp_path), file)}
    file.chmod(0o664)
    found = {check.what: check for check in of_files(settings(tmp_path), file)}
    assert f"chmod go-w {file}" in found["settings file"].found


@pytest.mark.parametrize(
    ("mode", "listen", "grade", "says"),
    [
        (0o600, "0.0.0.0:1", "well", "only its owner"),
        (0o640, "127.0.0.1:1", "mind", "chmod 600"),
        (None, "127.0.0.1:1", "mind", "no such file"),
    ],
)
def test_the_token(tmp_path: Path, mode: int | None, listen: str, grade: str, says: str) -> None:
    """Who has it may have calls placed."""
    file = tmp_path / "token"
    if mode is not None:
        file.write_text("t" * 40)
        file.chmod(mode)
    worker = WorkerSettings(listen=listen, token_file=file)
    (check,) = [c for c in of_files(settings(tmp_path, worker=worker)) if c.what == "token file"]
    assert (check.grade, says in check.found) == (grade, True), check


def test_no_token(tmp_path: Path) -> None:
    """Needed as soon as others can reach the worker."""
    here = settings(tmp_path, worker=WorkerSettings(listen="127.0.0.1:1"))
    assert "token file" not in {check.what for check in of_files(here)}
    there = settings(tmp_path, worker=WorkerSettings(listen="0.0.0.0:1"))
    assert "0.0.0.0:1, which others can reach" in of_files(there)[-1].found


def test_campaigns(tmp_path: Path) -> None:
    """Its file, whether its list is there, and what is wrong with it."""
    file, rows = tmp_path / "c.toml", tmp_path / "list.csv"
    file.touch(0o644)
    rows.write_bytes(b"x" * 12_000)
    of_list = Campaign(name="list", flow_id="QG8k000A", paths=(str(rows),))
    of_query = Campaign(name="query", flow_id="QG8k000A", query="SELECT 1")
    of_none = Campaign(name="none", flow_id="QG8k000A", paths=(str(tmp_path / "none.csv"),))
    planned = [
        *(Planned(file, campaign) for campaign in (of_list, of_query, of_none)),
        Planned(file, of_list, ("there is no account x",)),
        Planned(tmp_path / "bad.toml", None, ("bad.toml: no",)),
    ]
    found = of_files(settings(tmp_path), None, *planned)[2:]
    assert [(check.what, check.grade.value) for check in found] == [
        ("campaign list", "well"),
        ("campaign query", "well"),
        ("campaign none", "ill"),
        ("campaign list", "ill"),
        (f"campaign {tmp_path}/bad.toml", "ill"),
    ]
    assert "its list has 12 kB" in found[0].found
    assert "comes from elsewhere" in found[1].found
    assert "none.csv" in found[2].found
    file.chmod(0o666)
    assert "whom it calls" in of_files(settings(tmp_path), None, Planned(file, of_list))[2].found


# ---- the journal


def test_no_journal_yet(tmp_path: Path) -> None:
    """The first run makes it, where it may."""
    found = looked_at(settings(tmp_path))
    assert found["journal"].grade == "well"
    assert not (tmp_path / "j").exists()


def test_a_journal_that_is_well(tmp_path: Path) -> None:
    """Every line of it; nothing in it is changed."""
    path = journal_in(tmp_path)
    before = path.read_bytes()
    found = looked_at(settings(tmp_path))
    assert found.pop("run 1").grade == "mind"
    place = found.pop("journal's disk", None)
    assert place is None or place.grade in {"well", "mind"}
    assert {check.grade for check in found.values()} <= {"well"}, found
    assert {"journal writable", "SQLite's integrity check", "conservation", "at work"} <= set(found)
    assert "1 runs and 3 calls" in found["journal's size"].found
    assert path.read_bytes() == before


def test_what_waits(tmp_path: Path) -> None:
    """Three calls; nobody is said to be at work on them, until somebody is."""
    journal_in(tmp_path)
    assert "3 calls to send" in looked_at(settings(tmp_path))["run 1"].found

    async def at_work() -> dict[str, Check]:
        journal = SqliteJournal(tmp_path / "j" / "journal.db")
        await journal.begin_work(1, "sends", time.time())
        found = await books.examine(settings(tmp_path))
        await journal.close()
        return {check.what: check for check in found}

    found = asyncio.run(at_work())
    assert f"run 1: process {os.getpid()} on {socket.gethostname()} sends" in found["at work"].found
    assert "run 1" not in found


def test_modes(tmp_path: Path) -> None:
    """The journal, what SQLite has beside it, its folder, lists that are kept."""
    path = journal_in(tmp_path)
    kept = path.with_name("journal.db.lists") / "run-1"
    kept.mkdir(parents=True, mode=0o700)
    kept.parent.chmod(0o700)
    (kept / "list.csv").touch(0o600)
    assert {"journal's folder", "kept lists"}.isdisjoint(looked_at(settings(tmp_path)))
    (kept / "list.csv").chmod(0o644)
    path.chmod(0o640)
    path.parent.chmod(0o770)
    found = looked_at(settings(tmp_path))
    assert f"chmod 600 {path}" in found["journal file"].found
    assert f"chmod go-w {path.parent}" in found["journal's folder"].found
    assert f"chmod -R go-rwx {kept.parent}" in found["kept lists"].found
    path.parent.chmod(0o1777)
    assert "journal's folder" not in looked_at(settings(tmp_path))


def test_the_last_process_closes_the_journal_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files beside it were there a moment ago; that is no reason to complain."""
    journal_in(tmp_path)
    monkeypatch.setattr(Path, "exists", lambda _path: True)
    found = looked_at(settings(tmp_path))
    assert found["journal file"].grade == "well"
    assert "journal" not in found or found["journal"].grade != "ill"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_journal_of_another_user(tmp_path: Path) -> None:
    """One user should do all the sending."""
    path = journal_in(tmp_path)
    os.chown(path, 12_345, 12_345)
    assert "belongs to the user 12345" in looked_at(settings(tmp_path))["journal's owner"].found


def test_an_older_journal_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To look is not to upgrade."""
    old = migrations()[:-1]
    with monkeypatch.context() as patch:
        patch.setattr("phonon_bulk.journal.connection.migrations", lambda: old)
        path = tmp_path / "j" / "journal.db"
        connect(path).close()
    found = looked_at(settings(tmp_path))
    assert found["journal's version"].grade == "mind"
    assert "conservation" not in found
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(old)
    connection.close()


def test_an_empty_file_is_no_older_journal(tmp_path: Path) -> None:
    """As one leaves it who makes it with touch, or whose copy failed."""
    path = tmp_path / "j" / "journal.db"
    path.parent.mkdir()
    path.touch(0o600)
    found = looked_at(settings(tmp_path))["journal's version"]
    assert (found.grade, "is an empty file" in found.found) == ("mind", True)
    assert path.stat().st_size == 0


def test_a_journal_that_can_not_be_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is mounted to be read only, say; root may write all others."""
    path = tmp_path / "j" / "journal.db"
    path.parent.mkdir()
    path.touch(0o600)
    assert "journal writable" not in looked_at(settings(tmp_path))
    monkeypatch.setattr("os.access", lambda _path, mode: not mode & os.W_OK)
    found = looked_at(settings(tmp_path))["journal writable"]
    assert (found.grade, "read only" in found.found) == ("ill", True)


def test_a_newer_journal(tmp_path: Path) -> None:
    """It can't be used by this installation."""
    path = journal_in(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    found = looked_at(settings(tmp_path))
    assert (found["journal"].grade, "newer" in found["journal"].found) == ("ill", True)


@pytest.mark.parametrize("content", [b"no database at all, but a text" * 100, b"SQLite format 3\0"])
def test_what_is_no_journal(tmp_path: Path, content: bytes) -> None:
    """Whatever it is, it is said and nothing is done to it."""
    path = tmp_path / "j" / "journal.db"
    path.parent.mkdir()
    path.write_bytes(content)
    assert looked_at(settings(tmp_path))["journal"].grade == "ill"
    assert path.read_bytes() == content


def test_a_folder_for_a_journal(tmp_path: Path) -> None:
    """It has to be a file in it."""
    (tmp_path / "j" / "journal.db").mkdir(parents=True)
    assert looked_at(settings(tmp_path))["journal"].grade == "ill"


def test_damage_and_sums(tmp_path: Path) -> None:
    """What does not add up is ill, with what to do."""
    path = journal_in(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("UPDATE batch SET calls = 2")
    connection.commit()
    connection.close()
    found = asyncio.run(books.examine(settings(tmp_path)))
    ill = [check.what for check in found if check.grade == "ill"]
    assert "conservation" in ill


def test_a_locked_journal(tmp_path: Path) -> None:
    """Somebody means it too well."""
    path = journal_in(tmp_path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        check = looked_at(settings(tmp_path))["journal writable"]
    finally:
        connection.close()
    assert (check.grade, "holds it locked" in check.found) == ("ill", True)


# ---- all of it, in time


def away(name: str) -> EndpointSettings:
    """Return an endpoint at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/{name}"
    return EndpointSettings(url=url, requests_per_minute=1)


def whole(folder: Path) -> Settings:
    """Return settings with both endpoints."""
    ends = EndpointsSettings(bulk=away("bulk"), realtime=away("realtime"))
    return settings(folder, endpoints=ends)


def test_the_whole(tmp_path: Path) -> None:
    """Settings, disk, journal, both endpoints; without a security id and endpoints it is ill."""
    found = asyncio.run(examine(Subject(whole(tmp_path))))
    whats = [check.what for check in found]
    order = ["settings", "disk", "date in India", "journal", "connection (bulk)"]
    assert [what for what in whats if what in order] == order
    assert "connection (realtime)" in whats


@pytest.mark.parametrize(
    ("planned", "also", "endpoints"),
    [
        ([], None, ["bulk", "realtime"]),
        (["bulk"], None, ["bulk"]),
        (["realtime"], None, ["realtime"]),
        (["bulk"], "realtime", ["bulk", "realtime"]),
        ([], "realtime", ["realtime"]),
    ],
)
def test_which_endpoints(planned: list[str], also: str | None, endpoints: list[str]) -> None:
    """Those that are used, or both."""
    campaigns = [
        Planned(Path("c"), Campaign(name="c", flow_id="QG8k000A", endpoint=EndpointName(name)))
        for name in planned
    ]
    subject = Subject(Settings(journal="j"), None, campaigns, EndpointName(also) if also else None)
    assert subject.endpoints == endpoints


async def test_work_that_hangs() -> None:
    """It is left where it is."""
    ends = threading.Event()
    with pytest.raises(TimeoutError):
        await aside(ends.wait, 0.05)
    ends.set()


async def test_work_that_fails() -> None:
    """What it raises is raised."""

    def fail() -> None:
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await aside(fail, 5)


async def test_work_that_ends_late(recwarn: pytest.WarningsRecorder) -> None:
    """When nobody listens any more, nothing happens."""
    ends = threading.Event()

    def late() -> None:
        ends.wait()
        raise ValueError("too late")

    with pytest.raises(TimeoutError):
        await aside(late, 0.05)
    ends.set()
    await asyncio.sleep(0.05)
    assert list(recwarn) == []


def test_disks_that_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, disk and journal are each given up; the rest is said all the same."""
    ends = threading.Event()

    def hang(*_: object) -> Any:
        ends.wait()

    monkeypatch.setattr(examination, "_DISK_SECONDS", 0.1)
    monkeypatch.setattr(books, "_SECONDS", 0.1)
    monkeypatch.setattr(files, "examine", hang)
    monkeypatch.setattr("phonon_bulk.report.doctor.machine.disk", hang)
    monkeypatch.setattr(books, "look_at_file", hang)
    began = time.monotonic()
    found = asyncio.run(examine(Subject(whole(tmp_path))))
    ends.set()
    assert time.monotonic() - began < 5
    late = [check.what for check in found if "0.1 seconds" in check.found]
    assert late == ["files", "disk", "journal"]
    assert "connection (bulk)" in {check.what for check in found}


def test_a_journal_too_large_to_look_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes too long is to be minded, and not ill."""
    journal_in(tmp_path)
    ends = threading.Event()
    monkeypatch.setattr(books, "_SECONDS", 0.5)
    for part in ("integrity", "sums"):
        monkeypatch.setattr(books, part, lambda _path: ends.wait())
    found = looked_at(settings(tmp_path))
    ends.set()
    for what in ("SQLite's integrity check", "conservation"):
        assert (found[what].grade, "within 0.5 seconds" in found[what].found) == ("mind", True)
