"""What follows from what was seen on the way to an endpoint: a pure function."""

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from phonon_bulk.config import is_loopback
from phonon_bulk.report.doctor import lines
from phonon_bulk.report.doctor.lines import Check, Line
from phonon_bulk.report.doctor.network import Sighting, Stage
from phonon_bulk.response import Verdict, read

_SLOW_DNS = 1.0
"""Seconds; name servers that are away are given up after 5, most often."""
_SOON = 14
"""Days before a certificate's end."""
_DAY = 86_400.0
_OFF, _FAR = 2.0, 60.0
"""Seconds by which a clock may differ."""
_DATE_IS_WHOLE = 0.5
"""Seconds, by which the Date of an answer may be wrong either way."""
_SAYS = {Verdict.ACCOUNT, Verdict.SETUP}
_SHOWN_ADDRESSES = 4

# OpenSSL's numbers (x509_vfy.h); the texts beside them change with its versions.
_NOT_YET_VALID, _HAS_EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


def judge(endpoint: str, seen: Sighting, now: float) -> Iterator[Check]:
    """Yield a line for each step of the way to an endpoint ("bulk" or "realtime").

    `now` is in seconds since the epoch.
    """
    values = {"endpoint": endpoint, "host": seen.host, "port": seen.port, "proxy": seen.proxy}
    if seen.error is not None and seen.stage is Stage.PROXY:
        yield _proxy_at_fault(seen).check(**values, status=seen.proxy_status, problem=_why(seen))
        return
    if seen.proxy is not None:
        yield lines.PROXY.check(**values)
    yield from _dns(seen, values)
    if seen.stage >= Stage.CONNECTION:
        yield from _connection(seen, values)
    if seen.stage >= Stage.TLS:
        yield from _tls(seen, values, now)
    if seen.stage >= Stage.ANSWER:
        yield _answer(endpoint, seen, values, now)
    if seen.status is not None:
        yield _clock(seen, values)


def _proxy_at_fault(seen: Sighting) -> Line:
    if not seen.proxy_kind:
        return lines.PROXY_KIND
    return lines.PROXY_ILL if seen.proxy_status is None else lines.PROXY_REFUSES


def _dns(seen: Sighting, values: dict[str, object]) -> Iterator[Check]:
    asked = seen.proxy.rpartition(":")[0] or seen.proxy if seen.proxy else seen.host
    values = {**values, "host": asked}
    if seen.stage is Stage.DNS:
        yield lines.DNS_ILL.check(**values, problem=_why(seen))
        return
    if seen.addresses == (asked,):  # it is an address itself
        return
    shown = ", ".join(seen.addresses[:_SHOWN_ADDRESSES])
    more = len(seen.addresses) - _SHOWN_ADDRESSES
    addresses = f"{shown} and {more} more" if more > 0 else shown
    line = lines.DNS_SLOW if seen.resolved_in > _SLOW_DNS else lines.DNS
    yield line.check(**values, addresses=addresses, ms=_ms(seen.resolved_in))


def _connection(seen: Sighting, values: dict[str, object]) -> Iterator[Check]:
    if seen.stage is Stage.CONNECTION:
        line = lines.CONNECTION_PROXY_ILL if seen.proxy else lines.CONNECTION_ILL
        yield line.check(**values, problem=_why(seen))
        return
    if not seen.proxy:
        ms = _ms(seen.connected_in)
        yield lines.CONNECTION.check(**values, address=seen.peer, ms=ms)
    yield _seen_as(seen).check(**values, address=seen.local)


def _seen_as(seen: Sighting) -> Line:
    if seen.proxy:
        return lines.SEEN_PROXY
    if is_loopback(seen.peer):
        return lines.SEEN_HERE
    try:
        is_public = ipaddress.ip_address(seen.local.partition("%")[0]).is_global
    except ValueError:
        is_public = False
    return lines.SEEN if is_public else lines.SEEN_INSIDE


def _tls(seen: Sighting, values: dict[str, object], now: float) -> Iterator[Check]:
    if seen.stage is Stage.TLS:
        yield _tls_at_fault(seen.error).check(**values, problem=_why(seen))
        return
    if seen.tls is None or seen.certificate_ends is None:  # http, to this machine itself
        return
    yield lines.TLS.check(**values, version=seen.tls)
    days = int((seen.certificate_ends - now) // _DAY)
    date = f"{datetime.fromtimestamp(seen.certificate_ends, UTC):%Y-%m-%d}"
    line = lines.CERTIFICATE_ENDS if days < _SOON else lines.CERTIFICATE
    yield line.check(**values, date=date, days=days)


def _tls_at_fault(error: Exception | None) -> Line:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return lines.TLS_ILL
    by_code = {
        _NOT_YET_VALID: lines.TLS_TOO_EARLY,
        _HAS_EXPIRED: lines.TLS_EXPIRED,
        _OTHER_HOST: lines.TLS_OTHER_NAME,
        _OTHER_ADDRESS: lines.TLS_OTHER_NAME,
    }
    return by_code.get(error.verify_code, lines.TLS_UNKNOWN)


def _answer(endpoint: str, seen: Sighting, values: dict[str, object], now: float) -> Check:
    if seen.status is None:
        return lines.ANSWER_NONE.check(**values, problem=_why(seen))
    answer = read(endpoint, seen.status, seen.body, now=now, headers={})
    values = {**values, "status": seen.status, "ms": _ms(seen.answered_in)}
    if answer.code is not None and answer.verdict in _SAYS:
        return lines.ANSWER_SAYS.check(**values, problem=answer.message)
    return _line_of_status(seen.status).check(**values)


def _line_of_status(status: int) -> Line:
    match status:
        case 403:
            return lines.ANSWER_403
        case 404 | 410:
            return lines.ANSWER_404
        case 429:
            return lines.ANSWER_LATER
        case _ if 300 <= status < 400:  # noqa: PLR2004 - HTTP statuses are known by their numbers
            return lines.ANSWER_ELSEWHERE
        case _ if status >= 500 and status != 501:  # noqa: PLR2004 - 501: it knows no GET
            return lines.ANSWER_LATER
        case _:
            return lines.ANSWER


def _clock(seen: Sighting, values: dict[str, object]) -> Check:
    if seen.ahead is None:
        return lines.CLOCK_UNKNOWN.check(**values)
    doubt = _DATE_IS_WHOLE + seen.answered_in / 2
    off = abs(seen.ahead)
    if off <= _OFF + doubt:
        return lines.CLOCK.check(**values, offset=f"{max(off, doubt):.1f}")
    direction = "ahead of" if seen.ahead > 0 else "behind"
    line = lines.CLOCK_FAR if off > _FAR + doubt else lines.CLOCK_OFF
    return line.check(**values, offset=f"{off:,.0f}", direction=direction)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"


def _why(seen: Sighting) -> str:
    """Return what went wrong, in the system's words where it has some."""
    match seen.error:
        case TimeoutError() if seen.error.errno is None:
            return "nothing came back in time"
        case ssl.SSLCertVerificationError():
            return seen.error.verify_message.lower()
        case ssl.SSLError():
            return (getattr(seen.error, "reason", None) or "TLS").lower().replace("_", " ")
        case socket.gaierror():
            return (seen.error.strerror or "no answer").lower()
        case OSError() if seen.error.errno is not None and seen.error.errno > 0:
            return os.strerror(seen.error.errno).lower()
        case OSError() | EOFError():
            return "the connection was closed"
        case UnicodeError():
            return "it is no host name"
        case _:
            return "what came back is no HTTP"
