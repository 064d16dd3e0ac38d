"""Behind the intake's door: single calls are kept in the journal, and sent at once.

The calls of a day to one flow are one run, so that everything that is done with runs (status,
export, pause, cancel, prune) is done with them too. If a slot is free and nobody waits, an order is
marked as sending in the very transaction in which it is kept, and leaves; else it waits its turn,
and goes out with the others that wait.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from secrets import token_hex

import structlog

from phonon_bulk.batch import Batch
from phonon_bulk.call import Call, encode, today_in_india
from phonon_bulk.config import Campaign, EndpointName, Settings
from phonon_bulk.dispatch import Posted
from phonon_bulk.errors import JournalError, RunError, RunHeldError
from phonon_bulk.intake.door import (
    BlockedError,
    CallState,
    KeyReusedError,
    Order,
    OverloadedError,
    Ticket,
)
from phonon_bulk.journal import (
    Admitted,
    Control,
    DueRun,
    Journal,
    Kind,
    NewOrder,
    NewRun,
    Run,
    identity_of,
)
from phonon_bulk.journal import Order as KeptOrder
from phonon_bulk.journal.frozen import freeze
from phonon_bulk.worker.senders import Senders
from phonon_bulk.worker.tickets import Tickets

log = structlog.get_logger("phonon_bulk.worker")

CAMPAIGN = "intake"
"""The name under which the runs of single calls are listed."""

_COUNT_EVERY = 1.0
"""Seconds between two counts of what waits."""

_DAY_EVERY = 60.0
"""Seconds between two looks whether a day is over."""

_PATIENCE = 1.0
"""Seconds for which a request waits for a journal: so long a reload takes at most, and a client
need not know of it."""

_MOST_RETRY_AFTER = 60.0

_PER_REQUEST = 500

MOST_FLOWS = 100
"""Flows that take calls on one day: each is sent by tasks of its own, and a client that makes
flow ids up must not make the worker grow."""


@dataclass(frozen=True, slots=True)
class _Open:
    """The run that takes the calls of a day to one flow."""

    run: int
    day: date


class Behind:
    """What is behind the door while a journal is open."""

    def __init__(
        self,
        journal: Journal,
        senders: Senders,
        tickets: Tickets,
        fail: Callable[[JournalError], None],
    ) -> None:
        """`fail` is told of a journal that can't be written."""
        self.journal = journal
        self.senders = senders
        self.tickets = tickets
        self.fail = fail
        self.open: dict[str, _Open] = {}
        self.opening = asyncio.Lock()
        self.waiting = 0
        """Calls that wait to be sent: as counted last, and those that were kept since."""
        self.coming = 0
        """Calls that are being kept just now."""

    def takes_calls(self, run: int) -> bool:
        """Say whether calls may come to a run at any time."""
        return any(one.run == run for one in self.open.values())


class Realtime:
    """The door for single calls; see `intake.Door`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed: str | None = None
        """Why no calls are taken, if none are; it is told to clients."""
        self._behind: Behind | None = None
        self._attached = asyncio.Event()

    def attach(self, behind: Behind) -> None:
        """Take calls into a journal that was opened."""
        self._behind = behind
        self._attached.set()

    def detach(self) -> None:
        """Take none until there is a journal again."""
        self._behind = None
        self._attached.clear()

    def stays(self, run: int) -> bool:
        """Say whether calls may come to a run at any time."""
        return self._behind is not None and self._behind.takes_calls(run)

    def posted(self, _posted: Posted) -> None:
        """Take note that something was answered."""
        if self._behind is not None:
            self._behind.tickets.heard()

    # ---- the door

    async def admit(self, order: Order) -> tuple[Ticket, bool]:
        """See `Door`."""
        if self.closed is not None:
            raise BlockedError(self.closed)
        behind = await self._there()
        self._refuse_overload(behind, order)
        behind.coming += len(order.calls)
        try:
            with behind.tickets.use():
                return await self._admit(behind, order)
        except JournalError as error:
            behind.fail(error)
            raise
        finally:
            behind.coming -= len(order.calls)

    async def _admit(self, behind: Behind, order: Order) -> tuple[Ticket, bool]:
        try:
            return await self._keep(behind, order)
        except RunHeldError as error:
            raise BlockedError(str(error)) from None
        except RunError:  # its day is over just now, or it was taken back
            behind.open.pop(order.flow_id, None)
        try:
            return await self._keep(behind, order)
        except RunError as error:
            raise BlockedError(str(error)) from None

    async def _keep(self, behind: Behind, order: Order) -> tuple[Ticket, bool]:
        opened = await self._open_for(behind, order.flow_id)
        new = NewOrder(
            id=token_hex(16),
            run=opened.run,
            batch=freeze(_batch(order.calls)),
            key=None if order.key is None else _kept_key(order.key),
            request_sha256=order.request_sha256,
        )
        sender = behind.senders.of(opened.run)
        if sender is None:  # all are to end just now: the next to begin sends it
            admitted = await behind.journal.admit(new, None, behind.journal.now)
        else:
            admitted = await sender.admit(new)
        if not admitted.is_new:
            return await self._known(behind, admitted.order, order), False
        behind.waiting += len(order.calls)
        return _first_ticket(admitted, order.calls), True

    async def known(self, order: Order) -> Ticket | None:
        """See `Door`."""
        if order.key is None:
            return None
        behind = await self._there()
        with behind.tickets.use():
            kept = await asyncio.to_thread(behind.tickets.order_of_key, _kept_key(order.key))
            return None if kept is None else await self._known(behind, kept, order)

    async def look(self, number: str) -> Ticket | None:
        """See `Door`."""
        tickets = (await self._there()).tickets
        with tickets.use():
            order = await asyncio.to_thread(tickets.order, number)
            return None if order is None else await asyncio.to_thread(tickets.ticket, order)

    async def wait(self, number: str, seconds: float) -> Ticket | None:
        """See `Door`. What waits while the settings are reloaded waits on."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while True:
            tickets = (await self._there()).tickets
            with tickets.use():
                order = await asyncio.to_thread(tickets.order, number)
                if order is None:
                    return None
                ticket = await tickets.wait(order, until - clock())
            if ticket.settled or not await self._is_there_within(until - clock()):
                return ticket

    # ---- what it takes

    async def _is_there_within(self, seconds: float) -> bool:
        """Return whether there is a journal now, or again within so many seconds."""
        if self.closed is not None or seconds <= 0:
            return False
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._attached.wait(), seconds)
        return self._behind is not None

    async def _there(self) -> Behind:
        """Return what is behind the door, also if that is being opened anew just now."""
        if self._behind is None:
            await self._is_there_within(_PATIENCE)
        if self._behind is None:
            raise JournalError("the journal can't be used just now")
        return self._behind

    def _refuse_overload(self, behind: Behind, order: Order) -> None:
        most, waiting = self.settings.intake.max_waiting, behind.waiting + behind.coming
        if waiting + len(order.calls) > most:
            raise OverloadedError(self._retry_after(waiting))

    def _retry_after(self, waiting: int) -> float:
        """Return the seconds after which so many calls will have left, as far as can be told."""
        a_minute = self.settings.endpoints.realtime.requests_per_minute
        if a_minute is None:
            return 1.0
        requests = waiting / _PER_REQUEST + 1
        return min(_MOST_RETRY_AFTER, max(1.0, requests / a_minute * 60))

    async def _known(self, behind: Behind, kept: KeptOrder, order: Order) -> Ticket:
        if kept.request_sha256 != order.request_sha256:
            raise KeyReusedError("this Idempotency-Key was used for another request")
        return await asyncio.to_thread(behind.tickets.ticket, kept)

    # ---- the run of the day

    async def _open_for(self, behind: Behind, flow_id: str) -> _Open:
        """Return the run that takes today's calls to a flow, with somebody who sends it.

        Raises BlockedError if these settings don't let it be sent.
        """
        today = today_in_india(time.time())
        opened = behind.open.get(flow_id)
        if opened is None or opened.day != today:
            async with behind.opening:
                opened = behind.open.get(flow_id)
                if opened is None or opened.day != today:
                    opened = await self._open(behind, flow_id, today)
        if behind.senders.of(opened.run) is None:
            record = await asyncio.to_thread(behind.tickets.run, opened.run)
            if record.control is Control.GO:  # else the journal refuses the order, and says why
                behind.senders.start(_due(record))
                self._refuse_unsendable(behind, opened)
        return opened

    def _refuse_unsendable(self, behind: Behind, opened: _Open) -> None:
        held = behind.senders.unsendable.get(opened.run)
        if held is not None:
            raise BlockedError(f"the worker can't send to this flow: {held.reason}")

    async def _open(self, behind: Behind, flow_id: str, today: date) -> _Open:
        if len(behind.open) >= MOST_FLOWS and flow_id not in behind.open:
            raise BlockedError(f"{MOST_FLOWS} flows have taken calls today, and no more are opened")
        await self._close_earlier(behind, flow_id)
        new = new_run(self.settings, flow_id, today)
        found = await behind.journal.open_run(new, time.time())
        if not found.is_new:
            record = await asyncio.to_thread(behind.tickets.run, found.run)
            # What comes from now on is not taken back with it; and a clock that was set back finds
            # the runs of a day closed that has come again.
            if record.control is Control.CANCELLED or record.read_at is not None:
                found = await behind.journal.open_run(new, time.time(), again=True)
        opened = behind.open[flow_id] = _Open(found.run, today)
        if found.is_new:
            log.info("run.opened", run=found.run, campaign=CAMPAIGN, endpoint=new.endpoint)
        return opened

    async def _close_earlier(self, behind: Behind, flow_id: str) -> None:
        earlier = behind.open.pop(flow_id, None)
        if earlier is not None:
            await close_run(behind, earlier.run)


async def close_run(behind: Behind, run: int) -> None:
    """Have a run take no calls any more; what waits in it is still sent."""
    with contextlib.suppress(RunError):  # another worker was quicker
        await behind.journal.finish_reading(run, time.time())
    behind.senders.stop(run, "it takes no calls any more")


def _due(run: Run) -> DueRun:
    return DueRun(
        run.id, run.account, run.endpoint, run.flow_id, run.definition, run.not_after, run.kind
    )


def new_run(settings: Settings, flow_id: str, today: date) -> NewRun:
    """Return the run of a day's single calls to a flow, as the journal keeps it."""
    account = settings.intake.account
    campaign = Campaign(
        name=CAMPAIGN, flow_id=flow_id, endpoint=EndpointName.REALTIME, account=account
    )
    of_day = sha256(f"single calls to {flow_id}".encode()).hexdigest()
    return NewRun(
        campaign=CAMPAIGN,
        account=account,
        endpoint=EndpointName.REALTIME,
        flow_id=flow_id,
        definition=campaign.to_json(),
        list='{"files": [], "bytes": 0}',
        list_sha256=of_day,
        identity=identity_of(CAMPAIGN, account, EndpointName.REALTIME, of_day, str(today)),
        not_after=None,
        kind=Kind.INTAKE,
    )


def _kept_key(key: str) -> bytes:
    """Return an Idempotency-Key as it is kept."""
    return sha256(key.encode()).digest()


def _batch(calls: tuple[Call, ...]) -> Batch:
    """Return an order's calls as one batch; its rows are numbered when it is kept."""
    days = [date.fromisoformat(call.start_time[:10]) for call in calls]
    data = b",".join(encode(call) for call in calls)
    return Batch(data, range(1, len(calls) + 1), min(days))


def _first_ticket(admitted: Admitted, calls: tuple[Call, ...]) -> Ticket:
    state = "waiting" if admitted.claim is None else "sending"
    states = tuple(CallState(call.client_identifier, state) for call in calls)
    order = admitted.order
    return Ticket(order.id, order.came_at, order.run, states)


async def count_waiting(behind: Behind, end: asyncio.Event) -> None:
    """Keep the number of calls that wait true, until `end`. Raises JournalError."""
    while not end.is_set():
        if behind.waiting:
            runs = [one.run for one in behind.open.values()]
            behind.waiting = await asyncio.to_thread(behind.tickets.waiting, runs)
        try:
            await asyncio.wait_for(end.wait(), _COUNT_EVERY)
        except TimeoutError:
            continue


async def close_days(behind: Behind, end: asyncio.Event) -> None:
    """Close the runs of days that are over, until `end`. Raises JournalError."""
    while not end.is_set():
        today = today_in_india(time.time())
        for flow_id, opened in list(behind.open.items()):
            if opened.day < today:
                behind.open.pop(flow_id, None)
                await close_run(behind, opened.run)
        for run in await asyncio.to_thread(behind.tickets.open_runs):
            if not behind.takes_calls(run.id) and today_in_india(run.created_at) < today:
                await close_run(behind, run.id)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), _DAY_EVERY)
