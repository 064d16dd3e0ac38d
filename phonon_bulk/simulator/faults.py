"""What can be made to go wrong, and when.

    KIND[:ARG][@PROBABILITY|#N]

    delay:SECONDS       the answer comes that much later; the request is processed at once
    code:CODE           answered with this body code, nothing accepted
    code:206+taken      answered with 206 (or 500), but accepted all the same
    status:STATUS       answered with this HTTP status (429 or 5xx) and a page, not processed
    status:502+taken    the same (5xx only), but processed first
    drop-before         the connection is closed, nothing was processed
    drop-after          processed, then the connection is closed without an answer
    garbage             processed, then answered with HTML instead of JSON

`@0.01` strikes one request in a hundred, by a seeded generator; `#3` strikes the third request and
no other; with neither, every request is struck. Requests are counted over both endpoints, from 1,
since the start or since the faults were last set. Of several faults that strike the same request
the first in the list is carried out; delays add up, and go with any other fault.

Everything here is pure but for the generator that `Chooser` holds.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from phonon_bulk.errors import UnusableError

ACCEPTED_CODES = frozenset({200, 202, 209})
"""Codes that say accepted (202: on bulk). No fault answers them: it would be a lie."""

UNCLEAR_CODES = frozenset({206, 500})
"""Failure from Gateway, Failure: the request may have been taken."""

TOO_MANY_REQUESTS = 429

_SPEC = re.compile(r"([a-z-]+)(?::([^@#]*))?(?:@([^@#]*)|#([^@#]*))?")
_WHOLE = re.compile(r"[0-9]{1,9}")


class Kind(StrEnum):
    """What goes wrong."""

    DELAY = "delay"
    CODE = "code"
    STATUS = "status"
    DROP_BEFORE = "drop-before"
    DROP_AFTER = "drop-after"
    GARBAGE = "garbage"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, as `parse_fault` reads it."""

    kind: Kind
    seconds: float = 0.0
    """Of a delay."""
    number: int = 0
    """The body code or the HTTP status."""
    taken: bool = False
    """Whether the request is accepted in spite of the answer."""
    probability: float = 1.0
    nth: int | None = None
    """The one request that is struck, counted from 1."""

    def __str__(self) -> str:
        """Write the fault as `parse_fault` reads it."""
        argument = {Kind.DELAY: f":{self.seconds!r}"}.get(self.kind, "")
        if self.number:
            argument = f":{self.number}" + ("+taken" if self.taken else "")
        when = f"#{self.nth}" if self.nth else ""
        chance = f"@{self.probability!r}" if self.probability < 1 else ""
        return f"{self.kind}{argument}{when}{chance}"


@dataclass(frozen=True, slots=True)
class Struck:
    """What strikes one request: a delay in seconds, and at most one other fault."""

    delay: float = 0.0
    fault: Fault | None = None
    names: tuple[str, ...] = ()
    """The faults carried out, delays among them, as they were given."""


def parse_fault(text: str) -> Fault:
    """Return the fault that `text` describes; raises UnusableError with one sentence."""
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        _bad(text, "write it as KIND[:ARG][@PROBABILITY|#N], for example delay:0.2 or code:206@0.1")
    kind_text, argument, chance, nth = match.groups()
    if kind_text not in set(Kind):
        _bad(text, f"there is no such kind, the kinds are {', '.join(Kind)}")
    kind = Kind(kind_text)
    seconds, number, taken = _read_argument(text, kind, argument)
    return Fault(
        kind,
        seconds,
        number,
        taken,
        probability=1.0 if chance is None else _read_probability(text, chance),
        nth=None if nth is None else _read_nth(text, nth),
    )


def _bad(text: str, why: str) -> NoReturn:
    raise UnusableError(f"the fault {text!r} can't be used: {why}")


def _read_argument(text: str, kind: Kind, argument: str | None) -> tuple[float, int, bool]:
    """Return seconds, number and whether taken, as the kind has them."""
    match kind:
        case Kind.DELAY:
            return _read_seconds(text, argument), 0, False
        case Kind.CODE | Kind.STATUS:
            bare, plus, word = (argument or "").partition("+")
            if plus and word != "taken":
                _bad(text, "after the + only taken can stand")
            read = _read_code if kind is Kind.CODE else _read_status
            return 0.0, read(text, bare, bool(plus)), bool(plus)
        case _:
            if argument is not None:
                _bad(text, f"{kind} takes no argument")
            return 0.0, 0, False


def _read_seconds(text: str, argument: str | None) -> float:
    seconds = _read_number(argument or "")
    if seconds is None or seconds < 0:
        _bad(text, "a delay needs seconds, for example delay:0.2")
    return seconds


def _read_code(text: str, bare: str, taken: bool) -> int:
    if not _WHOLE.fullmatch(bare) or not 100 <= int(bare) <= 999:  # noqa: PLR2004 - three digits
        _bad(text, "a code has three digits, for example code:206")
    code = int(bare)
    if code in ACCEPTED_CODES:
        _bad(text, f"{code} can say accepted, and a fault accepts nothing")
    if taken and code not in UNCLEAR_CODES:
        _bad(text, "only codes 206 and 500 can have been taken all the same")
    return code


def _read_status(text: str, bare: str, taken: bool) -> int:
    status = int(bare) if _WHOLE.fullmatch(bare) else 0
    gateway_error = 500 <= status <= 599  # noqa: PLR2004 - the range of server errors
    if not gateway_error and status != TOO_MANY_REQUESTS:
        _bad(text, "a status is 429 or 500 to 599, for example status:503")
    if taken and not gateway_error:
        _bad(text, "what is answered with 429 was not taken")
    return status


def _read_probability(text: str, chance: str) -> float:
    probability = _read_number(chance)
    if probability is None or not 0 < probability <= 1:
        _bad(text, "a probability lies above 0 and is at most 1, for example @0.01")
    return probability


def _read_nth(text: str, nth: str) -> int:
    if not _WHOLE.fullmatch(nth) or int(nth) < 1:
        _bad(text, "requests are counted from 1, for example #3")
    return int(nth)


def _read_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class Chooser:
    """Tells for one request after the other what strikes it; the same seed, the same faults."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = faults
        self._names = {fault: str(fault) for fault in faults}
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._count = 0

    def strike(self) -> Struck:
        """Return what strikes the next request.

        Each fault with a probability takes one number from the generator for each request, so
        that one fault's luck does not shift another's.
        """
        if not self._faults:
            return _UNHARMED
        self._count += 1
        hits = [fault for fault in self._faults if self._strikes(fault)]
        delays = [fault for fault in hits if fault.kind is Kind.DELAY]
        others = [fault for fault in hits if fault.kind is not Kind.DELAY][:1]
        return Struck(
            delay=sum(fault.seconds for fault in delays),
            fault=others[0] if others else None,
            names=tuple(self._names[fault] for fault in (*delays, *others)),
        )

    def _strikes(self, fault: Fault) -> bool:
        if fault.nth is not None:
            return fault.nth == self._count
        return fault.probability >= 1 or self._random.random() < fault.probability


_UNHARMED = Struck()
