"""The settings and the files they name: what is in them, and who may read and change them."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from phonon_bulk.config import DEFAULT_ACCOUNT, Campaign, Settings, is_open_to_others
from phonon_bulk.errors import ListError, SettingsError
from phonon_bulk.report.doctor import lines
from phonon_bulk.report.doctor.lines import Check
from phonon_bulk.source.files import find_files

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""What others than the owner may do, of a file's mode."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_READS_EASILY = 1e3


@dataclass(frozen=True, slots=True)
class Planned:
    """A campaign that is to be run; None if its file can't be used, and then why."""

    path: Path
    campaign: Campaign | None = None
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it."""
        return self.campaign.name if self.campaign else str(self.path)

    @property
    def list_bytes(self) -> int | None:
        """Bytes of its list's files; None if the list comes from elsewhere.

        Raises ListError if a file can't be found or read.
        """
        paths = self.campaign.paths if self.campaign else ()
        if not paths or any("://" in path for path in paths):
            return None
        return sum(file.stat().st_size for file in find_files(paths).files)


def examine(
    settings: Settings, settings_file: Path | None, planned: Sequence[Planned]
) -> Iterator[Check]:
    """Yield what is found of settings, security ids, tokens and campaigns."""
    source = "the environment alone" if settings_file is None else str(settings_file)
    yield lines.SETTINGS.check(source=source)
    if settings_file is not None and _mode(settings_file) & OTHERS_WRITE:
        yield lines.SETTINGS_FILE.check(path=settings_file)
    yield from _security_ids(settings)
    yield from _token(settings)
    for one in planned:
        yield from _campaign(one)


def _mode(path: Path) -> int:
    """Return the mode of a file; 0 if there is none, or where modes say nothing."""
    if os.name == "nt":
        return 0
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:  # whoever reads the file says it better
        return 0


def _security_ids(settings: Settings) -> Iterator[Check]:
    names = sorted(settings.accounts) or [DEFAULT_ACCOUNT]
    for name in names:
        of_account = "" if names == [DEFAULT_ACCOUNT] else f" of {name}"
        try:
            settings.security_id(name)
        except SettingsError as error:
            yield lines.SECURITY_ID_ILL.check(of_account=of_account, problem=error)
            continue
        warning = settings.security_id_file_warning(name)
        if warning:
            yield lines.SECURITY_ID_OPEN.check(of_account=of_account, problem=warning)
        else:
            yield lines.SECURITY_ID.check(of_account=of_account)


def _token(settings: Settings) -> Iterator[Check]:
    path, address = settings.worker.token_file, settings.worker.address
    if path is None:
        if address is not None and not address.is_loopback:
            yield lines.TOKEN_NONE.check(address=address)
        return
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        yield lines.TOKEN_AWAY.check(path=path, problem=(error.strerror or "").lower())
        return
    line = lines.TOKEN_OPEN if is_open_to_others(path) else lines.TOKEN
    yield line.check(path=path)


def _campaign(planned: Planned) -> Iterator[Check]:
    for problem in planned.problems:
        yield lines.CAMPAIGN_ILL.check(name=planned.name, problem=problem)
    if planned.campaign is None:
        return
    if _mode(planned.path) & OTHERS_WRITE:
        yield lines.CAMPAIGN_OPEN.check(name=planned.name, path=planned.path)
    try:
        extent = _extent(planned.list_bytes)
    except (ListError, OSError) as error:
        problem = str(error) if isinstance(error, ListError) else "its list can't be read"
        yield lines.CAMPAIGN_ILL.check(name=planned.name, problem=problem)
        return
    if not planned.problems:
        yield lines.CAMPAIGN.check(name=planned.name, path=planned.path, extent=extent)


def _extent(size: int | None) -> str:
    if size is None:
        return "its list comes from elsewhere, and was not looked at"
    return f"its list has {in_bytes(size)}; `phonon-bulk check` reads all of it"


def in_bytes(number: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "kB", "MB"):
        if number < _READS_EASILY:
            return f"{number:,.0f} {unit}"
        number /= 1e3
    return f"{number:,.1f} GB"
