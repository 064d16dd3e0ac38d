"""What `phonon-bulk doctor` looks at: the settings, campaigns, and all that follows from them."""

import asyncio
import contextlib
import os
from pathlib import Path

from phonon_bulk.cli.session import Flags, settings_and_campaign
from phonon_bulk.cli.trial import Wish
from phonon_bulk.config import find_settings_file, load_campaign
from phonon_bulk.errors import SettingsError
from phonon_bulk.report.doctor import Check, Planned, Subject, examine, lines


def checks_of(flags: Flags, campaigns: list[Path], wanted: Wish | None) -> list[Check]:
    """Return what is found. Raises SettingsError if the test call's account is not set."""
    try:
        settings = flags.settings()
    except SettingsError as error:
        return [lines.SETTINGS_ILL.check(problem=problem) for problem in error.problems]
    if wanted is not None:
        settings.account(wanted.account)
    subject = Subject(
        settings,
        find_settings_file(flags.config, os.environ),
        [_planned(flags, path) for path in campaigns],
        None if wanted is None else wanted.endpoint,
    )
    return asyncio.run(examine(subject))


def _planned(flags: Flags, path: Path) -> Planned:
    problems: list[str] = []
    try:
        return Planned(path, settings_and_campaign(flags, path)[1])
    except SettingsError as error:
        problems = error.problems
    campaign = None
    with contextlib.suppress(SettingsError):  # it is the campaign itself that can't be used
        campaign = load_campaign(path)
    return Planned(path, campaign, tuple(problems))
