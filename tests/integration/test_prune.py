"""Pruning a journal on disk: no number is left in its files, and whatever happens, it can go on."""

import asyncio
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from builders import DAY, make_run
from scripted import until

from phonon_bulk.batch import Batch, State
from phonon_bulk.call import Call, LeftOut, LeftOutRow, encode
from phonon_bulk.journal import Moment, Settlement
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.connection import APPLICATION_ID
from phonon_bulk.journal.evidence import SqliteEvidence
from phonon_bulk.journal.frozen import compress, freeze
from phonon_bulk.journal.pruning import _to_the_end, empty_wal
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.journal.statements import migrations
from phonon_bulk.report.audit import Finding, audit
from phonon_bulk.report.summary import summarize
from phonon_bulk.schedule import Limits

NOON = 1_795_501_800.0
LATER = NOON + 40 * 86_400
HEAD = b"h" * 32
NUMBERS, IDENTIFIERS, NAMES = rb"9199\d{8}", rb"ACC-\d{7}", rb"Asha \d{7}"
_MAGIC = b"\x28\xb5\x2f\xfd"
"""With which a zstd frame begins."""


@dataclass
class Generated:
    """A run whose contacts nobody else has."""

    run: int = 0
    rows: set[int] = field(default_factory=set)
    frames: list[bytes] = field(default_factory=list)


class Maker:
    """Fills a journal with runs whose rows are in each other's neighbourhood in the file."""

    def __init__(self, journal: SqliteJournal, *sizes: int) -> None:
        self.journal = journal
        self.sizes = sizes or (1, 2, 30, 200)
        """How many calls there are in a batch, one as often as another."""
        self.chance = random.Random(1)  # noqa: S311 - for variety
        self.used = 0

    def call(self) -> tuple[int, bytes]:
        """Return a call, and the number of its contact."""
        self.used += 1
        key = (
            f"Asha {self.used:07d} {self.chance.randbytes(self.chance.choice([5, 40, 300])).hex()}"
        )
        call = Call(
            client_identifier=f"ACC-{self.used:07d}",
            start_time=f"{DAY}T10:00:00+05:30",
            contact_numbers=(f"9199{self.used:08d}",),
            keys=(("$flow.key.Name", key),),
        )
        return self.used, encode(call)

    def left_out(self, row: int) -> tuple[int, LeftOutRow]:
        """Return a row that became no call, and the number of its contact."""
        self.used += 1
        number, name = f"9199{self.used:08d}", f"Asha {self.used:07d}"
        fields = (
            f'{{"tel1":"{number}","name":"{name}","more":"{"x" * self.chance.randrange(900)}"}}'
        )
        state = self.chance.choice(list(LeftOut))
        row_ = LeftOutRow(row, "why", f"ACC-{self.used:07d}", (number,), fields, state)
        return self.used, row_

    async def runs(self, count: int, portions: int) -> list[Generated]:
        """Read lists into the journal side by side, and send them all."""
        found = [Generated() for _ in range(count)]
        for one in found:
            one.run = (await self.journal.open_run(make_run(), NOON)).run
        read = dict.fromkeys(range(count), 0)
        for number in list(range(count)) * portions:
            read[number] = await self._portion(found[number], read[number])
        for one in found:
            await self.journal.finish_reading(one.run, NOON)
            await self._send(one)
        return found

    async def _portion(self, one: Generated, after: int) -> int:
        calls = [self.call() for _ in range(self.chance.choice(self.sizes))]
        rows = range(after + 1, after + 1 + len(calls))
        frozen = freeze(Batch(b",".join(call for _, call in calls), rows, DAY))
        count = self.chance.randrange(1, 30)
        left = [self.left_out(row) for row in range(rows.stop, rows.stop + count)]
        one.rows |= {number for number, _ in (*calls, *left)}
        one.frames.append(frozen.body)
        last = rows.stop + count - 1
        rejected = [row for _, row in left]
        await self.journal.append(one.run, [frozen], rejected, after_row=after, last_row=last)
        return last

    async def _send(self, one: Generated) -> None:
        owner, now = self.journal.owner, Moment(NOON, NOON)
        claims = await self.journal.claim(one.run, owner=owner, limit=1000, now=now, lease=60)
        self.chance.shuffle(claims)  # answers come in any order
        for claim in claims:
            await self.journal.send(claim, HEAD, owner, now, 60)
            uuids = b",".join(self.chance.randbytes(16).hex().encode() for _ in range(claim.calls))
            answer = b'{"uuids":"' + uuids + b'"}'
            one.frames.append(compress(answer))
            said = Settlement(
                State.ACCEPTED, "accepted", None, claim.calls, "request-id", answer=answer
            )
            await self.journal.settle(claim.batch, said, owner, NOON)


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the bytes of each of a journal's files."""
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            yield suffix, file.read_bytes()


def found_of(path: Path, one: Generated, others: list[Generated]) -> list[str]:
    """Return what can be found of a run in the files, as it is or compressed."""
    found = []
    kept = b"|".join(frame for other in others for frame in other.frames)
    for suffix, data in files(path):
        texts = [data, *_thawed(data)]
        for what in (NUMBERS, IDENTIFIERS, NAMES):
            there = {int(m[-7:]) for text in texts for m in re.findall(what, text)}
            found += [f"{suffix or 'file'}: {what!r} of {row}" for row in there & one.rows]
        for frame in one.frames:
            slices = {frame[i : i + 24] for i in range(0, len(frame) - 24, 200)} | {frame[-24:]}
            found += [
                f"{suffix or 'file'}: a piece of a frame"
                for piece in slices
                if piece in data and piece not in kept
            ]
    return found


def _thawed(data: bytes) -> Iterator[bytes]:
    """Yield what is in the compressed frames that begin somewhere, as far as each can be read."""
    for match in re.finditer(re.escape(_MAGIC), data):
        reader = zstandard.ZstdDecompressor().stream_reader(data[match.start() :][:300_000])
        text = b""
        try:
            while piece := reader.read(64):
                text += piece
        except zstandard.ZstdError:
            pass
        yield text


def size_of(path: Path) -> int:
    """Return how large the file is, with all that is in its -wal."""
    assert empty_wal(path)
    return path.stat().st_size


def modes_in(folder: Path) -> set[int]:
    """Return who may do what with the files in a folder."""
    return {file.stat().st_mode & 0o777 for file in folder.iterdir()}


def killed_at(path: Path, function: str, nth: int) -> None:
    """Prune in a process that is killed when a function has done its work for the nth time."""
    arguments = [str(path), function, str(nth), str(LATER)]
    killed = subprocess.run([sys.executable, "-c", KILLER, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL, "the point was not reached"


def promises(path: Path) -> list[Finding]:
    """Return what the audit finds."""
    with SqliteEvidence(path) as evidence:
        return audit(evidence, None, lambda _endpoint: Limits(None, None))


def hold(path: Path) -> bool:
    """Say whether every promise holds, and SQLite finds nothing wrong with the file."""
    with SqliteEvidence(path) as evidence:
        assert evidence.integrity() == []
    return all(finding.holds for finding in promises(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the journal is."""
    return tmp_path / "journal.db"


async def test_no_number_is_left_in_the_files(path: Path) -> None:
    """Of pruned runs no number, identifier, name or piece of a body is left; others' all are."""
    journal = SqliteJournal(path)
    one, other, third, last = await Maker(journal).runs(4, 12)
    assert len(found_of(path, one, [])) > 100
    before = size_of(path)
    gone = 0
    for run in (one, third):
        gone += (await journal.prune(LATER, LATER, run=run.run)).bytes_freed
    assert await journal.compact() is None
    kept = [other, last]
    assert found_of(path, one, kept) + found_of(path, third, kept) == []
    assert len(found_of(path, other, [])) > 100
    with SqliteBooks(path) as books:
        assert all(books.run(run.run).remains is None for run in (one, third))
        assert [batch for batch in books.batches(other.run) if batch.calls is None] == []
    assert before - size_of(path) > 0.9 * gone > 100_000
    assert hold(path)
    await journal.close()
    assert found_of(path, one, kept) == []


async def test_while_somebody_sends_the_file_is_not_written_anew(path: Path) -> None:
    """Senders must not wait so long: the space is given back in steps, and the rest comes later."""
    journal, other = SqliteJournal(path), SqliteJournal(path)
    one, second = await Maker(journal, 200).runs(2, 12)
    before = size_of(path)
    await other.begin_work(second.run, "reads", NOON)
    gone = (await journal.prune(LATER, LATER)).bytes_freed
    assert await journal.compact() == f"somebody is at work on run {second.run}"
    assert before - size_of(path) > 0.5 * gone
    with SqliteBooks(path) as books:
        assert books.run(one.run).remains == "traces"
    await other.end_work(second.run, "reads")
    assert await journal.compact() is None
    assert found_of(path, one, [second]) == []
    await journal.close()
    await other.close()


async def test_who_waits_for_single_calls_is_not_in_the_way(path: Path) -> None:
    """A worker is always there: what counts is whether somebody has something to send."""
    journal = SqliteJournal(path)
    (one,) = await Maker(journal).runs(1, 2)
    await journal.prune(LATER, LATER)
    await journal.begin_work(one.run, "sends", NOON)
    assert await journal.compact() is None
    await journal.close()


async def test_a_reader_is_said_to_be_in_the_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody reads can't be taken away under him; it is done the next time."""
    monkeypatch.setattr("phonon_bulk.journal.pruning._EMPTYING_SECONDS", 0.0)
    journal = SqliteJournal(path)
    (one,) = await Maker(journal).runs(1, 2)
    with SqliteBooks(path) as books, books.snapshot():
        books.run(one.run)
        await journal.prune(LATER, LATER)
        assert await journal.compact() == "somebody reads the journal (an export, a backup)"
        assert next(iter(books.batches(one.run))).calls is not None
    assert await journal.compact() is None
    assert found_of(path, one, []) == []
    await journal.close()


def of_version(path: Path, version: int) -> None:
    """Make an empty journal as an earlier version did: without a way to give back space."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for script in migrations()[:version]:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()


async def test_a_journal_of_an_earlier_version(path: Path) -> None:
    """It can't give back space in steps; written anew, it can from then on."""
    of_version(path, 4)
    journal = SqliteJournal(path)
    one, other = await Maker(journal).runs(2, 12)
    before = size_of(path)
    gone = (await journal.prune(LATER, LATER, run=one.run)).bytes_freed
    assert size_of(path) >= before
    assert await journal.compact() is None
    assert before - size_of(path) > 0.9 * gone
    assert found_of(path, one, [other]) == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    connection.close()
    await journal.close()


KILLER = """
import asyncio, os, signal, sys
from pathlib import Path
from phonon_bulk.journal import pruning
from phonon_bulk.journal.pruning import empty_wal
from phonon_bulk.journal.sqlite import SqliteJournal
path, name, nth, late = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
original, seen = getattr(pruning, name), []
def watched(*arguments):
    result = original(*arguments)
    seen.append(name)
    if len(seen) == nth:
        os.kill(os.getpid(), signal.SIGKILL)  # what it did is in no commit yet
    return result
setattr(pruning, name, watched)
pruning._EMPTY.update({what: watched for what, f in pruning._EMPTY.items() if f is original})
async def main():
    journal = SqliteJournal(path)
    await journal.prune(late, late)
    await journal.compact()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("function", "nth"),
    [
        ("begin", 1),
        ("empty_some", 1),
        ("empty_some", 3),
        ("_empty_left_out", 1),
        ("_empty_orders", 1),
        ("give_back", 1),
        ("empty_wal", 1),
        ("empty_wal", 2),
    ],
)
async def test_killed_in_the_middle(path: Path, function: str, nth: int) -> None:
    """Whenever it is killed, the journal is whole, and pruning once more does the rest."""
    journal = SqliteJournal(path)
    one, other = await Maker(journal).runs(2, 6)
    with SqliteBooks(path) as books:
        before = [summarize(books, run.run).accepted for run in (one, other)]
    await journal.close()
    killed_at(path, function, nth)
    assert hold(path)
    journal = SqliteJournal(path)
    await journal.prune(LATER, LATER)
    assert await journal.compact() is None
    await journal.close()
    assert hold(path)
    assert found_of(path, one, []) + found_of(path, other, []) == []
    with SqliteBooks(path) as books:
        assert [summarize(books, run.run).accepted for run in (one, other)] == before
        assert {books.run(run.run).remains for run in (one, other)} == {None}


async def test_cancelled_in_the_middle(path: Path) -> None:
    """A worker that is told to stop does not wait for the end of it; the next one goes on."""
    journal = SqliteJournal(path)
    one, other = await Maker(journal).runs(2, 6)
    task = asyncio.create_task(journal.prune(LATER, LATER))
    with SqliteBooks(path) as books:
        await until(lambda: books.run(one.run).pruned_at is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hold(path)
    await journal.prune(LATER, LATER)
    await journal.compact()
    assert found_of(path, one, []) + found_of(path, other, []) == []
    await journal.close()


async def test_no_connection_is_closed_under_a_thread() -> None:
    """That would end the process: whoever is cancelled waits for the thread first."""
    entered, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def slow(statement: str) -> None:
        entered.set()
        assert go_on.wait(20)
        done.append(statement)

    task = asyncio.create_task(_to_the_end(slow, "PRAGMA wal_checkpoint(PASSIVE)"))
    assert await asyncio.to_thread(entered.wait, 20)
    for _ in range(2):  # told to stop, and told once more
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["PRAGMA wal_checkpoint(PASSIVE)"]


async def test_the_files_stay_private(path: Path) -> None:
    """Written anew or not, nobody but the owner may read them."""
    journal = SqliteJournal(path)
    await Maker(journal).runs(1, 2)
    await journal.prune(LATER, LATER)
    await journal.compact()
    assert modes_in(path.parent) == {0o600}
    await journal.close()


async def test_the_audit_says_what_it_can_not_look_at(path: Path) -> None:
    """Bodies that were pruned are counted as such; every promise is looked at still."""
    journal = SqliteJournal(path)
    one, other = await Maker(journal).runs(2, 6)
    await journal.prune(LATER, LATER, run=one.run)
    found = promises(path)
    assert found[1].seen == "6 bodies; 6 more were pruned, with the contact data of their runs"
    assert all(finding.holds for finding in found)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "UPDATE body SET calls = x'' WHERE batch IN (SELECT id FROM batch WHERE run = ?)",
        [other.run],
    )
    connection.execute("DELETE FROM left_out WHERE run = ?", [one.run])
    connection.close()
    await journal.close()
    assert [finding.holds for finding in promises(path)] == [False, False, True, True, True]
