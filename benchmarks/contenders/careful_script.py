"""The plain script, with a book that tells after a crash which batches went out.

    export PHONON_BULK_SECURITY_ID=... PYTHONPATH=benchmarks
    python -m contenders.careful_script contacts.csv --url URL --flow-id ID --book book.db

Each batch has a row in SQLite: committed before the batch is sent, and again when it was answered.
Commits are on the disk (WAL, synchronous=FULL), as a mark that a power cut may take back is none,
and are made in a thread of their own, so that other requests go on meanwhile.

What it keeps is which contacts were in the batch, not the body: after a crash it can say which
batches are in doubt, and cannot send the same bytes again. That costs it less than phonon-bulk,
which keeps the body, and looks every byte of the list and every number over.
"""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import aiohttp
import uvloop
from contenders.plain_script import Call, Counts, Limit, Sender, arguments, send_all, show

_TABLE = """
CREATE TABLE IF NOT EXISTS batch (
    number INTEGER PRIMARY KEY,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    calls INTEGER NOT NULL,
    state TEXT NOT NULL,
    request_id TEXT
)
"""
_BEGUN = "INSERT INTO batch (first, last, calls, state) VALUES (?, ?, ?, 'sending')"
_ANSWERED = "UPDATE batch SET state = ?, request_id = ? WHERE number = ?"


class Book:
    """What became of which batch, on the disk."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(_TABLE)

    async def begun(self, batch: list[Call]) -> int:
        """Write down that a batch is about to be sent; return its number."""
        first, last = (call["client-identifier"] for call in (batch[0], batch[-1]))
        return await self._commit(_BEGUN, first, last, len(batch))

    async def answered(self, number: int, request_id: str | None) -> None:
        """Write down what became of a batch."""
        await self._commit(_ANSWERED, "accepted" if request_id else "failed", request_id, number)

    async def _commit(self, statement: str, *values: str | int | None) -> int:
        def commit() -> int:
            with self._database:
                return self._database.execute(statement, values).lastrowid or 0

        return await asyncio.get_running_loop().run_in_executor(self._thread, commit)

    def close(self) -> None:
        """Close it."""
        self._thread.shutdown()
        self._database.close()


class CarefulSender(Sender):
    """Sends batches, and writes each down before and after."""

    def __init__(
        self,
        book: Book,
        session: aiohttp.ClientSession,
        url: str,
        head: dict[str, str],
        counts: Counts,
    ) -> None:
        super().__init__(session, url, head, counts)
        self._book = book

    async def send(self, batch: list[Call], limit: Limit) -> str | None:
        """Send a batch; return its request-id if it was accepted."""
        number = await self._book.begun(batch)
        request_id = await super().send(batch, limit)
        await self._book.answered(number, request_id)
        return request_id


def main() -> None:
    """Send a list and print the counts."""
    parser = arguments("Send a contact list, with a row in SQLite for each batch.")
    parser.add_argument("--no-limit", action="store_true")
    parser.add_argument("--book", type=Path, required=True, metavar="FILE.db")
    given = parser.parse_args()
    counts, book = Counts(), Book(given.book)
    try:
        uvloop.run(send_all(given, counts, partial(CarefulSender, book)))
    finally:
        book.close()
    show(counts)


if __name__ == "__main__":
    main()
