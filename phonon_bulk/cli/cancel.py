"""`phonon-bulk cancel`: take a run back for good."""

import sys
from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json, RunNumber


def cancel(
    run: RunNumber,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to.")] = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Take a run back for good: what was not sent is never sent.

    Once this has returned, no further request of it leaves. What is under way ends; calls that were
    placed stay placed, and doubts stay for `resolve`.
    """
    from phonon_bulk.cli import holding
    from phonon_bulk.cli.session import Flags, print_json, run_loop
    from phonon_bulk.errors import Exit

    settings = Flags(config, journal, json).settings()
    if not yes and sys.stdin.isatty():
        typer.echo(holding.what_it_takes_back(settings, run), err=True)
        if not typer.confirm("Take it back?", err=True):
            raise typer.Exit(Exit.UNUSABLE)
    held = run_loop(settings, holding.cancel(settings, run))
    if json:
        print_json(held.to_dict())
    else:
        typer.echo(held.in_words())
