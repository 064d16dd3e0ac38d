"""`phonon-bulk audit`: every promise, recomputed from the journal."""

from functools import partial
from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json
from phonon_bulk.errors import Exit


def audit(
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", help="One run; all if none is named.", min=1)
    ] = None,
    *,
    limits: Annotated[
        bool, typer.Option("--limits", help="Only the worst 60 seconds of each endpoint.")
    ] = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Recompute every promise from the journal, and say which hold; exit 1 if one does not."""
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.jobs.wiring import set_limits
    from phonon_bulk.journal.evidence import SqliteEvidence
    from phonon_bulk.report import windows
    from phonon_bulk.report.audit import audit as recompute
    from phonon_bulk.report.audit import to_text

    settings = Flags(config, journal, json).settings()
    set_now = partial(set_limits, settings)

    with SqliteEvidence(settings.journal_path) as evidence:
        if limits:
            with evidence.snapshot():
                if run is not None:
                    evidence.run(run)  # says so if there is none
                posts, changes = evidence.posts(run), evidence.limit_changes()
                worst = windows.worst_windows(posts, changes, set_now)
            result = {"run": run, "windows": [window.to_dict() for window in worst]}
            text, held = windows.to_text(worst), not any(window.over for window in worst)
        else:
            findings = recompute(evidence, run, set_now)
            result = {"run": run, "promises": [finding.to_dict() for finding in findings]}
            text, held = to_text(findings), all(finding.holds for finding in findings)
    if json:
        print_json(result)
    else:
        typer.echo(text)
    raise typer.Exit(Exit.DONE if held else Exit.SOME_FAILED)
