"""Rate limiters of other people's making before the simulator: they count, and deny what is over.

HAProxy and nginx were written by people who never saw ours, and count by ways of their own; what a
provider uses is likely to be one of the two. Each stands as a reverse proxy before the simulator,
or before the other, knows the law and answers HTTP 429 to what breaks it.

Only POSTs are judged, so that a test may read the simulator's books through a judge. A judge takes
its port from us as a socket that listens already, so no port is ever guessed, and runs in the
foreground with the rights of whoever runs the tests, or fewer (nginx's worker, where that is root).
"""

import contextlib
import math
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from desk import PATIENCE, until

WHERE_SERVERS_ARE = "/usr/local/sbin:/usr/sbin:/sbin"
"""Looked into as well: an ordinary user's PATH may lack these."""

DENIED = "REJECTED"
"""nginx's word for it. A status would not do: a judge also passes on what another one denied."""


@dataclass(frozen=True)
class Law:
    """What may arrive: in any T seconds at most ceil(L (T + h) / (60 + h)) requests."""

    requests_per_minute: int
    headroom: float

    @property
    def rate(self) -> float:
        """Requests a second, for ever."""
        return self.requests_per_minute / (60 + self.headroom)

    def most(self, seconds: float) -> int:
        """Return how many may arrive in any so many seconds."""
        return math.ceil(
            self.requests_per_minute * (seconds + self.headroom) / (60 + self.headroom)
        )


@dataclass(frozen=True)
class Verdict:
    """What a judge said of one request, as it stands in its log."""

    word: str
    at: str
    """When that was, since the epoch: milliseconds, or seconds with three decimals (nginx, and of
    the request's end)."""
    detail: str
    """HAProxy: how many it counted in the window; nginx: the HTTP status."""

    @property
    def denied(self) -> bool:
        """Whether the request was more than the law allows."""
        return self.word == DENIED

    @property
    def milliseconds(self) -> int:
        """When that was, since the epoch."""
        return int(self.at.replace(".", ""))


@dataclass(frozen=True)
class Judge:
    """A judge at work: `url` is to be sent to in the simulator's place."""

    name: str
    url: str
    log: Path
    """A line for each request that has ended: a `Verdict`, without a word if it is no POST."""

    def verdicts(self) -> list[Verdict]:
        """Return what it has said of the requests that have ended."""
        whole = self.log.read_text().split("\n")[:-1]
        verdicts = [Verdict(*line.split(" ")) for line in whole]
        return [verdict for verdict in verdicts if verdict.word != "-"]

    @property
    def seen(self) -> int:
        """How many requests it has judged. A request's end is noted just after its answer left."""
        return len(self.verdicts())

    @property
    def denied(self) -> int:
        """How many of them it has denied."""
        return sum(verdict.denied for verdict in self.verdicts())

    def report(self) -> str:
        """Say what it saw, for whoever wants to know why a test failed."""
        verdicts = self.verdicts()
        denials = [
            f"request {number} after {verdict.milliseconds - verdicts[0].milliseconds} ms "
            f"({verdict.detail})"
            for number, verdict in enumerate(verdicts, 1)
            if verdict.denied
        ]
        return f"{self.name} denied {len(denials)} of {len(verdicts)}: {', '.join(denials[:9])}"


@dataclass
class Court:
    """Where the judges of one test sit; all are ended after it."""

    folder: Path
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def haproxy(self, before: str, law: Law, seconds: int = 5) -> Judge:
        """Let HAProxy judge any `seconds`, of what is sent on to `before`.

        Its counter is of two periods: those of `seconds` that begin where the first request came.
        It takes what came in this period, and of what came in the one before as large a part as
        the window still has of it: c + p (1 - t/T), t being how much of this period is over. That
        can be more than came in any T seconds, if what came before came early in its period. It
        can't be more than N = most(T) while the law holds (r for the rate, h for the headroom;
        p + c came in T + t seconds and c in t):

        - p >= r T:  c + p - p t/T  <=  ceil(r (T + t + h)) - r t   <  r (T + h) + 1
        - p <= r T:  c + p (1 - t/T) <= ceil(r (t + h)) + r (T - t) <  r (T + h) + 1

        and what is below r (T + h) + 1 is, rounded down as HAProxy does it, at most N. So whoever
        keeps the law is not denied, by no chance of where the periods begin, and the steady rate
        stays below N by r h. Who is denied is counted too.
        """
        program, listening = _program("haproxy"), _listening()
        judge = self._judge("haproxy", listening)
        config = self.folder / f"{judge.log.stem}.cfg"
        config.write_text(
            HAPROXY.format(
                listening=listening.fileno(),
                before=urlsplit(before).netloc,
                seconds=seconds,
                most=law.most(seconds),
                denied=DENIED,
            )
        )
        command = [program, "-db", "-f", str(config)]
        # It logs to its standard output, which can't fail and needs nobody to listen.
        return self._start(judge, listening, command, out=judge.log)

    def nginx(self, before: str, law: Law) -> Judge:
        """Let nginx judge what is sent on to `before`: a leaky bucket, which judges any T at once.

        The first request finds the bucket empty and puts nothing in, so n in T seconds leave
        n - 1 - r T in it, by the law less than r h. The burst is one more than that in whole
        requests: nginx reads a clock of milliseconds, which it sets once for all that has come.
        """
        program, listening = _program("nginx"), _listening()
        judge = self._judge("nginx", listening)
        config = self.folder / f"{judge.log.stem}.conf"
        config.write_text(
            NGINX.format(
                listening=urlsplit(judge.url).netloc,
                before=urlsplit(before).netloc,
                folder=self.folder,
                log=judge.log,
                per_minute=math.ceil(law.rate * 60),
                burst=math.ceil(law.rate * law.headroom) + 1,
            )
        )
        command = [program, "-e", "stderr", "-p", str(self.folder), "-c", str(config)]
        # As an nginx that replaces another without closing its port does, this one is told in the
        # environment which sockets it has from whoever started it.
        inherits = {"NGINX": f"{listening.fileno()};"}
        out = judge.log.with_suffix(".out")
        return self._start(judge, listening, command, out=out, environment=inherits)

    def _judge(self, name: str, listening: socket.socket) -> Judge:
        log = self.folder / f"{name}-{len(self._children)}.log"
        log.touch()
        return Judge(name, f"http://127.0.0.1:{listening.getsockname()[1]}", log)

    def _start(
        self,
        judge: Judge,
        listening: socket.socket,
        command: list[str],
        *,
        out: Path,
        environment: dict[str, str] | None = None,
    ) -> Judge:
        errors = judge.log.with_suffix(".err")
        with listening, out.open("ab") as to, errors.open("wb") as errors_to:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=to,
                stderr=errors_to,
                env={**os.environ, **(environment or {})},
                pass_fds=[listening.fileno()],
            )
        self._children.append(child)
        until(lambda: child.poll() is not None or _answers(judge.url))
        assert child.poll() is None, f"{judge.name} ended: {errors.read_text()}"
        return judge

    def close(self) -> None:
        """End all judges."""
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.wait(PATIENCE)


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    """Return a court without a judge yet."""
    folder = tmp_path / "judges"
    folder.mkdir()
    with contextlib.closing(Court(folder)) as empty:
        yield empty


Sit = Callable[[Court, str, Law], Judge]


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path=WHERE_SERVERS_ARE)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _listening() -> socket.socket:
    """Return a socket that listens on a free port of this machine alone."""
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def _answers(url: str) -> bool:
    """Say whether the simulator can be reached through a judge."""
    try:
        with urlopen(url + "/health", timeout=PATIENCE):  # noqa: S310 - our own, on loopback
            return True
    except (URLError, OSError):
        return False


HAPROXY = """\
global
    maxconn 512
    nbthread 1
    log stdout format raw local0

defaults
    mode http
    log global
    log-format "%[var(txn.word)] %[var(txn.at)] %[var(txn.counted)]"
    option dontlognull
    retries 0
    timeout connect 30s
    timeout client 120s
    timeout server 120s

frontend judge
    bind fd@{listening}
    stick-table type integer size 10 expire 1h store http_req_rate({seconds}s)
    http-request set-var(txn.at) date(0,ms) if METH_POST
    http-request track-sc0 int(1) if METH_POST
    http-request set-var(txn.counted) sc_http_req_rate(0) if METH_POST
    http-request set-var(txn.word) str(PASSED) if METH_POST
    acl over sc_http_req_rate(0) gt {most}
    http-request set-var(txn.word) str({denied}) if METH_POST over
    http-request deny deny_status 429 if METH_POST over
    default_backend simulator

backend simulator
    server simulator {before}
"""

NGINX = """\
daemon off;
worker_processes 1;
pid "{folder}/nginx.pid";
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    map $request_method $judged {{ POST every; default ""; }}
    limit_req_zone $judged zone=judge:1m rate={per_minute}r/m;
    limit_req_status 429;
    log_format judge '$limit_req_status $msec $status';
    access_log "{log}" judge;
    client_max_body_size 1m;
    client_body_buffer_size 512k;
    client_body_temp_path "{folder}/body";
    proxy_temp_path "{folder}/proxy";
    proxy_max_temp_file_size 0;
    fastcgi_temp_path "{folder}/fastcgi";
    uwsgi_temp_path "{folder}/uwsgi";
    scgi_temp_path "{folder}/scgi";
    upstream simulator {{ server {before}; keepalive 128; }}
    server {{
        listen {listening};
        keepalive_requests 1000000;
        keepalive_timeout 120s;
        location / {{
            limit_req zone=judge burst={burst} nodelay;
            proxy_pass http://simulator;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream off;
            proxy_ignore_client_abort on;
        }}
    }}
}}
"""
