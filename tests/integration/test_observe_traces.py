"""Spans on their way to a collector."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from phonon_bulk.batch import State
from phonon_bulk.dispatch import Posted
from phonon_bulk.observe.traces import traces_from
from phonon_bulk.response import Verdict


class Collector(HTTPServer):
    """A collector on this machine, that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Return a collector that listens."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def test_spans_arrive(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the variables say is done: all spans are there when the process ends."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    traces = traces_from(environ)
    assert traces is not None
    for number in range(30):
        traces.posted(
            Posted(
                run=1,
                batch=number,
                account="default",
                endpoint="bulk",
                calls=500,
                sent_at=1_795_400_000.0 + number,
                seconds=0.1,
                verdict=Verdict.ACCEPTED,
                state=State.ACCEPTED,
                accepted=500,
                replay=False,
                http_status=200,
                request_id=None,
            )
        )
    traces.close()
    assert {path for path, _ in collector.heard} == {"/v1/traces"}
    spans = [
        span
        for _, body in collector.heard
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == 30
    assert len({span.trace_id for span in spans}) == 30
