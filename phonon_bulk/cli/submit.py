"""`phonon-bulk submit`: a list into the journal, for a worker or a later resume."""

import typer

from phonon_bulk.cli.options import (
    Again,
    CampaignFile,
    Config,
    Journal,
    Json,
    List,
    Log,
    LogFormat,
    NoUvloop,
    Quiet,
)


def submit(
    campaign: CampaignFile,
    names: List = None,
    *,
    again: Again = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
    log_format: Log = LogFormat.AUTO,
    no_uvloop: NoUvloop = False,
) -> None:
    """Read a contact list into the journal and send nothing; `resume` sends it."""
    from phonon_bulk.cli import ending, sending
    from phonon_bulk.cli.session import Flags, run_loop, settings_and_campaign
    from phonon_bulk.jobs import lists, opening

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    began = sending.begin(flags)
    settings, plan = settings_and_campaign(flags, campaign)
    contacts = lists.find_list(settings, plan, names or [], again=again)

    async def main() -> tuple[int, bool | None]:
        async with sending.open_journal(settings) as book:
            job = await opening.open_job(book, settings, plan, contacts, again=again)
            if isinstance(job, opening.Done):
                return job.run, None
            return job.run, await sending.only_read(book, job, flags)

    number, whole = run_loop(settings, main())
    if whole is None:
        raise typer.Exit(ending.say_done(settings, number, flags))
    summary = ending.report(settings, number, flags, sending.now() - began, only_read=True)
    if not whole:
        typer.echo(f"phonon-bulk: stopped; go on with `phonon-bulk resume {number}`", err=True)
    elif not flags.quiet:
        typer.echo(f"phonon-bulk: send it with `phonon-bulk resume {number}`", err=True)
    raise typer.Exit(summary.exit)
