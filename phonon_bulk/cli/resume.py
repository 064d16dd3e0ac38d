"""`phonon-bulk resume`: go on with a run where it stopped."""

import time
from typing import Annotated

import typer

from phonon_bulk.cli.options import (
    Alone,
    Config,
    Journal,
    Json,
    Log,
    LogFormat,
    MaxDuration,
    NoUvloop,
    PingUrl,
    Quiet,
    ReportFile,
    RunNumber,
    SendWindow,
)


def resume(
    run: RunNumber,
    *,
    flow_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Send what is still to be sent to this flow instead."),
    ] = None,
    without_rest: Annotated[
        bool,
        typer.Option("--without-rest", help="Do not read the rest of a list that was cut short."),
    ] = False,
    to_worker: Annotated[
        bool,
        typer.Option("--to-worker", help="Let it go on, and leave the sending to a worker."),
    ] = False,
    max_duration: MaxDuration = None,
    window: SendWindow = None,
    alone: Alone = False,
    report: ReportFile = None,
    ping: PingUrl = None,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
    log_format: Log = LogFormat.AUTO,
    no_uvloop: NoUvloop = False,
) -> None:
    """Go on with a run where it stopped: read the rest of its list, send what is not sent."""
    from phonon_bulk.cli import ending, holding, sending
    from phonon_bulk.cli.session import Flags, cut_short, print_json, run_loop
    from phonon_bulk.cli.unattended import attended
    from phonon_bulk.dispatch import Outcome
    from phonon_bulk.jobs import opening
    from phonon_bulk.jobs.alone import refuse_beside_others
    from phonon_bulk.jobs.hours import bounds_of
    from phonon_bulk.jobs.wiring import check_limits

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    if to_worker:
        settings = flags.settings()
        holding.refuse_single_calls(settings, run, flow_id, to_worker=True)
        summary = holding.hand_over(settings, run, flow_id, without_rest=without_rest)
        if json:
            print_json(summary.to_dict())
        elif not quiet:
            typer.echo(holding.handed_over(summary))
        return
    with attended("resume", str(run), flags, report, ping) as here:
        here.settings, here.run = flags.settings(), run
        holding.refuse_single_calls(here.settings, run, flow_id, to_worker=False)
        settings, campaign = here.settings, opening.campaign_of(here.settings, run)
        bounds = bounds_of(max_duration, window, campaign.checks.time_zone, here.began)
        bounds.refuse_outside(time.time())
        if alone:
            refuse_beside_others(settings, campaign)
        with cut_short(bounds):
            job = opening.job_to_resume(settings, run, flow_id, without_rest=without_rest)
        check_limits(settings, job.campaign.endpoint)
        security_id = sending.security_id(settings, job.campaign)

        async def main() -> Outcome:
            async with sending.open_journal(settings) as book:
                await opening.set_going(book, job, end_reading=without_rest)
                return await sending.send(
                    book, job, settings, security_id, flags, bounds=bounds, alone=alone
                )

        outcome = run_loop(settings, main())
        here.end = ending.conclude(settings, run, flags, outcome, here.seconds)
    raise typer.Exit(here.end.exit)
