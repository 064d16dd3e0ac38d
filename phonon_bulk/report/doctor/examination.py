"""Everything that is looked at, at once where it waits, and within about fifteen seconds."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phonon_bulk.config import EndpointName, Settings
from phonon_bulk.report.doctor import books, files, lines, machine
from phonon_bulk.report.doctor.aside import aside
from phonon_bulk.report.doctor.files import Planned
from phonon_bulk.report.doctor.lines import Check
from phonon_bulk.report.doctor.network import look
from phonon_bulk.report.doctor.sighted import judge

_DISK_SECONDS = 5.0
_NETWORK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: settings that hold, where they come from, and what is to be run.

    `endpoint` is used besides those of the campaigns that are planned.
    """

    settings: Settings
    settings_file: Path | None = None
    planned: Sequence[Planned] = ()
    endpoint: EndpointName | None = None

    @property
    def endpoints(self) -> list[EndpointName]:
        """The endpoints that are used; both, if nothing is planned."""
        used = {one.campaign.endpoint for one in self.planned if one.campaign is not None}
        used |= {self.endpoint} if self.endpoint else set()
        return [name for name in EndpointName if name in used or not used]


async def examine(subject: Subject) -> list[Check]:
    """Return what is found, the most basic things first."""
    (settings, disk, journal), ways = await asyncio.gather(
        asyncio.gather(_files(subject), _disk(subject), books.examine(subject.settings)),
        asyncio.gather(*(_way(subject.settings, name) for name in subject.endpoints)),
    )
    by_machine = [*machine.open_files(subject.settings), machine.india(time.time())]
    return [*settings, disk, *by_machine, *journal, *(check for way in ways for check in way)]


async def _files(subject: Subject) -> list[Check]:
    planned = subject.planned
    try:
        return await aside(
            lambda: list(files.examine(subject.settings, subject.settings_file, planned)),
            _DISK_SECONDS,
        )
    except TimeoutError:
        return [lines.FILES_LATE.check(seconds=f"{_DISK_SECONDS:g}")]


async def _disk(subject: Subject) -> Check:
    try:
        return await aside(lambda: machine.disk(subject.settings, subject.planned), _DISK_SECONDS)
    except TimeoutError:
        return lines.DISK_LATE.check(seconds=f"{_DISK_SECONDS:g}")


async def _way(settings: Settings, name: EndpointName) -> list[Check]:
    seen = await look(settings.endpoint(name).url, _NETWORK_SECONDS)
    return list(judge(name, seen, time.time()))
