"""A service that is pinged, on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SECRET = "5e5b1c0e-aa11"
"""Stands in its URL, and must stand in no message."""


@dataclass
class Service:
    """Whoever is pinged; it answers with `statuses`, one after the other, then with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path and body."""
    slow: threading.Event | None = None
    """What it waits for before it answers."""

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for _, path, _ in self.heard]


@contextmanager
def pinged() -> Iterator[Service]:
    """Serve while it is open."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if service.slow is not None:
                service.slow.wait(10)
            service.heard.append((self.command, self.path, body))
            self.send_response(service.statuses.pop(0) if service.statuses else 200)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}/{SECRET}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a service that is pinged."""
    with pinged() as served:
        yield served
