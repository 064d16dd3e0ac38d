"""Group commit on one thread."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from phonon_bulk.errors import JournalError
from phonon_bulk.journal.writer import Writer

Connection = sqlite3.Connection


def opened(path: Path) -> Connection:
    """Return a connection to a database with one table."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER NOT NULL CHECK (x < 100))")
    return connection


def explain(error: sqlite3.Error) -> JournalError:
    """Say what SQLite said."""
    return JournalError(str(error))


def insert(x: int) -> Callable[[Connection], int]:
    """Return an operation that inserts x and returns it."""

    def operation(db: Connection) -> int:
        db.execute("INSERT INTO t VALUES (?)", (x,))
        return x

    return operation


async def test_what_queues_up_is_committed_together(tmp_path: Path) -> None:
    """While one change holds the thread, the next ones gather into one transaction."""
    connection = opened(tmp_path / "db")
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement.startswith("COMMIT")

    connection.set_trace_callback(count)
    writer = Writer(connection, explain)
    free = threading.Event()
    first = asyncio.create_task(writer.do(lambda _db: free.wait(10)))
    others = [asyncio.create_task(writer.do(insert(x))) for x in range(50)]
    await asyncio.sleep(0)
    free.set()
    assert await asyncio.gather(*others) == list(range(50))
    await first
    await writer.close()
    assert commits <= 3


async def transactions(tmp_path: Path, queued: list[tuple[int, bool]]) -> list[list[int]]:
    """Insert numbers that wait all at once, each urgent or not; return them by transaction."""
    connection = opened(tmp_path / "db")
    seen: list[list[int]] = [[]]
    writer = Writer(connection, explain, lambda _seconds, _changes: seen.append([]))

    def noting(x: int) -> Callable[[Connection], None]:
        def operation(db: Connection) -> None:
            insert(x)(db)
            seen[-1].append(x)

        return operation

    taken, free = threading.Event(), threading.Event()

    def hold(_db: Connection) -> None:
        taken.set()
        free.wait(10)

    first = asyncio.create_task(writer.do(hold))
    await asyncio.to_thread(taken.wait, 10)
    others = [asyncio.create_task(writer.do(noting(x), urgent=u)) for x, u in queued]
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(first, *others)
    await writer.close()
    return [group for group in seen if group]


async def test_what_is_urgent_is_committed_first_and_alone(tmp_path: Path) -> None:
    """Nobody who is in a hurry waits for the statements of those who are not."""
    queued = [(1, False), (2, False), (3, True), (4, False), (5, True)]
    assert await transactions(tmp_path, queued) == [[3, 5], [1, 2, 4]]


async def test_the_others_have_their_turn(tmp_path: Path) -> None:
    """However much that is urgent keeps coming, the others are in every second transaction."""
    writer = Writer(opened(tmp_path / "db"), explain)
    done = 0

    async def hurry() -> None:
        nonlocal done
        while done < 60:  # each asks again as soon as it is served
            await writer.do(insert(1), urgent=True)
            done += 1

    hurrying = [asyncio.create_task(hurry()) for _ in range(3)]
    await asyncio.sleep(0)
    await writer.do(insert(2))
    assert done < 30
    await asyncio.gather(*hurrying)
    await writer.close()


async def test_a_failure_takes_back_only_itself(tmp_path: Path) -> None:
    """Everything of the one that fails is undone, nothing of the others."""
    writer = Writer(opened(tmp_path / "db"), explain)

    def half(db: Connection) -> None:
        db.execute("INSERT INTO t VALUES (50)")
        db.execute("INSERT INTO t VALUES (500)")

    results = await asyncio.gather(
        writer.do(insert(1)),
        writer.do(half),
        writer.do(insert(2)),
        return_exceptions=True,
    )
    assert isinstance(results[1], sqlite3.IntegrityError)
    found = await writer.do(lambda db: db.execute("SELECT x FROM t ORDER BY x").fetchall())
    assert found == [(1,), (2,)]
    await writer.close()


async def test_a_commit_that_fails_fails_all(tmp_path: Path) -> None:
    """When the disk fails, nobody in the group is told that it was written."""
    connection = opened(tmp_path / "db")
    writer = Writer(connection, explain)

    def broken(_db: Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    results = await asyncio.gather(
        writer.do(insert(1)),
        writer.do(broken),
        return_exceptions=True,
    )
    assert isinstance(results[1], JournalError)
    found = await writer.do(lambda db: db.execute("SELECT count(*) FROM t").fetchone()[0])
    assert found == (0 if isinstance(results[0], JournalError) else 1)
    await writer.close()


async def test_who_does_not_wait_any_more(tmp_path: Path) -> None:
    """A cancelled caller undoes nothing and disturbs nobody."""
    writer = Writer(opened(tmp_path / "db"), explain)
    free = threading.Event()
    holding = asyncio.create_task(writer.do(lambda _db: free.wait(10)))
    gone = asyncio.create_task(writer.do(insert(7)))
    await asyncio.sleep(0)
    gone.cancel()
    free.set()
    await holding
    found = await writer.do(lambda db: db.execute("SELECT x FROM t").fetchall())
    assert found == [(7,)]
    await writer.close()


async def test_close_does_what_is_queued(tmp_path: Path) -> None:
    """Closing writes what was asked before, takes nothing after, and may be repeated."""
    writer = Writer(opened(tmp_path / "db"), explain)
    asked = [asyncio.create_task(writer.do(insert(x))) for x in range(20)]
    await asyncio.sleep(0)
    await writer.close()
    await writer.close()
    assert await asyncio.gather(*asked) == list(range(20))
    with pytest.raises(JournalError, match="closed"):
        await writer.do(insert(1))
    connection = opened(tmp_path / "db")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (20,)
    connection.close()


async def test_the_loop_goes_on_while_it_writes(tmp_path: Path) -> None:
    """The event loop does other things while a write holds the thread."""
    writer = Writer(opened(tmp_path / "db"), explain)
    free = threading.Event()
    holding = asyncio.create_task(writer.do(lambda _db: free.wait(10)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not holding.done()
    free.set()
    assert await holding
    await writer.close()


async def test_a_writer_that_dies_says_so(tmp_path: Path) -> None:
    """If even taking back fails, all who wait and all who come are told; nobody waits for ever."""
    connection = opened(tmp_path / "db")
    writer = Writer(connection, explain)
    taken, free = threading.Event(), threading.Event()

    def broken(db: Connection) -> None:
        taken.set()
        free.wait(10)
        db.close()
        raise sqlite3.OperationalError("disk I/O error")

    first = asyncio.create_task(writer.do(broken))
    await asyncio.to_thread(taken.wait, 10)
    others = [asyncio.create_task(writer.do(insert(1), urgent=u)) for u in (False, True)]
    await asyncio.sleep(0)
    free.set()
    results = await asyncio.wait_for(asyncio.gather(first, *others, return_exceptions=True), 10)
    assert [type(result) for result in results] == [JournalError] * 3
    with pytest.raises(JournalError):
        await asyncio.wait_for(writer.do(insert(2)), 10)
    await writer.close()
