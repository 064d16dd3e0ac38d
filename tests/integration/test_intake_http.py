"""The intake over real sockets, with a fake door: what is asked, what is answered."""

import asyncio
import logging
from typing import Any

import orjson
import pytest
import structlog
from fake_door import CAME_AT
from intake_client import Client, a_call, running, until
from structlog.testing import capture_logs

from phonon_bulk.config import Address
from phonon_bulk.errors import JournalError, SettingsError, UnusableError
from phonon_bulk.intake.connections import Limits
from phonon_bulk.intake.door import BlockedError, OverloadedError
from phonon_bulk.intake.server import serve

TOKEN = "made-up-token-of-the-tests"
NO_SUCH = "/v1/calls/" + "f" * 32
TOMORROW = CAME_AT + 86_400


# ---- what is taken


@pytest.mark.parametrize(
    "body", [a_call(), [a_call(), a_call(2)], {"flow-id": "AAAA1111", "calls": [a_call()]}]
)
async def test_calls_are_taken(body: object) -> None:
    """It is 202, with where to look; there the same stands."""
    async with running() as rig:
        client = await rig.connect()
        taken = await client.post(body)
        assert taken.status == 202
        assert taken.headers["content-type"] == "application/json"
        assert taken.headers["cache-control"] == "no-store"
        assert "idempotency-replayed" not in taken.headers
        assert taken.headers["location"] == f"/v1/calls/{taken.json['id']}"
        assert [call["state"] for call in taken.json["calls"]] == ["waiting"] * len(
            rig.door.order.calls
        )
        looked = await client.get(taken.headers["location"])
        assert looked.status == 200
        assert looked.body == taken.body
        assert rig.answered == [("/v1/calls", 202), ("/v1/calls/{id}", 200)]


@pytest.mark.parametrize(
    ("path", "body", "settings", "flow"),
    [
        ("/v1/calls?flow-id=BBBB2222", {"flow-id": "AAAA1111", "calls": [a_call()]}, "CCCC3333", 0),
        ("/v1/calls?flow-id=BBBB2222", [a_call()], "CCCC3333", 1),
        ("/v1/calls", [a_call()], "CCCC3333", 2),
    ],
)
async def test_which_flow(path: str, body: object, settings: str, flow: int) -> None:
    """The body's, else the query's, else that of the settings."""
    async with running(flow_id=settings) as rig:
        client = await rig.connect()
        assert (await client.post(body, path)).status == 202
        assert rig.door.order.flow_id == ["AAAA1111", "BBBB2222", "CCCC3333"][flow]


async def test_no_flow_at_all() -> None:
    """It is 400."""
    async with running(flow_id=None) as rig:
        assert (await (await rig.connect()).post(a_call())).problem == "no-flow"


async def test_a_body_in_chunks() -> None:
    """A client need not know the length before."""
    async with running() as rig:
        client = await rig.connect()
        body = orjson.dumps(a_call())
        client.writer.write(
            b"POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for i in range(0, len(body), 10):
            part = body[i : i + 10]
            client.writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await client.writer.drain()
        client.writer.write(b"0\r\n\r\n")
        assert (await client.answer()).status == 202


async def test_a_client_that_asks_before_it_sends() -> None:
    """100 Continue is answered once it is known that the body is wanted."""
    async with running() as rig:
        client = await rig.connect()
        body = orjson.dumps(a_call())
        head = (
            "POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        client.writer.write(head.encode())
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(body)
        assert (await client.answer()).status == 202


async def test_what_else_is_expected() -> None:
    """It is 417."""
    async with running() as rig:
        client = await rig.connect()
        assert (await client.post(a_call(), Expect="a-miracle")).problem == "wrong-expect"


# ---- waiting


async def test_waiting_until_all_is_settled() -> None:
    """It is 200, with what the provider gave."""
    async with running() as rig:
        rig.door.settles = True
        client = await rig.connect()
        taken = await client.post([a_call()], "/v1/calls?wait=60")
        assert taken.status == 200
        assert taken.json["state"] == "settled"
        assert taken.json["calls"][0]["request-id"] == "r-0"
        assert taken.json["calls"][0]["phonon-uuid"] == "u-0"


async def test_waiting_in_vain() -> None:
    """It is 202 then; a GET is 200 whatever it has to tell."""
    async with running() as rig:
        client = await rig.connect()
        taken = await client.post(a_call(), "/v1/calls?wait=0.01")
        assert (taken.status, taken.json["state"]) == (202, "waiting")
        looked = await client.get(taken.headers["location"] + "?wait=0.01")
        assert (looked.status, looked.json["state"]) == (200, "waiting")


async def test_who_waits_at_the_end_is_answered_at_once() -> None:
    """Being told to stop is no reason to let clients hang."""
    async with running() as rig:
        client = await rig.connect()
        asked = asyncio.create_task(client.post(a_call(), "/v1/calls?wait=60"))
        await until(lambda: rig.door.waiting)
    async with asyncio.timeout(4):
        assert (await asked).status == 202


async def test_a_client_that_hangs_up_while_it_waits() -> None:
    """Nobody waits on its behalf any more; its order stays."""
    async with running() as rig:
        client = await rig.connect()
        asked = asyncio.create_task(client.post(a_call(), "/v1/calls?wait=60"))
        await until(lambda: rig.door.waiting)
        client.close()
        await until(lambda: not rig.door.waiting and not rig.server.connections)
        assert len(rig.door.orders) == 1
        assert rig.answered == [("/v1/calls", 499)]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asked


async def test_a_client_that_hangs_up_while_its_order_is_kept() -> None:
    """It is kept to the end all the same, and counts as a connection until then."""
    async with running() as rig:
        rig.door.hold = asyncio.Event()
        client = await rig.connect()
        asked = asyncio.create_task(client.post(a_call()))
        await until(lambda: rig.door.asked)
        client.close()
        await asyncio.sleep(0.05)
        assert rig.server.connections == 1
        rig.door.hold.set()
        await until(lambda: not rig.server.connections)
        assert len(rig.door.orders) == 1
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asked


# ---- the same once more


async def test_a_repeat_places_nothing() -> None:
    """It is told what became of the first, and that it is a repeat."""
    async with running() as rig:
        client = await rig.connect()
        first = await client.post(a_call(), Idempotency_Key="k-1")
        again = await client.post([a_call()], Idempotency_Key="k-1")
        assert again.status == 202
        assert again.body == first.body
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        assert len(rig.door.orders) == 1


async def test_a_key_with_another_request() -> None:
    """It is 422, and nothing is kept."""
    async with running() as rig:
        client = await rig.connect()
        await client.post(a_call(), Idempotency_Key="k-1")
        assert (await client.post(a_call(2), Idempotency_Key="k-1")).problem == "key-reused"
        assert len(rig.door.orders) == 1


@pytest.mark.parametrize(
    "refusal", [OverloadedError(3), BlockedError("run 7 is paused")], ids=["overloaded", "blocked"]
)
async def test_what_was_taken_is_never_answered_with_a_no(refusal: Exception) -> None:
    """A repeat that would not be taken now is answered like any other repeat."""
    async with running() as rig:
        client = await rig.connect()
        await client.post(a_call(), Idempotency_Key="k-1")
        rig.door.raises = refusal
        again = await client.post(a_call(), Idempotency_Key="k-1")
        assert again.status == 202
        assert again.headers["idempotency-replayed"] == "true"
        assert (await client.post(a_call(2), Idempotency_Key="k-1")).problem == "key-reused"
        assert (await client.post(a_call(), Idempotency_Key="k-2")).status in {429, 503}


async def test_a_repeat_after_midnight() -> None:
    """Its start date has passed by then, but it was taken before."""
    call = a_call(start_time="2026-11-18T18:00:00+05:30")
    async with running() as today, running(now=TOMORROW) as tomorrow:
        await (await today.connect()).post(call, Idempotency_Key="k-1")
        tomorrow.door.orders = today.door.orders
        client = await tomorrow.connect()
        assert (await client.post(call, Idempotency_Key="k-1")).status == 202
        refused = await client.post(call, Idempotency_Key="k-2")
        assert refused.problem == "bad-calls"
        assert refused.json["errors"][0]["pointer"] == "/start-time"
        assert tomorrow.door.asked == 0


# ---- what can't be taken now


@pytest.mark.parametrize(
    ("error", "status", "name", "retry_after"),
    [
        (OverloadedError(2.1), 429, "overloaded", "3"),
        (OverloadedError(0), 429, "overloaded", "1"),
        (BlockedError("run 7 is paused"), 503, "blocked", None),
        (JournalError("/var/lib/secret/place is full"), 503, "journal", "5"),
        (RuntimeError("919000000001"), 500, "fault", None),
    ],
)
async def test_what_the_door_refuses(
    error: Exception, status: int, name: str, retry_after: str | None
) -> None:
    """Each refusal has its status, and says when to come again."""
    async with running() as rig:
        rig.door.raises = error
        client = await rig.connect()
        answer = await client.post(a_call())
        assert (answer.status, answer.problem) == (status, name)
        assert answer.headers.get("retry-after") == retry_after
        assert b"secret" not in answer.body
        assert b"9190" not in answer.body
        rig.door.raises = None
        assert (await client.post(a_call())).status == 202, "the connection goes on"


async def test_the_reason_of_a_refusal_is_told() -> None:
    """A client can't know else."""
    async with running() as rig:
        rig.door.raises = BlockedError("run 7 is paused")
        answer = await (await rig.connect()).post(a_call())
        assert answer.json["detail"].startswith("run 7 is paused")


async def test_the_journal_fails_while_a_client_waits() -> None:
    """What was kept is kept: it is told so, and not that something failed."""
    async with running() as rig:
        client = await rig.connect()
        asked = asyncio.create_task(client.post(a_call(), "/v1/calls?wait=0.2"))
        await until(lambda: rig.door.waiting)
        rig.door.raises = JournalError("gone")
        assert (await asked).status == 202


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TimeoutError, ConnectionError])
async def test_a_fault_is_logged_without_what_it_says(
    error: type[Exception], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither message nor trace: they may hold contact data."""
    structlog.reset_defaults()
    async with running() as rig:
        rig.door.raises = error("919000000001")
        with capture_logs() as logged:
            answer = await (await rig.connect()).post(a_call())
    assert answer.problem == "fault"
    assert logged == [
        {
            "event": "intake.fault",
            "log_level": "error",
            "route": "/v1/calls",
            "error": error.__name__,
        }
    ]
    assert "9190" not in caplog.text + "".join(capfd.readouterr())


# ---- what is wrong with it


@pytest.mark.parametrize(
    ("method", "path", "status", "name", "allowed"),
    [
        ("GET", "/v1/calls", 405, "wrong-method", "POST"),
        ("PUT", "/v1/calls", 405, "wrong-method", "POST"),
        ("OPTIONS", "/v1/calls", 405, "wrong-method", "POST"),
        ("TRACE", "/v1/calls", 405, "wrong-method", "POST"),
        ("POST", NO_SUCH, 405, "wrong-method", "GET, HEAD"),
        ("DELETE", NO_SUCH, 405, "wrong-method", "GET, HEAD"),
        ("POST", "/v1/openapi.json", 405, "wrong-method", "GET, HEAD"),
        ("POST", "/metrics", 405, "wrong-method", "GET, HEAD"),
        ("GET", NO_SUCH, 404, "not-found", None),
        ("GET", "/v1/calls/", 404, "not-found", None),
        ("GET", "/v1/calls/" + "F" * 32, 404, "not-found", None),
        ("GET", "/v1/calls/..%2f..%2fetc", 404, "not-found", None),
        ("POST", "/v1/calls/", 404, "not-found", None),
        ("GET", "/", 404, "not-found", None),
        ("GET", "/v2/calls", 404, "not-found", None),
        ("POST", "/v1/calls?wiat=5", 400, "bad-parameter", None),
        ("POST", "/v1/calls?wait=61", 400, "bad-parameter", None),
        ("POST", "/v1/calls?flow-id=short", 400, "bad-parameter", None),
        ("GET", NO_SUCH + "?flow-id=QG8k000A", 400, "bad-parameter", None),
        ("GET", "/v1/openapi.json?x=1", 400, "bad-parameter", None),
    ],
)
async def test_wrong_paths_and_methods(
    method: str, path: str, status: int, name: str, allowed: str | None
) -> None:
    """Each has its status, and a problem for a body."""
    async with running() as rig:
        client = await rig.connect()
        answer = await client.send(method, path, None, a_call() if method == "POST" else b"")
        assert (answer.status, answer.problem) == (status, name)
        assert answer.headers.get("allow") == allowed
        assert not rig.door.asked


@pytest.mark.parametrize(
    ("headers", "status", "name"),
    [
        ({"Content-Type": "text/plain"}, 415, "wrong-media-type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "wrong-media-type"),
        ({"Content-Encoding": "gzip"}, 415, "wrong-media-type"),
        ({"Idempotency-Key": "not visible"}, 400, "bad-parameter"),
        ({"Idempotency-Key": "x" * 256}, 400, "bad-parameter"),
        ({"Origin": "https://evil.example"}, 403, "web-page"),
        ({"Host": "evil.example"}, 403, "web-page"),
    ],
)
async def test_wrong_headers(headers: dict[str, str], status: int, name: str) -> None:
    """Each has its status, and nothing is kept."""
    async with running() as rig:
        answer = await (await rig.connect()).send("POST", "/v1/calls", headers, a_call())
        assert (answer.status, answer.problem) == (status, name)
        assert not rig.door.asked


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"", 400, "not-json"),
        (b"{", 400, "not-json"),
        (b"\xff", 400, "not-json"),
        (b"[" * 100_000, 400, "not-json"),
        (b"0", 422, "bad-calls"),
        (b"x" * 300_000, 413, "too-large"),
        (orjson.dumps([a_call()] * 501), 413, "too-many-calls"),
        (orjson.dumps(a_call() | {"security-id": "s3cret"}), 422, "bad-calls"),
    ],
    ids=["empty", "cut", "latin", "deep", "number", "large", "many", "secret"],
)
async def test_wrong_bodies(body: bytes, status: int, name: str) -> None:
    """Each has its status, and nothing is kept."""
    async with running() as rig:
        answer = await (await rig.connect()).send("POST", "/v1/calls", None, body)
        assert (answer.status, answer.problem) == (status, name)
        assert b"s3cret" not in answer.body
        assert not rig.door.asked


async def test_a_large_body_without_a_length() -> None:
    """What comes in chunks is counted as it comes."""
    async with running(limits=Limits(linger=0.1)) as rig:
        client = await rig.connect()
        client.writer.write(
            b"POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 5
        )
        answer = await client.answer()
        assert answer.problem == "too-large"
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"made-up-token nonsense\r\n\r\n", 400),
        (b"GET /v1/calls HTTP/1.1\r\nmade-up-token\r\n\r\n", 400),
        (b"POST /v1/calls HTTP/1.1\r\nHost: a\r\nContent-Length: made-up-token\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"made-up-token" * 1000 + b"\r\n\r\n", 431),
        (b"GET /" + b"made-up-token" * 1000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
    ids=["nonsense", "header", "length", "tls", "long header", "long line"],
)
async def test_what_is_no_http(
    raw: bytes, status: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is answered, closed, and of what came nothing is logged."""
    caplog.set_level(logging.DEBUG)
    async with running() as rig:
        client = await rig.connect()
        client.writer.write(raw)
        answer = await client.answer()
        assert answer.status == status
        assert answer.problem in {"bad-http", "long-headers"}
        assert await client.ended() == b""
        assert rig.answered == [("none", status)]
    assert b"made-up" not in answer.body
    assert "made-up" not in caplog.text + "".join(capfd.readouterr())


async def test_a_body_that_is_no_chunks() -> None:
    """The same within a body."""
    async with running() as rig:
        client = await rig.connect()
        client.writer.write(
            b"POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        assert (await client.answer()).problem == "bad-http"


# ---- who is let in


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/calls"),
        ("GET", NO_SUCH),
        ("GET", "/v1/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
        ("DELETE", "/v1/calls"),
    ],
)
async def test_the_token_is_needed(method: str, path: str) -> None:
    """For everything but what is open, and before anything else is said."""
    async with running(TOKEN) as rig:
        client = await rig.connect()
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = await client.send(method, path, headers, b"x" if method == "POST" else b"")
            assert (answer.status, answer.problem) == (401, "no-token")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        right = {"Authorization": f"Bearer {TOKEN}", "Host": "intake.example"}
        assert (await client.send(method, path, right)).status != 401


async def test_open_pages_need_none() -> None:
    """Whoever watches the process need not be let in to all of it."""
    async with running(TOKEN) as rig:
        client = await rig.connect()
        answer = await client.get("/healthz", Host="10.0.0.1", Origin="x")
        assert (answer.status, answer.body) == (200, b"ok\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_the_token_is_looked_at_before_the_body() -> None:
    """Whoever has none can't make the process read anything."""
    async with running(TOKEN, limits=Limits(linger=0.1)) as rig:
        client = await rig.connect()
        client.writer.write(
            b"POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = await client.answer()
        assert answer.problem == "no-token"
        assert answer.headers["connection"] == "close"


async def test_an_open_door_is_not_opened() -> None:
    """Not even by mistake of the caller."""
    with pytest.raises(SettingsError, match="token"):
        async with serve(Address("0.0.0.0:0"), None, None):
            pass


# ---- the rest


async def test_turned_off() -> None:
    """The pages are there, the intake is not, and it is said why."""
    async with running(is_off=True) as rig:
        client = await rig.connect()
        for path in ("/v1/openapi.json", NO_SUCH, "/v1/calls"):
            assert (await client.get(path)).problem == "intake-off"
        assert (await client.post(a_call())).problem == "intake-off"
        assert (await client.get("/other")).problem == "not-found"
        assert (await client.get("/metrics")).status == 200


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/healthz", "/metrics"])
async def test_head_is_get_without_a_body(path: str) -> None:
    """With the length that the body would have."""
    async with running() as rig:
        client = await rig.connect()
        got = await client.get(path)
        head = await client.send("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(got.body))
        assert (await client.get(path)).body == got.body


async def test_versions_are_not_told() -> None:
    """What it is made of is nobody's business."""
    async with running() as rig:
        for path in ("/healthz", "/v1/calls"):
            answer = await (await rig.connect()).get(path)
            assert answer.headers["server"] == "phonon-bulk"


async def test_the_address_is_the_real_one() -> None:
    """Port 0 becomes the one that was free; a second server can't have it."""
    async with serve(Address("[::1]:0"), None, None) as server:
        assert server.address.host == "::1"
        assert server.address.port > 0
        with pytest.raises(UnusableError, match=r"worker\.listen: nothing can listen on \[::1\]"):
            async with serve(server.address, None, None):
                pass


async def test_requests_behind_one_another() -> None:
    """A client may send several before it reads."""
    async with running() as rig:
        client: Client = await rig.connect()
        body = orjson.dumps(a_call())
        one: Any = f"POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        one += "Content-Type: application/json\r\n\r\n"
        client.writer.write((one.encode() + body) * 5)
        assert [(await client.answer()).status for _ in range(5)] == [202] * 5
        assert len(rig.door.orders) == 5
