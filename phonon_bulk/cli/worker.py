"""`phonon-bulk worker`: send whatever is in the journal, until told to stop."""

import typer

from phonon_bulk.cli.options import Config, Journal, Log, LogFormat, NoUvloop, Quiet


def worker(
    *,
    config: Config = None,
    journal: Journal = None,
    quiet: Quiet = False,
    log_format: Log = LogFormat.AUTO,
    no_uvloop: NoUvloop = False,
) -> None:
    """Send whatever is in the journal, from any `submit`, until told to stop.

    It takes single calls by HTTP and files from drop folders, too. SIGTERM ends it gently, a second
    one at once; SIGHUP has it read its settings anew, SIGUSR1 log how it stands.
    """
    from phonon_bulk.cli.session import Flags, begin_logging, run_loop
    from phonon_bulk.cli.working import work
    from phonon_bulk.errors import Exit

    flags = Flags(config, journal, quiet=quiet, log_format=log_format, no_uvloop=no_uvloop)
    begin_logging(flags)
    settings = flags.settings()
    aborted = run_loop(settings, work(settings, flags.settings))
    raise typer.Exit(Exit.STOPPED if aborted else Exit.DONE)
