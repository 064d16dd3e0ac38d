"""The provider itself: what it remembers, and how it comes to an answer, without any HTTP.

A request goes through four stations: the gate (address, rate), the faults, the checksums, and the
rules. What the gate turns away is seen by none of the others, and its checksum is not taken.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from hashlib import sha256
from typing import Any
from uuid import uuid4

from phonon_bulk.simulator import rules as law
from phonon_bulk.simulator.faults import TOO_MANY_REQUESTS, Chooser, Fault, Kind
from phonon_bulk.simulator.ledger import Arrival, Ledger, Outcome, Window
from phonon_bulk.simulator.options import Endpoint, RetryAfter, Rules, changed

_JSON = "application/json"
_PAGE = b"<html><head><title>%b</title></head><body><h1>%b</h1></body></html>\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back over HTTP, `delay` seconds later; no status: the connection is closed."""

    status: int | None
    body: bytes = b""
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class _Result:
    """A reply together with what the books say of it."""

    reply: Reply
    outcome: Outcome


class Checksums:
    """The bodies one endpoint remembers, by SHA-256, each with the time it was first taken.

    Whether Phonon's two endpoints share a memory is not documented: they are two hosts, so here
    they do not.
    """

    def __init__(self) -> None:
        self._taken: dict[bytes, float] = {}

    def add(self, digest: bytes, now: float) -> None:
        """Remember a body, from the first time it is taken."""
        self._taken.setdefault(digest, now)

    def has(self, digest: bytes, now: float, memory: float | None) -> bool:
        """Tell whether a body is remembered; what is older than `memory` seconds is dropped."""
        while memory is not None and self._taken:
            oldest = next(iter(self._taken))
            if now - self._taken[oldest] < memory:
                break
            del self._taken[oldest]
        return digest in self._taken


class Simulator:
    """A Phonon: hand it a request's bytes, and it answers and keeps its books.

    `clock` gives seconds since the epoch; should it go back, the simulator's time stands still.
    """

    def __init__(
        self, rules: Rules | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.rules = rules or Rules()
        self.ledger = Ledger()
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Empty the books, forget checksums and rates, and start the faults anew."""
        self.ledger.clear()
        self._now = -math.inf
        self._checksums = {endpoint: Checksums() for endpoint in Endpoint}
        self._let_through = {endpoint: Window() for endpoint in Endpoint}
        self._chooser = Chooser(self.rules.faults, self.rules.seed)

    def change(self, values: Mapping[str, Any]) -> None:
        """Change the named rules from now on; `values` are as in JSON, see options.py.

        Where faults or seed are among them, requests are counted from 1 again for the faults.
        Raises UnusableError, and changes nothing, if any of them can't be used.
        """
        self.rules = changed(self.rules, values)
        if {"faults", "seed"} & values.keys():
            self._chooser = Chooser(self.rules.faults, self.rules.seed)

    def receive(
        self, endpoint: Endpoint, body: bytes, *, remote: str, content_type: str = _JSON
    ) -> Reply:
        """Answer one request that came from the address `remote`, and enter it into the books."""
        now = self._now = max(self._clock(), self._now)
        struck = self._chooser.strike()
        request = law.read(body, parse=self.rules.parse_calls)
        if content_type != _JSON:
            request = replace(request, refusal=law.INVALID_FORMAT)
        arrival = Arrival(endpoint, now, request.calls, len(body), sha256(body).digest())
        result = self._turned_away(arrival, remote)
        if result:
            self.ledger.record(arrival, result.outcome)
            return result.reply
        result = self._behind_the_gate(arrival, request, struck.fault)
        self.ledger.record(arrival, result.outcome, struck.names)
        return replace(result.reply, delay=struck.delay) if struck.delay else result.reply

    def _turned_away(self, arrival: Arrival, remote: str) -> _Result | None:
        """Check address and rate; what is let through is counted against the rate.

        An address that is not allowed gets HTTP 403 on bulk and code 401 in real time ("Changes
        in Central Bulk API Response"). HTTP 429 is not documented, nor what its body holds.
        """
        if not self.rules.lets_in(remote):
            if arrival.endpoint is Endpoint.BULK:
                return _page(403, b"403 Forbidden")
            return self._refused(law.IP_NOT_ALLOWED)
        window = self._let_through[arrival.endpoint]
        limits = self.rules.limits(arrival.endpoint)
        if wait := window.wait(arrival.received_at, arrival.calls, limits):
            return self._throttled(arrival.received_at, wait)
        window.add(arrival.received_at, arrival.calls)
        return None

    def _throttled(self, now: float, wait: float) -> _Result:
        seconds = math.ceil(wait)
        headers = {
            RetryAfter.NONE: {},
            RetryAfter.SECONDS: {"Retry-After": str(seconds)},
            RetryAfter.DATE: {"Retry-After": formatdate(math.ceil(now + wait), usegmt=True)},
        }[self.rules.retry_after]
        result = _page(TOO_MANY_REQUESTS, b"429 Too Many Requests")
        return replace(result, reply=replace(result.reply, headers=headers))

    def _behind_the_gate(
        self, arrival: Arrival, request: law.Request, fault: Fault | None
    ) -> _Result:
        match fault:
            case None:
                return self._processed(arrival, request)
            case Fault(kind=Kind.DROP_BEFORE):
                return _Result(Reply(None), Outcome(None))
            case Fault(kind=Kind.STATUS, taken=False):
                return self._error_page(arrival.received_at, fault.number)
            case Fault(kind=Kind.CODE, taken=False):
                return self._refused_by_fault(arrival, fault.number)
            case _:
                return self._answered_otherwise(fault, self._processed(arrival, request))

    def _error_page(self, now: float, status: int) -> _Result:
        if status == TOO_MANY_REQUESTS:
            return self._throttled(now, 1.0)
        return _page(status, b"%d Error" % status)

    def _refused_by_fault(self, arrival: Arrival, code: int) -> _Result:
        if self.rules.remember_refused:
            self._checksums[arrival.endpoint].add(arrival.digest, arrival.received_at)
        return self._refused(_refusal(code))

    def _answered_otherwise(self, fault: Fault, result: _Result) -> _Result:
        """Put another answer in the place of the one a processed request has earned."""
        if fault.kind is Kind.CODE:
            # What the rules refuse was not taken, so it keeps its own refusal.
            other = self._refused(_refusal(fault.number)) if result.outcome.accepted else result
        elif fault.kind is Kind.STATUS:
            other = _page(fault.number, b"%d Error" % fault.number)
        elif fault.kind is Kind.GARBAGE:
            other = _page(result.reply.status or 200, b"Please try again later")
        else:
            other = _Result(Reply(None), Outcome(None))
        books = replace(result.outcome, status=other.outcome.status, code=other.outcome.code)
        return _Result(other.reply, books)

    def _processed(self, arrival: Arrival, request: law.Request) -> _Result:
        """Judge a request by checksum and rules, place its calls, remember it."""
        checksums, now = self._checksums[arrival.endpoint], arrival.received_at
        if checksums.has(arrival.digest, now, self.rules.checksum_memory):
            return self._refused(law.CHECKSUM_REPEATED)
        verdict = law.judge(request, arrival.endpoint, self.rules, now)
        if verdict.refusal is None or self.rules.remember_refused:
            checksums.add(arrival.digest, now)
        if verdict.refusal:
            return self._refused(verdict.refusal)
        return self._accepted(arrival.endpoint, verdict)

    def _accepted(self, endpoint: Endpoint, verdict: law.Verdict) -> _Result:
        """Answer in the endpoint's own dialect.

        Which HTTP status a Partial Success has is not documented: the endpoint's own. It is
        accepted "for the calls listed in call-details", so on bulk too they are listed.
        """
        request_id = str(uuid4())
        bulk = endpoint is Endpoint.BULK
        status = 202 if bulk else 200
        code, message = (202, "Accepted") if bulk else (200, "Success")
        if verdict.partial:
            code, message = 209, "Partial Success"
        details = None if bulk and not verdict.partial else verdict.placed
        body = law.answer(code, message, request_id, details)
        placed = verdict.placed if self.rules.parse_calls else ()
        outcome = Outcome(status, code, request_id, verdict.accepted, placed)
        return _Result(Reply(status, body), outcome)

    def _refused(self, refusal: law.Refusal) -> _Result:
        """Answer with a code; which HTTP status carries it is not documented, so an option."""
        looks_like_http = 400 <= refusal.code <= 599  # noqa: PLR2004 - HTTP's range of errors
        status = refusal.code if looks_like_http and self.rules.http_errors else 200
        body = law.answer(refusal.code, refusal.message)
        return _Result(Reply(status, body), Outcome(status, refusal.code))


def _refusal(code: int) -> law.Refusal:
    return law.Refusal(code, law.MESSAGES.get(code, "Unknown"))


def _page(status: int, title: bytes) -> _Result:
    """Answer as a gateway or proxy before the provider would: a page, not JSON."""
    reply = Reply(status, _PAGE % (title, title), "text/html")
    return _Result(reply, Outcome(status))
