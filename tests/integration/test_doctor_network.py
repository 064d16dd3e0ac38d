"""The doctor on its way to real servers: certificates, names, proxies, clocks, silence."""

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from phonon_bulk.report.doctor import Check
from phonon_bulk.report.doctor.network import Stage, look
from phonon_bulk.report.doctor.sighted import judge

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE = 10.0
DAY = timedelta(days=1)


# ---- a certificate authority


def name(text: str) -> x509.Name:
    """Return a name of one part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """Signs certificates; `file` is its own, for those who trust it."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    file: Path

    def context(
        self, *hosts: str, begins: timedelta = -DAY, ends: timedelta = 90 * DAY
    ) -> ssl.SSLContext:
        """Return what a server needs that is to be known by these names."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        names: list[x509.GeneralName] = []
        for host in hosts:
            with contextlib.suppress(ValueError):
                names.append(x509.IPAddress(ip_address(host)))
                continue
            names.append(x509.DNSName(host))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name(hosts[0]))
            .issuer_name(name("An authority of the tests"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"{certificate.serial_number}.pem"
        path.write_bytes(pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as a file has it."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that nobody trusts yet."""
    folder = tmp_path_factory.mktemp("authority")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    own = name("An authority of the tests")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 365 * DAY)
        .not_valid_after(now + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "authority.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(folder, key, file)


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Return an authority that this machine trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


# ---- servers


@dataclass
class Server:
    """A server on this machine, and what came to it."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def serving(serve: Serve | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server that behaves so, or answers each request so, and closes."""
    running, tasks = Server(), set()

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            if isinstance(serve, bytes):
                running.heard.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(serve)
                await writer.drain()
            else:
                await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(behave, "127.0.0.1", 0, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


def answer(status: str = "405 Method Not Allowed", *headers: str, body: bytes = b"") -> bytes:
    """Return an answer of a server whose clock is right, if it has one."""
    dated = any(header.startswith("Date") for header in headers)
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    lines += [] if dated else [f"Date: {formatdate(usegmt=True)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def seen(url: str, seconds: float = PATIENCE) -> dict[str, Check]:
    """Go a way, and return the lines by what they are of."""
    checks = list(judge("bulk", await look(url, seconds), time.time()))
    return {check.what.removesuffix(" (bulk)"): check for check in checks}


def last(found: dict[str, Check]) -> tuple[str, str, str]:
    """Return the last line: what, grade, found."""
    check = list(found.values())[-1]
    return check.what, check.grade, check.found


# ---- all is well


async def test_a_whole_way(trusted: Authority) -> None:
    """Name, connection, TLS, certificate, answer, clock: each has its line."""
    async with serving(answer(), trusted.context("localhost", "127.0.0.1")) as server:
        found = await seen(f"https://localhost:{server.port}/kairos/create?x=1")
    assert {check.grade for check in found.values()} == {"well"}, found
    assert list(found) == [
        *("DNS", "connection", "seen as", "TLS", "certificate", "answer", "clock"),
    ]
    assert found["TLS"].found.startswith("TLSv1.3")
    assert "in 89 days" in found["certificate"].found
    assert "HTTP 405" in found["answer"].found


async def test_what_is_asked(trusted: Authority) -> None:
    """A GET of the very URL, once, with nothing of ours in it but the name of the program."""
    async with serving(answer(), trusted.context("127.0.0.1")) as server:
        await look(f"https://127.0.0.1:{server.port}/kairos/create?x=1", PATIENCE)
    (request,) = server.heard
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /kairos/create?x=1 HTTP/1.1"
    assert {line.partition(":")[0] for line in lines[1:] if line} == {
        *("Host", "User-Agent", "Accept", "Connection"),
    }


async def test_plain_http_to_this_machine() -> None:
    """A simulator; and an answer in chunks, whose code is read."""
    body = b'{"api-response-code":401,"api-response-message":"IP Not Whitelisted"}'
    chunks = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(head + chunks) as server:
        found = await seen(f"http://127.0.0.1:{server.port}/x")
    assert list(found) == ["connection", "seen as", "answer", "clock"]
    assert "IP Not Whitelisted" in found["answer"].found
    assert "does not say what time it is" in found["clock"].found


async def test_403_is_a_hint(trusted: Authority) -> None:
    """That the address is not allowed."""
    async with serving(answer("403 Forbidden"), trusted.context("127.0.0.1")) as server:
        found = await seen(f"https://127.0.0.1:{server.port}/")
    assert (found["answer"].grade, "public address allowed" in found["answer"].found) == (
        "mind",
        True,
    )


# ---- certificates


async def refused(context: ssl.SSLContext, host: str = "127.0.0.1") -> str:
    """Return what is said of a server whose certificate is not accepted; nothing was asked."""
    async with serving(answer(), context) as server:
        found = await seen(f"https://{host}:{server.port}/")
    what, grade, text = last(found)
    assert (what, grade, server.heard) == ("TLS (bulk)", "ill", [])
    return text


async def test_a_certificate_of_another_host(trusted: Authority) -> None:
    """By address, and by name."""
    assert "for another host than 127.0.0.1" in await refused(trusted.context("other.example"))
    by_name = await refused(trusted.context("other.example"), "localhost")
    assert "for another host than localhost" in by_name


async def test_an_expired_certificate(trusted: Authority) -> None:
    """The clock is named too: it may be that."""
    context = trusted.context("127.0.0.1", begins=-30 * DAY, ends=-DAY)
    assert "has expired, if this machine's clock is right" in await refused(context)


async def test_a_certificate_of_the_future(trusted: Authority) -> None:
    """This machine's clock is likely to be behind."""
    context = trusted.context("127.0.0.1", begins=DAY, ends=30 * DAY)
    assert "not valid yet" in await refused(context)


async def test_an_authority_that_nobody_trusts(authority: Authority) -> None:
    """The system's certificates, or a proxy that breaks TLS open."""
    assert "nobody known vouches" in await refused(authority.context("127.0.0.1"))


async def test_a_certificate_that_ends_soon(trusted: Authority) -> None:
    """It is accepted, and somebody should know."""
    async with serving(answer(), trusted.context("127.0.0.1", ends=10 * DAY)) as server:
        found = await seen(f"https://127.0.0.1:{server.port}/")
    assert (found["certificate"].grade, "in 9 days" in found["certificate"].found) == (
        "mind",
        True,
    )
    assert found["answer"].grade == "well"


async def test_no_tls_where_tls_is_wanted() -> None:
    """A port for something else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with serving(serve) as server:
        what, grade, text = last(await seen(f"https://127.0.0.1:{server.port}/"))
    assert (what, grade, "is it a port for https" in text) == ("TLS (bulk)", "ill", True), text


# ---- no connection, no answer


async def test_a_dead_port() -> None:
    """Nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        what, grade, text = last(await seen(f"http://127.0.0.1:{free.getsockname()[1]}/"))
    assert (what, grade) == ("connection (bulk)", "ill")
    assert "connection refused" in text


async def test_a_name_that_does_not_resolve() -> None:
    """No such host."""
    what, grade, text = last(await seen("https://no-such-host.invalid/"))
    assert (what, grade, "no-such-host.invalid can't be resolved" in text) == (
        *("DNS (bulk)", "ill"),
        True,
    )


async def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for, now or at the end."""
    hung = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = socket.getaddrinfo

    def hang(*arguments: object, **more: object) -> object:
        del more
        asyncio.run_coroutine_threadsafe(hung.wait(), loop).result(PATIENCE)
        return real("127.0.0.1", 1) if arguments else []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    what, grade, text = last(await seen("https://api.example/", 0.2))
    hung.set()
    assert (what, grade, "nothing came back in time" in text) == ("DNS (bulk)", "ill", True)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_silence(scheme: str) -> None:
    """A server that accepts and says nothing costs no more than the time there is."""

    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    began = time.monotonic()
    async with serving(serve) as server:
        what, grade, text = last(await seen(f"{scheme}://127.0.0.1:{server.port}/", 0.3))
    assert time.monotonic() - began < PATIENCE / 2
    stage = "answer (bulk)" if scheme == "http" else "TLS (bulk)"
    assert (what, grade, "nothing came back in time" in text) == (stage, "ill", True), text


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9\r\n\r\n", b"HTTP/1.1 20 x\r\n\r\n", b""])
async def test_what_is_no_http(said: bytes) -> None:
    """Something else listens there, or it closes at once."""
    async with serving(said) as server:
        what, grade, text = last(await seen(f"http://127.0.0.1:{server.port}/"))
    assert (what, grade) == ("answer (bulk)", "ill")
    assert ("no HTTP" if said else "connection was closed") in text


async def test_an_endless_answer() -> None:
    """Only the beginning is read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 100_000)
            await writer.drain()

    async with serving(serve) as server:
        sighting = await look(f"http://127.0.0.1:{server.port}/", PATIENCE)
    assert (sighting.stage, sighting.status) == (Stage.DONE, 200)
    assert len(sighting.body) < 1_000_000


# ---- clocks


@pytest.mark.parametrize(
    ("off", "grade", "says"),
    [
        (0, "well", "as 127.0.0.1 has it"),
        (30, "mind", "behind that of 127.0.0.1"),
        (-30, "mind", "ahead of that of 127.0.0.1"),
        (4000, "ill", "behind that of 127.0.0.1"),
    ],
)
async def test_a_server_with_another_clock(off: int, grade: str, says: str) -> None:
    """The one is compared with the other."""
    date = f"Date: {formatdate(time.time() + off, usegmt=True)}"
    async with serving(answer("405 No", date)) as server:
        check = (await seen(f"http://127.0.0.1:{server.port}/"))["clock"]
    assert (check.grade, says in check.found) == (grade, True), check


async def test_an_answer_that_a_cache_has_kept() -> None:
    """Its Date is as old as it says."""
    date = f"Date: {formatdate(time.time() - 500, usegmt=True)}"
    async with serving(answer("200 OK", date, "Age: 500")) as server:
        found = await seen(f"http://127.0.0.1:{server.port}/")
    assert found["clock"].grade == "well"


@pytest.mark.parametrize("date", ["Date: yesterday", "Date: ", "Date: 9999999"])
async def test_a_date_that_is_none(date: str) -> None:
    """Nothing is known of the clock then."""
    async with serving(answer("405 No", date)) as server:
        found = await seen(f"http://127.0.0.1:{server.port}/")
    assert "does not say what time it is" in found["clock"].found


# ---- proxies


def proxy(to: int, heard: list[bytes], says: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> Serve:
    """Return a proxy that lets through to a port, whatever host is asked for."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(says)
        await writer.drain()
        if b" 200 " not in says:
            return
        theirs, there = await asyncio.open_connection("127.0.0.1", to)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(10_000):
                target.write(data)
                await target.drain()

        try:
            there_and_back = [pump(reader, there), pump(theirs, writer)]
            tasks = [asyncio.create_task(each) for each in there_and_back]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            there.close()

    return serve


@pytest.mark.parametrize("tls", [False, True])
async def test_through_a_proxy(
    trusted: Authority, monkeypatch: pytest.MonkeyPatch, *, tls: bool
) -> None:
    """It resolves the name; its login is sent to it and shown to nobody."""
    heard: list[bytes] = []
    context = trusted.context("localhost") if tls else None
    async with (
        serving(answer(), trusted.context("api.example")) as server,
        serving(proxy(server.port, heard), context) as between,
    ):
        scheme = "https" if tls else "http"
        where = f"{scheme}://me:p%40ss@localhost:{between.port}"
        monkeypatch.setenv("HTTPS_PROXY", where)
        found = await seen("https://api.example/create")
    assert {check.grade for check in found.values()} == {"well"}, found
    assert list(found) == [
        *("proxy", "DNS", "seen as", "TLS", "certificate", "answer", "clock"),
    ]
    assert f"localhost:{between.port}" in found["proxy"].found
    assert "proxy's public address" in found["seen as"].found
    lines = heard[0].decode().split("\r\n")
    assert lines[0] == "CONNECT api.example:443 HTTP/1.1"
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:p@ss').decode()}" in lines
    assert "p%40ss" not in str(found)
    assert "p@ss" not in str(found)
    assert len(server.heard) == 1


async def test_a_proxy_that_asks_for_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is named."""
    says = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    async with serving(proxy(1, [], says)) as between:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{between.port}")
        what, grade, text = last(await seen("https://api.example/create"))
    assert (what, grade, "it answers HTTP 407" in text) == ("proxy (bulk)", "ill", True), text


async def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is named, not the host behind it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        what, grade, text = last(await seen("https://api.example/create"))
    assert (what, grade) == ("connection (bulk)", "ill")
    assert f"none to the proxy 127.0.0.1:{port}: connection refused" in text


@pytest.mark.parametrize(
    "named", ["socks5://me:secret@127.0.0.1:1080", "http://me:secret@127.0.0.1:x"]
)
async def test_a_proxy_that_can_not_be_used(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another kind, or no address: nothing is tried."""
    monkeypatch.setenv("HTTPS_PROXY", named)
    found = await seen("https://api.example/create")
    what, grade, text = last(found)
    assert (what, grade, "can't be used" in text) == ("proxy (bulk)", "ill", True), text
    assert "secret" not in str(found)


async def test_a_host_that_is_excepted(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY holds, and this machine is never asked for by way of a proxy."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with serving(answer(), trusted.context("127.0.0.1")) as server:
        found = await seen(f"https://127.0.0.1:{server.port}/")
    assert found["answer"].grade == "well"
    monkeypatch.setenv("NO_PROXY", "no-such-host.invalid")
    assert list(await seen("https://no-such-host.invalid/")) == ["DNS"]
