"""A TCP proxy before the simulator, which does to single requests what a network may do.

It knows just enough of HTTP/1.1 to tell where the head and the body of a request end. A fault is a
coroutine that is handed one request (`Exchange`) and does with it as it likes; `through`, which is
no fault, passes it on and brings the answer back. Simulator and proxies run in one event loop on a
thread of their own (`Stand`), so that a test can start the command and wait for it meanwhile.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import orjson
from desk import PATIENCE, Simulator

from phonon_bulk.simulator import Rules, Running, serving

T = TypeVar("T")

HEAD_ENDS = b"\r\n\r\n"
JSON = "application/json"
PAGE = b"<html><head><title>Oops</title></head><body>Please try again later</body></html>\n"


def http(status: int, body: bytes, content_type: str = "text/html", **headers: str) -> bytes:
    """Return the bytes of an HTTP answer; an underscore in a header's name is a hyphen."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + HEAD_ENDS + body


def length_of(head: bytes) -> int:
    """Return the Content-Length that a head names, 0 if it names none."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


class Exchange:
    """One request that came in at the proxy, and everything that can be done with it."""

    def __init__(
        self,
        proxy: "Proxy",
        head: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Stand before a request of which the head was read, or nothing (then it is empty)."""
        self.proxy = proxy
        self._head, self._body = head, b""
        self._reader, self._writer = reader, writer

    @property
    def ended(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._writer.is_closing()

    async def part_of_body(self) -> None:
        """Read half of the body."""
        await self._reader.readexactly(length_of(self._head) // 2)

    async def body(self) -> bytes:
        """Read the body to its end, and return it."""
        if not self._body:
            self._body = await self._reader.readexactly(length_of(self._head))
        return self._body

    async def until_closed(self) -> None:
        """Return when the other side has closed the connection."""
        await self._reader.read()

    async def forward(self) -> bytes:
        """Let the provider have the request, and return its answer."""
        request = self._head + await self.body()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.provider_port)
        try:
            writer.write(request)
            head = await reader.readuntil(HEAD_ENDS)
            return head + await reader.readexactly(length_of(head))
        finally:
            await closed(writer)

    async def forward_if(self, taken: bool) -> bytes:
        """Read the request, let the provider have it if `taken`; return its answer or nothing."""
        await self.body()
        return await self.forward() if taken else b""

    async def answer(self, answer: bytes) -> None:
        """Send an answer; say that it is the connection's last if the next strikes a new one."""
        if self.proxy.next_is_at_the_door:
            answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self.proxy.answered_at.append(time.time())
        await self.say(answer)
        self.proxy.has_answered(self._body)
        if self.proxy.next_is_at_the_door:
            self.close()

    async def say(self, some: bytes) -> None:
        """Send these bytes and no others."""
        self._writer.write(some)
        await self._writer.drain()

    def close(self) -> None:
        """End the connection in order."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self._writer.transport.abort()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection and wait until it is."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


Do = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What is done to one request."""

    do: Do
    taken: bool = False
    """Whether the provider gets the request and takes it."""
    at_the_door: bool = False
    """It strikes a connection when it is accepted, before anything of a request was read."""


# ---- the faults


async def _through(exchange: Exchange) -> None:
    await exchange.answer(await exchange.forward())


async def _close(exchange: Exchange) -> None:
    exchange.close()


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _reset_in_the_body(exchange: Exchange) -> None:
    await exchange.part_of_body()
    exchange.reset()


async def _speak_plainly(exchange: Exchange) -> None:
    await exchange.say(http(400, PAGE, Connection="close"))
    exchange.close()


async def _answer_early(exchange: Exchange) -> None:
    await exchange.say(http(503, PAGE, Connection="close"))
    exchange.close()


def _after_the_body(do: Callable[[Exchange, bytes], Awaitable[None]], *, taken: bool) -> Fault:
    """Return a fault that strikes when the whole request has come, and may have been taken."""

    async def strike(exchange: Exchange) -> None:
        await do(exchange, await exchange.forward_if(taken))

    return Fault(strike, taken)


through = Fault(_through, taken=True)
"""No fault at all."""
closed_at_the_door = Fault(_close, at_the_door=True)
"""The connection is accepted and closed."""
speaks_plainly = Fault(_speak_plainly, at_the_door=True)
"""Whoever comes, and whatever it wants, is answered with HTTP 400, as one that wants TLS is."""
closed_when_used_again = Fault(_close)
"""A connection that was kept open is closed just when the next request comes over it."""
reset_after_the_head = Fault(_reset)
reset_in_the_body = Fault(_reset_in_the_body)
answered_before_the_body = Fault(_answer_early)
"""HTTP 503 and the end of the connection, while the request is still on its way."""


def reset_after_the_body(*, taken: bool) -> Fault:
    """Reset the connection when the whole request has come."""

    async def do(exchange: Exchange, _answer: bytes) -> None:
        exchange.reset()

    return _after_the_body(do, taken=taken)


def closed_without_an_answer(*, taken: bool) -> Fault:
    """Close the connection in order when the whole request has come."""

    async def do(exchange: Exchange, _answer: bytes) -> None:
        exchange.close()

    return _after_the_body(do, taken=taken)


def cut(where: Callable[[bytes], int]) -> Fault:
    """Let the answer of a request that was taken break off at the byte that `where` says."""

    async def do(exchange: Exchange, answer: bytes) -> None:
        await exchange.say(answer[: where(answer)])
        exchange.close()

    return _after_the_body(do, taken=True)


def in_the_headers(answer: bytes) -> int:
    """Return a place amid the headers of an answer."""
    return answer.index(HEAD_ENDS) // 2


def in_the_answers_body(answer: bytes) -> int:
    """Return a place amid the body of an answer."""
    return (answer.index(HEAD_ENDS) + len(HEAD_ENDS) + len(answer)) // 2


def silent(*, taken: bool) -> Fault:
    """Say nothing until the other side has closed the connection, having waited long enough."""

    async def do(exchange: Exchange, answer: bytes) -> None:
        await exchange.until_closed()
        with contextlib.suppress(OSError):
            await exchange.say(answer)
        exchange.close()

    return _after_the_body(do, taken=taken)


async def _late(exchange: Exchange) -> None:
    await exchange.proxy.wait_until_answered(await exchange.body())
    await exchange.forward()
    exchange.close()


late = Fault(_late, taken=False)
"""The request hangs in the network until its replay was answered, and only then arrives."""


def answered(answer: bytes, *, taken: bool = False) -> Fault:
    """Answer in the provider's place, which has `taken` the request or heard nothing of it."""

    async def do(exchange: Exchange, _answer: bytes) -> None:
        await exchange.answer(answer)

    return _after_the_body(do, taken=taken)


def answered_when(make: Callable[[], bytes]) -> Fault:
    """Answer in the provider's place with what is made at that moment; it heard nothing."""

    async def do(exchange: Exchange, _answer: bytes) -> None:
        await exchange.answer(make())

    return _after_the_body(do, taken=False)


def answered_as(content_type: str) -> Fault:
    """Bring the provider's own answer under another content type."""

    async def do(exchange: Exchange, answer: bytes) -> None:
        await exchange.answer(http(202, answer.partition(HEAD_ENDS)[2], content_type))

    return _after_the_body(do, taken=True)


def failure(code: int, message: str, *, taken: bool) -> Fault:
    """Answer HTTP 200 with an error code of the provider's in the body."""
    body = orjson.dumps({"api-response-code": code, "api-response-message": message})
    return answered(http(200, body, JSON), taken=taken)


def away(seconds: float) -> Fault:
    """Lose the answer of a request that was taken; then listen no more for so long."""

    async def do(exchange: Exchange, _answer: bytes) -> None:
        exchange.proxy.refuse()
        exchange.reset()
        await asyncio.sleep(seconds)
        await exchange.proxy.listen()

    return _after_the_body(do, taken=True)


# ---- the proxy and the thread it lives on


@dataclass
class Proxy:
    """The proxy; `plan` says what strikes which request, counted from 1, and `always` the rest."""

    provider_port: int
    tls: ssl.SSLContext | None = None
    plan: dict[int, Fault] = field(default_factory=dict)
    always: Fault = through
    arrived_at: list[float] = field(default_factory=list)
    """When each request came, in seconds since the epoch."""
    answered_at: list[float] = field(default_factory=list)
    """When each answer that was whole was sent, too."""

    def __post_init__(self) -> None:
        """Take a port, and hold it also while nobody listens on it."""
        self._held = bound(0)
        self.port: int = self._held.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._fillers: list[socket.socket] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._bodies: Counter[bytes] = Counter()
        self._answered = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> int:
        """How many have come in."""
        return len(self.arrived_at)

    async def listen(self) -> None:
        """Accept connections from now on."""
        self._server = await asyncio.start_server(
            self._accept, sock=bound(self.port), ssl=self.tls, limit=1 << 20
        )

    def refuse(self) -> None:
        """Accept no more connections; those there are stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def ignore(self) -> None:
        """Answer no connection at all, not even with a no: its queue is full, and stays so."""
        self._held.listen(0)
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))

    async def close(self) -> None:
        """End it all."""
        self.refuse()
        for filler in self._fillers:
            filler.close()
        await asyncio.sleep(0)  # what was accepted just now begins to be served, and is seen here
        while self._connections:
            for task in self._connections:
                task.cancel()
            await asyncio.wait(self._connections)
        self._held.close()

    @property
    def _next(self) -> Fault:
        return self.plan.get(self.requests + 1, self.always)

    @property
    def next_is_at_the_door(self) -> bool:
        """Whether the next request is struck before anything of it was read."""
        return self._next.at_the_door

    def has_answered(self, body: bytes) -> None:
        """Take note that a request with this body was answered."""
        self._bodies[body] += 1
        self._answered.set()

    async def wait_until_answered(self, body: bytes) -> None:
        """Return when a request with this body was answered."""
        while not self._bodies[body]:
            self._answered.clear()
            await self._answered.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has closed the connection, or the test is over
        finally:
            await closed(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            head = b""
            if not self.next_is_at_the_door:
                head = await reader.readuntil(HEAD_ENDS)
            fault = self._next
            self.arrived_at.append(time.time())
            await fault.do(Exchange(self, head, reader, writer))


def bound(port: int) -> socket.socket:
    """Return a socket on a port of 127.0.0.1 (0: a free one) that others may share."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    return one


class Stand:
    """A simulator and proxies before it, in an event loop on a thread of its own."""

    def __init__(self) -> None:
        self.ahead = 0.0
        """By how many seconds the simulator's clock is ahead."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand")
        self._served = contextlib.AsyncExitStack()
        self._running: Running | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._running = self.do(self._served.enter_async_context(self._serving()))
        self.proxy = self.open_proxy()
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._served.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _serving(self) -> contextlib.AbstractAsyncContextManager[Running]:
        return serving(Rules(), clock=lambda: time.time() + self.ahead)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do some work in the loop, and return what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    @property
    def running(self) -> Running:
        """The simulator, from within."""
        assert self._running is not None
        return self._running

    @property
    def simulator(self) -> Simulator:
        """The simulator, from without."""
        return Simulator(self.running.base_url)

    def open_proxy(self, tls: ssl.SSLContext | None = None, *, listens: bool = True) -> Proxy:
        """Return another proxy before the simulator."""

        async def begin() -> Proxy:
            proxy = Proxy(urlsplit(self.running.base_url).port or 0, tls)
            self._served.push_async_callback(proxy.close)
            if listens:
                await proxy.listen()
            return proxy

        return self.do(begin())
