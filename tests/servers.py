"""Starts the servers that tests of lists ask, which listen on this machine only, at a free port.

PostgreSQL and MariaDB are made in a folder of their own and end with the session; `timeout` ends
them if the session can't. Where one is not installed, the tests that need it are skipped. What
speaks HTTP or SFTP is a thread of the test's.
"""

import glob
import os
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import paramiko
import psycopg
import pymysql
import pytest

USER, PASSWORD = "boss", "p@ss:word/1"
LONGEST = 300
"""Seconds after which a server is ended, whatever goes on."""
READY_WITHIN = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    host: str
    folder: Path
    """With its socket in it."""
    connect: Callable[[], Any]
    """Opens a connection that may do everything, and commits each statement."""

    def run(self, *statements: str) -> None:
        """Run statements."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Run a PostgreSQL server with the database `crm`, where everyone needs a password."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin/")) or [""]  # noqa: PTH207 - of texts
    initdb, postgres = (shutil.which(f"{programs[-1]}{name}") for name in ("initdb", "postgres"))
    if initdb is None or postgres is None:
        pytest.skip("there is no PostgreSQL server here")
    port = _free_port()
    with _folder("postgres") as folder:
        (folder / "password").write_text(PASSWORD)
        make = [initdb, "-D", str(folder / "data"), "-U", USER, "-N", "-E", "UTF8"]
        _run(
            "postgres", [*make, "--locale=C", "-A", "scram-sha-256", f"--pwfile={folder}/password"]
        )
        serve = [postgres, "-D", str(folder / "data"), "-p", str(port), "-k", str(folder), "-F"]

        def connect(database: str = "crm") -> Any:
            login = f"host=127.0.0.1 port={port} user={USER} dbname={database}"
            return psycopg.connect(login, password=PASSWORD, autocommit=True)

        with _served("postgres", [*serve, "-c", "listen_addresses=127.0.0.1"]):
            with closing(_ready(lambda: connect("postgres"), psycopg.Error)) as connection:
                connection.execute("CREATE DATABASE crm")
            yield Server(f"127.0.0.1:{port}", folder, connect)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """Run a MariaDB server with the database `crm`."""
    install, serve = shutil.which("mariadb-install-db"), shutil.which("mariadbd", path=_ALL)
    if install is None or serve is None:
        pytest.skip("there is no MariaDB server here")
    port = _free_port()
    with _folder("mysql") as folder:
        common = ["--no-defaults", f"--datadir={folder}/data"]
        _run(
            "mysql",
            [install, *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        )
        options = [f"--socket={folder}/socket", f"--port={port}", "--bind-address=127.0.0.1"]
        options += [f"--pid-file={folder}/pid", "--skip-log-bin", "--innodb-flush-method=nosync"]

        def connect(user: str = USER, password: str = PASSWORD) -> Any:
            login = {"user": user, "password": password, "port": port}
            return pymysql.connect(host="127.0.0.1", charset="utf8mb4", autocommit=True, **login)

        with _served("mysql", [serve, *common, *options]):
            _ready(lambda: connect("root", ""), pymysql.Error).close()
            Server("", folder, lambda: connect("root", "")).run(
                "CREATE DATABASE crm CHARACTER SET utf8mb4",
                f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'",
                f"GRANT ALL ON *.* TO {USER}",
            )
            yield Server(f"127.0.0.1:{port}", folder, connect)


_ALL = f"{os.environ.get('PATH', '')}:/usr/sbin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _folder(user: str) -> Iterator[Path]:
    """Make a folder of the user's, near the root: the name of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="pb-", ignore_cleanup_errors=True) as name:
        if os.geteuid() == 0:
            shutil.chown(name, user)
        yield Path(name)


def _as(user: str) -> dict[str, Any]:
    """Return how to start something as a user: the servers refuse to run as root."""
    return {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}


def _run(user: str, command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=60, **_as(user))


@contextmanager
def _served(user: str, command: Sequence[str]) -> Iterator[None]:
    process = subprocess.Popen(
        ["timeout", "--kill-after=5", str(LONGEST), *command],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
        **_as(user),
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT if "postgres" in command[0] else signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ready(connect: Callable[[], Any], error: type[Exception]) -> Any:
    """Return a connection as soon as there is one."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            return connect()
        except error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # what is waited for is another process


@dataclass(frozen=True, slots=True)
class Answer:
    """What a `Web` says; without headers, how long the body is."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] | None = None


@dataclass(slots=True)
class Web:
    """An HTTP server that answers by path, and with 404 to the others."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)


@contextmanager
def web(certificate: Path | None = None) -> Iterator[Web]:
    """Serve HTTP, or HTTPS with a certificate that is in a file with its key."""
    site = Web("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = site.answers.get(self.path.partition("?")[0], Answer(b"<Error/>", 404))
            headers = {"Content-Length": str(len(answer.body))}
            self.send_response(answer.status)
            for name, value in (headers if answer.headers is None else answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _Quiet(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        site.url = f"{scheme}://127.0.0.1:{server.server_port}"
        with _in_thread(server):
            yield site


class _Quiet(ThreadingHTTPServer):
    block_on_close = True
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that hangs up."""


@contextmanager
def _in_thread(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@dataclass(slots=True)
class Ssh:
    """An SFTP server with files by path; `sizes` are what it says of them if that is not true."""

    host_key: paramiko.PKey
    user_key: paramiko.PKey
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


@contextmanager
def ssh() -> Iterator[Ssh]:
    """Serve SFTP to who has the user's key."""
    site = Ssh(paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate())

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with closing(paramiko.Transport(self.request)) as transport:
                transport.add_server_key(site.host_key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files, site)
                try:
                    transport.start_server(server=_Door(site))
                except (paramiko.SSHException, EOFError):
                    return  # the client does not like the key
                transport.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        site.port = server.server_address[1]
        with _in_thread(server):
            yield site


class _Door(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko has no types
    def __init__(self, site: Ssh) -> None:
        self.site = site

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> Any:
        known = username == USER and key == self.site.user_key
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, *_: object) -> Any:
        return paramiko.OPEN_SUCCEEDED


class _Files(paramiko.SFTPServerInterface):  # type: ignore[misc]  # paramiko has no types
    def __init__(self, _: object, site: Ssh) -> None:
        self.site = site

    def open(self, path: str, *_: object) -> Any:
        return _File(self.site, path) if path in self.site.files else paramiko.SFTP_NO_SUCH_FILE


class _File(paramiko.SFTPHandle):  # type: ignore[misc]  # paramiko has no types
    def __init__(self, site: Ssh, path: str) -> None:
        super().__init__()
        self.data = site.files[path]
        self.size = site.sizes.get(path, len(self.data))

    def read(self, offset: int, length: int) -> Any:
        return self.data[offset : offset + length] or paramiko.SFTP_EOF

    def stat(self) -> paramiko.SFTPAttributes:
        attributes = paramiko.SFTPAttributes()
        attributes.st_size, attributes.st_mtime = self.size, 0
        return attributes
