"""The connections of the intake: how many there may be, and how slow a client.

aiohttp by itself waits for a request's header without end, writes what it could not parse into the
log (a token may be in it), and takes every connection. Here a header has to be there in time, what
is wrong is answered with a problem and never logged, and one connection too many is turned away
before a byte of it is read.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from phonon_bulk.intake.problems import (
    BAD_HTTP,
    FAULT,
    FULL,
    LONG_HEADERS,
    MEDIA_TYPE,
    TOO_SLOW,
    ProblemError,
    retry_after,
)

log = structlog.get_logger("phonon_bulk.intake")

MOST_CONNECTIONS = 1000
"""Open at once, at most: with a body in hand each, they take 256 MB, and as a rule nothing."""

_PART_OF_FILES = 2
"""No more than every second file that the process may open is a connection."""

_LINGER = 2.0
"""Seconds in which what a client still sends is read and dropped, so that it gets its answer."""

Handler = Callable[[web.BaseRequest], Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much patience there is with clients; all in seconds but the number of connections."""

    header: float = 10.0
    """From the connection, or the first byte of a request, until its header is there."""
    body: float = 10.0
    """From the header until the body is there."""
    idle: float = 75.0
    """For which a connection without a request is kept open."""
    connections: int = MOST_CONNECTIONS
    linger: float = _LINGER


def fitting_connections() -> int:
    """Return how many connections may be open, so that files are left for all the rest."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, files // _PART_OF_FILES))


def plain_answer(problem: ProblemError) -> bytes:
    """Return a whole answer, for where there is no request to answer to."""
    body = problem.body()
    lines = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **problem.headers,
    }
    status = problem.kind.status
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


_FULL = plain_answer(
    ProblemError(FULL, "too many connections are open; use fewer", headers=retry_after(1))
)
_TOO_SLOW = plain_answer(ProblemError(TOO_SLOW, "the header of the request did not come in time"))


class Connection(web.RequestHandler):
    """One connection."""

    __slots__ = ("_busy", "_deadline", "_heard", "_listener", "_turned_away")

    def __init__(self, listener: "Listener", **options: Any) -> None:
        """Be one of `listener`, which counts the connections and knows the limits."""
        super().__init__(listener, **options)
        self._listener = listener
        self._deadline: asyncio.TimerHandle | None = None
        self._busy = False
        self._heard = False
        self._turned_away = False

    # ---- as asyncio tells it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away."""
        if len(self._listener.connections) >= self._listener.limits.connections:
            self._turn_away(transport)
            return
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._drop_deadline()
        if not self._turned_away:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; between two requests, the time for the next header begins now."""
        if self._turned_away:
            return
        self._heard = True
        if not self._busy and self._deadline is None:
            self._set_deadline()
        super().data_received(data)

    # ---- as the handler of requests tells it

    def begin(self) -> None:
        """Take note that a header is there, and its request is being handled."""
        self._busy = True
        self._drop_deadline()

    def end(self) -> None:
        """Take note that the request was handled."""
        self._busy = self._heard = False

    # ---- what goes wrong

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes what could not be read
    ) -> web.StreamResponse:
        """Answer what could not be read as HTTP; called by aiohttp."""
        if status == BAD_HTTP.status:
            long = isinstance(exc, LineTooLong)
            kind = LONG_HEADERS if long else BAD_HTTP
            detail = "a line of it is too long" if long else "it can't be read as a request"
        else:
            self.log_exception("", exc_info=exc)
            kind, detail = FAULT, "see the log of the worker"
        self._listener.answered(kind.status)
        answer = problem_response(ProblemError(kind, detail))
        answer.force_close()
        return answer

    def log_exception(self, *_: Any, exc_info: Any = None, **__: Any) -> None:
        """Log that something went wrong, and not what it quotes; called by aiohttp."""
        log.error("intake.fault", error=type(exc_info).__name__)

    def _turn_away(self, transport: asyncio.BaseTransport) -> None:
        self._turned_away = True
        self._listener.answered(FULL.status)
        socket = cast(asyncio.Transport, transport)  # uvloop's is none by name
        socket.write(_FULL)
        socket.close()

    def _set_deadline(self) -> None:
        seconds = self._listener.limits.header
        self._deadline = self._loop.call_later(seconds, self._give_up)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._heard and self.transport is not None:
            self._listener.answered(TOO_SLOW.status)
            self.transport.write(_TOO_SLOW)
        self.force_close()


class Listener(web.Server):
    """Makes a `Connection` of each that comes."""

    def __init__(self, handler: Handler, limits: Limits, answered: Callable[[int], None]) -> None:
        """`answered` is told the status of what never came to the handler."""
        # A client that has gone is noticed: whatever waits on its behalf is cancelled.
        super().__init__(handler, handler_cancellation=True)
        self.limits = limits
        self.answered = answered

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            auto_decompress=False,  # a small body may become a very large one
            keepalive_timeout=self.limits.idle,
            lingering_time=self.limits.linger,
        )


def problem_response(problem: ProblemError) -> web.Response:
    """Return the answer that tells a problem."""
    headers = {"Content-Type": MEDIA_TYPE, **COMMON_HEADERS, **problem.headers}
    return web.Response(status=problem.kind.status, body=problem.body(), headers=headers)


COMMON_HEADERS = {"Cache-Control": "no-store", "Server": "phonon-bulk"}
"""In each answer: what became of calls is nothing to keep, and versions are nobody's business."""
