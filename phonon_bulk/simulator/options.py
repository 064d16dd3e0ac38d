"""What the simulated Phonon knows and how strict it is: every option, with its default.

The defaults are what Phonon's page on the Outbound Create Request API says. Where nothing is
documented (what a rate counts, how long a checksum is remembered, which HTTP status an error has)
the option is there so that a client can be tried against each answer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from phonon_bulk.errors import UnusableError
from phonon_bulk.simulator.faults import Fault, parse_fault

SECURITY_ID = re.compile(r"[0-9A-Za-z]{64}")
"""Form of a security id, from the page's example: 64 alphanumerics."""

FLOW_ID = re.compile(r"[0-9A-Za-z]{8}")
"""Form of a flow id, from the page's example: 8 alphanumerics."""


class Endpoint(StrEnum):
    """The two ways in; each has rules, limits and books of its own."""

    BULK = "bulk"
    REALTIME = "realtime"


class RetryAfter(StrEnum):
    """What goes with an HTTP 429: Phonon documents none of it, HTTP allows each."""

    NONE = "none"
    SECONDS = "seconds"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each in any 60 seconds; None is no limit."""

    requests: int | None
    calls: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Every option of the simulator; an empty set of ids or addresses lets any in.

    Raises UnusableError, with one sentence, where a value can't be used.
    """

    security_ids: frozenset[str] = field(default=frozenset(), repr=False)
    """The security ids that are known."""
    flow_ids: frozenset[str] = frozenset()
    """The flow ids that are known."""
    api_versions: frozenset[str] = frozenset({"1.0", "TEST"})
    """The page fixes `1.0`; another of Phonon's pages names `TEST`."""
    allowed_ips: frozenset[str] = frozenset()
    """Addresses or networks (`10.0.0.0/8`) that may send."""
    bulk_requests_per_minute: int | None = 30_000
    bulk_calls_per_minute: int | None = None
    realtime_requests_per_minute: int | None = 500
    realtime_calls_per_minute: int | None = None
    retry_after: RetryAfter = RetryAfter.NONE
    checksum_memory: float | None = None
    """Seconds for which a body's checksum is remembered; None is for ever."""
    remember_refused: bool = False
    """Whether a body refused by its code is remembered too, not only an accepted one."""
    http_errors: bool = False
    """Whether a code that looks like an HTTP error (400 to 599) is the HTTP status as well."""
    partial_success: bool = False
    """Whether bad calls are left out (209) instead of refusing the whole request."""
    bad_identifiers: frozenset[str] = field(default=frozenset(), repr=False)
    """Client identifiers whose calls are bad, though nothing can be seen wrong with them."""
    bad_numbers: frozenset[str] = field(default=frozenset(), repr=False)
    """Contact numbers the provider considers invalid, though their form is right."""
    faults: tuple[Fault, ...] = ()
    """What goes wrong, in the order in which it is tried; see faults.py."""
    seed: int = 0
    """Seeds the chance of the faults."""
    parse_calls: bool = True
    """False is for benchmarks: calls are counted, not read, and only sums are kept of them."""

    def __post_init__(self) -> None:
        for name, values, form, says in (
            ("security id", self.security_ids, SECURITY_ID, "64 letters and digits"),
            ("flow id", self.flow_ids, FLOW_ID, "8 letters and digits"),
        ):
            if not all(form.fullmatch(value) for value in values):
                raise UnusableError(f"a {name} has {says}; one that was given has not")
        for rule in fields(self):
            value = getattr(self, rule.name)
            if rule.name.endswith("_per_minute") and value is not None and value < 1:
                raise UnusableError(f"{rule.name} must be at least 1, not {value}")
        if self.checksum_memory is not None and not self.checksum_memory >= 0:
            raise UnusableError(f"checksum_memory is in seconds, not {self.checksum_memory}")
        for address in self.allowed_ips:
            _check_network(address)

    def limits(self, endpoint: Endpoint) -> Limits:
        """Return the limits of one endpoint."""
        if endpoint is Endpoint.BULK:
            return Limits(self.bulk_requests_per_minute, self.bulk_calls_per_minute)
        return Limits(self.realtime_requests_per_minute, self.realtime_calls_per_minute)

    def lets_in(self, remote: str) -> bool:
        """Tell whether a request from the address `remote` is let in."""
        return not self.allowed_ips or _lies_in(remote, self.allowed_ips)


def _check_network(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise UnusableError(f"{text!r} is no IP address or network (as 10.0.0.0/8)") from None


@lru_cache(maxsize=1024)
def _lies_in(remote: str, networks: frozenset[str]) -> bool:
    return any(ip_address(remote) in ip_network(network, strict=False) for network in networks)


def changed(rules: Rules, values: Mapping[str, Any]) -> Rules:
    """Return the rules with the named ones changed to `values`, as they come in JSON.

    Raises UnusableError, with one sentence, for an unknown name or a value of the wrong kind.
    """
    unknown = sorted(values.keys() - _READERS.keys())
    if unknown:
        raise UnusableError(
            f"there is no rule {unknown[0]!r}; the rules are {', '.join(sorted(_READERS))}"
        )
    return replace(rules, **{name: _READERS[name](name, value) for name, value in values.items()})


def _texts(name: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UnusableError(f"{name} must be a list of texts")
    return frozenset(value)


def _faults(name: str, value: Any) -> tuple[Fault, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UnusableError(f"{name} must be a list of texts")
    return tuple(parse_fault(one) for one in value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UnusableError(f"{name} must be true or false")
    return value


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnusableError(f"{name} must be a whole number")
    return value


def _limit(name: str, value: Any) -> int | None:
    return None if value is None else _whole(name, value)


def _seconds(name: str, value: Any) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise UnusableError(f"{name} must be seconds, or null for ever")


def _retry_after(name: str, value: Any) -> RetryAfter:
    if not isinstance(value, str) or value not in set(RetryAfter):
        raise UnusableError(f"{name} must be one of {', '.join(RetryAfter)}")
    return RetryAfter(value)


_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "security_ids": _texts,
    "flow_ids": _texts,
    "api_versions": _texts,
    "allowed_ips": _texts,
    "bulk_requests_per_minute": _limit,
    "bulk_calls_per_minute": _limit,
    "realtime_requests_per_minute": _limit,
    "realtime_calls_per_minute": _limit,
    "retry_after": _retry_after,
    "checksum_memory": _seconds,
    "remember_refused": _flag,
    "http_errors": _flag,
    "partial_success": _flag,
    "bad_identifiers": _texts,
    "bad_numbers": _texts,
    "faults": _faults,
    "seed": _whole,
    "parse_calls": _flag,
}
