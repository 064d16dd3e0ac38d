"""A sending command that nobody watches: its reports, its pings, its end whatever happens."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from phonon_bulk.cli.ending import End
from phonon_bulk.cli.failing import failure
from phonon_bulk.cli.session import Flags, begin_logging
from phonon_bulk.config import Settings
from phonon_bulk.errors import PhononBulkError
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.mail import Report, to_text, write
from phonon_bulk.report.summary import Summary, summarize

if TYPE_CHECKING:  # urllib is slow to load, and most commands ping nobody
    from phonon_bulk.observe.ping import Ping

log = structlog.get_logger("phonon_bulk")


@dataclass(slots=True)
class Attendance:
    """What is known of a command while it works."""

    began: float
    """On the clock of `time.monotonic`, in seconds."""
    settings: Settings | None = None
    run: int | None = None
    """Set as soon as it is known; a command that fails after that is reported with its sums."""
    end: End | None = None

    @property
    def seconds(self) -> float:
        """For how long it has worked."""
        return time.monotonic() - self.began


@contextlib.contextmanager
def attended(
    command: str, given: str, flags: Flags, reports: list[Path] | None, url: str | None
) -> Iterator[Attendance]:
    """Report what is done in here, when it begins and when it ends, however it ends.

    What can't be written or told is a warning, and changes no exit code.

    Raises SettingsError if `url` can't be pinged, and whatever is raised in here.
    """
    begin_logging(flags)
    attendance = Attendance(time.monotonic())
    report, ping = Report(command, given, time.time()), None
    files = list(dict.fromkeys(reports or ()))
    _write(report, files)
    try:
        ping = _begin_ping(url)
        yield attendance
    except BaseException as error:
        code, sentences = failure(error)
        ended = replace(report, exit=code, advice=tuple(sentences), summary=_sums(attendance))
        _tell(ended, files, ping)
        raise
    end = attendance.end
    assert end is not None  # noqa: S101 - each command that returns has ended somehow
    _tell(replace(report, exit=end.exit, advice=end.advice, summary=end.summary), files, ping)


def _begin_ping(url: str | None) -> "Ping | None":
    if url is None:
        return None
    from phonon_bulk.observe.ping import Ping, read_url

    ping = Ping(read_url(url))
    ping.begin()
    return ping


def _tell(report: Report, files: list[Path], ping: "Ping | None") -> None:
    report = replace(report, ended_at=time.time())
    _write(report, files)
    if ping is not None and report.exit is not None:
        ping.end(report.exit, to_text(report))


def _write(report: Report, files: list[Path]) -> None:
    for file in files:
        try:
            write(report, file)
        except OSError as error:
            log.warning("report.not_written", file=str(file), what=error.strerror)


def _sums(attendance: Attendance) -> Summary | None:
    """Return the sums of a run whose command failed, if they can still be had."""
    if attendance.settings is None or attendance.run is None:
        return None
    with (
        contextlib.suppress(PhononBulkError),
        SqliteBooks(attendance.settings.journal_path) as books,
    ):
        return summarize(books, attendance.run, attendance.seconds)
    return None
