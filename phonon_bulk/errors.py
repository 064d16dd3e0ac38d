"""Every error this program raises on purpose.

    PhononBulkError
      +-- UnusableError       exit 2: nothing was sent; what was given can't be used
      |     +-- SettingsError     a settings or campaign file, the environment, a flag
      |     +-- ListError         the contact list
      |     +-- RunError          no such run, or the run is not in a state for this
      |     |     +-- ReadElsewhereError  its list is being read by another process
      |     |     +-- RunHeldError        it was paused, stopped or taken back meanwhile
      |     +-- JournalUnusable   the journal can't be opened, is too new, or is no journal
      +-- NotNowError         exit 5: not to be done now: out of hours, or another is at it
      +-- JournalError        exit 5: the journal failed under way; nothing unrecorded was sent
      |     +-- DamagedBodyError    one frozen body can't be read; costs only its batch
      +-- TransitionError     exit 70: a guarded change of state moved no row

The message of each is written for the operator: what failed, where, what to do next. None holds
a security id or contact data; a list error names rows and columns, never their contents.
"""

from enum import IntEnum


class Exit(IntEnum):
    """What the command tells the shell. Fixed: operators' scripts rely on these."""

    DONE = 0
    """Every contact was accepted, but for those left out on purpose."""
    SOME_FAILED = 1
    """Finished; some contacts were rejected, refused or expired."""
    UNUSABLE = 2
    """Nothing was sent: the command line, the settings or the list can't be used."""
    BLOCKED = 3
    """Stopped: the provider would refuse everything. Resumable."""
    IN_DOUBT = 4
    """Finished but for batches in doubt."""
    STOPPED = 5
    """Told to stop, or out of time. Resumable."""
    FAULT = 70
    """A fault of the program itself."""


class PhononBulkError(Exception):
    """Base of all; `exit_code` is what the command ends with if nobody catches it."""

    exit_code = Exit.FAULT


class UnusableError(PhononBulkError):
    """What was given can't be used, and nothing was sent."""

    exit_code = Exit.UNUSABLE


class SettingsError(UnusableError):
    """A settings file, a campaign file, the environment or a flag is wrong.

    `problems` has one line for each wrong place; all are reported at once.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ListError(UnusableError):
    """The contact list can't be used: missing, empty, not in the expected shape."""


class RunError(UnusableError):
    """There is no such run, or it is not in a state for what was asked."""


class ReadElsewhereError(RunError):
    """The list of the run is being read by another process, or was read to its end."""


class RunHeldError(RunError):
    """Nothing of the run is to be sent now: it was paused, stopped or taken back meanwhile."""


class JournalUnusable(UnusableError):  # noqa: N818 - it reads as what it is
    """The journal can't be opened, is of a newer version, or is no journal at all."""


class NotNowError(PhononBulkError):
    """It is not to be done now: out of its hours, or another process is at it. Resumable."""

    exit_code = Exit.STOPPED


class JournalError(PhononBulkError):
    """The journal failed under way (disk full, locked, damaged). Nothing unrecorded was sent."""

    exit_code = Exit.STOPPED


class DamagedBodyError(JournalError):
    """What is kept of one batch can't be read any more. It costs that batch, not the run."""


class TransitionError(PhononBulkError):
    """A guarded change of state moved no row: somebody else moved the batch, or a bug did."""
