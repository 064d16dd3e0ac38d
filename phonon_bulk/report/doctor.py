"""Can this machine send? What is looked at, and what to do about what is not well.

Nothing is sent and nothing in a journal is changed, but that an older one is brought to this
version's form, as any command does. The network is not looked at yet.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from phonon_bulk.config import DEFAULT_ACCOUNT, Settings
from phonon_bulk.errors import PhononBulkError, SettingsError
from phonon_bulk.journal.connection import try_to_write
from phonon_bulk.journal.evidence import SqliteEvidence
from phonon_bulk.report.audit import conservation
from phonon_bulk.report.summary import Summary, summarize

_PRIVATE = 0o077
_FEW_BYTES, _TOO_FEW_BYTES = 1 << 30, 1 << 26
_RUNS_LOOKED_AT = 20


class Grade(StrEnum):
    """How well a thing is."""

    WELL = "well"
    MIND = "mind"
    """Sending works; somebody should look at this."""
    ILL = "ill"
    """Sending would not work, or its books can't be relied on."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    grade: Grade
    found: str
    """What was found, and where it is not well, what to do."""

    def to_dict(self) -> dict[str, Any]:
        """Return the check for `--json`."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Check]:
    """Yield what is found, the most basic things first."""
    yield from _security_ids(settings)
    path = settings.journal_path
    if path.parent == Path(path.anchor):
        text = f"{path} lies directly under {path.anchor}: three slashes begin an absolute path"
        yield Check("journal", Grade.MIND, f"{text}. Was sqlite:{path.name} meant?")
    yield _disk(path)
    if not path.exists():
        yield _no_journal(path)
        return
    yield _journal_file(path)
    yield _journal_can_be_written(path)
    try:
        with SqliteEvidence(path) as evidence:
            yield _integrity(evidence)
            yield _conservation(evidence)
            yield from _runs(evidence)
    except PhononBulkError as error:
        yield Check("journal", Grade.ILL, str(error))


def _security_ids(settings: Settings) -> Iterator[Check]:
    names = sorted(settings.accounts) or [DEFAULT_ACCOUNT]
    for name in names:
        what = "security id" if names == [DEFAULT_ACCOUNT] else f"security id of {name}"
        try:
            settings.security_id(name)
        except SettingsError as error:
            yield Check(what, Grade.ILL, str(error))
            continue
        warning = settings.security_id_file_warning(name)
        if warning:
            yield Check(what, Grade.MIND, warning)
        else:
            yield Check(what, Grade.WELL, "there, and of the right form; only Phonon can say more")


def _disk(path: Path) -> Check:
    folder = _there(path)
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:,.1f} GB free where the journal is ({folder})"
    if free < _TOO_FEW_BYTES:
        return Check("disk", Grade.ILL, f"{text}: free some space, or move the journal")
    if free < _FEW_BYTES:
        return Check("disk", Grade.MIND, f"{text}: a million contacts take up to 100 MB")
    return Check("disk", Grade.WELL, text)


def _there(path: Path) -> Path:
    """Return the nearest folder above `path` that exists."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def _no_journal(path: Path) -> Check:
    folder = _there(path)
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("journal", Grade.WELL, f"there is none at {path} yet; the first run makes it")
    text = f"there is none at {path}, and {folder} can't be written by this user"
    return Check("journal", Grade.ILL, f"{text}: change its owner, or name another `journal`")


def _journal_file(path: Path) -> Check:
    mode = path.stat().st_mode
    if mode & _PRIVATE:
        text = f"{path} holds contact data, and others than its owner may use it"
        return Check("journal file", Grade.MIND, f"{text}: chmod 600 {path}")
    return Check("journal file", Grade.WELL, str(path))


def _journal_can_be_written(path: Path) -> Check:
    try:
        try_to_write(path)
    except PhononBulkError as error:
        return Check("journal writable", Grade.ILL, str(error))
    return Check("journal writable", Grade.WELL, "it can be written, and nobody holds it locked")


def _integrity(evidence: SqliteEvidence) -> Check:
    faults = evidence.integrity()
    if not faults:
        return Check("SQLite's integrity check", Grade.WELL, "ok")
    text = f"{faults[0]}" + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
    return Check(
        "SQLite's integrity check",
        Grade.ILL,
        f"the file is damaged: {text}. Send nothing with it: copy it away with its -wal, and take "
        "it back from a backup, or save what can be read with `sqlite3 journal.db .recover`",
    )


def _conservation(evidence: SqliteEvidence) -> Check:
    finding = conservation(evidence, evidence.runs(-1))
    what = "conservation"
    if finding.holds:
        return Check(what, Grade.WELL, f"{finding.promise} ({finding.seen})")
    text = f"{finding.faults[0]}; `phonon-bulk audit` shows all"
    return Check(what, Grade.ILL, f"{text}. Keep the journal as it is and report it")


def _runs(evidence: SqliteEvidence) -> Iterator[Check]:
    for run in evidence.runs(_RUNS_LOOKED_AT):
        summary = summarize(evidence, run.id)
        todo = _to_do(summary)
        if todo:
            yield Check(f"run {run.id}", Grade.MIND, todo)


def _to_do(summary: Summary) -> str | None:
    """Return what a run waits for from a person, None if nothing."""
    if summary.state == "stopped":
        return f"stopped: {summary.reason}. Mend that, then `phonon-bulk resume {summary.run}`"
    if summary.to_send or summary.state == "reading":
        left = f"{summary.to_send:,} calls to send" if summary.to_send else "its list is not read"
        return f"{left}; if nothing is at work on it: `phonon-bulk resume {summary.run}`"
    if summary.in_doubt:
        return f"{summary.in_doubt:,} calls in doubt: `phonon-bulk resolve {summary.run}`"
    return None


def to_text(checks: list[Check]) -> str:
    """Return the checks as an operator reads them."""
    width = max(len(check.what) for check in checks)
    lines = [f"{check.grade:<5} {check.what:<{width}}  {check.found}" for check in checks]
    ill = sum(check.grade is Grade.ILL for check in checks)
    if ill:
        lines += ["", f"this machine can't send as it is: {ill} of {len(checks)} are ill"]
    else:
        lines += ["", "this machine can send; whether Phonon lets it in was not tried"]
    return "\n".join(lines)
