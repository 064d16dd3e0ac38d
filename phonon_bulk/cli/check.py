"""`phonon-bulk check`: what a campaign would do with its list."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import (
    CampaignFile,
    Config,
    Journal,
    Json,
    List,
    Log,
    LogFormat,
    Quiet,
)


def check(
    campaign: CampaignFile,
    names: List = None,
    *,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="As if begun then: 01:20, or a date and time."),
    ] = None,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
    log_format: Log = LogFormat.AUTO,
) -> None:
    """Read and check a contact list; send nothing, write nothing.

    Shows what would become of every row and why, the first request, and how long it would take.
    """
    import time

    from phonon_bulk.cli import checking
    from phonon_bulk.cli.session import Flags, begin_logging, print_json, settings_and_campaign
    from phonon_bulk.jobs import lists
    from phonon_bulk.jobs.wiring import check_limits

    flags = Flags(config, journal, json, quiet, log_format)
    begin_logging(flags)
    settings, plan = settings_and_campaign(flags, campaign, to_send=False)
    check_limits(settings, plan.endpoint)
    begins = checking.begins_at(at, time.time())
    contacts = lists.look_over(plan, names or [])
    made = checking.check(settings, plan, contacts, begins, quiet=quiet)
    if json:
        print_json(made.to_dict())
    elif not quiet:
        typer.echo(made.to_text())
    raise typer.Exit(made.exit)
