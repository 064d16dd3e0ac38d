"""`phonon-bulk prune`: contact data of old runs leaves the journal."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json, Quiet


def prune(
    *,
    older_than: Annotated[
        int,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            max=36_500,
            help="Of runs that ended more than so many days ago.",
        ),
    ],
    run: Annotated[
        int | None, typer.Option("--run", metavar="RUN", min=1, help="Of this run alone.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete the contact data of old runs; counts, states and request-ids stay."""
    import time

    from phonon_bulk.cli import pruning
    from phonon_bulk.cli.session import Flags, print_json, run_loop

    settings, now = Flags(config, journal, json).settings(), time.time()
    plan = pruning.plan_for(settings, older_than, now, run)
    if dry_run:
        report = pruning.report_of_plan(settings, plan)
    else:
        report = run_loop(settings, pruning.carry_out(settings, older_than, now, run))
    if json:
        print_json(report.to_dict())
    elif not quiet:
        typer.echo(report.to_text())
    elif warning := report.warning:
        typer.echo(f"phonon-bulk: {warning}", err=True)
