"""What the doctor concludes from what it saw on the way to an endpoint."""

import errno
import socket
import ssl
from typing import Any

import orjson
import pytest

from phonon_bulk.report.doctor import Check
from phonon_bulk.report.doctor.network import Sighting, Stage
from phonon_bulk.report.doctor.sighted import judge

NOW = 1_795_545_000.0
DAY = 86_400.0


def arrived(**changes: Any) -> Sighting:
    """Return a way that was gone to its end, but for what is changed."""
    seen = Sighting("api.example", 443)
    fields = {
        "stage": Stage.DONE,
        "addresses": ("192.0.2.1",),
        "resolved_in": 0.01,
        "connected_in": 0.02,
        "peer": "192.0.2.1",
        "local": "10.0.0.5",
        "tls": "TLSv1.3",
        "certificate_ends": NOW + 90 * DAY,
        "status": 405,
        "answered_in": 0.03,
        "ahead": 0.1,
    }
    for name, value in {**fields, **changes}.items():
        setattr(seen, name, value)
    return seen


def judged(seen: Sighting, endpoint: str = "bulk") -> dict[str, Check]:
    """Return the lines by what they are of, without the endpoint."""
    checks = list(judge(endpoint, seen, NOW))
    assert all(f"({endpoint})" in check.what for check in checks)
    found = {check.what.partition(" (")[0]: check for check in checks}
    assert len(found) == len(checks)
    return found


def test_all_is_well() -> None:
    """Each step has its line, in the order of the way."""
    found = judged(arrived())
    assert list(found) == [
        *("DNS", "connection", "seen as", "TLS", "certificate", "answer", "clock"),
    ]
    assert {check.grade for check in found.values()} == {"well"}
    assert found["DNS"].found == "api.example is 192.0.2.1; asked within 10 ms"
    assert "NAT" in found["seen as"].found
    assert found["certificate"].found == "ends on 2027-02-22, in 90 days"


@pytest.mark.parametrize(
    ("status", "grade", "says"),
    [
        (200, "well", "somebody is there"),
        (405, "well", "somebody is there"),
        (400, "well", "somebody is there"),
        (501, "well", "somebody is there"),
        (403, "mind", "IP may not be allowed"),
        (404, "mind", "nothing at endpoints.bulk.url"),
        (410, "mind", "nothing at endpoints.bulk.url"),
        (302, "mind", "leads elsewhere"),
        (429, "mind", "not well, or busy"),
        (503, "mind", "not well, or busy"),
    ],
)
def test_any_status_is_an_answer(status: int, grade: str, says: str) -> None:
    """Some are a hint."""
    check = judged(arrived(status=status))["answer"]
    assert (check.grade, says in check.found) == (grade, True), check


def test_an_answer_that_says_more() -> None:
    """A code of the provider's for the account or the set-up is repeated, of data it is not."""

    def answer(code: int) -> Check:
        body = orjson.dumps({"api-response-code": code, "api-response-message": "x"})
        return judged(arrived(status=200, body=body), "realtime")["answer"]

    assert (answer(401).grade, "IP Not Whitelisted" in answer(401).found) == ("mind", True)
    assert (answer(212).grade, "Insufficient Balance" in answer(212).found) == ("mind", True)
    assert answer(400).grade == "well"


@pytest.mark.parametrize(
    ("ahead", "grade", "says"),
    [
        (0.1, "well", "to 0.5 seconds"),
        (-2.4, "well", "to 2.4 seconds"),
        (3.0, "mind", "3 seconds ahead of that of api.example"),
        (-45.0, "mind", "45 seconds behind that of api.example"),
        (61.0, "ill", "61 seconds ahead of"),
        (-7200.0, "ill", "7,200 seconds behind"),
        (None, "mind", "does not say what time"),
    ],
)
def test_clock(ahead: float | None, grade: str, says: str) -> None:
    """Beyond two seconds it is to be minded, beyond a minute it is ill."""
    check = judged(arrived(ahead=ahead))["clock"]
    assert (check.grade, says in check.found) == (grade, True), check


def test_a_slow_answer_leaves_more_doubt_about_the_clock() -> None:
    """Half of its time is not known."""
    assert judged(arrived(ahead=4.0, answered_in=4.0))["clock"].grade == "well"


@pytest.mark.parametrize(
    ("days", "grade"), [(-1, "mind"), (0, "mind"), (13.9, "mind"), (14.1, "well")]
)
def test_the_certificates_end(days: float, grade: str) -> None:
    """Two weeks before, somebody should know."""
    check = judged(arrived(certificate_ends=NOW + days * DAY))["certificate"]
    assert check.grade == grade


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"local": "8.8.8.8"}, "8.8.8.8, if nothing in between"),
        ({"local": "10.1.2.3"}, "from inside as 10.1.2.3"),
        ({"local": "fe80::1%eth0"}, "from inside as fe80::1%eth0"),
        ({"local": "127.0.0.1", "peer": "127.0.0.1"}, "this machine itself"),
        ({"proxy": "proxy.example:3128", "proxy_kind": "http"}, "by the proxy as 10.0.0.5"),
    ],
)
def test_seen_as(changes: dict[str, Any], says: str) -> None:
    """What can be known of it from here."""
    assert says in judged(arrived(**changes))["seen as"].found


def test_many_addresses_and_slow_dns() -> None:
    """Four are shown; more than a second is to be minded."""
    names = tuple(f"192.0.2.{n}" for n in range(1, 7))
    check = judged(arrived(addresses=names, resolved_in=5.2))["DNS"]
    assert (check.grade, "192.0.2.4 and 2 more, but it took 5,200 ms" in check.found) == (
        "mind",
        True,
    )


def test_plain_http_has_no_tls() -> None:
    """To this machine itself; an address has no DNS either."""
    seen = arrived(tls=None, certificate_ends=None, addresses=("127.0.0.1",), peer="127.0.0.1")
    seen.host = "127.0.0.1"
    assert list(judged(seen)) == ["connection", "seen as", "answer", "clock"]


def ended(stage: Stage, error: Exception, **changes: Any) -> Check:
    """Return the last line of a way that ended at a stage."""
    reached = {
        "certificate_ends": None if stage <= Stage.TLS else NOW + 90 * DAY,
        "status": None,
        "ahead": None,
    }
    found = judged(arrived(stage=stage, error=error, **reached, **changes))
    return list(found.values())[-1]


def verification(code: int, message: str) -> ssl.SSLCertVerificationError:
    """Return the error of a certificate that is not accepted."""
    error = ssl.SSLCertVerificationError(1, "[SSL] verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("stage", "error", "what", "says"),
    [
        (
            Stage.DNS,
            socket.gaierror(-2, "Name or service not known"),
            "DNS (bulk)",
            "api.example can't be resolved (name or service not known)",
        ),
        (Stage.DNS, TimeoutError(), "DNS (bulk)", "(nothing came back in time)"),
        (Stage.DNS, UnicodeError(), "DNS (bulk)", "(it is no host name)"),
        (
            Stage.CONNECTION,
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 443)"),
            "connection (bulk)",
            "none to api.example port 443: connection refused. Is a firewall",
        ),
        (Stage.CONNECTION, TimeoutError(), "connection (bulk)", "nothing came back in time"),
        (Stage.TLS, verification(10, "x"), "TLS (bulk)", "has expired, if this machine's clock"),
        (Stage.TLS, verification(9, "x"), "TLS (bulk)", "is not valid yet"),
        (Stage.TLS, verification(62, "x"), "TLS (bulk)", "for another host than api.example"),
        (Stage.TLS, verification(64, "x"), "TLS (bulk)", "for another host than api.example"),
        (Stage.TLS, verification(18, "self-signed"), "TLS (bulk)", "nobody known vouches"),
        (Stage.TLS, ssl.SSLError(1, "wrong"), "TLS (bulk)", "could not be agreed on"),
        (Stage.TLS, ConnectionResetError(), "TLS (bulk)", "(the connection was closed)"),
        (Stage.ANSWER, EOFError(), "answer (bulk)", "the connection was closed"),
        (Stage.ANSWER, ValueError(), "answer (bulk)", "what came back is no HTTP"),
    ],
)
def test_where_the_way_ends(stage: Stage, error: Exception, what: str, says: str) -> None:
    """Ill, at the step that failed; those behind it are not spoken of."""
    check = ended(stage, error)
    assert (check.what, check.grade, says in check.found) == (what, "ill", True), check


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"proxy_kind": ""}, ValueError(), "only proxies of HTTP can"),
        ({"proxy_kind": "http"}, EOFError(), "breaks off (the connection was closed)"),
        ({"proxy_kind": "http", "proxy_status": 407}, OSError(), "it answers HTTP 407"),
    ],
)
def test_a_proxy_in_the_way(changes: dict[str, Any], error: Exception, says: str) -> None:
    """It is named, and what to do about it."""
    seen = arrived(stage=Stage.PROXY, error=error, proxy="proxy.example:3128", **changes)
    (check,) = judged(seen).values()
    assert (check.what, check.grade, says in check.found) == ("proxy (bulk)", "ill", True), check
    assert "proxy.example:3128" in check.found


def test_a_proxy_that_is_not_there() -> None:
    """It is the proxy that no connection comes about to."""
    error = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    check = ended(Stage.CONNECTION, error, proxy="proxy.example:3128", proxy_kind="http")
    assert "none to the proxy proxy.example:3128: connection refused" in check.found
