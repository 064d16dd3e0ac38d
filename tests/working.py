"""A worker in this process, on a real journal, with the simulator as its provider."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from builders import FLOW_ID, SECURITY_ID, make_batch, make_call, make_run

from phonon_bulk.call import Call, encode, today_in_india
from phonon_bulk.config import Campaign, Settings, load_settings
from phonon_bulk.dispatch import Posted
from phonon_bulk.intake.door import Order, Ticket
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.simulator import Rules, Running, serving
from phonon_bulk.worker.process import Hooks, Worker

UNLIMITED = Rules(bulk_requests_per_minute=None, realtime_requests_per_minute=None)


@dataclass
class Desk:
    """A worker, what it sends to, and its journal."""

    worker: Worker
    phonon: Running
    path: Path
    life: "asyncio.Task[None]"
    posted: list[Posted] = field(default_factory=list)

    @property
    def numbers(self) -> Counter[str]:
        """How often each contact was called, by client-identifier."""
        return Counter(call["client-identifier"] for call in self.phonon.ledger.calls())

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests that arrived, in order."""
        return list(self.phonon.ledger.requests())

    async def stop(self) -> None:
        """Stop the worker gently, and wait for it."""
        self.worker.stop()
        await asyncio.wait_for(self.life, 30)


def settings_for(phonon: Running, journal: Path, **more: str) -> Settings:
    """Return settings that send to a simulator without waiting for anything."""
    environ = {
        "PHONON_BULK_SECURITY_ID": SECURITY_ID,
        "PHONON_BULK_JOURNAL": str(journal),
        "PHONON_BULK_ENDPOINTS__BULK__URL": phonon.bulk_url,
        "PHONON_BULK_ENDPOINTS__REALTIME__URL": phonon.realtime_url,
        "PHONON_BULK_ENDPOINTS__BULK__RAMP": "0",
        "PHONON_BULK_ENDPOINTS__REALTIME__RAMP": "0",
        "PHONON_BULK_WORKER__LOOK_EVERY": "0.05",
        "PHONON_BULK_SENDING__BACK_OFF_FIRST": "0.02",
        "PHONON_BULK_SENDING__BACK_OFF_MOST": "0.2",
        "PHONON_BULK_SENDING__REPLAY_AFTER": "0.2",
        "PHONON_BULK_SENDING__DRAIN_TIMEOUT": "5",
        "HOME": str(journal.parent),
        **{f"PHONON_BULK_{name}": value for name, value in more.items()},
    }
    return load_settings(None, environ, {})


@contextlib.asynccontextmanager
async def working(folder: Path, rules: Rules = UNLIMITED, /, **more: str) -> AsyncIterator[Desk]:
    """Have a worker at work within the block."""
    path = folder / "journal.db"
    async with serving(rules) as phonon:
        worker = Worker(settings_for(phonon, path, **more))
        life = asyncio.create_task(worker.run())
        desk = Desk(worker, phonon, path, life)
        worker.hooks = Hooks(posted=desk.posted.append)
        opened = asyncio.create_task(worker.opened.wait())
        await asyncio.wait([life, opened], return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        try:
            yield desk
        finally:
            if not life.done():
                worker.stop()
            await asyncio.wait_for(life, 30)


@contextlib.asynccontextmanager
async def beside(path: Path) -> AsyncIterator[SqliteJournal]:
    """Open the journal as another process would."""
    journal = SqliteJournal(path)
    try:
        yield journal
    finally:
        await journal.close()


def today() -> str:
    """Return the provider's date."""
    return today_in_india(time.time()).isoformat()


async def submitted(
    path: Path, rows: range, *, size: int = 5, read: bool = True, **changes: Any
) -> int:
    """Put a run of today's calls into the journal, as another process; return its number."""
    day = today_in_india(time.time())
    campaign = Campaign(name="premium-reminder", flow_id=FLOW_ID)
    batches = [
        make_batch(range(first, min(first + size, rows.stop)), day)
        for first in range(rows.start, rows.stop, size)
    ]
    async with beside(path) as journal:
        new = make_run(definition=campaign.to_json(), **changes)
        run = (await journal.open_run(new, time.time())).run
        await journal.append(run, batches, [], after_row=0, last_row=len(rows))
        if read:
            await journal.finish_reading(run, time.time())
    return run


def single(*rows: int, key: str | None = None, flow_id: str = FLOW_ID) -> Order:
    """Return an order of today's calls."""
    day = today_in_india(time.time())
    calls: tuple[Call, ...] = tuple(make_call(row, day) for row in rows)
    request = sha256(flow_id.encode() + b",".join(encode(call) for call in calls)).digest()
    return Order(flow_id, calls, key, request)


def states(path: Path, run: int) -> dict[str, int]:
    """Return the calls of a run by the state of their batches, but for those replaced."""
    with SqliteBooks(path) as books:
        calls = books.counts(run).calls
    return {state.value: number for state, number in calls.items() if state != "split"}


def of(ticket: Ticket | None) -> list[str]:
    """Return the states of a ticket's calls."""
    assert ticket is not None
    return [call.state for call in ticket.calls]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)
