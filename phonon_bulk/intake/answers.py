"""What a client is told of its request, as JSON. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from phonon_bulk.call import start_time_text
from phonon_bulk.intake.door import CallState, Ticket

MOVING = ("waiting", "sending")
ENDS = ("accepted", "refused", "in_doubt", "expired", "cancelled", "abandoned")
"""States of a call that moves no more by itself."""

SETTLED = "settled"
"""State of a request, all of whose calls have come to an end."""

JSON = "application/json"


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An answer, before it is HTTP."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON


def ticket_body(ticket: Ticket) -> bytes:
    """Return the body of an answer about `ticket`."""
    return orjson.dumps(
        {
            "id": ticket.id,
            "state": state_of(ticket),
            "came-at": start_time_text(datetime.fromtimestamp(ticket.came_at, UTC)),
            "run": ticket.run,
            "calls": [_call(call) for call in ticket.calls],
        }
    )


def state_of(ticket: Ticket) -> str:
    """Return the state of the request: settled, sending if any of its calls is, or waiting."""
    if ticket.settled:
        return SETTLED
    return "sending" if any(call.state == "sending" for call in ticket.calls) else "waiting"


def path_of(ticket: Ticket) -> str:
    """Return where the ticket is looked at."""
    return f"/v1/calls/{ticket.id}"


def _call(call: CallState) -> dict[str, Any]:
    return {
        "client-identifier": call.client_identifier,
        "state": call.state,
        "reason": call.reason,
        "request-id": call.request_id,
        "phonon-uuid": call.phonon_uuid,
    }
