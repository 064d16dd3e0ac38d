"""The spans of requests."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from phonon_bulk import __version__
from phonon_bulk.batch import State
from phonon_bulk.dispatch import Posted
from phonon_bulk.errors import SettingsError
from phonon_bulk.observe import traces
from phonon_bulk.observe.traces import Traces, traces_from
from phonon_bulk.response import Verdict

POSTED = Posted(
    run=7,
    batch=42,
    account="default",
    endpoint="bulk",
    calls=500,
    sent_at=1_795_400_000.25,
    seconds=0.125,
    verdict=Verdict.PARTIAL,
    state=State.ACCEPTED,
    accepted=498,
    replay=False,
    http_status=200,
    request_id="req-1",
)
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture(autouse=True)
def _their_log() -> Iterator[None]:
    """Leave the log of OpenTelemetry as it was."""
    theirs = logging.getLogger("opentelemetry")
    before = theirs.handlers, theirs.propagate
    yield
    theirs.handlers, theirs.propagate = before


def test_a_span_of_each_request() -> None:
    """A span says when a request began and ended, and what came of it."""
    exporter = InMemorySpanExporter()
    made = Traces(SimpleSpanProcessor(exporter))
    made.posted(POSTED)
    made.close()
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("POST", SpanKind.CLIENT)
    # A float has no more than a quarter of a microsecond so long after the epoch.
    assert span.start_time == pytest.approx(1_795_400_000_250_000_000, abs=1000)
    assert span.end_time == pytest.approx(1_795_400_000_375_000_000, abs=1000)
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "phonon_bulk.run": 7,
        "phonon_bulk.batch": 42,
        "phonon_bulk.account": "default",
        "phonon_bulk.endpoint": "bulk",
        "phonon_bulk.calls": 500,
        "phonon_bulk.accepted": 498,
        "phonon_bulk.verdict": "partial",
        "phonon_bulk.state": "accepted",
        "phonon_bulk.replay": False,
        "phonon_bulk.request_id": "req-1",
    }
    assert span.resource.attributes["service.name"] == "phonon-bulk"
    assert span.resource.attributes["service.version"] == __version__


def test_a_request_without_an_answer() -> None:
    """What went wrong is an error, and what is not known is left out."""
    exporter = InMemorySpanExporter()
    Traces(SimpleSpanProcessor(exporter)).posted(
        replace(POSTED, verdict=Verdict.LOST, http_status=None, request_id=None)
    )
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert "http.response.status_code" not in (span.attributes or {})
    assert "phonon_bulk.request_id" not in (span.attributes or {})


def test_the_name_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenTelemetry's variables say of the service goes over ours."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "night-calls")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    exporter = InMemorySpanExporter()
    Traces(SimpleSpanProcessor(exporter)).posted(POSTED)
    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == "night-calls"
    assert span.resource.attributes["deployment.environment"] == "test"


def test_nothing_is_set_for_others() -> None:
    """The process' own tracer provider is left alone."""
    before = trace.get_tracer_provider()
    Traces(SimpleSpanProcessor(InMemorySpanExporter())).close()
    assert trace.get_tracer_provider() is before


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", **ENDPOINT},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_off(environ: dict[str, str]) -> None:
    """Unless it is asked for nothing is traced."""
    assert traces_from(environ) is None


@pytest.mark.parametrize(
    "environ",
    [
        ENDPOINT,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **ENDPOINT},
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            **ENDPOINT,
        },
    ],
)
def test_on(environ: dict[str, str]) -> None:
    """It is asked for by OpenTelemetry's own variables."""
    made = traces_from(environ)
    assert made is not None
    made.close()


async def test_beside_another_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever observed before is told as before, with spans or without, and they are closed."""
    exporter, seen = InMemorySpanExporter(), list[Posted]()
    made = Traces(SimpleSpanProcessor(exporter))
    for answer in (made, None):
        monkeypatch.setattr(traces, "traces_from", lambda _environ, of=answer: of)
        async with traces.traced(seen.append) as posted:
            posted(POSTED)
    assert seen == [POSTED, POSTED]
    assert len(exporter.get_finished_spans()) == 1
    made.posted(POSTED)
    assert len(exporter.get_finished_spans()) == 1  # it is closed


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: expected otlp or none"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **ENDPOINT},
            "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf",
        ),
    ],
)
def test_what_can_not_be_done(environ: dict[str, str], words: str) -> None:
    """Another exporter or protocol is refused by the variable's name."""
    with pytest.raises(SettingsError, match=words):
        traces_from(environ)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for traces without the extra is told what to install."""
    monkeypatch.setattr(traces, "_is_installed", lambda: False)
    assert traces_from({}) is None
    with pytest.raises(SettingsError) as raised:
        traces_from(ENDPOINT)
    assert str(raised.value) == (
        "environment variable OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, which need an extra:"
        " pip install 'phonon-bulk[otel]', or set OTEL_TRACES_EXPORTER=none"
    )


def test_what_opentelemetry_says_is_an_event() -> None:
    """Its own log lines become events of ours, one line each and not too long."""
    made = traces_from(ENDPOINT)
    assert made is not None
    with structlog.testing.capture_logs() as logged:
        logging.getLogger("opentelemetry.sdk").error("it failed:\n%s", "x" * 1000)
        logging.getLogger("opentelemetry.exporter").info("all is well")
    made.close()
    assert logged == [{"event": "traces.failed", "log_level": "warning", "what": "it failed:"}]


class Stuck(SpanExporter):
    """Does not end before it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def export(self, spans: object) -> SpanExportResult:
        """Take all."""
        del spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Wait."""
        self.let_go.wait(10)


def test_the_end_does_not_wait_for_ever() -> None:
    """A collector that is away does not keep the process."""
    stuck = Stuck()
    made = Traces(SimpleSpanProcessor(stuck))
    with structlog.testing.capture_logs() as logged:
        made.close(seconds=0.01)
    stuck.let_go.set()
    assert [line["event"] for line in logged] == ["traces.failed"]
