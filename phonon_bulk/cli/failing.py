"""What an error that nobody caught is to the operator: an exit code, and sentences."""

from phonon_bulk.errors import Exit, PhononBulkError, SettingsError


class InterruptedBySignal(BaseException):
    """A signal came; not a KeyboardInterrupt, which typer would turn into an exit code of its own.

    Derived from BaseException so that nothing on the way takes it for an error.
    """


def failure(error: BaseException) -> tuple[Exit, list[str]]:
    """Return the exit code, and what is said.

    Of a fault of the program its kind alone is said: its text may hold contact data.
    """
    if isinstance(error, SettingsError):
        return error.exit_code, error.problems
    if isinstance(error, PhononBulkError):
        return error.exit_code, [str(error)]
    if isinstance(error, InterruptedBySignal | KeyboardInterrupt):
        return Exit.STOPPED, ["interrupted; what was recorded is safe"]
    return Exit.FAULT, [_FAULT.format(kind=type(innermost(error)).__name__)]


_FAULT = (
    "a fault of the program itself ({kind}). What was recorded is safe: `phonon-bulk status` shows "
    "it. Please report this, with the lines that stand before it on standard error"
)


def innermost(error: BaseException) -> BaseException:
    """Return the first error of a group, and of groups in it; or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
