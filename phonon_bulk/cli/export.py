"""`phonon-bulk export`: one line for every contact."""

from pathlib import Path
from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json, Quiet, RunNumber


def export(
    run: RunNumber,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Ends in .csv, .ndjson or .parquet."),
    ],
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one line for every contact: state, request-id, phonon-uuid, reason."""
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.journal.books import SqliteBooks
    from phonon_bulk.report.export import contacts
    from phonon_bulk.report.export import export as write

    flags = Flags(config, journal, json, quiet)
    with SqliteBooks(flags.settings().journal_path) as books:
        books.run(run)
        lines = write(contacts(books, run), output)
    if json:
        print_json({"run": run, "file": str(output), "contacts": lines})
    elif not quiet:
        typer.echo(f"{lines:,} contacts of run {run} written to {output}", err=True)
