"""A batch: up to 500 calls in one request body, and the states it goes through.

The limits are the provider's: at most 500 calls a request (Outbound Create Request page) and at
most 256 KB of body ("Outbound Multicast API Documentation"). Whether that is 256,000 or 262,144
bytes is not said, so the smaller is kept.

What is frozen is the calls, joined as they will be sent. The few bytes before them (the head) hold
the security id; they are put in front when a batch is sent, so that the journal holds no secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from hashlib import sha256

import orjson

MAX_CALLS = 500
MAX_BODY_BYTES = 256_000
MAX_VARIANT = 16
"""How often a body can be made to differ from the one before it, see `Head.before_calls`."""

SECURITY_ID_LENGTH = 64
"""Characters of a security id (the flow's edit page in Phonon's console shows it)."""

_AFTER_CALLS = b"]}"


class State(StrEnum):
    """What can be said of a batch. The diagram is in docs/architecture.md."""

    READY = "ready"
    """Frozen, and free to be sent."""
    CLAIMED = "claimed"
    """One process holds it under a lease; not a byte has left."""
    SENDING = "sending"
    """Its bytes may be on their way: durable before the first of them leaves."""
    ACCEPTED = "accepted"
    """The provider took it; of its calls, `accepted` were placed."""
    REFUSED = "refused"
    """The provider said no, or it can't be sent as it is; nothing was placed."""
    SPLIT = "split"
    """No to the whole: its calls live on in the batches whose parent it is."""
    IN_DOUBT = "in_doubt"
    """It may have been taken. An answer, a replay of the same bytes or a person settles it."""
    EXPIRED = "expired"
    """Its start date, or the campaign's end, passed before it was sent."""
    CANCELLED = "cancelled"
    """A person took it back before it was sent."""
    ABANDONED = "abandoned"
    """A person gave up a doubt without settling it."""


TRANSITIONS: frozenset[tuple[State, State]] = frozenset(
    {
        (State.READY, State.CLAIMED),
        (State.READY, State.CANCELLED),
        (State.CLAIMED, State.READY),  # given back, or the lease was lost
        (State.CLAIMED, State.SENDING),
        (State.CLAIMED, State.EXPIRED),
        (State.CLAIMED, State.REFUSED),  # its bytes went out before, or can't be read any more
        (State.CLAIMED, State.SPLIT),  # some of its calls expired, the others did not
        (State.SENDING, State.ACCEPTED),
        (State.SENDING, State.REFUSED),
        (State.SENDING, State.SPLIT),
        (State.SENDING, State.READY),  # surely not taken
        (State.SENDING, State.IN_DOUBT),  # unclear, or the lease was lost
        (State.IN_DOUBT, State.SENDING),  # replay
        (State.IN_DOUBT, State.ACCEPTED),  # by a person, as are the next two
        (State.IN_DOUBT, State.READY),
        (State.IN_DOUBT, State.ABANDONED),
    }
)
"""Every change of state there is; the journal makes no other."""


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """What stands before the calls in a body: who sends, and to which flow."""

    security_id: str
    flow_id: str
    api_version: str = "1.0"

    def before_calls(self, variant: int = 0) -> bytes:
        """Return the bytes up to and with the bracket that opens the calls.

        The provider refuses a body it has seen ("Checksum Repeated"). Where bytes that were surely
        not taken must be sent once more in another form, `variant` spaces (0 to 16) between the
        colon and the bracket make them differ and mean the same.
        """
        if not 0 <= variant <= MAX_VARIANT:
            raise ValueError(f"a variant is 0 to {MAX_VARIANT}, not {variant}")
        fields = {
            "api-version": self.api_version,
            "security-id": self.security_id,
            "flow-id": self.flow_id,
        }
        return orjson.dumps(fields)[:-1] + b',"calls":' + b" " * variant + b"["

    def body(self, calls: bytes, variant: int = 0) -> bytes:
        """Return the whole request body around `calls` (joined by commas)."""
        return b"".join((self.before_calls(variant), calls, _AFTER_CALLS))  # one copy

    def digest(self, variant: int = 0) -> bytes:
        """Return the SHA-256 of the head, by which a replay knows that nothing changed."""
        return sha256(self.before_calls(variant)).digest()


def room_for_calls(flow_id: str, security_id_length: int) -> int:
    """Return how many bytes of calls, commas between them included, fit into a body."""
    head = Head(security_id="0" * security_id_length, flow_id=flow_id)
    return MAX_BODY_BYTES - len(head.before_calls(MAX_VARIANT)) - len(_AFTER_CALLS)


@dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """Calls packed for one request, not yet frozen: `data` is the calls joined by commas."""

    data: bytes
    rows: Sequence[int]
    start_date: date
    """The earliest start date among the calls."""

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return len(self.rows)


def part(data: bytes, rows: Sequence[int], wanted: Sequence[int]) -> Batch:
    """Return a batch of the calls at the positions `wanted` of a frozen batch, in that order."""
    calls = orjson.loads(b"[" + data + b"]")
    chosen = [calls[i] for i in wanted]
    return Batch(
        data=b",".join(orjson.dumps(call) for call in chosen),
        rows=[rows[i] for i in wanted],
        start_date=min(start_date(call) for call in chosen),
    )


def start_date(call: dict[str, str]) -> date:
    """Return the date in a frozen call's start-time, which is at +05:30."""
    return date.fromisoformat(call["start-time"][:10])
