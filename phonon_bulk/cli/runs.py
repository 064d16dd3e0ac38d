"""`phonon-bulk runs`: what runs there are."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json


def runs(
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="How many at most.")
    ] = 20,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """List the runs in the journal, newest first."""
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.journal.books import SqliteBooks
    from phonon_bulk.report.summary import summarize, to_table

    flags = Flags(config, journal, json)
    with SqliteBooks(flags.settings().journal_path) as books:
        summaries = [summarize(books, run.id) for run in books.runs(limit)]
    if json:
        print_json({"runs": [summary.to_dict() for summary in summaries]})
    else:
        typer.echo(to_table(summaries))
