"""`phonon-bulk pause`: send no more of a run for now."""

import typer

from phonon_bulk.cli.options import Config, Journal, Json, RunNumber


def pause(
    run: RunNumber, *, config: Config = None, journal: Journal = None, json: Json = False
) -> None:
    """Send no more of a run for now, whoever sends it; `resume` goes on with it.

    Once this has returned, no further request of it leaves. What is under way ends.
    """
    from phonon_bulk.cli import holding
    from phonon_bulk.cli.session import Flags, print_json, run_loop

    settings = Flags(config, journal, json).settings()
    held = run_loop(settings, holding.pause(settings, run))
    if json:
        print_json(held.to_dict())
    else:
        typer.echo(held.in_words())
