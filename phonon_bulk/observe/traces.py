"""A span for each request to the provider, by OpenTelemetry; off unless it is asked for.

It is turned on by the variables that every program with OpenTelemetry knows, and needs the extra
`otel`. A span is made when its request is over, from `Posted`, so nothing is in the way of sending;
the spans are sent by a thread of OpenTelemetry's own. They hold no contact data, as `Posted` does.
"""

import asyncio
import contextlib
import importlib.util
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from phonon_bulk import __version__
from phonon_bulk.dispatch import Posted
from phonon_bulk.errors import SettingsError
from phonon_bulk.response import Verdict

if TYPE_CHECKING:  # the extra need not be there
    from opentelemetry.sdk.trace import SpanProcessor

log = structlog.get_logger("phonon_bulk.traces")

EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
CLOSING = 5.0
"""Seconds for which the end of the process waits for spans that are still to be sent."""
_LONGEST = 300
"""Characters of a message of OpenTelemetry that are logged."""
_WELL = frozenset({Verdict.ACCEPTED, Verdict.PARTIAL, Verdict.REPEATED, Verdict.HELD_BACK})


class Traces:
    """Makes spans of requests. Used on one thread."""

    def __init__(self, processor: "SpanProcessor") -> None:
        """Hand finished spans to `processor`; OpenTelemetry's own variables say which of them."""
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider

        named = Resource.create({"service.name": "phonon-bulk", "service.version": __version__})
        # A provider of its own: nothing of the process is set for others.
        self._provider = TracerProvider(
            resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("phonon_bulk", __version__)

    def posted(self, posted: Posted) -> None:
        """Make the span of a request that is over."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        span = self._tracer.start_span(
            "POST",
            kind=SpanKind.CLIENT,
            start_time=_nanoseconds(posted.sent_at),
            attributes=_attributes(posted),
        )
        if posted.verdict not in _WELL:
            span.set_status(Status(StatusCode.ERROR, posted.verdict.value))
        span.end(_nanoseconds(posted.sent_at + posted.seconds))

    def close(self, seconds: float = CLOSING) -> None:
        """Send what is still to be sent, for so long at most. It blocks: not for the event loop."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(seconds)
        if closing.is_alive():
            log.warning("traces.failed", what=f"some were not sent within {seconds:g} s")


def traces_from(environ: Mapping[str, str] = os.environ) -> Traces | None:
    """Return what makes spans, if the environment asks for it; None if not.

    They are asked for by an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`, or that of traces alone), or
    by `OTEL_TRACES_EXPORTER=otlp`, which sends them to this machine; `none` and `OTEL_SDK_DISABLED`
    go over both. The rest (headers, certificates, sampling, …) OpenTelemetry reads itself.

    Raises SettingsError if they can't be made: another exporter, another protocol, no extra.
    """
    asked_by = _asked_by(environ)
    if asked_by is None:
        return None
    _check_protocol(environ)
    if not _is_installed():
        text = (
            f"environment variable {asked_by} asks for traces, which need an extra:"
            f" pip install 'phonon-bulk[otel]', or set {EXPORTER}=none"
        )
        raise SettingsError([text])
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _log_what_fails()
    return Traces(BatchSpanProcessor(OTLPSpanExporter()))


@contextlib.asynccontextmanager
async def traced(
    observe: Callable[[Posted], None], environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Callable[[Posted], None]]:
    """Yield what tells `observe` of a request, and makes a span of it where that is asked for.

    Raises SettingsError as `traces_from` does.
    """
    traces = traces_from(environ)
    if traces is None:
        yield observe
        return

    def both(posted: Posted) -> None:
        observe(posted)
        traces.posted(posted)

    try:
        yield both
    finally:
        await asyncio.to_thread(traces.close)


def _asked_by(environ: Mapping[str, str]) -> str | None:
    """Return the variable that asks for traces; raises SettingsError for an unknown exporter."""
    exporter = environ.get(EXPORTER, "").strip().lower()
    if exporter not in {"", "none", "otlp"}:
        raise SettingsError([f"environment variable {EXPORTER}: expected otlp or none"])
    if exporter == "none" or environ.get(DISABLED, "").strip().lower() == "true":
        return None
    given = [name for name in ENDPOINTS if environ.get(name, "").strip()]
    return given[0] if given else EXPORTER if exporter else None


def _check_protocol(environ: Mapping[str, str]) -> None:
    name = next((name for name in PROTOCOLS if environ.get(name, "").strip()), None)
    if name is not None and environ[name].strip() != _PROTOCOL:
        text = (
            f"environment variable {name}: expected {_PROTOCOL}, the only one that is spoken here;"
            f" {PROTOCOLS[0]}={_PROTOCOL} sets it for traces alone"
        )
        raise SettingsError([text])


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


def _attributes(posted: Posted) -> dict[str, str | int | bool]:
    """Return what a span says; names that begin with http are those of OpenTelemetry."""
    attributes: dict[str, str | int | bool] = {
        "http.request.method": "POST",
        "phonon_bulk.run": posted.run,
        "phonon_bulk.batch": posted.batch,
        "phonon_bulk.account": posted.account,
        "phonon_bulk.endpoint": posted.endpoint,
        "phonon_bulk.calls": posted.calls,
        "phonon_bulk.accepted": posted.accepted,
        "phonon_bulk.verdict": posted.verdict.value,
        "phonon_bulk.state": posted.state.value,
        "phonon_bulk.replay": posted.replay,
    }
    if posted.http_status is not None:
        attributes["http.response.status_code"] = posted.http_status
    if posted.request_id is not None:
        attributes["phonon_bulk.request_id"] = posted.request_id
    return attributes


class _IntoOurLog(logging.Handler):
    """Makes an event of what OpenTelemetry has to say, instead of a line of another form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message's first line, without a traceback."""
        text = record.getMessage().partition("\n")[0]
        log.warning("traces.failed", what=text[:_LONGEST])


def _log_what_fails() -> None:
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    theirs.handlers = [_IntoOurLog(logging.WARNING)]
