"""`phonon-bulk resolve`: settle what is in doubt."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json, RunNumber


def resolve(
    run: RunNumber,
    batches: Annotated[
        list[int] | None,
        typer.Argument(metavar="[BATCH]...", help="The batches to settle; see --all.", min=1),
    ] = None,
    *,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="The provider took them: never send them again.")
    ] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="The provider did not take them: send them again.")
    ] = False,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Nobody can know: never send them again.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Settle all of the run's doubts.")] = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """List the batches in doubt, or settle them; who did it and when is recorded."""
    import time

    from phonon_bulk.cli import resolving
    from phonon_bulk.cli.session import Flags, print_json, run_loop

    flags = Flags(config, journal, json)
    outcome = resolving.outcome(accepted=accepted, resend=resend, abandon=abandon)
    settings = flags.settings()
    doubts = resolving.doubts(settings, run)
    if outcome is None:
        resolving.refuse_numbers(batches, every=every)
        if json:
            print_json(resolving.to_dict(run, doubts))
        else:
            typer.echo(resolving.to_text(run, doubts, time.time(), settings.sending.replay_within))
        return
    chosen = resolving.chosen(doubts, batches or [], every=every)
    run_loop(settings, resolving.settle(settings, run, chosen, outcome))
    if json:
        print_json({"run": run, "batches": chosen, "outcome": outcome})
    else:
        typer.echo(resolving.settled(run, chosen, outcome))
