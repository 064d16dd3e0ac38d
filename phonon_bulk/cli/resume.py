"""`phonon-bulk resume`: go on with a run where it stopped."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import (
    Config,
    Journal,
    Json,
    Log,
    LogFormat,
    NoUvloop,
    Quiet,
    RunNumber,
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
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
    log_format: Log = LogFormat.AUTO,
    no_uvloop: NoUvloop = False,
) -> None:
    """Go on with a run where it stopped: read the rest of its list, send what is not sent."""
    from phonon_bulk.cli import ending, sending
    from phonon_bulk.cli.session import Flags, run_loop
    from phonon_bulk.dispatch import Outcome
    from phonon_bulk.jobs import opening
    from phonon_bulk.jobs.wiring import check_limits

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    began = sending.begin(flags)
    settings = flags.settings()
    job = opening.job_to_resume(settings, run, flow_id, without_rest=without_rest)
    check_limits(settings, job.campaign.endpoint)
    security_id = sending.security_id(settings, job.campaign)

    async def main() -> Outcome:
        async with sending.open_journal(settings) as book:
            await opening.set_going(book, job, end_reading=without_rest)
            return await sending.send(book, job, settings, security_id, flags)

    outcome = run_loop(settings, main())
    raise typer.Exit(ending.conclude(settings, run, flags, outcome, sending.now() - began))
