"""What the tests of the intake's HTTP have in common: a server with a fake door, raw requests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import orjson
from fake_door import CAME_AT, FakeDoor
from pydantic import SecretStr

from phonon_bulk.config import Address
from phonon_bulk.intake.connections import Limits
from phonon_bulk.intake.server import Page, Server, serve

FLOW = "QG8k000A"
JSON = {"Content-Type": "application/json"}


def a_call(row: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a call as a client sends it."""
    call = {"client-identifier": f"ACC{row:07d}", "contact-numbers": [f"9190{row:08d}"]}
    return call | {name.replace("_", "-"): value for name, value in changes.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return orjson.loads(self.body)

    @property
    def problem(self) -> str:
        """The name of the problem."""
        assert self.headers["content-type"] == "application/problem+json"
        content = self.json
        assert set(content) == {"type", "title", "status", "detail", "errors"}
        assert content["status"] == self.status
        return str(content["type"]).removeprefix("urn:phonon-bulk:problem:")


class Client:
    """One connection, on which requests are written as bytes, right ones and wrong ones."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: Address) -> Self:
        """Return a new connection."""
        return cls(*await asyncio.open_connection(address.host, address.port))

    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | object = b"",
    ) -> Answer:
        """Send one request and return its answer."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        lines = {"Host": "127.0.0.1", **(headers or {})}
        if method == "POST":
            lines = {**JSON, "Content-Length": str(len(content)), **lines}
        head = f"{method} {path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.writer.write(head.encode("utf-8", "surrogateescape") + b"\r\n" + content)
        return await self.answer(without_body=method == "HEAD")

    async def post(self, body: object, path: str = "/v1/calls", **headers: str) -> Answer:
        """Post calls."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", path, named, body)

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask for what is under a path."""
        return await self.send("GET", path, headers)

    async def answer(self, *, without_body: bool = False) -> Answer:
        """Return the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        length = 0 if without_body else int(headers.get("content-length", "0"))
        body = await self.reader.readexactly(length)
        return Answer(int(status.split()[1]), headers, body)

    async def ended(self) -> bytes:
        """Return what still comes until the other side closes."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


@dataclass(slots=True)
class Rig:
    """A server, what is behind it, and what it told of its answers."""

    server: Server
    door: FakeDoor
    answered: list[tuple[str, int]]
    clients: list[Client]

    async def connect(self) -> Client:
        """Return a new connection."""
        address = self.server.address
        client = await Client.connect(address)
        self.clients.append(client)
        return client


async def until(so: Callable[[], object]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(5):
        while not so():  # noqa: ASYNC110 - what is waited for is in another's hands
            await asyncio.sleep(0.005)


async def _page() -> tuple[int, str, bytes]:
    return 200, "text/plain; charset=utf-8", b"ok\n"


@asynccontextmanager
async def running(
    token: str | None = None,
    *,
    flow_id: str | None = FLOW,
    limits: Limits | None = None,
    is_off: bool = False,
    now: float = CAME_AT,
) -> AsyncIterator[Rig]:
    """Serve a fake door on a free port, with the pages /metrics and, open, /healthz."""
    door = FakeDoor()
    answered: list[tuple[str, int]] = []

    def note(route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        answered.append((route, int(status)))

    clients: list[Client] = []
    try:
        async with serve(
            Address("127.0.0.1:0"),
            None if token is None else SecretStr(token),
            None if is_off else door,
            [Page("/metrics", open=False, answer=_page), Page("/healthz", open=True, answer=_page)],
            flow_id=lambda: flow_id,
            answered=note,
            clock=lambda: now,
            limits=limits,
        ) as server:
            yield Rig(server, door, answered, clients)
    finally:
        for client in clients:
            client.close()
