"""How a run is going: a bar on a terminal, a log line every few seconds elsewhere."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import structlog

from phonon_bulk.dispatch import Tally
from phonon_bulk.schedule import Limits, Rate
from phonon_bulk.submit import Portion

log = structlog.get_logger("phonon_bulk.progress")

_BAR_SECONDS = 0.2
_LINE_SECONDS = 5.0
_RATE_SECONDS = 10.0
"""Rates are over so many seconds."""


class Rates:
    """Rates over the last seconds, from samples of growing totals. Time is passed in."""

    def __init__(self, window: float = _RATE_SECONDS) -> None:
        """Keep samples of the last `window` seconds."""
        self._window = window
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, contacts: int, requests: int) -> None:
        """Take note of the totals at `now`."""
        self._samples.append((now, contacts, requests))
        while self._samples[0][0] < now - self._window and len(self._samples) > 2:  # noqa: PLR2004
            self._samples.popleft()

    @property
    def per_second(self) -> tuple[float, float]:
        """Contacts and requests a second; zeros until there are two samples."""
        if not self._samples:
            return 0.0, 0.0
        (t0, contacts0, requests0), (t1, contacts1, requests1) = self._samples[0], self._samples[-1]
        seconds = t1 - t0
        if seconds <= 0:
            return 0.0, 0.0
        # Fewer are done than before where a doubt is being sent again.
        return max(0, contacts1 - contacts0) / seconds, (requests1 - requests0) / seconds


class Progress:
    """Shows how a run is going while it is open. `tally` is None where nothing is sent."""

    def __init__(
        self,
        tally: Tally | None,
        *,
        quiet: bool,
        rate: Callable[[], Rate | None] = lambda: None,
        known: int = 0,
        done: int = 0,
        rows_to_read: int | None = None,
    ) -> None:
        """Begin with `known` calls in the journal, of which `done` are settled.

        `rate` tells how fast the endpoint may be used.

        `rows_to_read` is how many rows the list has, None if none are still to be read.
        """
        self._tally = tally or Tally()
        self._sends = tally is not None
        self._quiet = quiet
        self._rate = rate
        self._calls = known
        self._done_before = done
        self._rows = 0
        self._rows_to_read = rows_to_read
        self._rates = Rates()
        self._task: asyncio.Task[None] | None = None

    def read(self, portion: Portion) -> None:
        """See `Watcher`."""
        self._rows = portion.last_row
        self._calls += sum(batch.calls for batch in portion.batches)

    def list_done(self) -> None:
        """See `Watcher`."""
        self._rows_to_read = None

    async def __aenter__(self) -> Self:
        if not self._quiet:
            show = self._bar if sys.stderr.isatty() else self._lines
            self._task = asyncio.create_task(show(), name="progress")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    # ---- figures

    @property
    def _done(self) -> int:
        tally = self._tally
        settled = tally.accepted + tally.refused + tally.in_doubt + tally.expired
        return self._done_before + settled

    @property
    def _all(self) -> int:
        """All there will be to do; while the list is read, its rows, as if none were left out."""
        return self._calls if self._rows_to_read is None else max(self._rows_to_read, self._calls)

    def _figures(self) -> dict[str, Any]:
        """Return what a line or a bar shows, and take a sample."""
        self._rates.add(
            time.monotonic(), self._done if self._sends else self._rows, self._tally.requests
        )
        contacts, requests = self._rates.per_second
        left = None
        if self._sends and contacts:
            left = round((self._all - self._done) / contacts)
        return {
            "rows": self._rows or None,
            "calls": self._calls,
            "accepted": self._tally.accepted,
            "contacts_per_second": round(contacts),
            "seconds_left": left,
            **_of_the_limit(self._rate(), requests * 60, contacts * 60),
            "in_doubt": self._tally.in_doubt or None,
            "resting": self._resting(),
        }

    def _resting(self) -> str | None:
        """Return why the endpoint is left alone just now, if it is."""
        is_over = asyncio.get_running_loop().time() >= self._tally.resting_until
        return None if is_over else self._tally.resting

    # ---- the two ways to show them

    async def _lines(self) -> None:
        self._figures()  # a first sample, or the first line would say that nothing moves
        while True:
            await asyncio.sleep(_LINE_SECONDS)
            figures = {key: value for key, value in self._figures().items() if value is not None}
            log.info("run.progress" if self._sends else "list.progress", **figures)

    async def _bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        with Bar(*columns, console=console, auto_refresh=False, transient=True) as bar:
            task = bar.add_task("reading", total=None, figures="")
            try:
                while True:
                    self._show(bar, task)
                    await asyncio.sleep(_BAR_SECONDS)
            finally:
                self._show(bar, task)

    def _show(self, bar: Any, task: Any) -> None:
        figures = self._figures()
        bar.update(
            task,
            description="sending" if self._sends else "reading",
            total=self._all,
            completed=self._done if self._sends else self._rows,
            figures=in_words(figures, sends=self._sends),
        )
        bar.refresh()


def _of_the_limit(rate: Rate | None, requests: float, contacts: float) -> dict[str, Any]:
    """Return how much of the limit is used, what the limit is, and what holds now if that is less.

    `requests` and `contacts` are those of a minute.
    """
    if rate is None or rate.limits == Limits():
        return {"limit_used": None, "limit": None, "limit_now": None, "limit_why": None}
    pairs = ((requests, rate.limits.requests), (contacts, rate.limits.calls))
    less = rate.why is not None
    return {
        "limit_used": round(max(used / limit for used, limit in pairs if limit), 3),
        "limit": rate.limits.in_words() if less else None,
        "limit_now": rate.present.in_words() if less else None,
        "limit_why": rate.why,
    }


def in_words(figures: dict[str, Any], *, sends: bool) -> str:
    """Return the figures as they stand beside a bar."""
    if not sends:
        return f"{figures['rows'] or 0:,} rows · {figures['contacts_per_second']:,}/s"
    parts = [
        f"{figures['accepted']:,} accepted",
        f"{figures['contacts_per_second']:,}/s",
    ]
    if figures["seconds_left"] is not None:
        minutes, seconds = divmod(figures["seconds_left"], 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    if figures["limit_used"] is not None:
        parts.append(f"{figures['limit_used']:.0%} of the limit")
    if figures["limit_why"]:
        parts.append(f"now {figures['limit_now']} ({figures['limit_why']})")
    if figures["in_doubt"]:
        parts.append(f"{figures['in_doubt']:,} in doubt")
    if figures["resting"]:
        parts.append(f"waiting: {figures['resting']}")
    return " · ".join(parts)
