"""The command `phonon-bulk`: one file for each of its commands.

What a command does is done elsewhere; here the command line is read, the parts are wired, and the
end becomes an exit code. Modules are imported late: `--help` must not wait for DuckDB.
"""

import signal
import sys
import traceback
from typing import Annotated

import typer

from phonon_bulk import __version__
from phonon_bulk.cli.audit import audit
from phonon_bulk.cli.cancel import cancel
from phonon_bulk.cli.check import check
from phonon_bulk.cli.doctor import doctor
from phonon_bulk.cli.export import export
from phonon_bulk.cli.failing import InterruptedBySignal, failure, innermost
from phonon_bulk.cli.init import init
from phonon_bulk.cli.limit import limit
from phonon_bulk.cli.pause import pause
from phonon_bulk.cli.prune import prune
from phonon_bulk.cli.resolve import resolve
from phonon_bulk.cli.resume import resume
from phonon_bulk.cli.run import run
from phonon_bulk.cli.runs import runs
from phonon_bulk.cli.simulate import simulate
from phonon_bulk.cli.status import status
from phonon_bulk.cli.submit import submit
from phonon_bulk.cli.worker import worker
from phonon_bulk.errors import Exit, PhononBulkError

app = typer.Typer(
    name="phonon-bulk",
    help="Send contact lists to Phonon, and know what happened to every contact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all accepted; 1 some contacts failed; 2 nothing was sent; 3 stopped by "
    "the provider; 4 some in doubt; 5 stopped, resumable; 70 a fault of the program.",
)
for command in (
    *(init, run, check, submit, worker, pause, resume, cancel, runs, status, limit),
    *(resolve, export, audit, prune, doctor, simulate),
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"phonon-bulk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Stand for the options that belong to no command."""


def main() -> None:
    """Run the command line; every end is one sentence and one exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # until a sending command listens itself
        signal.signal(number, _interrupt)
    try:
        app()
    except (Exception, InterruptedBySignal, KeyboardInterrupt) as error:  # noqa: BLE001 - the last
        code, sentences = failure(error)
        if not isinstance(error, PhononBulkError) and code is Exit.FAULT:
            _show_where(error)
        for sentence in sentences:
            typer.echo(f"phonon-bulk: {sentence}", err=True)
        sys.exit(code)
    finally:
        # All is done. Python gives signals their defaults back when it ends, and one that comes
        # then would be the exit code.
        for number in _WHILE_IT_ENDS:
            signal.signal(number, signal.SIG_IGN)


_WHILE_IT_ENDS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)  # Windows has the first two
]


def _interrupt(*_: object) -> None:
    raise InterruptedBySignal


def _show_where(error: BaseException) -> None:
    """Say where it happened. The error's own text is left out: it may hold contact data."""
    trace = traceback.format_tb(innermost(error).__traceback__)
    typer.echo("".join(trace), nl=False, err=True)
