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
    PingUrl,
    Quiet,
    ReportFile,
)


def submit(
    campaign: CampaignFile,
    names: List = None,
    *,
    again: Again = False,
    report: ReportFile = None,
    ping: PingUrl = None,
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
    from phonon_bulk.cli.unattended import attended
    from phonon_bulk.jobs import lists, opening

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    with attended("submit", campaign.name, flags, report, ping) as here:
        settings, plan = settings_and_campaign(flags, campaign)
        here.settings = settings
        contacts = lists.find_list(settings, plan, names or [], again=again)

        async def main() -> tuple[int, bool | None]:
            async with sending.open_journal(settings) as book:
                job = await opening.open_job(book, settings, plan, contacts, again=again)
                here.run = job.run
                if isinstance(job, opening.Done):
                    return job.run, None
                return job.run, await sending.only_read(book, job, flags)

        number, whole = run_loop(settings, main())
        if whole is None:
            here.end = ending.say_done(settings, number, flags)
        else:
            here.end = ending.report(settings, number, flags, here.seconds, whole=whole)
    raise typer.Exit(here.end.exit)
