"""What is counted, and what is asked when it is scraped."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import structlog
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from phonon_bulk.batch import State
from phonon_bulk.dispatch import Posted
from phonon_bulk.errors import JournalError
from phonon_bulk.journal import Backlog
from phonon_bulk.observe.look import Look
from phonon_bulk.observe.metrics import KEPT, Metrics
from phonon_bulk.observe.standing import Standing
from phonon_bulk.response import Verdict
from phonon_bulk.schedule import Limits, Rate

NOW = 1_795_400_000.0
WHOSE = {"account": "default", "endpoint": "bulk"}
POSTED = Posted(
    run=1,
    batch=2,
    account="default",
    endpoint="bulk",
    calls=500,
    sent_at=NOW,
    seconds=0.2,
    verdict=Verdict.ACCEPTED,
    state=State.ACCEPTED,
    accepted=500,
    replay=False,
    http_status=200,
    request_id="r",
)
BACKLOG = Backlog(
    "default",
    "bulk",
    {State.READY: 900, State.CLAIMED: 500, State.IN_DOUBT: 7},
    {State.READY: 2, State.CLAIMED: 1, State.IN_DOUBT: 1},
    oldest_at=NOW - 90,
)
LOOK = Look(
    [BACKLOG],
    {("default", "bulk"): Rate(Limits(requests=30_000), factor=0.5, rests=3.0)},
    {("default", "bulk"): 12},
)


class Watched:
    """Metrics, and what they are made of, which a test may change."""

    def __init__(self) -> None:
        self.standing = Standing(since=NOW - 1000)
        self.look: Callable[[], Look] = lambda: LOOK
        self.looks = 0
        self.steady = 1000.0
        self.metrics = Metrics(
            lambda: self.standing, self._look, wall=lambda: NOW, steady=lambda: self.steady
        )

    def _look(self) -> Look:
        self.looks += 1
        return self.look()

    async def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return each sample, by its name and labels."""
        text = (await self.metrics.text()).decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float | None:
        """Return one sample, None if there is none."""
        return (await self.scrape()).get((f"phonon_bulk_{name}", frozenset(labels.items())))


@pytest.fixture
def watched() -> Watched:
    """Return metrics of a process that is well."""
    return Watched()


async def test_requests_and_calls(watched: Watched) -> None:
    """Each request counts by its verdict, its calls by what they became."""
    partial = replace(POSTED, verdict=Verdict.PARTIAL, accepted=498)
    lost = replace(POSTED, verdict=Verdict.LOST, state=State.IN_DOUBT, accepted=0, seconds=30.0)
    for posted in (POSTED, POSTED, partial, lost):
        watched.metrics.posted(posted)
    samples = await watched.scrape()

    def value(name: str, **labels: str) -> float:
        return samples[(f"phonon_bulk_{name}", frozenset({**WHOSE, **labels}.items()))]

    assert value("requests_total", verdict="accepted") == 2
    assert value("requests_total", verdict="partial") == 1
    assert value("requests_total", verdict="lost") == 1
    assert value("calls_total", state="accepted") == 1498
    assert value("calls_total", state="refused") == 2
    assert value("calls_total", state="in_doubt") == 500
    assert value("request_duration_seconds_count") == 4
    assert value("request_duration_seconds_bucket", le="0.25") == 3
    assert value("request_duration_seconds_sum") == pytest.approx(30.6)


@pytest.mark.parametrize("state", [State.REFUSED, State.SPLIT, State.READY])
async def test_calls_that_were_not_placed(watched: Watched, state: State) -> None:
    """The calls of a batch that was not taken count under what became of it."""
    watched.metrics.posted(replace(POSTED, verdict=Verdict.BAD_DATA, state=state, accepted=0))
    assert await watched.value("calls_total", **WHOSE, state=state.value) == 500
    assert await watched.value("calls_total", **WHOSE, state="accepted") is None


async def test_commits_from_another_thread(watched: Watched) -> None:
    """The journal's writer counts its commits on its own thread, and none is lost."""

    def commit() -> None:
        for _ in range(500):
            watched.metrics.committed(0.002, 3)

    threads = [threading.Thread(target=commit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert await watched.value("journal_commit_duration_seconds_count") == 2000
    assert await watched.value("journal_commit_changes_sum") == 6000


async def test_answers(watched: Watched) -> None:
    """Each answer of this process counts by its route and status."""
    for status in (202, 202, 429):
        watched.metrics.answered("/v1/calls", status, 0.003)
    assert await watched.value("http_requests_total", route="/v1/calls", status="202") == 2
    assert await watched.value("http_requests_total", route="/v1/calls", status="429") == 1
    assert await watched.value("http_request_duration_seconds_count", route="/v1/calls") == 3


async def test_what_waits(watched: Watched) -> None:
    """What waits is shown in each state, zeros too, and doubts by themselves."""
    assert await watched.value("queue_calls", **WHOSE, state="ready") == 900
    assert await watched.value("queue_batches", **WHOSE, state="claimed") == 1
    assert await watched.value("queue_calls", **WHOSE, state="sending") == 0
    assert await watched.value("queue_calls", **WHOSE, state="in_doubt") is None
    assert await watched.value("in_doubt_calls", **WHOSE) == 7
    assert await watched.value("in_doubt_batches", **WHOSE) == 1
    assert await watched.value("oldest_call_age_seconds", **WHOSE) == 90


async def test_nothing_waits(watched: Watched) -> None:
    """Where nothing waits the age is 0; nor is it less if the clock was set back."""
    for oldest_at in (None, NOW + 10):
        watched.look = lambda at=oldest_at: Look([replace(BACKLOG, oldest_at=at)])  # type: ignore[misc]
        watched.steady += KEPT
        assert await watched.value("oldest_call_age_seconds", **WHOSE) == 0


async def test_the_limit(watched: Watched) -> None:
    """The limit in force, what is used of it, the rest, and what could leave now."""
    assert await watched.value("limit_per_minute", **WHOSE, of="requests") == 30_000
    assert await watched.value("rate_per_minute", **WHOSE, of="requests") == 15_000
    assert await watched.value("limit_per_minute", **WHOSE, of="calls") is None
    assert await watched.value("rest_seconds", **WHOSE) == 3
    assert await watched.value("tokens_available", **WHOSE) == 12


async def test_the_standing(watched: Watched) -> None:
    """How the process stands is asked at each scrape."""
    assert await watched.value("journal_writable") == 1
    assert await watched.value("draining") == 0
    assert await watched.value("start_time_seconds") == NOW - 1000
    watched.standing = Standing(
        since=NOW,
        sending=(1, 2, 3),
        expired=4,
        journal_problem="the disk is full",
        blocked=("no",),
        resting=("run 2: HTTP 503", "run 3: HTTP 503"),
        draining=True,
    )
    assert await watched.value("journal_writable") == 0
    assert await watched.value("draining") == 1
    assert await watched.value("runs_sending") == 3
    assert await watched.value("runs_blocked") == 1
    assert await watched.value("runs_resting") == 2
    assert await watched.value("calls_expired_total") == 4


async def test_the_journal_is_not_hammered(watched: Watched) -> None:
    """However many scrape, the journal is read once in two seconds."""
    await asyncio.gather(*(watched.scrape() for _ in range(20)))
    watched.steady += KEPT * 0.9
    await watched.scrape()
    assert watched.looks == 1
    watched.steady += KEPT * 0.2
    await watched.scrape()
    assert watched.looks == 2


async def test_a_long_queue_is_read_less_often(watched: Watched) -> None:
    """Where reading takes long it is done for a twentieth of the time."""

    def slow() -> Look:
        watched.steady += 0.5
        return LOOK

    watched.look = slow
    await watched.scrape()
    watched.steady += 9.4
    await watched.scrape()
    assert watched.looks == 1
    watched.steady += 0.2
    await watched.scrape()
    assert watched.looks == 2


@pytest.mark.parametrize(
    "error",
    [
        JournalError("the journal /j can't be used: the disk is full"),
        sqlite3.OperationalError("disk I/O error"),
        FileNotFoundError(2, "gone"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_journal_that_cannot_be_read(watched: Watched, error: Exception) -> None:
    """What the journal says is left out, all else is there; it is logged once, not each time."""

    def fail() -> Look:
        raise error

    watched.look = fail
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            watched.steady += KEPT
            samples = await watched.scrape()
    assert samples[("phonon_bulk_journal_readable", frozenset())] == 0
    assert samples[("phonon_bulk_journal_writable", frozenset())] == 1
    assert not [name for name, _ in samples if name.startswith("phonon_bulk_queue")]
    assert [line["event"] for line in logged] == ["metrics.journal_unreadable"]
    watched.look = lambda: LOOK
    watched.steady += KEPT
    assert await watched.value("journal_readable") == 1


@contextmanager
def held() -> Iterator[Callable[[], Look]]:
    """Yield a look that does not come back before the end."""
    end = threading.Event()

    def look() -> Look:
        end.wait(10)
        return LOOK

    try:
        yield look
    finally:
        end.set()


async def test_a_journal_that_takes_too_long(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape does not wait for ever, and no second thread is sent after the first."""
    monkeypatch.setattr("phonon_bulk.observe.metrics._PATIENCE", 0.01)
    with held() as look:
        watched.look = look
        for _ in range(3):
            assert await watched.value("journal_readable") == 0
            watched.steady += KEPT
        assert watched.looks == 1


async def test_the_loop_is_free_meanwhile(watched: Watched) -> None:
    """While the journal is read, the event loop does other work."""
    with held() as look:
        watched.look = look
        scraping = asyncio.create_task(watched.metrics.text())
        while not watched.looks:  # noqa: ASYNC110 - it is set by a thread
            await asyncio.sleep(0)
        assert not scraping.done()
    await scraping


async def test_a_scrape_that_is_given_up(watched: Watched) -> None:
    """A client that hangs up takes nothing from the next one."""
    with held() as look:
        watched.look = look
        scraping = asyncio.create_task(watched.metrics.text())
        while not watched.looks:  # noqa: ASYNC110 - it is set by a thread
            await asyncio.sleep(0)
        scraping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scraping
    assert await watched.value("journal_readable") == 1
    assert watched.looks == 1


async def test_a_registry_of_its_own(watched: Watched) -> None:
    """Nothing is put into the registry that all libraries share, and two have nothing in common."""
    other = Watched()
    other.metrics.posted(POSTED)
    assert await watched.value("requests_total", **WHOSE, verdict="accepted") is None
    assert not [family for family in REGISTRY.collect() if family.name.startswith("phonon_bulk")]


async def test_labels_are_few(watched: Watched) -> None:
    """No label names a run, a batch or a request: there is no end of them."""
    for number in range(50):
        watched.metrics.posted(replace(POSTED, run=number, batch=number, request_id=str(number)))
    samples = await watched.scrape()
    labels = {label for _, pairs in samples for label, _ in pairs}
    assert labels == {
        "account",
        "endpoint",
        "verdict",
        "state",
        "of",
        "le",
        "version",
        "python",
    }
