"""The seam between the HTTP side of the intake and whoever keeps and sends the calls.

The HTTP side reads and checks a request and turns it into an `Order`; behind the `Door` it becomes
durable before anything is answered, and is sent.
"""

from dataclasses import dataclass
from typing import Protocol

from phonon_bulk.call import Call
from phonon_bulk.errors import PhononBulkError


class OverloadedError(PhononBulkError):
    """So many calls wait already that no more are taken. Nothing was kept."""

    def __init__(self, retry_after: float) -> None:
        """Say after how many seconds it is worth to try again."""
        super().__init__("too many calls are waiting to be sent")
        self.retry_after = retry_after


class KeyReusedError(PhononBulkError):
    """An Idempotency-Key came again with another request. Nothing was kept."""


class BlockedError(PhononBulkError):
    """Nothing can be sent to this flow now: it was paused, or the provider refuses everything.

    The message says why, for the client; nothing was kept.
    """


@dataclass(frozen=True, slots=True, repr=False)
class Order:
    """What one request asks for, checked: calls to one flow."""

    flow_id: str
    calls: tuple[Call, ...]
    """1 to 500; together with the head they fit a body."""
    key: str | None
    """Its Idempotency-Key."""
    request_sha256: bytes
    """By which a repeated request is known to be the same."""

    def __repr__(self) -> str:
        """Show nothing of the calls."""
        return f"Order({len(self.calls)} calls)"


@dataclass(frozen=True, slots=True, repr=False)
class CallState:
    """What has become of one call so far."""

    client_identifier: str
    state: str
    """waiting, sending, accepted, refused, in_doubt, expired, cancelled or abandoned."""
    reason: str | None = None
    request_id: str | None = None
    phonon_uuid: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Ticket:
    """What a client is told of its request."""

    id: str
    """32 hexadecimal digits."""
    came_at: float
    """Seconds since the epoch."""
    run: int
    calls: tuple[CallState, ...]
    """In the order in which they came; empty once contact data was deleted (`prune`)."""

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen to any of its calls by itself."""
        return all(call.state not in {"waiting", "sending"} for call in self.calls)


class Door(Protocol):
    """What the HTTP side asks for. Every verb may raise JournalError: nothing can be kept now."""

    async def admit(self, order: Order) -> tuple[Ticket, bool]:
        """Keep an order durably and have it sent; return what to tell, and whether it is new.

        It is not new if its key came before with the same request. Raises OverloadedError,
        KeyReusedError or BlockedError.
        """

    async def known(self, order: Order) -> Ticket | None:
        """Return what became of the order that was kept with this one's key; None if none was.

        Asked for when an order can't be admitted (any more). Raises KeyReusedError.
        """

    async def look(self, number: str) -> Ticket | None:
        """Return what became of the order with this id; None if there is none."""

    async def wait(self, number: str, seconds: float) -> Ticket | None:
        """Return it as `look` does, once it is settled or after `seconds`."""
