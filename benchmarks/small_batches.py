"""Prepares a journal full of batches, small ones mostly; says at the end what became of them.

A list is cut into batches of 500 calls, so a minute at the provider's limit is 15,000,000 contacts:
most of the work would be on contacts. A limit counts requests, so here each request is of two
calls. Such batches come from no list: they are put into the journal through the project's own API,
as `submit` would, in several runs, and `phonon-bulk resume` sends them.

Where full batches are wanted there are 500 calls in each, with flow variables as a list has them.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from time import time
from uuid import UUID

from contacts import FLOW_VARIABLES, tomorrow
from local_phonon import FLOW_ID, SECURITY_ID

from phonon_bulk.batch import MAX_CALLS, Batch, Head, State
from phonon_bulk.call import Call, encode
from phonon_bulk.config import load_campaign
from phonon_bulk.journal import Moment, NewRun, Settlement
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.frozen import FrozenBatch, freeze
from phonon_bulk.journal.sqlite import SqliteJournal

CALLS = 2
"""In a batch."""

JOURNAL = "journal.db"
_AT_ONCE = 5000
"""Batches of the usual size appended in one go."""

_SETTINGS = """\
journal = "sqlite:{journal}"
[endpoints.bulk]
url = "{url}"
requests_per_minute = {limit}
"""
_A_DAY = 86_400.0
_NOWHERE = "http://127.0.0.1:9/bulk"
_OF_A_BATCH = {"batch": "id", "body": "batch", "attempt": "batch"}
"""What a batch leaves in the journal: tables, and the column that says whose it is."""

_FIRST_NAMES = ("Aarav", "Asha", "Deepak", "Farah", "Gauri", "Imran", "Kavya", "Manoj", "Priya")
_LAST_NAMES = ("Bose", "Das", "Fernandes", "Gill", "Iyer", "Joshi", "Khan", "Mehta", "Nair", "Rao")

_CAMPAIGN = """\
[campaign]
name = "benchmark"
flow_id = "{flow_id}"
"""


def prepare(
    folder: Path,
    url: str,
    limit: int,
    runs: int,
    batches: int,
    calls: int = CALLS,
    *,
    variables: bool = False,
) -> None:
    """Lay out settings in `folder`, and a journal with `runs` runs of so many batches each.

    `calls` are in each batch; with `variables` each has four flow variables.
    """
    lay_out_settings(folder, url, limit)
    asyncio.run(_fill(folder, runs, batches, calls, variables=variables))


def lay_out_settings(folder: Path, url: str, limit: int | str, more: str = "") -> None:
    """Write settings and a campaign into `folder`; `more` are lines of [endpoints.bulk].

    `limit` is of requests a minute; a text is TOML as it is, such as `"off"` in its quotes.
    """
    settings = _SETTINGS.format(journal=JOURNAL, url=url, limit=limit) + more
    (folder / "phonon-bulk.toml").write_text(settings, encoding="utf-8")
    (folder / "campaign.toml").write_text(_CAMPAIGN.format(flow_id=FLOW_ID), encoding="utf-8")


def prepare_settled(folder: Path, batches: int, calls: int = MAX_CALLS) -> None:
    """Lay out a journal in `folder` with one run of so many batches, all accepted a day ago.

    The first goes the ordinary way. All others are copies of what that left behind, under numbers
    and hashes of their own, which takes seconds for 100,000. (None is read again.)
    """
    prepare(folder, _NOWHERE, 1, 1, 1, calls, variables=True)
    asyncio.run(_settle_the_first(folder))
    with contextlib.closing(sqlite3.connect(folder / JOURNAL)) as db:
        for pragma in ("journal_mode = OFF", "synchronous = OFF"):  # it may be lost
            db.execute(f"PRAGMA {pragma}")
        for table, key in _OF_A_BATCH.items():
            _multiply(db, table, key, batches)
        db.execute(f"UPDATE run SET rows = {batches * calls}, calls = {batches * calls}")
        db.commit()
        db.execute("PRAGMA journal_mode = WAL")


async def _settle_the_first(folder: Path) -> None:
    journal = SqliteJournal(folder / JOURNAL)
    try:
        who, now = journal.owner, journal.now()
        now = Moment(now.wall - _A_DAY, now.steady - _A_DAY)
        (claim,) = await journal.claim(1, owner=who, limit=1, now=now, lease=60.0)
        await journal.send(claim, Head(SECURITY_ID, FLOW_ID).digest(), who, now, 60.0)
        taken = Settlement(
            State.ACCEPTED,
            "accepted",
            http_status=202,
            code=202,
            message="Accepted",
            accepted=claim.calls,
            request_id=str(UUID(int=1)),
        )
        await journal.settle(claim.batch, taken, who, now.wall)
    finally:
        await journal.close()


def _multiply(db: sqlite3.Connection, table: str, key: str, batches: int) -> None:
    """Let a table have for the batches 2 to `batches` what it has for the first."""
    own = {
        key: "batch_number",
        "first_row": "(batch_number - 1) * calls + 1",
        "sha256": "CAST(printf('%032d', batch_number * 2654435761 % 4294967296) AS BLOB)",
    }
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(own.get(column, column) for column in columns)
    db.execute(
        "WITH RECURSIVE series (batch_number) AS (SELECT 2 UNION ALL"
        f" SELECT batch_number + 1 FROM series WHERE batch_number < {batches})"
        f" INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT {values} FROM series CROSS JOIN {table} WHERE {key} = 1"
        f" AND batch_number <= {batches}"
    )


def add_run(folder: Path, number: int, batches: int, calls: int, *, variables: bool) -> int:
    """Put one more run into the journal in `folder`, the one of this number; return its own."""

    async def add() -> int:
        journal = SqliteJournal(folder / JOURNAL)
        try:
            return await _add_run(journal, folder, number, batches, calls, variables=variables)
        finally:
            await journal.close()

    return asyncio.run(add())


async def _fill(folder: Path, runs: int, batches: int, calls: int, *, variables: bool) -> None:
    journal = SqliteJournal(folder / JOURNAL)
    try:
        for number in range(runs):
            await _add_run(journal, folder, number, batches, calls, variables=variables)
    finally:
        await journal.close()


async def _add_run(
    journal: SqliteJournal,
    folder: Path,
    number: int,
    batches: int,
    calls: int,
    *,
    variables: bool,
) -> int:
    definition = load_campaign(folder / "campaign.toml").to_json()
    opened = await journal.open_run(_new_run(number, definition), time())
    first = number * batches * calls
    await _append(journal, opened.run, first, batches, calls, variables=variables)
    await journal.finish_reading(opened.run, time())
    return opened.run


def _new_run(number: int, definition: str) -> NewRun:
    return NewRun(
        campaign="benchmark",
        account="default",
        endpoint="bulk",
        flow_id=FLOW_ID,
        definition=definition,
        list='{"files": [], "bytes": 0}',
        list_sha256=sha256(b"%d" % number).hexdigest(),
        identity=f"benchmark {number}",
        not_after=None,
    )


async def _append(
    journal: SqliteJournal,
    run: int,
    first_contact: int,
    batches: int,
    calls: int,
    *,
    variables: bool,
) -> None:
    at_once = max(1, _AT_ONCE * CALLS // calls)
    for start in range(0, batches, at_once):
        some = range(start, min(start + at_once, batches))
        frozen = list(_frozen(first_contact, some, calls, variables=variables))
        after, last = some.start * calls, some.stop * calls
        await journal.append(run, frozen, [], after_row=after, last_row=last)


def _frozen(
    first_contact: int, batches: range, calls: int, *, variables: bool
) -> Iterator[FrozenBatch]:
    """Yield the batches of these numbers: rows count from 1 in each run, contacts over all runs.

    Beyond the usual size the further calls are the same in each batch: to prepare them is work.
    """
    day = tomorrow()  # no start date passes meanwhile
    one = _call_with_variables if variables else _call
    further = b"".join(b"," + encode(one(row, day)) for row in range(calls - CALLS))
    for batch in batches:
        rows = range(batch * calls + 1, (batch + 1) * calls + 1)
        data = b",".join(encode(one(first_contact + row, day)) for row in rows[:CALLS])
        yield freeze(Batch(data + further, rows, day))


def _call(contact: int, day: date) -> Call:
    return Call(
        client_identifier=f"ACC{contact:08d}",
        start_time=f"{day}T10:00:00+05:30",
        contact_numbers=(f"9198{contact:08d}",),
    )


def _call_with_variables(contact: int, day: date) -> Call:
    """Return a call as a list of contacts.py makes them: as long, and as hard to compress."""
    draw = contact * 2_654_435_761 % 2**32
    values = (
        f"{_FIRST_NAMES[draw % 9]} {_LAST_NAMES[draw // 9 % 10]}",
        f"{draw // 90 % 99_900 + 100}.{draw % 97:02d}",
        f"2026-12-{draw // 31 % 31 + 1:02d}",
        f"PL-{draw * 69_069 % 10**8:08d}",
    )
    return replace(
        _call(contact, day),
        contact_numbers=(f"9198{contact * 61_803_399 % 10**8:08d}",),
        keys=tuple(zip(FLOW_VARIABLES, values, strict=True)),
    )


# ---- afterwards


def expire_what_is_left(folder: Path, runs: int) -> None:
    """Expire what is ready, so that `resume` settles what is in doubt, and nothing else."""

    async def expire(journal: SqliteJournal, run: int) -> bool:
        who, now = journal.owner, journal.now()
        claims = await journal.claim(run, owner=who, limit=500, now=now, lease=60.0)
        for claim in claims:
            await journal.expire(claim.batch, who, time(), "the benchmark is over")
        return bool(claims)

    async def expire_all() -> None:
        journal = SqliteJournal(folder / JOURNAL)
        try:
            await journal.recover(journal.now())
            for run in range(1, runs + 1):
                while await expire(journal, run):
                    pass
        finally:
            await journal.close()

    asyncio.run(expire_all())


@dataclass(frozen=True, slots=True)
class Ended:
    """What a journal says of its batches."""

    accepted: list[bytes]
    """The SHA-256 of each body."""
    expired: int
    """What was left over; see `expire_what_is_left`."""
    others: int
    """In doubt still, refused, and what else there should be none of."""


def outcome(folder: Path, runs: int) -> Ended:
    """Return what became of all batches."""
    head = Head(SECURITY_ID, FLOW_ID)
    accepted, expired, others = [], 0, 0
    with SqliteBooks(folder / JOURNAL) as books:
        for run in range(1, runs + 1):
            for batch in books.batches(run):
                if batch.state is State.ACCEPTED and batch.calls is not None:
                    accepted.append(sha256(head.body(batch.calls)).digest())
                elif batch.state is State.EXPIRED:
                    expired += 1
                else:
                    others += 1
    return Ended(accepted, expired, others)


def waiting(folder: Path, runs: int) -> list[int]:
    """Return how many batches of each run are ready still."""
    with SqliteBooks(folder / JOURNAL) as books:
        return [books.counts(run).batches.get(State.READY, 0) for run in range(1, runs + 1)]
