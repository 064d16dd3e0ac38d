"""What a campaign would do with its list: added up without sending or writing anything."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from phonon_bulk.batch import Batch, Head
from phonon_bulk.call import LeftOutRow
from phonon_bulk.packing import Chunk, Packer
from phonon_bulk.schedule import Limits

_EXAMPLES = 3
"""So many rows are named for each reason."""
_CALLS_SHOWN = 2
"""So many calls of the first body are shown."""
_SHOWN_FIRST, _SHOWN_LAST = 4, 2
"""Digits of a number that are shown, at its beginning and its end."""
_NUMBER = re.compile(r"\+?\d[\d ().-]{8,22}\d", re.ASCII)
_DIGITS = re.compile(r"\d(?:[ ().-]{0,2}\d){9,}")
_RAMP_COSTS = 0.45
"""The ramp begins at a tenth of the rate: of its seconds this part is lost."""


@dataclass(slots=True)
class Left:
    """Rows that are left out for one reason."""

    rows: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first of them: `row`, and its numbers, masked."""

    def add(self, row: LeftOutRow) -> None:
        """Count one more."""
        self.rows += 1
        if len(self.examples) < _EXAMPLES:
            numbers = [masked(number) for number in row.contact_numbers]
            self.examples.append({"row": row.row, "contact_numbers": numbers})


@dataclass(slots=True)
class Sums:
    """What the rows of a list become."""

    rows: int = 0
    calls_of: list[int] = field(default_factory=list)
    """The calls of each batch, in the order in which they go."""
    bytes_of: list[int] = field(default_factory=list)
    """The bytes of each body."""
    left: dict[tuple[str, str], Left] = field(default_factory=dict)
    """By state and reason."""
    notes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What is changed in calls: how many, and the first row."""
    first: Batch | None = None

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return sum(self.calls_of)

    @property
    def states(self) -> Counter[str]:
        """How many rows are left out in each state."""
        states: Counter[str] = Counter()
        for (state, _), left in self.left.items():
            states[state] += left.rows
        return states


def add_up(
    chunks: Iterator[Chunk], room: int, progress: Callable[[int], None], *, around: int = 0
) -> Sums:
    """Return what the chunks of a list become; `progress` is told the last row of each.

    `room` is the bytes of calls that fit a body, `around` those that a body has besides. Passes on
    what reading raises.
    """
    sums, packer = Sums(), Packer(room)
    for chunk in chunks:
        for batch in packer.add(chunk.calls):
            _add_batch(sums, batch, around)
        for row in chunk.left_out:
            sums.left.setdefault((row.state.value, row.reason), Left()).add(row)
        for note, rows in chunk.notes:
            if rows:
                count, first = sums.notes.get(note, (0, rows[0]))
                sums.notes[note] = (count + len(rows), first)
        sums.rows = chunk.last_row
        progress(chunk.last_row)
    for batch in packer.finish():
        _add_batch(sums, batch, around)
    return sums


def _add_batch(sums: Sums, batch: Batch, around: int) -> None:
    sums.first = sums.first or batch
    sums.calls_of.append(batch.calls)
    sums.bytes_of.append(len(batch.data) + around)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an endpoint may be used."""

    limits: Limits
    headroom: float
    """Seconds, as in the settings: 60 / (60 + headroom) of a limit is used."""
    ramp: float
    """Seconds from a tenth of the rate to all of it."""


def send_times(calls_of: Sequence[int], pace: Pace) -> list[float] | None:
    """Return how many seconds after the beginning each batch is sent; None without a limit.

    As if nothing else used the limit: a batch takes what its request or its calls cost of a minute.
    """
    per_request, per_call = (
        (60 + pace.headroom) / limit if limit else 0.0
        for limit in (pace.limits.requests, pace.limits.calls)
    )
    if not per_request and not per_call:
        return None
    costs = (max(per_request, per_call * calls) for calls in calls_of)
    return [pace.ramp * _RAMP_COSTS + at for at in accumulate(costs, initial=0.0)][:-1]


@dataclass(frozen=True, slots=True)
class Timing:
    """When a campaign would be sent, if it were begun at `begins`; seconds since the epoch."""

    begins: float
    ends: float | None
    """When the last batch would be sent; None without a limit: as fast as the network is."""
    not_after: float | None
    """After which nothing is sent."""
    do_not_fit: int
    """Calls that could not be sent before that."""


def timing(calls_of: Sequence[int], pace: Pace, begins: float, not_after: float | None) -> Timing:
    """Return when so many batches would be sent, and what does not fit."""
    times = send_times(calls_of, pace)
    if not_after is None or not calls_of:
        late = 0
    elif times is None:
        late = 0 if begins < not_after else sum(calls_of)
    else:
        late = sum(
            calls for at, calls in zip(times, calls_of, strict=True) if begins + at >= not_after
        )
    ends = begins + times[-1] if times else (begins if times is not None else None)
    return Timing(begins, ends, not_after, late)


def first_body(sums: Sums, flow_id: str) -> dict[str, Any] | None:
    """Return the first request body with its first calls, numbers and security id masked."""
    if sums.first is None:
        return None
    body: dict[str, Any] = orjson.loads(Head("(not shown)", flow_id).body(sums.first.data))
    body["calls"] = body["calls"][:_CALLS_SHOWN]
    for call in body["calls"]:
        call["contact-numbers"] = [masked(number) for number in call["contact-numbers"]]
        call["client-identifier"] = _masked_within(call["client-identifier"])
        for key in call["keys"]:
            key["value"] = _masked_within(key["value"])
    return body


def masked(number: str) -> str:
    """Return a number of which only its beginning and its end can be read."""
    digits = number.strip()
    if not _NUMBER.fullmatch(digits):
        return "…" * bool(digits)
    hidden = len(digits) - _SHOWN_FIRST - _SHOWN_LAST
    return digits[:_SHOWN_FIRST] + "x" * hidden + digits[-_SHOWN_LAST:]


def _masked_within(text: str) -> str:
    """Return a text with all that may be numbers in it masked."""
    return _DIGITS.sub(lambda match: masked(match[0]), text)
