"""`phonon-bulk doctor`: whether this machine can send."""

import typer

from phonon_bulk.cli.options import Config, Journal, Json
from phonon_bulk.errors import Exit, SettingsError


def doctor(*, config: Config = None, journal: Journal = None, json: Json = False) -> None:
    """Look whether this machine can send, and say what to do if not. Sends nothing."""
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.report.doctor import Check, Grade, examine, to_text

    try:
        settings = Flags(config, journal, json).settings()
    except SettingsError as error:
        checks = [Check("settings", Grade.ILL, problem) for problem in error.problems]
    else:
        checks = [Check("settings", Grade.WELL, "read, and nothing is wrong in them")]
        checks += examine(settings)
    ill = any(check.grade is Grade.ILL for check in checks)
    if json:
        print_json({"well": not ill, "checks": [check.to_dict() for check in checks]})
    else:
        typer.echo(to_text(checks))
    raise typer.Exit(Exit.UNUSABLE if ill else Exit.DONE)
