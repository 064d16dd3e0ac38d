"""What the sending commands have in common: settings, logging, signals, and the wiring."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import typer

from phonon_bulk.cli.failing import InterruptedBySignal
from phonon_bulk.cli.init import NO_FLOW
from phonon_bulk.cli.options import LogFormat
from phonon_bulk.config import Campaign, Settings, load_campaign, load_settings
from phonon_bulk.errors import NotNowError, SettingsError
from phonon_bulk.jobs.hours import Bounds

T = TypeVar("T")

STOPPING = (signal.SIGINT, signal.SIGTERM)

_SAME_SIGNAL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Flags:
    """The common flags, as they were given."""

    config: Path | None
    journal: str | None
    json: bool = False
    quiet: bool = False
    log_format: LogFormat = LogFormat.AUTO
    no_uvloop: bool = False

    def settings(self) -> Settings:
        """Return the settings: file < environment < flags."""
        flags: dict[str, object] = {}
        if self.journal is not None:
            flags["journal"] = self.journal
        if self.no_uvloop:
            flags["sending.uvloop"] = False
        return load_settings(self.config, os.environ, flags)


def settings_and_campaign(
    flags: Flags, path: Path, *, to_send: bool = True
) -> tuple[Settings, Campaign]:
    """Load both, and report what is wrong in both at once.

    A campaign `to_send` needs the id of a flow.
    """
    problems: list[str] = []
    settings = _or_problems(flags.settings, problems)
    campaign = _or_problems(lambda: load_campaign(path), problems)
    if settings is not None and campaign is not None:
        _or_problems(lambda: settings.account(campaign.account), problems)
    if to_send and campaign is not None and campaign.flow_id == NO_FLOW:
        problems.append(
            f"{path}: campaign.flow_id: {NO_FLOW} stands for the flow's id: put yours there, from"
            " the flow's edit page"
        )
    if settings is None or campaign is None or problems:
        raise SettingsError(problems)
    return settings, campaign


def _or_problems(load: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return load()
    except SettingsError as error:
        problems += error.problems
        return None


def begin_logging(flags: Flags) -> None:
    """Send log lines to standard error: text on a terminal, JSON elsewhere, or as told.

    What libraries have to say to those who write programs with them is not shown to operators.
    """
    import logging
    import warnings

    import structlog

    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    if flags.quiet and logging.lastResort is not None:
        logging.lastResort.setLevel(logging.ERROR)

    as_json = flags.log_format is LogFormat.JSON or (
        flags.log_format is LogFormat.AUTO and not sys.stderr.isatty()
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            _without_traceback,
            structlog.processors.add_log_level,
            _with_time,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if flags.quiet else logging.INFO
        ),
        # Looked up at every line: a progress bar takes standard error over while it shows.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _with_time(
    _logger: object, _level: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Say when it was, by the machine's zone and with its offset.

    A time without one is taken for UTC by what collects logs, and for India's by who reads them.
    """
    line["timestamp"] = datetime.now(UTC).astimezone().isoformat(timespec="microseconds")
    return line


def _without_traceback(
    _logger: object, _level: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Leave tracebacks out of the log: an error's text, or a local name, may be a contact's."""
    for name in ("exc_info", "stack_info"):
        line.pop(name, None)
    return line


def run_loop(settings: Settings, main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on uvloop, or on Python's own loop where that is wanted or all there is."""
    gc.freeze()  # modules stay to the end; to go through them again and again is a tenth of reading
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if settings.sending.uvloop:
        try:
            import uvloop
        except ImportError:  # no wheel for this system
            pass
        else:
            factory = uvloop.new_event_loop
    before = [(number, signal.getsignal(number)) for number in STOPPING]
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def on_signals(stop: asyncio.Event, abort: Callable[[], None], drain: float) -> None:
    """Let the first SIGINT or SIGTERM stop gently, the second at once.

    Some senders (timeout(1), a shell with a process group) deliver one signal twice; what comes
    within a second of the first is taken for the same.
    """
    import structlog

    log = structlog.get_logger("phonon_bulk")
    loop = asyncio.get_running_loop()

    first: float | None = None

    def heard(name: str) -> None:
        nonlocal first
        if first is None:
            first = loop.time()
            log.warning("stop.told", signal=name, posts_may_end_within_seconds=drain)
            stop.set()
        elif loop.time() - first > _SAME_SIGNAL_SECONDS:
            log.warning("stop.now", signal=name)
            abort()

    for number in STOPPING:
        listen_for(number, heard, number.name)


def listen_for(number: signal.Signals, heard: Callable[..., None], *values: object) -> None:
    """Have the running loop call `heard` for a signal; once it is closed, the signal does nothing.

    The loop's own handlers go with it, and what comes while it closes would end the process.
    """
    loop = asyncio.get_running_loop()

    def tell(*_: object) -> None:
        with contextlib.suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(heard, *values)

    signal.signal(number, tell)


class _OutOfTime(InterruptedBySignal):
    """Time is up, somewhere in what blocks."""


@contextlib.contextmanager
def cut_short(bounds: Bounds) -> Iterator[None]:
    """Let what blocks, such as looking a list over, end when the time is up, as a signal would.

    Raises NotNowError then, and before, if it is up already. Nothing was sent in here. A system
    without timers of this kind (Windows) looks before and after.
    """
    _raise_if_over(bounds)
    left = bounds.left(time.time(), time.monotonic())
    has_timer = left is not None and hasattr(signal, "setitimer")
    if left is not None and has_timer:
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))
    try:
        yield
    except _OutOfTime:
        why = bounds.over(time.time(), time.monotonic()) or "its time is over"
        raise NotNowError(_TOO_EARLY.format(why=why)) from None
    finally:
        if has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
    _raise_if_over(bounds)


_TOO_EARLY = "stopped before anything was sent: {why}. Start it again when it has more time"


def _raise_if_over(bounds: Bounds) -> None:
    if why := bounds.over(time.time(), time.monotonic()):
        raise NotNowError(_TOO_EARLY.format(why=why))


def _out_of_time(*_: object) -> None:
    raise _OutOfTime


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on a line of its own."""
    import orjson

    typer.echo(orjson.dumps(record).decode())
