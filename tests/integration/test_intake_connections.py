"""Clients that are slow, that hang up, that are many: none of them costs more than its share."""

import asyncio
import gc
import os
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
import uvloop
from intake_client import Rig, a_call, running, until

from phonon_bulk.intake.connections import MOST_CONNECTIONS, Limits, fitting_connections

LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
"""Python's own event loop, and the worker's: they differ where connections come and go."""

NewLoop = Callable[[], asyncio.AbstractEventLoop]


QUICK = Limits(header=0.2, body=0.2, idle=0.4, linger=0.05, connections=5)
PATIENT = Limits(linger=0.05, connections=5)

HEAD = b"POST /v1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


# ---- slow ones


async def test_a_connection_that_says_nothing() -> None:
    """It is closed in time, without a word: there is no request to answer."""
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        assert await client.ended() == b""
        assert rig.answered == []


@LOOPS
@pytest.mark.parametrize("begin", [b"P", HEAD, HEAD + b"Content-Length: 10\r\n"])
def test_a_header_that_does_not_come(begin: bytes, new_loop: NewLoop) -> None:
    """It is 408, and the connection is closed."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_no_header(begin))


async def _no_header(begin: bytes) -> None:
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        client.writer.write(begin)
        answer = await client.answer()
        assert (answer.status, answer.problem) == (408, "too-slow")
        assert await client.ended() == b""
        assert rig.answered == [("none", 408)]


async def test_a_header_byte_by_byte() -> None:
    """Each byte that comes does not buy more time."""
    async with running(limits=QUICK) as rig:
        client = await rig.connect()

        async def drip() -> None:
            for byte in HEAD * 10:
                client.writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(2):
            assert (await client.answer()).problem == "too-slow"
        dripping.cancel()


async def test_the_header_of_a_second_request() -> None:
    """It has to be there in time too; what came before it counts for nothing."""
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        assert (await client.post(a_call())).status == 202
        await asyncio.sleep(0.25)  # idle for longer than a header may take
        assert (await client.post(a_call(2))).status == 202
        client.writer.write(HEAD)
        assert (await client.answer()).problem == "too-slow"


@LOOPS
def test_a_body_that_does_not_come(new_loop: NewLoop) -> None:
    """It is 408, and the connection is closed."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_no_body())


async def _no_body() -> None:
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        client.writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        answer = await client.answer()
        assert (answer.status, answer.problem) == (408, "too-slow")
        assert await client.ended() == b""
        assert rig.answered == [("/v1/calls", 408)]


async def test_a_body_byte_by_byte() -> None:
    """The time is for the whole body."""
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        client.writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")

        async def drip() -> None:
            for _ in range(200):
                client.writer.write(b" ")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(2):
            assert (await client.answer()).problem == "too-slow"
        dripping.cancel()


async def test_waiting_is_not_being_slow() -> None:
    """Whoever waits for its calls, or is answered late, is not cut off."""
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        assert (await client.post(a_call(), "/v1/calls?wait=0.7")).status == 202
        assert (await client.post(a_call(2))).status == 202


async def test_an_idle_connection_is_closed() -> None:
    """One that is used now and then is kept; else its place is for others."""
    async with running(limits=QUICK) as rig:
        client = await rig.connect()
        assert (await client.post(a_call())).status == 202
        assert await client.ended() == b""
        await until(lambda: not rig.server.connections)


# ---- those that hang up


@pytest.mark.parametrize(
    "sent",
    [b"", b"PO", HEAD, HEAD + b"Content-Length: 100\r\n\r\n", HEAD + b"Content-Length: 9\r\n\r\n{"],
)
async def test_hanging_up_at_any_point(sent: bytes) -> None:
    """Nothing is kept, and nothing is left."""
    async with running(limits=PATIENT) as rig:
        for _ in range(20):
            client = await rig.connect()
            client.writer.write(sent)
            await client.writer.drain()
            client.close()
        await until(lambda: not rig.server.connections)
        assert not rig.door.asked
        assert (await (await rig.connect()).post(a_call())).status == 202


async def test_a_reset_at_any_point() -> None:
    """The same if the client's machine is gone."""
    async with running(limits=PATIENT) as rig:
        address = (rig.server.address.host, rig.server.address.port)
        body = orjson.dumps(a_call())
        whole = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        for length in range(0, len(whole), 20):
            with socket.create_connection(address) as peer:
                linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                peer.sendall(whole[:length])
            await asyncio.sleep(0)
        await until(lambda: not rig.server.connections)
        assert (await (await rig.connect()).post(a_call())).status == 202


# ---- many


@LOOPS
def test_one_connection_too_many(new_loop: NewLoop) -> None:
    """It is told so and closed; as soon as another has gone there is room again."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_one_too_many())


async def _one_too_many() -> None:
    async with running(limits=PATIENT) as rig:
        clients = [await rig.connect() for _ in range(PATIENT.connections)]
        await until(lambda: rig.server.connections == PATIENT.connections)
        late = await rig.connect()
        answer = await late.answer()
        assert (answer.status, answer.problem) == (503, "full")
        assert answer.headers["retry-after"] == "1"
        assert await late.ended() == b""
        assert [(await client.post(a_call())).status for client in clients] == [202] * 5
        clients[0].close()
        await until(lambda: rig.server.connections < PATIENT.connections)
        assert (await (await rig.connect()).post(a_call())).status == 202


def test_connections_leave_files_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than half of what the process may open."""
    for files, connections in [(64, 32), (1024, 512), (20_000, MOST_CONNECTIONS), (1, 1)]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert fitting_connections() == connections
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    assert fitting_connections() == MOST_CONNECTIONS


CROWD = """
import socket, sys, time
host, port, count, refused = sys.argv[1], *map(int, sys.argv[2:])
sockets = []
for _ in range(count):
    peer = socket.socket()
    peer.settimeout(30)
    peer.connect((host, port))
    peer.setblocking(False)
    sockets.append(peer)
print("all there", flush=True)
sys.stdin.readline()
told, end = set(), time.monotonic() + 20
while len(told) < refused and time.monotonic() < end:
    for peer in set(sockets) - told:
        try:
            if peer.recv(12) == b"HTTP/1.1 503":
                told.add(peer)
        except BlockingIOError:
            pass
    time.sleep(0.01)
print(len(told), flush=True)
sys.stdin.readline()
"""


@asynccontextmanager
async def a_crowd(
    rig: Rig, folder: Path, count: int, refused: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Open so many connections at once, from a process; so many will be refused."""
    script = folder / "crowd.py"
    script.write_text(CROWD, "utf-8")
    address = rig.server.address
    crowd = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), address.host, str(address.port), str(count), str(refused)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield crowd
    finally:
        crowd.kill()
        await crowd.wait()


async def said(process: asyncio.subprocess.Process) -> str:
    """Return the next line of a process, and let it go on."""
    assert process.stdout is not None
    assert process.stdin is not None
    line = (await process.stdout.readline()).decode().strip()
    process.stdin.write(b"\n")
    return line


def memory() -> int:
    """Return the bytes that this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured by /proc")
@LOOPS
def test_ten_thousand_connections(tmp_path: Path, new_loop: NewLoop) -> None:
    """As many as may be are served, all others are told so, and nothing grows by their number."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_ten_thousand(tmp_path))


async def _ten_thousand(tmp_path: Path) -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(10_000, files - 200)
    most = fitting_connections()
    refused = count - (most - 1)
    async with running() as rig:
        client = await rig.connect()
        assert (await client.post(a_call())).status == 202
        gc.collect()
        before = memory()
        async with a_crowd(rig, tmp_path, count, refused) as crowd:
            assert await said(crowd) == "all there"
            await until(lambda: rig.answered.count(("none", 503)) == refused)
            assert rig.server.connections == most
            assert (await client.post(a_call(2))).status == 202, "who is in is served"
            assert int(await said(crowd)) == refused
            grown = memory() - before
        await until(lambda: rig.server.connections == 1)
        assert (await (await rig.connect()).post(a_call(3))).status == 202
    per_connection = grown / most
    assert per_connection < 40_000, f"{per_connection:,.0f} bytes for each that is served"
    assert Counter(rig.answered)["/v1/calls", 202] == 3


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured by /proc")
async def test_hanging_up_again_and_again_leaves_nothing() -> None:
    """Clients that wait and hang up are forgotten, one like the other."""
    async with running(limits=PATIENT) as rig:
        address = (rig.server.address.host, rig.server.address.port)
        taken = await (await rig.connect()).post(a_call())
        where = taken.headers["location"].encode()
        ask = b"GET " + where + b"?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n"

        async def hang_up(times: int) -> None:
            for _ in range(times):
                with socket.socket() as peer:
                    peer.connect(address)
                    peer.sendall(ask)
                await asyncio.sleep(0)
            await until(lambda: rig.server.connections == 1)
            assert not rig.door.waiting
            rig.answered.clear()
            gc.collect()

        await hang_up(500)
        before = memory()
        await hang_up(2_000)
        assert memory() - before < 3_000_000
        assert len(asyncio.all_tasks()) < 5  # this one, and those of the connection that is left
