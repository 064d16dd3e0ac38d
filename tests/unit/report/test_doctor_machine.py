"""The doctor's judgement of disks, mounts, limits, runs: without looking at any."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_run

from phonon_bulk.batch import State
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.journal import Backlog, Control, Kind, Run, RunCounts
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.doctor import Grade, Planned
from phonon_bulk.report.doctor.books import grade_place, mount_of, to_do
from phonon_bulk.report.doctor.files import in_bytes
from phonon_bulk.report.doctor.machine import (
    Costs,
    bytes_needed,
    costs_in,
    grade_disk,
    grade_open_files,
    india,
)
from phonon_bulk.report.summary import add_up

GB = 1_000_000_000
MOUNTS = r"""/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
filer:/export /srv nfs4 rw 0 0
/dev/vdb /srv/my\040disk xfs rw 0 0
tmpfs /srv/my\040disk tmpfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("free", "need", "grade", "says"),
    [
        (100 * GB, 0, "well", "nothing is planned"),
        (100 * GB, 5 * GB, "well", "about 5.0 GB"),
        (100 * GB, 100 * GB, "mind", "free some space, or move"),
        (GB, 0, "mind", "a million contacts"),
        (GB, 2 * GB, "mind", "about 2.1 GB"),
        (10_000_000, 0, "ill", "10 MB free"),
    ],
)
def test_disk(free: int, need: int, grade: str, says: str) -> None:
    """Too little for anything is ill, too little for what is planned is to be minded."""
    check = grade_disk(Path("/j"), free, need)
    assert (check.grade, says in check.found) == (grade, True), check


def test_bytes_needed(tmp_path: Path) -> None:
    """Calls that wait, and rows of the lists that are planned; a packed list holds more."""
    text, packed = tmp_path / "list.csv", tmp_path / "list.csv.gz"
    text.write_bytes(b"x" * 6000)
    packed.write_bytes(b"x" * 6000)
    costs = Costs(per_call=100, per_row=60, to_send=50)
    assert bytes_needed(costs, []) == 5000
    assert bytes_needed(costs, [planned(text)]) == 5000 + 100 * 100
    assert bytes_needed(costs, [planned(packed)]) == 5000 + 8 * 100 * 100
    assert bytes_needed(costs, [planned(tmp_path / "none.csv")]) == 5000
    assert bytes_needed(costs, [Planned(tmp_path / "bad.toml", None, ("bad",))]) == 5000


def planned(path: Path) -> Planned:
    """Return a campaign over a list."""
    campaign = Campaign(name="reminder", flow_id="QG8k000A", paths=(str(path),))
    return Planned(path.with_name("campaign.toml"), campaign)


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("/home", ("ext4", Path("/"))),
        ("/run/x", ("tmpfs", Path("/run"))),
        ("/runner", ("ext4", Path("/"))),
        ("/srv", ("nfs4", Path("/srv"))),
        ("/srv/other", ("nfs4", Path("/srv"))),
        ("/srv/my disk/j", ("tmpfs", Path("/srv/my disk"))),
    ],
)
def test_mount_of(folder: str, found: tuple[str, Path]) -> None:
    """The nearest above; of two on one place the later."""
    assert mount_of(Path(folder), MOUNTS) == found


def test_mount_of_nothing() -> None:
    """Where there are no mounts, nothing is known."""
    assert mount_of(Path("/x"), "") is None


@pytest.mark.parametrize(
    ("kind", "grade", "says"),
    [
        ("ext4", "well", "ext4, mounted on /srv"),
        ("nfs4", "ill", "over a network"),
        ("cifs", "ill", "over a network"),
        ("fuse.sshfs", "ill", "over a network"),
        ("fuse.whatever", "mind", "whether locks work"),
        ("9p", "mind", "whether locks work"),
        ("tmpfs", "mind", "gone with the next restart"),
        ("overlay", "mind", "deleted with its container"),
    ],
)
def test_place(kind: str, grade: str, says: str) -> None:
    """A journal belongs on a disk of this machine that stays."""
    check = grade_place(kind, Path("/srv"))
    assert (check.grade, says in check.found) == (grade, True), check


@pytest.mark.parametrize(
    ("workers", "limit", "grade"),
    [
        ("auto", 575, "ill"),
        ("auto", 576, "mind"),
        ("auto", 671, "mind"),
        ("auto", 672, "well"),
        (20, 83, "ill"),
        (20, 84, "mind"),
        (20, 467, "mind"),
        (20, 468, "well"),
    ],
)
def test_open_files(workers: int | str, limit: int, grade: str) -> None:
    """Up to 512 for a run, and for 16 runs of a worker together; or 20 for each; and some more."""
    ends = {name: {"workers": workers} for name in ("bulk", "realtime")}
    settings = Settings.model_validate({"journal": "j", "endpoints": ends})
    check = grade_open_files(settings, limit)
    assert check.grade == grade
    assert check.found.startswith(str(limit))


def test_india() -> None:
    """Its date, which is tomorrow's from 18:30 UTC on."""
    assert india(1_795_545_000).found.startswith("2026-11-25, 00:00:00, ")
    assert india(1_795_544_999).found.startswith("2026-11-24, 23:59:59, ")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (12_345_678, "12 MB")]
)
def test_in_bytes(number: int, text: str) -> None:
    """In thousands, as disks are sold."""
    assert in_bytes(number) == text


def run_of(**changes: object) -> Run:
    """Return a run whose list of ten calls was read."""
    new = make_run()
    fields = {name: getattr(new, name) for name in type(new).__slots__ if name != "kind"}
    run = Run(
        **fields,
        id=7,
        variant=0,
        created_at=1.0,
        read_at=2.0,
        whole=1,
        control=Control.GO,
        reason=None,
        rows=10,
        rejected=0,
        suppressed=0,
        duplicates=0,
        calls=10,
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def counts(state: State) -> RunCounts:
    """Return ten calls in one state."""
    accepted = 10 if state is State.ACCEPTED else 0
    return RunCounts({state: 1}, {state: 10}, accepted, 1, 3.0)


@pytest.mark.parametrize(
    ("run", "state", "at_work", "says"),
    [
        (run_of(), State.ACCEPTED, set(), None),
        (run_of(), State.READY, set(), "10 calls to send; if nothing is at work"),
        (run_of(), State.READY, {7}, None),
        (run_of(), State.READY, {8}, "10 calls to send"),
        (run_of(), State.IN_DOUBT, set(), "10 calls in doubt: `phonon-bulk resolve 7`"),
        (run_of(read_at=None), State.ACCEPTED, set(), "its list is not read to the end"),
        (run_of(read_at=None, kind=Kind.INTAKE), State.ACCEPTED, set(), None),
        (run_of(read_at=None, kind=Kind.INTAKE), State.READY, set(), "10 single calls to send"),
        (run_of(control=Control.PAUSED), State.READY, {7}, "paused, with 10 calls to send"),
        (
            run_of(control=Control.STOPPED, reason="Invalid Flow ID"),
            State.READY,
            set(),
            "stopped: Invalid Flow ID. Mend that",
        ),
        (run_of(control=Control.CANCELLED), State.CANCELLED, set(), None),
    ],
)
def test_what_runs_wait_for(run: Run, state: State, at_work: set[int], says: str | None) -> None:
    """One line at most; none for what is done, or in somebody's hands."""
    summary = add_up(run, counts(state), 0.0, [])
    checks = list(to_do(run, summary, at_work))
    if says is None:
        assert checks == []
    else:
        (check,) = checks
        assert (check.what, check.grade, says in check.found) == ("run 7", Grade.MIND, True), check


@pytest.mark.parametrize(
    ("calls", "size", "per_call", "per_row"),
    [
        (9_999, 1_000_000, 100, 60),  # too few to tell
        (20_000, 4_000_000, 200, 30),
        (20_000, 20_000, 40, 30),  # nothing was answered yet
    ],
)
def test_what_a_journal_says_of_sizes(
    calls: int, size: int, per_call: float, per_row: float
) -> None:
    """Bytes a call and a row, once there are enough of them; the intake has no list."""
    known = f'{{"files": [], "bytes": {30 * calls}}}'
    books = Shelf([run_of(calls=calls, rows=calls, list=known), run_of(kind=Kind.INTAKE, calls=0)])
    assert costs_in(books, size) == Costs(per_call, per_row, to_send=7)


class Shelf(SqliteBooks):
    """Books that are made up."""

    def __init__(self, runs: list[Run]) -> None:
        self._runs = runs

    def runs(self, limit: int) -> list[Run]:
        """Return all of them."""
        return self._runs[: limit % 1000]

    def backlog(self) -> list[Backlog]:
        """Return what waits, in two ways, and a doubt, which is in the journal with its answer."""
        calls = {State.READY: 4, State.SENDING: 3, State.IN_DOUBT: 5}
        return [Backlog("a", "bulk", calls, {}, None)]
