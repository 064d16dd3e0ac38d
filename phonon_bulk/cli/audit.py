"""`phonon-bulk audit`: every promise, recomputed from the journal."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json
from phonon_bulk.errors import Exit


def audit(
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", help="One run; all if none is named.", min=1)
    ] = None,
    *,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Recompute every promise from the journal, and say which hold; exit 1 if one does not."""
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.config import EndpointName
    from phonon_bulk.journal.evidence import SqliteEvidence
    from phonon_bulk.report.audit import audit as recompute
    from phonon_bulk.report.audit import to_text

    settings = Flags(config, journal, json).settings()

    def limits(name: str) -> tuple[int | None, int | None]:
        endpoint = settings.endpoint(EndpointName(name))
        return endpoint.requests_per_minute, endpoint.calls_per_minute

    with SqliteEvidence(settings.journal_path) as evidence:
        findings = recompute(evidence, run, limits)
    if json:
        print_json({"run": run, "promises": [finding.to_dict() for finding in findings]})
    else:
        typer.echo(to_text(findings))
    held = all(finding.holds for finding in findings)
    raise typer.Exit(Exit.DONE if held else Exit.SOME_FAILED)
