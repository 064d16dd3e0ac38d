"""What `phonon-bulk worker` is made of: the worker, its door, its signals, and who watches it."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable

import structlog

from phonon_bulk.cli.init import NO_FLOW
from phonon_bulk.cli.session import STOPPING, listen_for
from phonon_bulk.config import Campaign, Settings
from phonon_bulk.errors import SettingsError
from phonon_bulk.intake.server import Page, serve
from phonon_bulk.intake.token import read_token, refuse_open_door, token_file_warning
from phonon_bulk.observe import pages
from phonon_bulk.observe.look import look_into
from phonon_bulk.observe.metrics import Metrics
from phonon_bulk.observe.notify import Notify
from phonon_bulk.observe.traces import traced
from phonon_bulk.worker.crew import Crew
from phonon_bulk.worker.drop import load_watched
from phonon_bulk.worker.process import Hooks, Worker

log = structlog.get_logger("phonon_bulk.worker")

_SAME_SIGNAL_SECONDS = 1.0
"""What comes within so long of the first is the same signal, delivered twice."""

_STATUS_EVERY = 5.0
"""Seconds between two lines for `systemctl status`."""

_SWITCH_SECONDS = 0.0005
"""For which one thread may keep the others from Python. The journal's thread asks for it after each
statement, and beside a bulk run the event loop would keep it waiting ten times as long by default:
the slowest of a hundred single calls leaves a quarter sooner so."""

_PATIENCE = 3600.0
"""Seconds; the worker itself sees to it that its tasks end in time."""


def watched(settings: Settings) -> list[Campaign]:
    """Return the campaigns whose folders are watched. Raises SettingsError if they can't be."""
    campaigns = load_watched(settings)
    problems = [
        f"campaign {campaign.name}: campaign.flow_id: {NO_FLOW} stands for the flow's id: put yours"
        " there, from the flow's edit page"
        for campaign in campaigns
        if campaign.flow_id == NO_FLOW
    ]
    if problems:
        raise SettingsError(problems)
    return campaigns


async def work(settings: Settings, read_settings: Callable[[], Settings]) -> bool:
    """Run a worker until it is told to stop; say whether it was told to end at once.

    Raises SettingsError if its door can't be opened so, JournalUnusable if the journal can't be.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    worker, notify, crew = Worker(settings, watched(settings)), Notify(), Crew()
    metrics = Metrics(worker.standing, lambda: look_into(settings.journal_path))
    async with traced(metrics.posted) as posted:
        worker.hooks = Hooks(posted, metrics.committed)
        # The door first: what is wrong with it is said before anything is sent.
        async with _door(worker, settings, metrics):
            _listen_to_signals(worker, read_settings, notify)
            crew.start("worker", _run(worker, crew), lasting=False)
            await _opened(worker, crew)
            if not crew.end.is_set():
                notify.ready(worker.standing().in_words())
                log.info("worker.ready", journal=str(settings.journal_path))
            crew.start("systemd", _tell(worker, notify, crew.end))
            await crew.watch(_PATIENCE)
    log.info("worker.stopped", **_figures(worker))
    return worker.aborted


async def _run(worker: Worker, crew: Crew) -> None:
    try:
        await worker.run()
    finally:
        crew.end.set()


async def _opened(worker: Worker, crew: Crew) -> None:
    """Return when the journal is open, or the worker has ended instead."""
    waits = [asyncio.create_task(worker.opened.wait()), asyncio.create_task(crew.end.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


@contextlib.asynccontextmanager
async def _door(worker: Worker, settings: Settings, metrics: Metrics) -> AsyncIterator[None]:
    """Listen where the settings say."""
    address = settings.worker.address
    if address is None:
        yield
        return
    file = settings.worker.token_file
    token = None if file is None else read_token(file)
    warning = None if file is None else token_file_warning(file)
    if warning is not None:
        log.warning("token.readable_by_others", what=warning)
    refuse_open_door(address, token)
    shown = [
        Page("/metrics", open=False, answer=lambda: pages.metrics(metrics)),
        Page("/healthz", open=True, answer=lambda: pages.healthz(worker.ended)),
        Page("/readyz", open=True, answer=lambda: pages.readyz(worker.standing())),
    ]
    door = worker.realtime if settings.intake.enabled else None
    async with serve(
        address,
        token,
        door,
        shown,
        flow_id=lambda: worker.settings.intake.flow_id,
        answered=metrics.answered,
    ) as server:
        log.info("worker.listens", address=str(server.address), intake=door is not None)
        yield


# ---- signals


def _listen_to_signals(
    worker: Worker, read_settings: Callable[[], Settings], notify: Notify
) -> None:
    loop = asyncio.get_running_loop()
    first: float | None = None

    def stop(name: str) -> None:
        nonlocal first
        if first is None:
            first = loop.time()
            seconds = worker.settings.sending.drain_timeout
            log.warning("stop.told", signal=name, posts_may_end_within_seconds=seconds)
            notify.stopping("stopping: what is under way is ended")
            worker.stop()
        elif loop.time() - first > _SAME_SIGNAL_SECONDS:
            log.warning("stop.now", signal=name)
            worker.abort()

    for number in STOPPING:
        listen_for(number, stop, number.name)
    listen_for(signal.SIGHUP, _reload, worker, read_settings, notify)
    listen_for(signal.SIGUSR1, _show, worker)


def _reload(worker: Worker, read_settings: Callable[[], Settings], notify: Notify) -> None:
    notify.reloading()
    try:
        settings = read_settings()
        worker.reload(settings, watched(settings))
    except SettingsError as error:
        for problem in error.problems:
            log.error("settings.unusable", what=problem)  # noqa: TRY400 - no trace helps
    notify.ready(worker.standing().in_words())


def _show(worker: Worker) -> None:
    log.info("worker.status", status=worker.standing().in_words(), **_figures(worker))


def _figures(worker: Worker) -> dict[str, object]:
    now = worker.standing()
    return {
        "sending": list(now.sending),
        "requests": now.requests,
        "accepted": now.accepted,
        "refused": now.refused,
        "expired": now.expired,
        "in_doubt": now.in_doubt,
    }


# ---- systemd


async def _tell(worker: Worker, notify: Notify, end: asyncio.Event) -> None:
    """Tell systemd how it stands, and that it is alive, until `end`."""
    every = min(notify.ping_every or _STATUS_EVERY, _STATUS_EVERY)
    shown = ""
    while not end.is_set():
        if notify.is_heard:
            notify.ping()
            if (text := worker.standing().in_words()) != shown:
                notify.status(shown := text)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), every)
