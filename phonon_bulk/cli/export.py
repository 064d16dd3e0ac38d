"""`phonon-bulk export`: one line for every contact, or the rejected rows, to be mended."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json, Quiet, RunNumber


class ContactState(StrEnum):
    """What `--only` takes: the states in the export's column `state`."""

    REJECTED = "rejected"
    SUPPRESSED = "suppressed"
    DUPLICATE = "duplicate"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    IN_DOUBT = "in_doubt"
    ABANDONED = "abandoned"
    READY = "ready"
    SENDING = "sending"


def export(
    run: RunNumber,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Ends in .csv, .ndjson or .parquet."),
    ],
    only: Annotated[
        list[ContactState] | None,
        typer.Option(
            "--only",
            metavar="STATE",
            help="Contacts in this state alone; may be given several times. `rejected` by itself "
            "writes the rows as they stood in the list, to be mended and sent again.",
        ),
    ] = None,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one line for every contact: state, request-id, phonon-uuid, reason."""
    from phonon_bulk.cli.pruning import refuse_export_of_pruned
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.journal.books import SqliteBooks
    from phonon_bulk.report.export import STATES, contacts, export_rejected
    from phonon_bulk.report.export import export as write

    flags = Flags(config, journal, json, quiet)
    chosen = set(only or ())
    mends = chosen == {ContactState.REJECTED}
    # All is read as of one moment: the run's contact data may be deleted meanwhile.
    with SqliteBooks(flags.settings().journal_path) as books, books.snapshot():
        refuse_export_of_pruned(books, run)
        if mends:
            _refuse_to_replace(output)
            lines = export_rejected(books, run, output)
        else:
            lines = write(contacts(books, run, chosen or STATES), output)
    if json:
        print_json({"run": run, "file": str(output), "contacts": lines})
    elif not quiet:
        typer.echo(_written(run, output, lines, mends=mends), err=True)


def _refuse_to_replace(output: Path) -> None:
    """Raise UnusableError if there is such a file: somebody may have mended rows in it."""
    from phonon_bulk.errors import UnusableError

    if output.exists():
        raise UnusableError(f"{output} is there already, perhaps with mended rows: name another")


def _written(run: int, output: Path, lines: int, *, mends: bool) -> str:
    if mends and not lines:
        return f"run {run} has no rejected rows; {output} has its columns alone"
    if not mends:
        return f"{lines:,} contacts of run {run} written to {output}"
    return (
        f"{lines:,} rejected rows of run {run} written to {output}. Mend them there, and send the "
        f"file: `phonon-bulk run CAMPAIGN.toml {output}`"
    )
