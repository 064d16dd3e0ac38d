"""`phonon-bulk run`: submit a list and send it."""

import time

import typer

from phonon_bulk.cli.options import (
    Again,
    Alone,
    CampaignFile,
    Config,
    Journal,
    Json,
    List,
    Log,
    LogFormat,
    MaxDuration,
    NoUvloop,
    PingUrl,
    Quiet,
    ReportFile,
    SendWindow,
)


def run(
    campaign: CampaignFile,
    names: List = None,
    *,
    again: Again = False,
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
    """Submit a contact list and send it, recording what happens to every contact.

    The same campaign with the same list again goes on with what is unfinished.
    """
    from phonon_bulk.cli import ending, sending
    from phonon_bulk.cli.session import Flags, cut_short, run_loop, settings_and_campaign
    from phonon_bulk.cli.unattended import attended
    from phonon_bulk.dispatch import Outcome
    from phonon_bulk.jobs import lists, opening
    from phonon_bulk.jobs.alone import refuse_beside_others
    from phonon_bulk.jobs.hours import bounds_of
    from phonon_bulk.jobs.wiring import check_limits

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    with attended("run", campaign.name, flags, report, ping) as here:
        settings, plan = settings_and_campaign(flags, campaign)
        here.settings = settings
        bounds = bounds_of(max_duration, window, plan.checks.time_zone, here.began)
        bounds.refuse_outside(time.time())
        check_limits(settings, plan.endpoint)
        security_id = sending.security_id(settings, plan)
        if alone:
            refuse_beside_others(settings, plan)
        with cut_short(bounds):
            contacts = lists.find_list(settings, plan, names or [], again=again)
        if alone:
            refuse_beside_others(settings, plan)  # looking a long list over takes its time

        async def main() -> tuple[int, Outcome | None]:
            async with sending.open_journal(settings) as book:
                job = await opening.open_job(book, settings, plan, contacts, again=again)
                here.run = job.run
                if isinstance(job, opening.Done):
                    return job.run, None
                outcome = await sending.send(
                    book, job, settings, security_id, flags, bounds=bounds, alone=alone
                )
                return job.run, outcome

        number, outcome = run_loop(settings, main())
        if outcome is None:
            here.end = ending.say_done(settings, number, flags)
        else:
            here.end = ending.conclude(settings, number, flags, outcome, here.seconds)
    raise typer.Exit(here.end.exit)
