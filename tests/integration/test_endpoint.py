"""One POST against real sockets that do what servers and networks do."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from builders import FLOW_ID, SECURITY_ID, make_data

from phonon_bulk.batch import Head
from phonon_bulk.config import EndpointSettings
from phonon_bulk.endpoint import MAX_ANSWER_BYTES, Endpoint
from phonon_bulk.response import Answer, Verdict

BODY = Head(SECURITY_ID, FLOW_ID).body(make_data(range(1, 501)))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = orjson.dumps(
    {
        "api-response-code": 202,
        "api-response-message": "Accepted",
        "request-id": "r-1",
        "call-details": None,
    }
)


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    """Return an HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request; return head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


def saying(answer: bytes) -> Serve:
    """Return a server that reads the request, answers so, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    return serve


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset."""
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.close()


async def post(serve: Serve, *, within: float = 5.0) -> Answer:
    """Post one body to a server that behaves as `serve` does; wait for both sides to end."""
    connections: set[asyncio.Task[Any]] = set()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            connections.add(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = EndpointSettings(
        url=f"http://127.0.0.1:{port}/x", requests_per_minute=500, timeout=within
    )
    async with server, Endpoint("bulk", settings) as endpoint:
        answer = await endpoint.post(BODY)
    await asyncio.gather(*connections, return_exceptions=True)
    return answer


async def test_accepted() -> None:
    """A whole answer is read: verdict, request-id, HTTP status."""
    answer = await post(saying(http("202 Accepted", GOOD)))
    assert (answer.verdict, answer.request_id, answer.http_status) == ("accepted", "r-1", 202)


async def test_the_request_on_the_wire() -> None:
    """One POST of exactly the frozen bytes, as JSON."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(http("202 Accepted", GOOD))
        await writer.drain()

    await post(serve)
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /x HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in head
    assert body == BODY
    assert len(seen) == 1


async def test_connection_refused() -> None:
    """Nobody listens: not a byte was sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    async with Endpoint("bulk", EndpointSettings(url=url, requests_per_minute=1)) as endpoint:
        answer = await endpoint.post(BODY)
    assert answer.verdict is Verdict.NOT_SENT
    assert answer.message == "127.0.0.1 can't be reached: connection refused"


async def test_name_that_does_not_resolve() -> None:
    """No such host: not a byte was sent."""
    settings = EndpointSettings(url="https://no-such-host.invalid/", requests_per_minute=1)
    async with Endpoint("bulk", settings) as endpoint:
        answer = await endpoint.post(BODY)
    assert answer.verdict is Verdict.NOT_SENT
    assert "DNS" in answer.message


async def test_no_tls_where_tls_is_wanted() -> None:
    """A server that does not speak TLS: not a byte of the request was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = EndpointSettings(url=f"https://127.0.0.1:{port}/", requests_per_minute=1)
    async with server, Endpoint("bulk", settings) as endpoint:
        answer = await endpoint.post(BODY)
    await ended.wait()
    assert answer.verdict is Verdict.NOT_SENT
    assert "TLS" in answer.message


async def closed_at_once(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept and close."""


async def reset_after_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset when the head of the request is there."""
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def reset_after_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset when the whole request is there."""
    await read_request(reader)
    reset(writer)


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await read_request(reader)
    await asyncio.sleep(0.5)


@pytest.mark.parametrize(
    "serve",
    [
        closed_at_once,
        reset_after_the_head,
        reset_after_all,
        silent,
        saying(http("202 Accepted", GOOD)[:40]),
        saying(http("202 Accepted", GOOD)[:-5]),
        saying(b"SSH-2.0-OpenSSH_9\r\n"),
    ],
    ids=["closed", "reset-head", "reset-all", "silent", "cut-head", "cut-body", "no-http"],
)
async def test_it_may_have_arrived(serve: Serve) -> None:
    """Once bytes may have left, a failure says nothing about what the provider did."""
    answer = await post(serve, within=0.3)
    assert answer.verdict is Verdict.LOST, answer
    assert answer.message


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (http("200 OK", b"<html>"), Verdict.UNCLEAR),
        (http("200 OK"), Verdict.UNCLEAR),
        (http("503 Service Unavailable", b"", "Retry-After: 7"), Verdict.UNCLEAR),
        (http("429 Too Many Requests", b"", "Retry-After: 7"), Verdict.THROTTLED),
        (http("200 OK", b"x" * (MAX_ANSWER_BYTES + 1)), Verdict.UNCLEAR),
        (http("307 Temporary Redirect", b"", "Location: http://127.0.0.1:1/"), Verdict.SETUP),
        (http("202 Accepted", GOOD, "Content-Type: text/html"), Verdict.ACCEPTED),
    ],
    ids=["html", "empty", "503", "429", "huge", "redirect", "content-type"],
)
async def test_whole_answers(answer: bytes, verdict: Verdict) -> None:
    """Whole answers are judged by what they say; a redirect is not followed."""
    judged = await post(saying(answer))
    assert judged.verdict is verdict
    assert judged.retry_after == (7.0 if b"Retry-After" in answer else None)


async def test_no_post_is_repeated_on_a_dead_connection() -> None:
    """A kept-alive connection that turns out dead gives a doubt, not a second POST."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(http("202 Accepted", GOOD))
        await writer.drain()
        await read_request(reader)  # the second request arrives whole, and is never answered
        requests += 1

    ended = asyncio.Event()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, Endpoint("bulk", EndpointSettings(url=url, requests_per_minute=1)) as one:
        assert (await one.post(BODY)).verdict is Verdict.ACCEPTED
        assert (await one.post(BODY)).verdict is Verdict.LOST
    await ended.wait()
    assert requests == 2


async def test_nothing_of_the_request_in_messages() -> None:
    """No message of a failure holds the security id or contact data."""
    for serve in (closed_at_once, reset_after_all, saying(b"garbage")):
        answer = await post(serve, within=0.3)
        assert SECURITY_ID not in answer.message + repr(answer)
        assert "9199" not in answer.message + repr(answer)


async def proxied(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str = "https_proxy"
) -> Answer:
    """Post to a host that is reached through a proxy that behaves as `serve` does."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(behave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv(variable, f"127.0.0.1:{port}")
    settings = EndpointSettings(
        url="https://a.example.invalid/", requests_per_minute=500, timeout=0.4
    )
    async with server, Endpoint("bulk", settings) as endpoint:
        answer = await endpoint.post(BODY)
    await asyncio.sleep(0.3)
    return answer


async def silent_proxy(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the CONNECT and never answer."""
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.6)


async def closing_proxy(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the CONNECT and close."""
    await reader.readuntil(b"\r\n\r\n")


async def refusing_proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the CONNECT with a no."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(http("407 Proxy Authentication Required"))
    await writer.drain()


@pytest.mark.parametrize("serve", [silent_proxy, closing_proxy, refusing_proxy])
async def test_a_proxy_that_lets_nobody_through(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a proxy does before there is a way to the provider, not a byte was sent there."""
    answer = await proxied(serve, monkeypatch)
    assert answer.verdict is Verdict.NOT_SENT, answer


async def test_a_refusing_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is blamed, not the provider, and its login is not shown."""
    answer = await proxied(refusing_proxy, monkeypatch)
    assert "the proxy 127.0.0.1:" in answer.message
    assert "407" in answer.message


async def test_a_slow_connection_is_not_a_lost_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The total time-out that strikes while there is no connection yet: not a byte was sent."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(5)

    settings = EndpointSettings(
        url="https://a.example.invalid/", requests_per_minute=1, timeout=0.2
    )
    async with Endpoint("bulk", settings) as endpoint:
        connector = endpoint._session.connector if endpoint._session else None
        monkeypatch.setattr(connector, "_resolve_host", never)
        answer = await endpoint.post(BODY)
    assert answer.verdict is Verdict.NOT_SENT
    assert "no connection in time" in answer.message


async def test_this_machine_is_never_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simulator on loopback is posted to directly, whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert (await post(saying(http("202 Accepted", GOOD)))).verdict is Verdict.ACCEPTED
