"""Tells systemd how the process stands: the protocol of sd_notify(3), in plain Python.

Under `Type=notify` a unit is started once it said `ready`, and `systemctl status` shows its line.
With `WatchdogSec=` it is restarted when it is not heard of in time. Where there is no systemd, or
it does not want to hear, nothing happens.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping

import structlog

log = structlog.get_logger("phonon_bulk.notify")

_TIMEOUT = 1.0
"""Seconds; systemd reads its socket at once, or is not well."""


class Notify:
    """The manager of services, if one listens. Sends single datagrams, without waiting for long."""

    def __init__(self, environ: Mapping[str, str] = os.environ, *, pid: int | None = None) -> None:
        """Take where it listens from NOTIFY_SOCKET, and its watchdog from WATCHDOG_USEC and _PID.

        `pid` is that of this process.
        """
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._pid = os.getpid() if pid is None else pid
        self._watchdog = _watchdog(environ, self._pid)
        self._failing = False

    @property
    def is_heard(self) -> bool:
        """Whether somebody wants to be told."""
        return self._address is not None

    @property
    def ping_every(self) -> float | None:
        """Seconds between two pings of the watchdog: half of what it waits; None if it is off."""
        return self._watchdog if self.is_heard else None

    def ready(self, status: str) -> None:
        """Say that it is started, or that a reload is over."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """Show a line in `systemctl status`."""
        self._send(_status(text))

    def ping(self) -> None:
        """Say to the watchdog that the event loop turns."""
        self._send("WATCHDOG=1")

    def reloading(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Say that the settings are read again; `ready` says that they are.

        `clock` is CLOCK_MONOTONIC in nanoseconds: Type=notify-reload must know which reload it is.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={clock() // 1000}")

    def stopping(self, status: str) -> None:
        """Say that it ends what is under way, and then itself."""
        self._send("STOPPING=1", _status(status))

    def extend(self, seconds: float) -> None:
        """Ask for so much time from now on to start, to reload or to stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.settimeout(_TIMEOUT)
                to.connect(self._address)
                to.send("\n".join(lines).encode())
        except OSError as error:
            # Nothing of the work hangs on it; if it lasts, the watchdog does what it is there for.
            if not self._failing:
                log.warning("notify.failed", what=error.strerror or type(error).__name__)
            self._failing = True
        else:
            self._failing = False


def _address(text: str) -> str | None:
    """Return the address of a socket: a path, or `@` and an abstract name; None if it is neither.

    systemd may also name AF_VSOCK addresses, to machines inside which nothing of this runs.
    """
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Return half of the watchdog's time in seconds, as sd_watchdog_enabled(3) advises."""
    meant = environ.get("WATCHDOG_PID", str(pid))
    try:
        micros = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return micros / 2_000_000 if micros > 0 and meant == str(pid) else None


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())  # a line break would begin another assignment
