"""What `prune` does, and how it says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from phonon_bulk.call import INDIA
from phonon_bulk.config import Settings
from phonon_bulk.errors import RunError
from phonon_bulk.jobs import lists
from phonon_bulk.jobs.clearing import prune
from phonon_bulk.jobs.lists import DAY
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.pruning import Old, bytes_of, survey
from phonon_bulk.journal.sqlite import SqliteJournal

_LISTED = 5
"""Runs that are named, of those that have not ended."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which runs would be pruned, and which are as old and have not ended."""

    runs: list[Old]
    left: dict[int, str]


@dataclass(frozen=True, slots=True)
class Report:
    """What was deleted, or would be."""

    runs: tuple[int, ...]
    calls: int
    bytes_freed: int
    left: Mapping[int, str]
    """Runs that have not ended, and why not."""
    file_bytes: tuple[int, int]
    """How large the journal's files were before, and are now."""
    dry_run: bool = False
    kept_as_it_is: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        before, after = self.file_bytes
        return {
            "dry_run": self.dry_run,
            "runs": list(self.runs),
            "calls": self.calls,
            "bytes_freed": self.bytes_freed,
            "file_bytes_before": before,
            "file_bytes": after,
            "left": [{"run": run, "why": why} for run, why in self.left.items()],
            "to_be_compacted": self.kept_as_it_is,
        }

    def to_text(self) -> str:
        """Return it as an operator reads it."""
        lines = [self._deleted()]
        if self.left:
            lines.append(f"{len(self.left):,} runs are as old and have not ended; left alone:")
            lines += [f"  run {run}: {why}" for run, why in list(self.left.items())[:_LISTED]]
            if len(self.left) > _LISTED:
                lines.append(f"  and {len(self.left) - _LISTED:,} more (--json names all)")
        if warning := self.warning:
            lines.append(warning)
        return "\n".join(lines)

    @property
    def warning(self) -> str | None:
        """What is still to be done, if something is."""
        if not self.kept_as_it_is:
            return None
        return (
            f"{self.kept_as_it_is}, so the journal could not be written anew: pieces of what was "
            "deleted may be in unused parts of the file, and space may not be given back yet. "
            "Prune once more when nobody is at it"
        )

    def _deleted(self) -> str:
        if not self.runs:
            return "there is nothing to prune"
        verb = "would be" if self.dry_run else "is"
        before, after = self.file_bytes
        text = (
            f"contact data of {len(self.runs):,} runs ({self.calls:,} calls) {verb} deleted: "
            f"{_megabytes(self.bytes_freed)}"
        )
        if self.dry_run:
            return f"{text} of {_megabytes(before)}"
        return f"{text}; the journal was {_megabytes(before)}, and is {_megabytes(after)} now"


def plan_for(settings: Settings, days: int, now: float, run: int | None) -> Plan:
    """Return what is to be pruned. Nothing is written.

    Raises RunError if `run` is given and can't be pruned; JournalUnusable if there is no journal.
    """
    before = now - days * DAY
    old = [each for each in survey(settings.journal_path, before) if run in (None, each.run)]
    due = [each for each in old if each.keeps is None and each.ended_at < before]
    if run is not None and not due:
        _refuse(settings, run, days, old)
    return Plan(due, {each.run: each.keeps for each in old if each.keeps})


def _refuse(settings: Settings, run: int, days: int, old: list[Old]) -> None:
    """Say why a run can't be pruned; nothing, if it was pruned before."""
    with SqliteBooks(settings.journal_path) as books:
        if books.run(run).pruned_at is not None:
            return
    for one in old:
        if one.keeps:
            raise RunError(
                f"run {run} has not ended: {one.keeps}. Nothing was deleted. `phonon-bulk status "
                f"{run}` shows how far it is; `resume` ends it, `cancel` takes it back, `resolve` "
                "settles doubts"
            )
    when = (
        f"it counts as ended from {_date(old[0].ended_at)} on" if old else "it was begun since then"
    )
    raise RunError(
        f"run {run} did not end more than {days} days ago ({when}; a run ends with the day on "
        "which its calls were to be made): nothing was deleted"
    )


def report_of_plan(settings: Settings, plan: Plan) -> Report:
    """Return what would be deleted."""
    runs = [each.run for each in plan.runs]
    size = size_of(settings)
    return Report(
        runs=tuple(runs),
        calls=sum(each.calls for each in plan.runs),
        bytes_freed=bytes_of(settings.journal_path, runs),
        left=plan.left,
        file_bytes=(size, size),
        dry_run=True,
    )


async def carry_out(settings: Settings, days: int, now: float, run: int | None) -> Report:
    """Prune; see `jobs.clearing.prune`."""
    before = size_of(settings)
    journal = SqliteJournal(settings.journal_path, settings.sending.journal_wait)
    try:
        cleared = await prune(journal, days, now, run=run)
    finally:
        await journal.close()
    lists.clear_kept(settings)
    pruned = cleared.pruned
    return Report(
        runs=pruned.runs,
        calls=pruned.calls,
        bytes_freed=pruned.bytes_freed,
        left=pruned.left,
        file_bytes=(before, size_of(settings)),
        kept_as_it_is=cleared.kept_as_it_is,
    )


def size_of(settings: Settings) -> int:
    """Return the bytes of the journal and its -wal."""
    path = settings.journal_path
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def refuse_export_of_pruned(books: SqliteBooks, run: int) -> None:
    """Raise RunError if there is no such run, or if whom it called was deleted."""
    pruned_at = books.run(run).pruned_at
    if pruned_at is not None:
        raise RunError(
            f"the contact data of run {run} was deleted on {_date(pruned_at)} (prune), so there is "
            f"nothing to export. Its counts and reasons: `phonon-bulk status {run}`"
        )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, INDIA).strftime("%Y-%m-%d %H:%M %z")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
