"""`phonon-bulk doctor`: whether this machine can send."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json
from phonon_bulk.config import EndpointName
from phonon_bulk.errors import Exit, SettingsError

if TYPE_CHECKING:  # slow to load
    from phonon_bulk.cli.session import Flags
    from phonon_bulk.cli.trial import Wish
    from phonon_bulk.report.doctor import Check, Planned


def doctor(
    campaigns: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CAMPAIGN.toml]...", help="What is to be run, to be looked at too."
        ),
    ] = None,
    *,
    send_test: Annotated[
        str | None,
        typer.Option("--send-test", metavar="NUMBER", help="Place one real call to this number."),
    ] = None,
    flow_id: Annotated[
        str | None, typer.Option("--flow-id", metavar="ID", help="The flow of the test call.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="NAME", help="The account of the test call."),
    ] = None,
    endpoint: Annotated[
        EndpointName | None,
        typer.Option("--endpoint", help="Where the test call goes; bulk if left out."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Place the test call without asking.")
    ] = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Look whether this machine can send, and say what to do if not.

    It sends no call, unless it is told to with --send-test.
    """
    from phonon_bulk.cli import trial
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.report.doctor import Grade, to_lines, to_text

    flags = Flags(config, journal, json, quiet=True)
    wanted = trial.read_wish(send_test, flow_id, account, endpoint, yes=yes)
    checks = _checks(flags, campaigns or [], wanted)
    code = Exit.UNUSABLE if any(check.grade is Grade.ILL for check in checks) else Exit.DONE
    if not json:
        typer.echo(to_text(checks))
    placed: trial.Placed | None = None
    if wanted is not None and code is Exit.UNUSABLE:
        typer.echo("phonon-bulk: the test call was not placed: mend what is ill first", err=True)
    elif wanted is not None:
        placed = trial.place(flags, wanted)
        code, checks = placed.exit, [*checks, placed.check]
        if not json:
            typer.echo("\n".join(to_lines([placed.check])))
    if json:
        well = not any(check.grade is Grade.ILL for check in checks)
        test = {} if wanted is None else {"test": placed and placed.to_dict()}
        print_json({"well": well, "checks": [check.to_dict() for check in checks], **test})
    raise typer.Exit(code)


def _checks(flags: "Flags", campaigns: list[Path], wanted: "Wish | None") -> "list[Check]":
    """Return what is found. Raises SettingsError if the test call's account is not set."""
    from phonon_bulk.config import find_settings_file
    from phonon_bulk.report.doctor import Subject, examine, lines

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


def _planned(flags: "Flags", path: Path) -> "Planned":
    from phonon_bulk.cli.session import settings_and_campaign
    from phonon_bulk.config import load_campaign
    from phonon_bulk.report.doctor import Planned

    problems: list[str] = []
    try:
        return Planned(path, settings_and_campaign(flags, path)[1])
    except SettingsError as error:
        problems = error.problems
    campaign = None
    with contextlib.suppress(SettingsError):  # it is the campaign itself that can't be used
        campaign = load_campaign(path)
    return Planned(path, campaign, tuple(problems))
