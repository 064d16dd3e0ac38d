"""`phonon-bulk status`: how far a run is."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json


def status(
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", help="The number of the run.", min=1)
    ] = None,
    *,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Show how far a run is; without a number, the newest one."""
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.journal.books import SqliteBooks
    from phonon_bulk.report.mending import next_step
    from phonon_bulk.report.summary import newest, summarize, to_text

    flags = Flags(config, journal, json)
    with SqliteBooks(flags.settings().journal_path) as books:
        summary = summarize(books, run or newest(books))
    if json:
        print_json(summary.to_dict())
    else:
        typer.echo(to_text(summary))
        if (step := next_step(summary)) is not None:
            typer.echo(f"phonon-bulk: {step}", err=True)
