"""What became of single calls, for those who ask or wait.

Calls that go out together share a batch, so one answer ends the waiting of up to 500. Whoever
waits is woken by one task that asks the journal for all of them at once.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock

from phonon_bulk.batch import State
from phonon_bulk.intake.door import CallState, Ticket
from phonon_bulk.journal import Contact, Order, Run, SettledBatch
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.export import contacts_of

_SOON = 0.01
"""Seconds in which answers that come together are taken together."""

_LATEST = 1.0
"""Seconds after which is looked again in any case: what expires, say, is not posted."""

_KEPT = 8
"""Batches whose calls were read are kept, as those who waited for one ask for it together."""

_MOVING = {State.READY: "waiting", State.CLAIMED: "waiting", State.SENDING: "sending"}


class Tickets:
    """Reads what became of orders; blocks, but for `use`, `wait` and `close`."""

    def __init__(self, books: SqliteBooks) -> None:
        """Read in `books`, which are used by one thread at a time."""
        self._books = books
        self._lock = Lock()
        self._read: OrderedDict[int, list[Contact]] = OrderedDict()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._news = asyncio.Event()
        self._over = False
        self._inside = 0
        self._nobody_inside = asyncio.Event()
        self._nobody_inside.set()

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Keep the books open for as long as this lasts, which must not be long."""
        self._inside += 1
        self._nobody_inside.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._nobody_inside.set()

    # ---- one by one

    def order(self, number: str) -> Order | None:
        """Return the order with this id; None if there is none."""
        with self._lock:
            return self._books.order(number)

    def order_of_key(self, key: bytes) -> Order | None:
        """Return the order that was kept with this key; None if there is none."""
        with self._lock:
            return self._books.order_of_key(key)

    def run(self, run: int) -> Run:
        """Return a run."""
        with self._lock:
            return self._books.run(run)

    def open_runs(self) -> list[Run]:
        """Return the runs that take single calls."""
        with self._lock:
            return self._books.open_intakes()

    def waiting(self, runs: Sequence[int]) -> int:
        """Return how many calls of some runs are not answered yet, doubts apart."""
        with self._lock:
            return self._books.waiting(runs)

    def ticket(self, order: Order) -> Ticket:
        """Return what a client is told of an order."""
        with self._lock:
            found: dict[int, CallState] = {}
            for _, rows, batch in self._books.leaves([order.batch]):
                found |= {
                    contact.row: _state(contact)
                    for contact in self._contacts(batch)
                    if contact.row in rows
                }
        return Ticket(
            order.id, order.came_at, order.run, tuple(found[row] for row in sorted(found))
        )

    def _contacts(self, batch: SettledBatch) -> list[Contact]:
        if batch.state in _MOVING or batch.state is State.IN_DOUBT or batch.calls is None:
            return list(contacts_of(batch)) if batch.calls is not None else []
        if batch.batch not in self._read:
            self._read[batch.batch] = list(contacts_of(batch))
            if len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return self._read[batch.batch]

    # ---- those who wait

    def heard(self) -> None:
        """Take note that something was answered."""
        self._news.set()

    async def wait(self, order: Order, seconds: float) -> Ticket:
        """Return what became of an order once all its calls have come to an end.

        Or as far as they are after `seconds`, or when the tickets are closed. Raises JournalError
        if they can't be read.
        """
        with self.use():
            if not self._over:
                await self._until_settled(order.batch, seconds)
            return await asyncio.to_thread(self.ticket, order)

    async def close(self) -> None:
        """Tell all who wait how far their calls are, and close the books when nobody uses them."""
        self._over = True
        for batch in list(self._waiting):
            self._wake(batch)
        await self._nobody_inside.wait()
        with self._lock:  # somebody may be reading still
            self._books.close()

    async def _until_settled(self, batch: int, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(batch, []).append(future)
        self._news.set()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(future, seconds)
        finally:
            self._leave(batch, future)

    def _wake(self, batch: int) -> None:
        for future in self._waiting.pop(batch, []):
            if not future.done():
                future.set_result(None)

    def _leave(self, batch: int, future: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(batch, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(batch, None)

    async def tell(self, end: asyncio.Event) -> None:
        """Wake those whose calls have come to an end, until `end`. Raises JournalError."""
        while not end.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LATEST)
            self._news.clear()
            if self._waiting:
                for batch in await asyncio.to_thread(self._settled, list(self._waiting)):
                    self._wake(batch)
                await asyncio.sleep(_SOON)

    def _settled(self, batches: Sequence[int]) -> list[int]:
        with self._lock:
            return self._books.settled(batches)


def _state(contact: Contact) -> CallState:
    moving = _MOVING.get(State(contact.state)) if contact.state in set(State) else None
    return CallState(
        client_identifier=contact.client_identifier or "",
        state=moving or contact.state,
        reason=None if moving else contact.reason,
        request_id=contact.request_id,
        phonon_uuid=contact.phonon_uuid,
    )
