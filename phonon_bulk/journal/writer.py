"""One thread that writes, and commits what has gathered in one go.

An fsync costs the same for one change as for fifty. While a commit is under way, further changes
queue up; the thread then takes all of them into the next transaction (group commit). Each runs in
its own savepoint, so one that fails takes back itself and nothing else. The event loop never waits
for the disk: it awaits a future that is resolved after the commit.

What is urgent goes into the next transaction, without what else waits: the statements of fifty
others would be run before its commit. Then all others have their turn, so that neither waits for
more than one transaction of the other kind.
"""

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from phonon_bulk.errors import JournalError

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]

MAX_GROUP = 256
"""Changes in one transaction at most, so that the first of them is not kept waiting long."""


class _Waiting(NamedTuple):
    operation: Operation
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class _Result(NamedTuple):
    waiting: _Waiting
    value: Any
    error: BaseException | None


class Writer:
    """Runs operations on one SQLite connection, in order, on a thread of its own."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        explain: Callable[[sqlite3.Error], Exception],
        committed: Callable[[float, int], None] = lambda _seconds, _changes: None,
    ) -> None:
        """Take over `connection`; `explain` turns SQLite's errors into the operator's.

        `committed` is told of every transaction how many seconds it took and how many changes it
        held; it is called on the writer's thread.
        """
        self._committed = committed
        self._connection = connection
        self._explain = explain
        self._ordinary: deque[_Waiting] = deque()
        self._urgent: deque[_Waiting] = deque()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="journal-writer", daemon=True)
        self._closing = False
        self._urgent_before = False
        """Whether the last transaction held what was urgent, and nothing else."""
        self._thread.start()

    async def do(self, operation: Callable[[sqlite3.Connection], T], *, urgent: bool = False) -> T:
        """Run `operation` in the next transaction and return its result once that is on disk.

        What is `urgent` does not wait for what is not. A cancelled caller does not undo the
        operation: it is in the queue and will happen. Raises JournalError when the journal is
        closed or can't be written any more, and whatever the operation raises.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._news:
            if self._closing:
                raise JournalError("the journal is closed")
            queue = self._urgent if urgent else self._ordinary
            queue.append(_Waiting(operation, future, loop))
            self._news.notify()
        return await future

    async def close(self) -> None:
        """Do what is queued, then end the thread and close the connection."""
        with self._news:
            self._closing = True
            self._news.notify()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while group := self._next_group():
            try:
                results = self._commit(group)
            except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
                self._die(group, error)
                return
            _resolve(results)
        self._connection.close()

    def _next_group(self) -> list[_Waiting]:
        """Wait for something to do; return what goes into the next transaction, none at the end."""
        with self._news:
            while not (self._urgent or self._ordinary or self._closing):
                self._news.wait()
            alone = bool(self._urgent) and not self._urgent_before
            self._urgent_before = alone
            queues = [self._urgent] if alone else [self._urgent, self._ordinary]
            group: list[_Waiting] = []
            for queue in queues:
                while queue and len(group) < MAX_GROUP:
                    group.append(queue.popleft())
            return group

    def _die(self, group: list[_Waiting], error: BaseException) -> None:
        """Tell all who wait, now and later, that nothing can be written any more."""
        with self._news:
            self._closing = True
            group += [*self._urgent, *self._ordinary]
            self._urgent.clear()
            self._ordinary.clear()
        failed = JournalError(f"the journal can't be written any more ({type(error).__name__})")
        _resolve([_Result(waiting, None, failed) for waiting in group])

    def _commit(self, group: list[_Waiting]) -> list[_Result]:
        began = time.perf_counter()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._run(waiting) for waiting in group]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # Some failures (a full disk) have rolled back already; then this is no transaction.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return [_Result(waiting, None, self._explain(error)) for waiting in group]
        self._committed(time.perf_counter() - began, len(group))
        return results

    def _run(self, waiting: _Waiting) -> _Result:
        self._connection.execute("SAVEPOINT operation")
        try:
            value = waiting.operation(self._connection)
        except (sqlite3.OperationalError, sqlite3.InternalError):
            raise  # the disk, not the operation: the whole transaction is lost
        except Exception as error:
            if type(error) is sqlite3.DatabaseError:
                raise  # a damaged file
            self._connection.execute("ROLLBACK TO operation")
            self._connection.execute("RELEASE operation")
            return _Result(waiting, None, error)
        self._connection.execute("RELEASE operation")
        return _Result(waiting, value, None)


def _resolve(results: list[_Result]) -> None:
    """Hand the results back, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Result]] = {}
    for result in results:
        by_loop.setdefault(result.waiting.loop, []).append(result)
    for loop, ours in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set, ours)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def _set(results: list[_Result]) -> None:
    for result in results:
        future = result.waiting.future
        if future.done():  # the waiter was cancelled
            continue
        if result.error is None:
            future.set_result(result.value)
        else:
            future.set_exception(result.error)
