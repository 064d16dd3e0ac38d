"""`phonon-bulk doctor`: whether this machine can send."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from phonon_bulk.cli.options import Config, Journal, Json
from phonon_bulk.errors import Exit


def doctor(
    campaigns: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CAMPAIGN.toml]...", help="What is to be run, to be looked at too."
        ),
    ] = None,
    *,
    send_test: Annotated[
        str | None,
        typer.Option("--send-test", metavar="NUMBER", help="Place one real call to this number."),
    ] = None,
    flow_id: Annotated[
        str | None, typer.Option("--flow-id", metavar="ID", help="The flow of the test call.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="NAME", help="The account of the test call."),
    ] = None,
    endpoint: Annotated[
        Literal["bulk", "realtime"] | None,
        typer.Option("--endpoint", help="Where the test call goes; bulk if left out."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Place the test call without asking.")
    ] = False,
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Look whether this machine can send, and say what to do if not.

    It sends no call, unless it is told to with --send-test.
    """
    from phonon_bulk.cli import trial
    from phonon_bulk.cli.examining import checks_of
    from phonon_bulk.cli.session import Flags, print_json
    from phonon_bulk.config import EndpointName
    from phonon_bulk.report.doctor import Grade, to_lines, to_text

    flags = Flags(config, journal, json, quiet=True)
    wanted = trial.read_wish(
        send_test, flow_id, account, EndpointName(endpoint) if endpoint else None, yes=yes
    )
    checks = checks_of(flags, campaigns or [], wanted)
    code = Exit.UNUSABLE if any(check.grade is Grade.ILL for check in checks) else Exit.DONE
    if not json:
        typer.echo(to_text(checks))
    placed: trial.Placed | None = None
    if wanted is not None and code is Exit.UNUSABLE:
        typer.echo("phonon-bulk: the test call was not placed: mend what is ill first", err=True)
    elif wanted is not None:
        placed = trial.place(flags, wanted)
        code, checks = placed.exit, [*checks, placed.check]
        if not json:
            typer.echo("\n".join(to_lines([placed.check])))
    if json:
        well = not any(check.grade is Grade.ILL for check in checks)
        test = {} if wanted is None else {"test": placed and placed.to_dict()}
        print_json({"well": well, "checks": [check.to_dict() for check in checks], **test})
    raise typer.Exit(code)
