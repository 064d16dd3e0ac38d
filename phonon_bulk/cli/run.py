"""`phonon-bulk run`: submit a list and send it."""

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


def run(
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
    """Submit a contact list and send it, recording what happens to every contact.

    The same campaign with the same list again goes on with what is unfinished.
    """
    from phonon_bulk.cli import ending, sending
    from phonon_bulk.cli.session import Flags, run_loop, settings_and_campaign
    from phonon_bulk.dispatch import Outcome
    from phonon_bulk.jobs import lists, opening
    from phonon_bulk.jobs.wiring import check_limits

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    began = sending.begin(flags)
    settings, plan = settings_and_campaign(flags, campaign)
    check_limits(settings, plan.endpoint)
    security_id = sending.security_id(settings, plan)
    contacts = lists.find_list(settings, plan, names or [], again=again)

    async def main() -> tuple[int, Outcome | None]:
        async with sending.open_journal(settings) as book:
            job = await opening.open_job(book, settings, plan, contacts, again=again)
            if isinstance(job, opening.Done):
                return job.run, None
            return job.run, await sending.send(book, job, settings, security_id, flags)

    number, outcome = run_loop(settings, main())
    if outcome is None:
        raise typer.Exit(ending.say_done(settings, number, flags))
    raise typer.Exit(ending.conclude(settings, number, flags, outcome, sending.now() - began))
