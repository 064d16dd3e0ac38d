"""Pings over real sockets: in order, never in the way, never with the URL in a message."""

import socket
import threading
import time
from pathlib import Path

import pytest
import structlog
from pinged import SECRET, Service, service
from remotes import certificate
from servers import web

from phonon_bulk.errors import Exit
from phonon_bulk.observe.ping import MOST_BYTES, Ping, read_url

__all__ = ["certificate", "service"]


def ping(url: str, *, timeout: float = 5.0, longest: float = 20.0) -> Ping:
    """Return what pings, without rests between tries."""
    return Ping(read_url(url), timeout=timeout, longest=longest, pause=lambda _: None)


def told(url: str, code: Exit = Exit.DONE, text: str = "all is well") -> list[str]:
    """Tell a beginning and an end; return what was warned of."""
    with structlog.testing.capture_logs() as lines:
        one = ping(url)
        one.begin()
        one.end(code, text)
    assert all(line["event"] == "ping.failed" for line in lines)
    assert SECRET not in str(lines)
    return [line["what"] for line in lines]


@pytest.mark.parametrize(
    ("code", "path"),
    [
        (Exit.DONE, f"/{SECRET}"),
        (Exit.SOME_FAILED, f"/{SECRET}"),
        (Exit.UNUSABLE, f"/{SECRET}/fail"),
        (Exit.BLOCKED, f"/{SECRET}/fail"),
        (Exit.IN_DOUBT, f"/{SECRET}/fail"),
        (Exit.STOPPED, f"/{SECRET}/fail"),
        (Exit.FAULT, f"/{SECRET}/fail"),
    ],
)
def test_a_beginning_and_an_end(service: Service, code: Exit, path: str) -> None:
    """In this order, the end with the report."""
    assert told(service.url, code, "तीन in doubt") == []
    assert service.heard == [
        ("GET", f"/{SECRET}/start", b""),
        ("POST", path, "तीन in doubt".encode()),
    ]


def test_a_query_stays_at_the_end(service: Service) -> None:
    """The path is what grows."""
    told(f"{service.url}/?create=1", Exit.BLOCKED)
    assert service.paths == [
        f"/{SECRET}/start?create=1",
        f"/{SECRET}/fail?create=1",
    ]


def test_a_long_report_is_cut(service: Service) -> None:
    """At a whole letter."""
    told(service.url, text="तीन" * 5_000)
    body = service.heard[-1][2]
    assert MOST_BYTES - 3 <= len(body) <= MOST_BYTES
    assert set(body.decode()) == set("तीन")


def test_a_service_that_fails_is_asked_again(service: Service) -> None:
    """Three times; then it is a warning, with the host alone."""
    service.statuses = [200, 500, 503]
    assert told(service.url) == []
    assert len(service.heard) == 4
    service.heard.clear()
    service.statuses = [200, 404, 404, 404]
    assert told(service.url) == ["it answered HTTP 404"]
    assert len(service.heard) == 4


def test_no_redirect_is_followed(service: Service) -> None:
    """What is told is for the host that was named."""
    service.statuses = [302] * 6
    assert "it answered HTTP 302" in told(service.url)


def test_nobody_there() -> None:
    """A port that is closed costs no time and no more than a warning or two."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert set(told(f"http://127.0.0.1:{port}/{SECRET}")) == {"Connection refused"}


def test_a_slow_service_delays_no_beginning(service: Service) -> None:
    """Only the end waits for its answer, and that not for ever."""
    service.slow = threading.Event()
    with structlog.testing.capture_logs() as lines:
        one = ping(service.url, longest=0.2)
        began = time.monotonic()
        one.begin()
        assert time.monotonic() - began < 1
        one.end(Exit.DONE, "well")
        assert time.monotonic() - began < 3
        service.slow.set()
        one._thread.join(10)
    assert [line["what"] for line in lines] == ["no answer within 0.2 s"]
    assert service.paths == [f"/{SECRET}/start", f"/{SECRET}"]


def test_a_service_that_hangs_is_given_up(service: Service) -> None:
    """After the time-out of each try."""
    service.slow = threading.Event()
    with structlog.testing.capture_logs() as lines:
        one = ping(service.url, timeout=0.1)
        one.begin()
        one.end(Exit.DONE, "well")
    service.slow.set()
    assert lines[-1]["what"] == "no answer in time"


def test_proxies_are_not_asked_for_this_machine(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert told(service.url) == []


def test_certificates_are_verified(certificate: Path) -> None:
    """A service with a certificate that nobody vouches for is told nothing."""
    with web(certificate) as site:
        (what,) = set(told(f"{site.url}/{SECRET}"))
    assert "certificate verify failed" in what.lower().replace("_", " ")


def test_a_certificate_that_is_vouched_for(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS works; this service knows no such path."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with web(certificate) as site:
        assert told(f"{site.url}/{SECRET}") == ["it answered HTTP 501"]
