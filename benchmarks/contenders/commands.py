"""Who is measured, and how each is started."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from contacts import NARROW, WIDE
from contenders import syslog_ng
from local_phonon import FLOW_ID, SECURITY_ID, lay_out, program

OURS = "phonon-bulk"
PLAIN = "plain script"
CAREFUL = "careful script"
THREADS = "requests, threads"
DLT = "dlt"
DLT_ARROW = "dlt, Arrow"
SYSLOG_NG = "syslog-ng"


@dataclass(frozen=True, slots=True)
class Task:
    """A list that is to be sent."""

    path: Path
    contacts: int
    variables: int
    calls_in_a_request: int
    """For those who do not count bytes: so many that a body stays within 256,000."""
    url: str
    folder: Path
    """The working directory; empty, and deleted afterwards."""


def _nothing() -> None:
    """Return no version: the scripts that need nothing besides the program have none."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to send a list."""

    name: str
    command: Callable[[Task], list[str]]
    """Writes what it needs into the task's folder, and returns the command."""
    needs: str | None = None
    """What must be installed for it, in words; None is nothing besides the program."""
    version: Callable[[], str | None] = _nothing
    """Returns which version of that is installed, None if it is not."""
    ends: bool = True
    """Whether it ends when the list is sent, and prints its counts."""
    at_most: Mapping[int, int] = field(default_factory=dict)
    """Contacts that it gets, by flow variables, where all would take too long."""

    def contacts(self, variables: int, wanted: int) -> int:
        """Return how many contacts it is given."""
        return min(wanted, self.at_most.get(variables, wanted))

    def missing(self) -> bool:
        """Say whether what it needs is not installed."""
        return self.needs is not None and self.version() is None


def _package(name: str) -> Callable[[], str | None]:
    def found() -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return found


def _ours(task: Task) -> list[str]:
    lay_out(task.folder, task.url)
    return [program(), "run", "campaign.toml", str(task.path), "--quiet", "--json"]


def _script(name: str, *more: str) -> Callable[[Task], list[str]]:
    def command(task: Task) -> list[str]:
        calls = str(task.calls_in_a_request)
        given = [str(task.path), "--url", task.url, "--flow-id", FLOW_ID]
        start = [sys.executable, "-m", f"contenders.{name}"]
        return [*start, *given, "--calls-in-a-request", calls, *more]

    return command


def _syslog_ng(task: Task) -> list[str]:
    text = syslog_ng.settings(
        task.path,
        task.url,
        flow_id=FLOW_ID,
        security_id=SECURITY_ID,
        calls_in_a_request=task.calls_in_a_request,
    )
    (task.folder / "syslog-ng.conf").write_text(text, encoding="utf-8")
    files = {"cfgfile": "conf", "persist-file": "persist", "pidfile": "pid", "control": "ctl"}
    given = [f"--{name}={task.folder / f'syslog-ng.{kind}'}" for name, kind in files.items()]
    return [syslog_ng.program() or "", "--foreground", "--no-caps", *given]


_OF_BENCH = "the extra `bench` (pip install --editable '.[dev,bench]')"

CONTENDERS = (
    Contender(OURS, _ours),
    Contender(PLAIN, _script("plain_script", "--no-limit")),
    Contender(CAREFUL, _script("careful_script", "--no-limit", "--book", "book.db")),
    Contender(
        THREADS,
        _script("threads_script"),
        needs=_OF_BENCH,
        version=_package("requests"),
        at_most={WIDE: 250_000},
    ),
    Contender(
        SYSLOG_NG,
        _syslog_ng,
        needs="syslog-ng with http() (Debian: syslog-ng-core, syslog-ng-mod-http)",
        version=syslog_ng.version,
        ends=False,
        at_most={WIDE: 250_000},
    ),
    Contender(
        DLT_ARROW,
        _script("dlt_arrow_script", "--folder", "packages"),
        needs=_OF_BENCH,
        version=_package("dlt"),
        at_most={NARROW: 250_000, WIDE: 100_000},
    ),
    Contender(
        DLT,
        _script("dlt_script", "--folder", "packages"),
        needs=_OF_BENCH,
        version=_package("dlt"),
        at_most={NARROW: 100_000, WIDE: 50_000},
    ),
)
"""All of them; the first three are measured by the short form."""
