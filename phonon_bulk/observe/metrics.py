"""The metrics of a long-lived process, in Prometheus' text format.

What happens is counted as it happens (`posted`, `committed`, `answered`); how things stand is asked
at each scrape. The journal is read for it in a thread of its own, once in two seconds at most and
for a twentieth of the time; if it can't be read, all other metrics are there all the same.

Labels are accounts, endpoints, routes, and words of a few: no runs and no batches, of which there
is no end. Every name stands in docs/monitoring.md.
"""

import asyncio
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from phonon_bulk import __version__
from phonon_bulk.batch import State
from phonon_bulk.dispatch import Posted
from phonon_bulk.errors import PhononBulkError
from phonon_bulk.observe.look import Look
from phonon_bulk.observe.standing import Standing

log = structlog.get_logger("phonon_bulk.metrics")

PREFIX = "phonon_bulk_"
KEPT = 2.0
"""Seconds for which what was read in the journal is shown again, at least."""
SPARED = 20.0
"""So many times as long as it took to read: with 100,000 batches that wait it is half a second."""
_PATIENCE = 5.0
"""Seconds for which a scrape waits for the journal; Prometheus gives it ten by default."""
_WHOSE = ("account", "endpoint")
_WAITING = (State.READY, State.CLAIMED, State.SENDING)

_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_COMMIT_CHANGES = (1, 2, 5, 10, 25, 50, 100, 256)
_ANSWER_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60)


class Metrics:
    """All metrics of this process, in a registry of its own. `committed` may be called anywhere."""

    def __init__(
        self,
        standing: Callable[[], Standing],
        look: Callable[[], Look],
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `standing` at each scrape, and `look` in a thread, more seldom (`KEPT`, `SPARED`).

        `wall` is the time in seconds since the epoch, `steady` one that is never set.
        """
        # Since when each counter counts is a series more for each, and the start of the process.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._looks = _Looks(look, steady)
        self._pulled = _Pulled(standing, wall)
        self._registry.register(self._pulled)
        ProcessCollector(namespace=PREFIX.rstrip("_"), registry=self._registry)
        self._requests = self._counter("requests", "Requests to the provider.", *_WHOSE, "verdict")
        self._calls = self._counter("calls", "Calls of those requests.", *_WHOSE, "state")
        self._request_seconds = self._histogram(
            "request_duration_seconds",
            "From a request's first byte to the end of its answer.",
            _REQUEST_SECONDS,
            *_WHOSE,
        )
        self._commit_seconds = self._histogram(
            "journal_commit_duration_seconds", "For one commit of the journal.", _COMMIT_SECONDS
        )
        self._commit_changes = self._histogram(
            "journal_commit_changes", "Changes in one commit.", _COMMIT_CHANGES
        )
        self._answers = self._counter(
            "http_requests", "Requests to this process.", "route", "status"
        )
        self._answer_seconds = self._histogram(
            "http_request_duration_seconds", "For one of them.", _ANSWER_SECONDS, "route"
        )
        build = Gauge(
            f"{PREFIX}build_info",
            "1; the labels say what runs.",
            ["version", "python"],
            registry=self._registry,
        )
        build.labels(__version__, platform.python_version()).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(PREFIX + name, text, labels, registry=self._registry, buckets=buckets)

    def posted(self, posted: Posted) -> None:
        """Count a request to the provider, and what its calls became of it."""
        whose = (posted.account, posted.endpoint)
        self._requests.labels(*whose, posted.verdict.value).inc()
        self._request_seconds.labels(*whose).observe(posted.seconds)
        accepted = posted.accepted
        # Of a partial success the calls that are not listed were refused.
        rest = State.REFUSED if posted.state is State.ACCEPTED else posted.state
        for state, calls in ((State.ACCEPTED, accepted), (rest, posted.calls - accepted)):
            if calls:
                self._calls.labels(*whose, state.value).inc(calls)

    def committed(self, seconds: float, changes: int) -> None:
        """Count a commit of the journal; from any thread."""
        self._commit_seconds.observe(seconds)
        self._commit_changes.observe(changes)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer of this process.

        `route` is the pattern that matched (`/v1/calls/{id}`), and one word for all that matched
        none: each value is a time series for good.
        """
        self._answers.labels(route, str(status)).inc()
        self._answer_seconds.labels(route).observe(seconds)

    async def text(self) -> bytes:
        """Return all metrics as they are now, in text format 0.0.4. Raises nothing."""
        self._pulled.look = await self._looks.newest()
        return generate_latest(self._registry)


class _Looks:
    """Reads the journal in a thread, never twice at once, and keeps what it read for a while."""

    def __init__(self, look: Callable[[], Look], steady: Callable[[], float]) -> None:
        self._look = look
        self._steady = steady
        self._reading: asyncio.Task[Look | None] | None = None
        self._began = self._took = 0.0
        self._failing = False

    async def newest(self) -> Look | None:
        """Return what the journal says; None if it can't be read, or takes too long."""
        reading, now = self._reading, self._steady()
        kept = max(KEPT, SPARED * self._took)
        if reading is None or (reading.done() and now - self._began >= kept):
            self._began = now
            reading = asyncio.create_task(asyncio.to_thread(self._try), name="metrics")
            self._reading = reading
        done, _ = await asyncio.wait([reading], timeout=_PATIENCE)
        return reading.result() if done else None

    def _try(self) -> Look | None:
        try:
            look = self._look()
        except (PhononBulkError, sqlite3.Error, OSError) as error:
            if not self._failing:
                what = str(error) if isinstance(error, PhononBulkError) else type(error).__name__
                log.warning("metrics.journal_unreadable", what=what)
            self._failing = True
            return None
        self._failing, self._took = False, self._steady() - self._began
        return look


class _Pulled(Collector):
    """How things stand, made into metrics when they are asked for."""

    def __init__(self, standing: Callable[[], Standing], wall: Callable[[], float]) -> None:
        self.look: Look | None = None
        self._standing = standing
        self._wall = wall

    def collect(self) -> Iterator[Metric]:
        yield from self._of_process(self._standing())
        readable = self.look is not None
        yield _gauge("journal_readable", "1 if what waits could be read.", readable)
        if self.look is not None:
            yield from self._of_queue(self.look)
            yield from _of_limits(self.look)

    def _of_process(self, now: Standing) -> Iterator[Metric]:
        yield _gauge("start_time_seconds", "When the process began, since the epoch.", now.since)
        yield _gauge("journal_writable", "1 if it can be written.", now.journal_problem is None)
        yield _gauge("draining", "1 once it was told to stop.", now.draining)
        yield _gauge("runs_sending", "Runs that are being sent.", len(now.sending))
        yield _gauge("runs_blocked", "Runs that can't be sent.", len(now.blocked))
        yield _gauge(
            "runs_resting", "Runs that wait for an endpoint that failed.", len(now.resting)
        )
        expired = CounterMetricFamily(
            f"{PREFIX}calls_expired", "Calls that were too late to be sent."
        )
        expired.add_metric((), now.expired)
        yield expired

    def _of_queue(self, look: Look) -> Iterator[Metric]:
        calls = _family("queue_calls", "Calls that are not settled yet.", "state")
        batches = _family("queue_batches", "Batches that are not settled yet.", "state")
        doubts = _family("in_doubt_calls", "Calls that may have been placed.")
        doubtful = _family("in_doubt_batches", "Batches that may have been taken.")
        age = _family("oldest_call_age_seconds", "Of the oldest call that waits; 0 if none does.")
        for one in look.backlogs:
            whose = (one.account, one.endpoint)
            for state in _WAITING:
                calls.add_metric((*whose, state.value), one.calls.get(state, 0))
                batches.add_metric((*whose, state.value), one.batches.get(state, 0))
            doubts.add_metric(whose, one.calls.get(State.IN_DOUBT, 0))
            doubtful.add_metric(whose, one.batches.get(State.IN_DOUBT, 0))
            oldest = one.oldest_at
            age.add_metric(whose, 0.0 if oldest is None else max(0.0, self._wall() - oldest))
        yield from (calls, batches, doubts, doubtful, age)


def _of_limits(look: Look) -> Iterator[Metric]:
    limit = _family("limit_per_minute", "The limit in force.", "of")
    rate = _family("rate_per_minute", "What may be sent at present, of that limit.", "of")
    rests = _family("rest_seconds", "For which an endpoint is still left alone.")
    tokens = _family("tokens_available", "Requests that could leave without waiting.")
    for whose, one in look.rates.items():
        for family, limits in ((limit, one.limits), (rate, one.present)):
            for of, value in (("requests", limits.requests), ("calls", limits.calls)):
                if value is not None:
                    family.add_metric((*whose, of), value)
        rests.add_metric(whose, one.rests)
    for whose, number in look.tokens.items():
        tokens.add_metric(whose, number)
    yield from (limit, rate, rests, tokens)


def _family(name: str, text: str, *more_labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=[*_WHOSE, *more_labels])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))
