"""The way to an endpoint, gone step by step as far as it leads: what is seen on it.

A name is resolved, a connection made (by way of the proxy that `endpoint.py` would take), TLS
agreed on with the certificate verified, and a GET without a body and without a security id sent.
It places no call: those are made by POST.
"""

import asyncio
import base64
import contextlib
import http.client
import io
import re
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from phonon_bulk import __version__
from phonon_bulk.endpoint import proxy_for, without_login
from phonon_bulk.report.doctor.aside import aside

_MOST_ADDRESSES = 8
_MOST_BYTES = 1 << 16
"""Of an answer; more is not read."""
_REST_SECONDS = 2.0
"""For the body, once the head of an answer is there."""

Address = tuple[Any, ...]
"""As `socket.getaddrinfo` gives it."""


class Stage(IntEnum):
    """How far one got."""

    DNS = 0
    CONNECTION = 1
    PROXY = 2
    """A proxy was asked to let through."""
    TLS = 3
    ANSWER = 4
    DONE = 5


@dataclass(slots=True)
class Sighting:
    """What was seen on the way to a URL. Times are in seconds, moments since the epoch."""

    host: str
    port: int
    proxy: str | None = None
    """host:port, without its login."""
    stage: Stage = Stage.DNS
    """Where it ended."""
    error: Exception | None = None
    """Why, if not at the end of the way."""
    resolved_in: float = 0.0
    addresses: tuple[str, ...] = ()
    connected_in: float = 0.0
    peer: str = ""
    local: str = ""
    proxy_kind: str = ""
    """http or https; empty if it is of another kind."""
    proxy_status: int | None = None
    tls: str | None = None
    """Its version."""
    certificate_ends: float | None = None
    status: int | None = None
    answered_in: float = 0.0
    body: bytes = b""
    ahead: float | None = None
    """By how many seconds this machine's clock is ahead of the server's, half a second more or
    less; None if the server did not say what time it was."""


async def look(url: str, seconds: float) -> Sighting:
    """Go the way to `url` and return what was seen, after so many seconds at the latest."""
    parts = urlsplit(url)
    seen = Sighting(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        proxy = _proxy(seen, url)
        async with asyncio.timeout(seconds):
            await _go(seen, parts, proxy)
    except (OSError, EOFError, asyncio.LimitOverrunError, http.client.HTTPException) as error:
        seen.error = error  # time-outs and what is wrong with TLS are OSErrors
    except ValueError as error:  # no host name, by the rules of IDNA; no number where one stands
        seen.error = error
    return seen


def _proxy(seen: Sighting, url: str) -> SplitResult | None:
    """Return the proxy on the way, if there is one. Raises ValueError if it can't be one."""
    named = proxy_for(url)
    if named is None:
        return None
    seen.stage, seen.proxy, seen.proxy_kind = Stage.PROXY, "a proxy", ""
    seen.proxy, proxy = without_login(named), urlsplit(named)
    if proxy.scheme not in {"http", "https"} or not proxy.hostname:
        raise ValueError("no proxy of HTTP")
    seen.stage, seen.proxy_kind = Stage.DNS, proxy.scheme
    return proxy


async def _go(seen: Sighting, parts: SplitResult, proxy: SplitResult | None) -> None:
    reader, writer = await _connect(seen, proxy)
    try:
        if proxy is not None:
            await _pass(seen, proxy, reader, writer)
        if parts.scheme == "https":
            seen.stage = Stage.TLS
            await writer.start_tls(ssl.create_default_context(), server_hostname=seen.host)
            _note_tls(seen, writer)
        seen.stage = Stage.ANSWER
        await _ask(seen, parts, reader, writer)
        seen.stage = Stage.DONE
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # it closes; to wait for it would be for ever where TLS is half-way


# ---- connection


async def _connect(
    seen: Sighting, proxy: SplitResult | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = seen.host, seen.port
    if proxy is not None:
        host, port = proxy.hostname or "", proxy.port or (443 if proxy.scheme == "https" else 80)
    began = time.monotonic()
    addresses = await aside(lambda: _resolved(host, port), 60)
    seen.resolved_in = time.monotonic() - began
    seen.addresses = tuple(dict.fromkeys(str(address[4][0]) for address in addresses))
    seen.stage, began = Stage.CONNECTION, time.monotonic()
    connection = await _first(addresses[:_MOST_ADDRESSES])
    seen.connected_in = time.monotonic() - began
    seen.peer, seen.local = (
        str(name()[0]) for name in (connection.getpeername, connection.getsockname)
    )
    if proxy is not None and seen.proxy_kind == "https":
        seen.stage = Stage.PROXY
        context = ssl.create_default_context()
        return await asyncio.open_connection(sock=connection, ssl=context, server_hostname=host)
    return await asyncio.open_connection(sock=connection)


def _resolved(host: str, port: int) -> list[Address]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def _first(addresses: list[Address]) -> socket.socket:
    """Return the first connection that comes about; raise the last error if none does."""
    tasks = [asyncio.create_task(_connected(address)) for address in addresses]
    winner, why = None, OSError("no address")
    try:
        for task in asyncio.as_completed(tasks):
            try:
                winner = await task
            except OSError as error:
                why = error
            else:
                return winner
        raise why
    finally:
        for other in tasks:
            other.cancel()
        for late in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(late, socket.socket) and late is not winner:
                late.close()


async def _connected(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    one = socket.socket(family, kind, protocol)
    one.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(one, where)
    except BaseException:
        one.close()
        raise
    return one


async def _pass(
    seen: Sighting,
    proxy: SplitResult,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Have a proxy let through to the host."""
    seen.stage = Stage.PROXY
    where = f"[{seen.host}]" if ":" in seen.host else seen.host
    head = [f"CONNECT {where}:{seen.port} HTTP/1.1", f"Host: {where}:{seen.port}"]
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        code = base64.b64encode(login.encode("utf-8")).decode("ascii")
        head.append(f"Proxy-Authorization: Basic {code}")
    writer.write("\r\n".join([*head, "", ""]).encode("ascii"))
    answer = await reader.readuntil(b"\r\n\r\n")
    seen.proxy_status = _status(answer)
    if seen.proxy_status != http.HTTPStatus.OK:
        raise ConnectionError("the proxy does not let through")


def _note_tls(seen: Sighting, writer: asyncio.StreamWriter) -> None:
    secured = writer.get_extra_info("ssl_object")
    seen.tls = secured.version()
    seen.certificate_ends = float(ssl.cert_time_to_seconds(secured.getpeercert()["notAfter"]))


# ---- the answer


async def _ask(
    seen: Sighting,
    parts: SplitResult,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"User-Agent: phonon-bulk/{__version__}",
        "Accept: application/json",
        "Connection: close",
    ]
    asked, began = time.time(), time.monotonic()
    writer.write("\r\n".join([*head, "", ""]).encode("ascii"))
    received = await reader.readuntil(b"\r\n\r\n")
    seen.answered_in = time.monotonic() - began
    seen.status = _status(received)
    received += await _rest(reader)
    answer = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]
    answer.begin()
    seen.ahead = _ahead(answer.headers, asked + seen.answered_in / 2)
    with contextlib.suppress(http.client.HTTPException):  # cut off: only its head is needed
        seen.body = answer.read()


class _Received:
    """What was received, in the form of a socket that `http.client` reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._content)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Return what else comes within a short time, up to where it is long enough."""
    rest = bytearray()
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(_REST_SECONDS):
            while len(rest) < _MOST_BYTES and (more := await reader.read(_MOST_BYTES)):
                rest += more
    return bytes(rest)


def _status(head: bytes) -> int:
    match = re.match(rb"HTTP/1\.[0-9] ([0-9]{3})\b", head)
    if match is None:
        raise ValueError("no HTTP")
    return int(match[1])


def _ahead(headers: Any, now: float) -> float | None:
    """Return by how much `now` is ahead of an answer's Date, which leaves out parts of a second."""
    try:
        date = parsedate_to_datetime(headers["Date"]).timestamp()
        age = float(headers.get("Age", 0))  # it was kept by a cache for so long
    except (TypeError, ValueError, OverflowError):
        return None
    return now - (date + 0.5 + age)
