"""`phonon-bulk limit`: see, change and lift the limit of an endpoint while others send."""

from typing import Annotated

import typer

from phonon_bulk.cli.options import Config, Journal, Json


def limit(
    endpoint: Annotated[
        str, typer.Argument(metavar="ENDPOINT", help="bulk or realtime.", show_default=False)
    ],
    *,
    requests_per_minute: Annotated[
        int | None,
        typer.Option("--requests-per-minute", metavar="N", help="Requests in any 60 seconds."),
    ] = None,
    calls_per_minute: Annotated[
        int | None,
        typer.Option("--calls-per-minute", metavar="N", help="Calls in any 60 seconds."),
    ] = None,
    lift: Annotated[
        bool, typer.Option("--lift", help="Let the settings hold again, for both units.")
    ] = False,
    account: Annotated[
        str, typer.Option("--account", metavar="NAME", help="Whose limit.")
    ] = "default",
    config: Config = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Show an endpoint's limit, or change it for all running processes within a second."""
    from phonon_bulk.cli import limiting
    from phonon_bulk.cli.session import Flags, print_json, run_loop

    settings = Flags(config, journal, json).settings()
    whose = limiting.whose(settings, endpoint, account)
    wanted = limiting.wanted(requests_per_minute, calls_per_minute, lift=lift)
    if wanted is not None:
        run_loop(settings, limiting.order(settings, whose, wanted))
    shown = limiting.look(settings, whose)
    if json:
        print_json(shown)
    else:
        typer.echo(limiting.to_text(shown))
