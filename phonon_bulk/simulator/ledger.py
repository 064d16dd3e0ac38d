"""The books: every request received, every call accepted, and the worst 60 seconds of each.

They must hold a night's run, so nothing here is an object for each call: a request is one packed
record of about 80 bytes, its accepted calls are one compressed blob.
"""

import struct
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import zstandard

from phonon_bulk.simulator.options import Endpoint, Limits
from phonon_bulk.simulator.rules import Placed, phonon_uuid

WINDOW = 60.0
"""Seconds: Phonon's rates are per minute, and are held in any 60 seconds."""

_ENDPOINTS = tuple(Endpoint)
_NO_ID = bytes(16)
_THROTTLED = 429
# received-at, endpoint, HTTP status, code, calls, accepted calls, bytes, SHA-256, request-id
_RECORD = struct.Struct("<dBHHIII32s16s")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came in; `received_at` is in seconds since the epoch."""

    endpoint: Endpoint
    received_at: float
    calls: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. No status: closed without an answer. No code: no body of Phonon's."""

    status: int | None
    code: int | None = None
    request_id: str | None = None
    accepted: int = 0
    placed: Sequence[Placed] = ()


class Window:
    """Requests and calls within the last 60 seconds, and the most there ever were in 60 seconds.

    A window holds what came less than 60 seconds ago. Times must not go back.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque()
        self._requests = self._calls = 0
        self.worst_requests = self.worst_calls = 0

    def add(self, now: float, calls: int) -> None:
        """Count one request of so many calls."""
        self._forget(now)
        self._entries.append((now, calls))
        self._requests += 1
        self._calls += calls
        self.worst_requests = max(self.worst_requests, self._requests)
        self.worst_calls = max(self.worst_calls, self._calls)

    def wait(self, now: float, calls: int, limits: Limits) -> float:
        """Return in how many seconds a request of so many calls would be within the limits.

        0 is now. What is over a limit all by itself is told to wait a whole window, for ever.
        """
        self._forget(now)
        requests_over = _over(self._requests + 1, limits.requests)
        calls_over = _over(self._calls + calls, limits.calls)
        if not requests_over and not calls_over:
            return 0.0
        for moment, entry_calls in self._entries:
            requests_over -= 1
            calls_over -= entry_calls
            if requests_over <= 0 and calls_over <= 0:
                return moment + WINDOW - now
        return WINDOW

    def _forget(self, now: float) -> None:
        while self._entries and now - self._entries[0][0] >= WINDOW:
            self._requests -= 1
            self._calls -= self._entries.popleft()[1]


def _over(amount: int, limit: int | None) -> int:
    return 0 if limit is None else max(0, amount - limit)


@dataclass(slots=True)
class _Totals:
    """The sums of one endpoint."""

    requests: int = 0
    calls: int = 0
    accepted_requests: int = 0
    accepted_calls: int = 0
    throttled: int = 0
    dropped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    received: Window = field(default_factory=Window)
    taken: Window = field(default_factory=Window)


class Ledger:
    """All the books of one simulator."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()
        self.clear()

    def clear(self) -> None:
        """Empty the books."""
        self._records = bytearray()
        self._accepted: list[tuple[int, bytes]] = []
        self._totals = {endpoint: _Totals() for endpoint in Endpoint}

    def record(self, arrival: Arrival, outcome: Outcome, faults: Sequence[str] = ()) -> None:
        """Enter one request, what became of it and the faults that struck it."""
        if outcome.placed:
            blob = self._compressor.compress(orjson.dumps(outcome.placed))
            self._accepted.append((len(self._records), blob))
        self._records += _packed(arrival, outcome)
        self._count(self._totals[arrival.endpoint], arrival, outcome, faults)

    def _count(
        self, totals: _Totals, arrival: Arrival, outcome: Outcome, faults: Sequence[str]
    ) -> None:
        totals.requests += 1
        totals.calls += arrival.calls
        totals.received.add(arrival.received_at, arrival.calls)
        totals.faults.update(faults)
        if outcome.accepted:
            totals.accepted_requests += 1
            totals.accepted_calls += outcome.accepted
            totals.taken.add(arrival.received_at, outcome.accepted)
        elif outcome.status == _THROTTLED:
            totals.throttled += 1
        elif outcome.status is None:
            totals.dropped += 1
        else:
            totals.refused[str(outcome.code or f"http {outcome.status}")] += 1

    def requests(self) -> Iterator[dict[str, Any]]:
        """Yield every request so far, oldest first.

        `duplicate`: an earlier one on this endpoint had the same bytes, whatever became of it.
        """
        seen: set[tuple[int, bytes]] = set()
        for record in _unpacked(self._records):
            at, place, status, code, calls, accepted, size, digest, request_id = record
            yield {
                "received-at": at,
                "endpoint": _ENDPOINTS[place].value,
                "status": status or None,
                "code": code or None,
                "calls": calls,
                "accepted": accepted,
                "bytes": size,
                "sha256": digest.hex(),
                "request-id": None if request_id == _NO_ID else str(UUID(bytes=request_id)),
                "duplicate": (place, digest) in seen,
            }
            seen.add((place, digest))

    def calls(self) -> Iterator[dict[str, Any]]:
        """Yield every call accepted so far, oldest first."""
        for lines in self.calls_by_request():
            yield from lines

    def calls_by_request(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the accepted calls of one request after the other."""
        records = self._records
        for offset, blob in self._accepted[:]:
            at, place, *_, request_id_bytes = _RECORD.unpack_from(records, offset)
            request_id = str(UUID(bytes=request_id_bytes))
            placed = orjson.loads(self._decompressor.decompress(blob))
            yield [
                {
                    "endpoint": _ENDPOINTS[place].value,
                    "request-id": request_id,
                    "client-identifier": identifier,
                    "contact-numbers": numbers,
                    "phonon-uuid": phonon_uuid(request_id, position),
                    "received-at": at,
                }
                for position, (identifier, numbers) in enumerate(placed)
            ]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return the sums of each endpoint.

        requests = accepted-requests + all of refused + throttled + dropped. `accepted-again`
        counts accepted requests whose bytes had been accepted before: calls placed twice.
        """
        again = self._accepted_again()
        return {
            endpoint.value: {**_sums(totals), "accepted-again": again[endpoint]}
            for endpoint, totals in self._totals.items()
        }

    def _accepted_again(self) -> Counter[str]:
        seen: set[tuple[int, bytes]] = set()
        again: Counter[str] = Counter()
        for _, place, _, _, _, accepted, _, digest, _ in _unpacked(self._records):
            if accepted and (place, digest) in seen:
                again[_ENDPOINTS[place]] += 1
            elif accepted:
                seen.add((place, digest))
        return again


def _unpacked(records: bytearray) -> Iterator[tuple[Any, ...]]:
    """Yield the records there are when the first is asked for; more may be added meanwhile."""
    for offset in range(0, len(records), _RECORD.size):
        yield _RECORD.unpack_from(records, offset)


def _packed(arrival: Arrival, outcome: Outcome) -> bytes:
    return _RECORD.pack(
        arrival.received_at,
        _ENDPOINTS.index(arrival.endpoint),
        outcome.status or 0,
        outcome.code or 0,
        arrival.calls,
        outcome.accepted,
        arrival.size,
        arrival.digest,
        UUID(outcome.request_id).bytes if outcome.request_id else _NO_ID,
    )


def _sums(totals: _Totals) -> dict[str, Any]:
    return {
        "requests": totals.requests,
        "calls": totals.calls,
        "accepted-requests": totals.accepted_requests,
        "accepted-calls": totals.accepted_calls,
        "refused": dict(totals.refused),
        "throttled": totals.throttled,
        "dropped": totals.dropped,
        "faults": dict(totals.faults),
        "worst-60s": {
            "received": _worst(totals.received),
            "accepted": _worst(totals.taken),
        },
    }


def _worst(window: Window) -> dict[str, int]:
    return {"requests": window.worst_requests, "calls": window.worst_calls}
