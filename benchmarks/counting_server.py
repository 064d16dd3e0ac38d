"""Answers as the bulk endpoint does, and notes when each request came: little work for each.

    python benchmarks/counting_server.py --delay 0.05

Where several senders share a core with the server, the simulator is most of the load; this is a
tenth of it. It takes any body, but keeps the provider's checksum rule: a body that it has had is
answered with *Checksum Repeated* and not taken again. Each path has books of its own:

    POST /anything          a request; the answer comes `--delay` seconds later
    POST /realtime          the same, answered as the real-time endpoint does, for each call
    GET  /anything          its books: a JSON array of [moment, SHA-256, 1 if it was taken, names]
    GET  /anything?sums     how many requests there were, and how many were there at once

Names are the client-identifiers of the calls; they are noted at /realtime only, as reading them is
work. A moment is that of the first byte, of the monotonic clock, which all processes of a machine
share. As a module: `with counting() as server`, then `server.url("anything")`,
`server.arrivals("anything")` and `server.sums("anything")`.
"""

import argparse
import asyncio
import contextlib
import http.client
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, cast
from uuid import uuid4

import orjson
import uvloop
from children import cpu_seconds_of, ended

DELAY = 0.05
"""Seconds before an answer, so that requests are under way when a sender is killed."""

REALTIME = "/realtime"
"""The path that is answered as the real-time endpoint does."""

_STOP_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_ACCEPTED = (
    b'{"api-response-code":202,"api-response-message":"Accepted","request-id":"%b",'
    b'"call-details":null}'
)
_SUCCESS = (
    b'{"api-response-code":200,"api-response-message":"Success","request-id":"%b",'
    b'"call-details":[%b]}'
)
_DETAIL = b'{"client-identifier":"%b","phonon-uuid":"%b"}'
_NAME = re.compile(rb'"client-identifier":"([^"]+)"')
_REPEATED = (
    b'{"api-response-code":201,"api-response-message":"Checksum Repeated","request-id":null,'
    b'"call-details":null}'
)


# ---- the server


@dataclass(frozen=True, slots=True)
class Sums:
    """What came in at one path, added up."""

    requests: int
    taken: int
    body_bytes: int
    """Of all bodies."""
    most_at_once: int
    """So many were there and not answered yet, at the most."""
    first: float | None
    """When the first came; None if none did."""
    last: float | None


@dataclass(slots=True)
class _Books:
    """What came in at one path."""

    realtime: bool
    taken: set[bytes] = field(default_factory=set)
    requests: list[tuple[float, bytes, int, list[bytes]]] = field(default_factory=list)
    body_bytes: int = 0
    under_way: int = 0
    most_at_once: int = 0

    def enter(self, moment: float, body: bytes) -> bytes:
        """Note a request; return the answer. Until `leave` it is under way."""
        self.body_bytes += len(body)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        digest = sha256(body).digest()
        is_new = digest not in self.taken
        self.taken.add(digest)
        names = _NAME.findall(body) if self.realtime else []
        self.requests.append((moment, digest, int(is_new), names))
        if not is_new:
            return _response(b"200 OK", _REPEATED)
        if self.realtime:
            details = b",".join(_DETAIL % (name, _uuid()) for name in names)
            return _response(b"200 OK", _SUCCESS % (_uuid(), details))
        return _response(b"202 Accepted", _ACCEPTED % _uuid())

    def leave(self) -> None:
        """Note that a request was answered."""
        self.under_way -= 1

    def sums(self) -> bytes:
        first = self.requests[0][0] if self.requests else None
        last = self.requests[-1][0] if self.requests else None
        counts = (len(self.requests), len(self.taken), self.body_bytes, self.most_at_once)
        return orjson.dumps(Sums(*counts, first, last))

    def to_json(self) -> bytes:
        return orjson.dumps(
            [
                (moment, body.hex(), new, [name.decode() for name in names])
                for moment, body, new, names in self.requests
            ]
        )


def _uuid() -> bytes:
    return str(uuid4()).encode()


class _Connection(asyncio.Protocol):
    """One connection, as far as HTTP is needed here: whole requests with a length, in turn."""

    def __init__(self, books: dict[bytes, _Books], delay: float) -> None:
        self._books = books
        self._delay = delay
        self._received = bytearray()
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of it

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._began = time.monotonic()
        self._received += data
        while (head_ends := self._received.find(b"\r\n\r\n") + 4) >= 4:
            head = bytes(self._received[:head_ends])
            length = _LENGTH.search(head)
            whole = head_ends + (int(length[1]) if length else 0)
            if len(self._received) < whole:
                return
            body = bytes(self._received[head_ends:whole])
            del self._received[:whole]
            self._answer(self._began, head, body)

    def _answer(self, moment: float, head: bytes, body: bytes) -> None:
        method, target, _ = head.split(b" ", 2)
        path, _, question = target.partition(b"?")
        books = self._books.setdefault(path, _Books(realtime=path == REALTIME.encode()))
        if method != b"POST":
            told = books.sums() if question == b"sums" else books.to_json()
            self._write(_response(b"200 OK", told))
            return
        answer = partial(self._leave, books, books.enter(moment, body))
        asyncio.get_running_loop().call_later(self._delay, answer)

    def _leave(self, books: _Books, answer: bytes) -> None:
        books.leave()
        self._write(answer)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _response(status: bytes, body: bytes) -> bytes:
    return _HEAD % (status, len(body)) + body


async def _serve(delay: float) -> None:
    books: dict[bytes, _Books] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(books, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ---- for those who start it


class Arrival(NamedTuple):
    """A request as the server noted it."""

    moment: float
    body: bytes
    """Its SHA-256."""
    taken: bool
    names: tuple[str, ...]
    """The client-identifiers of its calls, at `/realtime`."""


@dataclass(slots=True)
class Server:
    """A counting server that is running."""

    port: int
    pid: int
    cpu_seconds: float = 0.0
    """What it took, once it has ended."""

    def cpu_so_far(self) -> float:
        """Return what it took so far, in CPU seconds."""
        return cpu_seconds_of(self.pid)

    def url(self, path: str) -> str:
        """Return where to send to, to be counted under `path`."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def arrivals(self, path: str) -> list[Arrival]:
        """Return the requests so far, in the order in which they were whole."""
        return [
            Arrival(moment, bytes.fromhex(body), bool(new), tuple(names))
            for moment, body, new, names in self._asked(path)
        ]

    def sums(self, path: str) -> Sums:
        """Return the requests so far, added up."""
        return Sums(**self._asked(f"{path}?sums"))

    def _asked(self, target: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", f"/{target}")
            return orjson.loads(connection.getresponse().read())


@contextlib.contextmanager
def counting(delay: float = DELAY, prefix: tuple[str, ...] = ()) -> Iterator[Server]:
    """Run a counting server on a free port within the block; it ends with the block.

    `prefix` stands before the command, such as taskset and its options.
    """
    process = subprocess.Popen(
        [*prefix, sys.executable, __file__, "--delay", str(delay)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # a Ctrl-C is for us, and the server must answer until we have ended it
    )
    server = None
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.strip().isdigit():
            sys.exit("the counting server did not start")
        server = Server(int(line), process.pid)
        yield server
    finally:
        process.terminate()
        cpu_seconds = ended(process, _STOP_SECONDS)
        if server is not None:
            server.cpu_seconds = cpu_seconds
        if process.stdout:
            process.stdout.close()


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser(description="Answer as the bulk endpoint does, and count.")
    parser.add_argument("--delay", type=float, default=DELAY, metavar="SECONDS")
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(parser.parse_args().delay))


if __name__ == "__main__":
    main()
