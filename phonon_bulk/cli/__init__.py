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
from phonon_bulk.cli.check import check
from phonon_bulk.cli.doctor import doctor
from phonon_bulk.cli.export import export
from phonon_bulk.cli.init import init
from phonon_bulk.cli.limit import limit
from phonon_bulk.cli.resolve import resolve
from phonon_bulk.cli.resume import resume
from phonon_bulk.cli.run import run
from phonon_bulk.cli.runs import runs
from phonon_bulk.cli.simulate import simulate
from phonon_bulk.cli.status import status
from phonon_bulk.cli.submit import submit
from phonon_bulk.errors import Exit, PhononBulkError, SettingsError

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
    *(init, run, check, submit, resume, runs, status, limit),
    *(resolve, export, audit, doctor, simulate),
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
    except SettingsError as error:
        _complain(*error.problems)
        sys.exit(error.exit_code)
    except PhononBulkError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (InterruptedBySignal, KeyboardInterrupt):
        _complain("interrupted; what was recorded is safe")
        sys.exit(Exit.STOPPED)
    except Exception as error:  # noqa: BLE001 - the last one to hear of it
        _report_fault(error)
        sys.exit(Exit.FAULT)


class InterruptedBySignal(BaseException):
    """A signal came; not a KeyboardInterrupt, which typer would turn into an exit code of its own.

    Derived from BaseException so that nothing on the way takes it for an error.
    """


def _interrupt(*_: object) -> None:
    raise InterruptedBySignal


def _complain(*sentences: str) -> None:
    for sentence in sentences:
        typer.echo(f"phonon-bulk: {sentence}", err=True)


def _report_fault(error: BaseException) -> None:
    """Say where it happened. The error's own text is left out: it may hold contact data."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    typer.echo("".join(traceback.format_tb(error.__traceback__)), nl=False, err=True)
    _complain(
        f"a fault of the program itself ({type(error).__name__}, see above). What was recorded is "
        "safe: `phonon-bulk status` shows it. Please report the lines above"
    )
