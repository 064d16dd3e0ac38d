"""What systemd is told, over a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from phonon_bulk.observe.notify import Notify


class Manager:
    """A socket as systemd listens on one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(5)

    def heard(self) -> list[str]:
        """Return the lines of the next datagram."""
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Return who listens, under either kind of name."""
    abstract = f"@phonon-bulk-test-{os.getpid()}"
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else abstract)
    yield manager
    manager.close()


def test_a_life(manager: Manager) -> None:
    """Each thing is told in one datagram, as sd_notify(3) has it."""
    notify = Notify({"NOTIFY_SOCKET": manager.address})
    assert notify.is_heard
    notify.ready("idle; 0 calls accepted")
    assert manager.heard() == ["READY=1", "STATUS=idle; 0 calls accepted"]
    notify.ping()
    assert manager.heard() == ["WATCHDOG=1"]
    notify.status("sending run 7\nREADY=1")
    assert manager.heard() == ["STATUS=sending run 7 READY=1"]
    notify.reloading(lambda: 12_345_678_999)
    assert manager.heard() == ["RELOADING=1", "MONOTONIC_USEC=12345678"]
    notify.extend(35.5)
    assert manager.heard() == ["EXTEND_TIMEOUT_USEC=35500000"]
    notify.stopping("stopping: what is under way is ended")
    assert manager.heard() == ["STOPPING=1", "STATUS=stopping: what is under way is ended"]


def test_systemd_goes_away(manager: Manager) -> None:
    """That nobody listens any more is a warning, once, and stops nothing."""
    notify = Notify({"NOTIFY_SOCKET": manager.address})
    manager.close()
    with structlog.testing.capture_logs() as logged:
        notify.ping()
        notify.ping()
    assert [line["event"] for line in logged] == ["notify.failed"]


def test_from_the_environment(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it looks where systemd says it."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    notify = Notify()
    assert notify.ping_every == 2.0
    notify.ping()
    assert manager.heard() == ["WATCHDOG=1"]
