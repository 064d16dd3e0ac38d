"""HAProxy before the server: it counts requests by ways of its own, and denies what is over.

HAProxy 2.6 keeps a sliding counter of two periods: what came in this minute, and of what came in
the one before as large a part as 60 seconds back still reach into it. Whoever keeps to the law
(docs/architecture.md) is not denied, wherever HAProxy's periods begin; tests/judges.py proves it.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from children import ended, has_ended

_ALSO_IN = "/usr/local/sbin:/usr/sbin:/sbin"
"""An ordinary user's PATH may lack these."""

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_DENIED = "429"

_CONFIG = """\
global
    maxconn 2000
    nbthread 1
    log stdout format raw local0

defaults
    mode http
    log global
    log-format "%ST %[var(txn.counted)]"
    option dontlognull
    retries 0
    timeout connect 30s
    timeout client 120s
    timeout server 120s

frontend judge
    bind fd@{listening}
    stick-table type integer size 10 expire 1h store http_req_rate(60s)
    http-request track-sc0 int(1)
    http-request set-var(txn.counted) sc_http_req_rate(0)
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {limit} }}
    default_backend server

backend server
    server server 127.0.0.1:{behind}
"""


@dataclass(slots=True)
class Judge:
    """HAProxy at work."""

    port: int
    log: Path
    """A line for each request that has ended: its HTTP status, and how many were counted."""
    cpu_seconds: float = 0.0
    """What it took, once it has ended."""

    def url(self, path: str) -> str:
        """Return where to send to, to be judged."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def verdicts(self) -> list[tuple[str, int]]:
        """Return HTTP status and count of each request that it judged so far."""
        lines = (line.split() for line in self.log.read_text(encoding="ascii").splitlines())
        return [(status, int(count)) for status, count in lines if count.isdigit()]


def denials(verdicts: list[tuple[str, int]]) -> int:
    """Return how many requests were denied."""
    return sum(status == _DENIED for status, _ in verdicts)


def haproxy() -> str:
    """Return the path of HAProxy; end this program if there is none."""
    path = shutil.which("haproxy") or shutil.which("haproxy", path=_ALSO_IN)
    if path is None:
        sys.exit("haproxy is not installed: apt-get install haproxy")
    return path


@contextlib.contextmanager
def judging(folder: Path, behind: int, limit: int) -> Iterator[Judge]:
    """Let HAProxy stand before the server on port `behind` within the block.

    It denies what is over `limit` requests in 60 seconds, and writes to `folder`.
    """
    config, log, errors = (folder / f"haproxy.{kind}" for kind in ("cfg", "log", "err"))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        port = listening.getsockname()[1]
        text = _CONFIG.format(listening=listening.fileno(), behind=behind, limit=limit)
        config.write_text(text, encoding="ascii")
        with log.open("wb") as log_file, errors.open("wb") as error_file:
            process = subprocess.Popen(
                [haproxy(), "-db", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=error_file,
                text=True,
                pass_fds=[listening.fileno()],
                process_group=0,
            )
    judge = Judge(port, log)
    try:
        _wait_for(process, port, errors)
        yield judge
    finally:
        process.terminate()
        judge.cpu_seconds = ended(process, _STOP_SECONDS)


def _wait_for(process: subprocess.Popen[str], port: int, errors: Path) -> None:
    """Return when HAProxy answers; its socket listens before it does."""
    deadline = time.monotonic() + _START_SECONDS
    while not has_ended(process) and time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection,
        ):
            # No request, so it is not counted; HAProxy closes what it can't read.
            connection.sendall(b"?\r\n\r\n")
            if connection.recv(1 << 10):
                return
    why = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    sys.exit(f"haproxy did not start{': ' + why[0] if why else ''}")
