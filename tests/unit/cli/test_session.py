"""Signals, and time that is up."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
import uvloop

from phonon_bulk.cli import session
from phonon_bulk.cli.failing import InterruptedBySignal
from phonon_bulk.cli.sending import stopping_in_time
from phonon_bulk.cli.session import cut_short, listen_for, on_signals
from phonon_bulk.errors import NotNowError
from phonon_bulk.jobs.hours import Bounds, read_hours


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Give the signals back to whoever had them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    kept = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in kept:
        signal.signal(number, handler)


def seconds(number: float) -> Bounds:
    """Return bounds that are over after so many seconds from now."""
    return Bounds(seconds=number, asked=f"{number}s", began=time.monotonic())


def closed() -> Bounds:
    """Return a window that is closed now."""
    now = time.gmtime()
    hour = (now.tm_hour + 2) % 24
    return Bounds(hours=read_hours(f"{hour:02d}:00-{(hour + 1) % 24:02d}:00", "UTC"))


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_signal_is_heard_while_the_loop_runs_and_harmless_when_it_is_closed(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """One that came while the loop closed ended the process, whatever it had to say."""
    heard: list[str] = []

    async def main() -> None:
        done = asyncio.Event()

        def hear(name: str) -> None:
            heard.append(name)
            done.set()

        listen_for(signal.SIGTERM, hear, "SIGTERM")
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(done.wait(), 10)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert heard == ["SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == ["SIGTERM"]


def test_what_blocks_is_cut_short() -> None:
    """Reading a list counts too; whatever is read then is not kept."""
    with pytest.raises(NotNowError, match=r"its --max-duration of 0\.05s is over"):  # noqa: SIM117
        with cut_short(seconds(0.05)):
            signal.pause()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_log_line_says_when_with_the_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the machine's zone; whoever collects logs need not know which that is."""
    for zone, offset in (("Asia/Kolkata", 5.5), ("UTC", 0.0)):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        when = datetime.fromisoformat(session._with_time(None, "info", {})["timestamp"])
        assert when.utcoffset() == timedelta(hours=offset)
        assert abs(when.timestamp() - time.time()) < 60
    monkeypatch.undo()
    time.tzset()


def test_what_is_up_already_is_not_begun() -> None:
    """Nor is anything done in a window that has closed meanwhile."""
    for bounds in (seconds(-1), closed()):
        with pytest.raises(NotNowError, match="before anything was sent"), cut_short(bounds):
            pytest.fail("it was begun")


def test_in_good_time_nothing_happens() -> None:
    """No alarm is left behind; without bounds there is none."""
    with cut_short(seconds(1000)):
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    with cut_short(Bounds()):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_is_no_error_that_a_library_catches() -> None:
    """Or the time would be up, and nobody would know."""

    def library() -> None:
        try:
            signal.pause()
        except Exception:  # noqa: BLE001 - this is what is tried
            pytest.fail("it was caught")

    with pytest.raises(NotNowError), cut_short(seconds(0.05)):
        library()
    assert issubclass(session._OutOfTime, InterruptedBySignal)


async def test_time_that_is_up_stops_as_a_signal_does() -> None:
    """The reason is kept."""
    stop = asyncio.Event()
    with stopping_in_time(closed(), stop) as over:
        await asyncio.wait_for(stop.wait(), 10)
    assert "has closed; it opens again at" in over[0]


async def test_whoever_stops_first_is_the_reason() -> None:
    """Time that is up after a signal says nothing."""
    stop = asyncio.Event()
    stop.set()
    with stopping_in_time(seconds(0), stop) as over:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert over == []


async def test_without_bounds_nobody_watches() -> None:
    """There is no task for it."""
    before = asyncio.all_tasks()
    with stopping_in_time(Bounds(), asyncio.Event()):
        assert asyncio.all_tasks() == before


async def test_the_first_signal_is_gentle_even_if_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the second one ends at once; one that is delivered twice is one."""
    stop, aborted = asyncio.Event(), []
    on_signals(stop, lambda: aborted.append(True), 35.0)
    stop.set()  # time is up

    async def sent() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(3):
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    try:
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now)
        await sent()
        await sent()
        assert aborted == []
        monkeypatch.setattr(loop, "time", lambda: now + 1.5)
        await sent()
        assert aborted == [True]
    finally:
        for number in session.STOPPING:
            loop.remove_signal_handler(number)
