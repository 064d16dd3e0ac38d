"""Prepares a journal full of small batches, and says at the end what became of them.

A list is cut into batches of 500 calls, so a minute at the provider's limit is 15,000,000 contacts:
most of the work would be on contacts. A limit counts requests, so here each request is of two
calls. Such batches come from no list: they are put into the journal through the project's own API,
as `submit` would, in several runs, and `phonon-bulk resume` sends them.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from time import time

from contacts import tomorrow
from local_phonon import FLOW_ID, SECURITY_ID

from phonon_bulk.batch import Batch, Head, State
from phonon_bulk.call import Call, encode
from phonon_bulk.config import load_campaign
from phonon_bulk.journal import NewRun
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.frozen import FrozenBatch, freeze
from phonon_bulk.journal.sqlite import SqliteJournal

CALLS = 2
"""In a batch."""

_JOURNAL = "journal.db"
_AT_ONCE = 5000
"""Batches of the usual size appended in one go."""

_SETTINGS = """\
journal = "sqlite:{journal}"
[endpoints.bulk]
url = "{url}"
requests_per_minute = {limit}
"""
_CAMPAIGN = """\
[campaign]
name = "benchmark"
flow_id = "{flow_id}"
"""


def prepare(
    folder: Path, url: str, limit: int, runs: int, batches: int, calls: int = CALLS
) -> None:
    """Lay out settings in `folder`, and a journal with `runs` runs of so many batches each.

    `calls` are in each batch.
    """
    settings = _SETTINGS.format(journal=_JOURNAL, url=url, limit=limit)
    (folder / "phonon-bulk.toml").write_text(settings, encoding="utf-8")
    (folder / "campaign.toml").write_text(_CAMPAIGN.format(flow_id=FLOW_ID), encoding="utf-8")
    asyncio.run(_fill(folder, runs, batches, calls))


async def _fill(folder: Path, runs: int, batches: int, calls: int) -> None:
    definition = load_campaign(folder / "campaign.toml").to_json()
    journal = SqliteJournal(folder / _JOURNAL)
    try:
        for number in range(runs):
            opened = await journal.open_run(_new_run(number, definition), time())
            await _append(journal, opened.run, number * batches * calls, batches, calls)
            await journal.finish_reading(opened.run, time())
    finally:
        await journal.close()


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
    journal: SqliteJournal, run: int, first_contact: int, batches: int, calls: int
) -> None:
    at_once = max(1, _AT_ONCE * CALLS // calls)
    for start in range(0, batches, at_once):
        some = range(start, min(start + at_once, batches))
        frozen = list(_frozen(first_contact, some, calls))
        after, last = some.start * calls, some.stop * calls
        await journal.append(run, frozen, [], after_row=after, last_row=last)


def _frozen(first_contact: int, batches: range, calls: int) -> Iterator[FrozenBatch]:
    """Yield the batches of these numbers: rows count from 1 in each run, contacts over all runs.

    Beyond the usual size the further calls are the same in each batch: to prepare them is work.
    """
    day = tomorrow()  # no start date passes meanwhile
    further = b"".join(b"," + encode(_call(row, day)) for row in range(calls - CALLS))
    for batch in batches:
        rows = range(batch * calls + 1, (batch + 1) * calls + 1)
        data = b",".join(encode(_call(first_contact + row, day)) for row in rows[:CALLS])
        yield freeze(Batch(data + further, rows, day))


def _call(contact: int, day: date) -> Call:
    return Call(
        client_identifier=f"ACC{contact:08d}",
        start_time=f"{day}T10:00:00+05:30",
        contact_numbers=(f"9198{contact:08d}",),
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
        journal = SqliteJournal(folder / _JOURNAL)
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
    with SqliteBooks(folder / _JOURNAL) as books:
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
    with SqliteBooks(folder / _JOURNAL) as books:
        return [books.counts(run).batches.get(State.READY, 0) for run in range(1, runs + 1)]
