"""A door for the tests of the intake's HTTP: keeps orders in memory and sends nothing."""

import asyncio
import itertools

from phonon_bulk.intake.door import CallState, KeyReusedError, Order, Ticket

CAME_AT = 1_795_000_000.0
"""Some moment in November 2026."""


class FakeDoor:
    """Keeps orders in memory. What a test sets decides how it answers."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.raises: Exception | None = None
        """What the next verbs raise."""
        self.settles = False
        """Whether whoever waits finds all calls accepted at once."""
        self.hold: asyncio.Event | None = None
        """What `admit` waits for before it keeps anything."""
        self.asked = 0
        """How often `admit` was called."""
        self.waiting = 0
        """How many wait just now."""
        self._accepted: set[str] = set()
        self._numbers = itertools.count(1)

    @property
    def order(self) -> Order:
        """The only order that there is."""
        (order,) = self.orders.values()
        return order

    async def admit(self, order: Order) -> tuple[Ticket, bool]:
        """See `Door`."""
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.raises is not None:
            raise self.raises
        known = await self.known(order)
        if known is not None:
            return known, False
        number = f"{next(self._numbers):032x}"
        self.orders[number] = order
        return self._ticket(number), True

    async def known(self, order: Order) -> Ticket | None:
        """See `Door`."""
        for number, kept in self.orders.items():
            if order.key is not None and kept.key == order.key:
                if kept.request_sha256 != order.request_sha256:
                    raise KeyReusedError
                return self._ticket(number)
        return None

    async def look(self, number: str) -> Ticket | None:
        """See `Door`."""
        if self.raises is not None:
            raise self.raises
        return self._ticket(number) if number in self.orders else None

    async def wait(self, number: str, seconds: float) -> Ticket | None:
        """See `Door`."""
        if number not in self.orders:
            return None
        self.waiting += 1
        try:
            await asyncio.sleep(0 if self.settles else seconds)
        finally:
            self.waiting -= 1
        if self.settles:
            self._accepted.add(number)
        return await self.look(number)

    def _ticket(self, number: str) -> Ticket:
        calls = self.orders[number].calls
        if number in self._accepted:
            states = tuple(
                CallState(call.client_identifier, "accepted", None, f"r-{i}", f"u-{i}")
                for i, call in enumerate(calls)
            )
        else:
            states = tuple(CallState(call.client_identifier, "waiting") for call in calls)
        return Ticket(number, CAME_AT, 7, states)
