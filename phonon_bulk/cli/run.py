"""`phonon-bulk run`: submit a list and send it."""

import typer

from phonon_bulk.cli.options import (
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
    lists: List = None,
    *,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
    log_format: Log = LogFormat.AUTO,
    no_uvloop: NoUvloop = False,
) -> None:
    """Submit a contact list and send it, recording what happens to every contact."""
    from phonon_bulk.cli import sending
    from phonon_bulk.cli.session import Flags, run_loop, settings_and_campaign
    from phonon_bulk.dispatch import Outcome

    flags = Flags(config, journal, json, quiet, log_format, no_uvloop)
    began = sending.begin(flags)
    settings, plan = settings_and_campaign(flags, campaign)
    sending.limiter(settings, plan.endpoint)
    security_id = sending.security_id(settings, plan)
    contacts = sending.open_campaign_list(plan, lists or [])

    async def main() -> tuple[int, Outcome]:
        async with sending.open_journal(settings) as book:
            number = await sending.open_run(book, plan, contacts)
            job = sending.Job(number, plan, plan.flow_id, sending.read_from(contacts, plan))
            return number, await sending.send(book, job, settings, security_id, flags)

    number, outcome = run_loop(settings, main())
    raise typer.Exit(sending.conclude(settings, number, flags, outcome, sending.now() - began))
