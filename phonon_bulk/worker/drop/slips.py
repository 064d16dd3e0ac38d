"""What is written beside a file that was taken: which run has it, or why none has. Texts."""

from dataclasses import dataclass, field
from datetime import datetime

from phonon_bulk.call import INDIA
from phonon_bulk.config.problems import plain
from phonon_bulk.report.summary import Summary, to_text

DONE, FAILED = "done", "failed"
"""The folders beside a watched one."""


@dataclass(frozen=True, slots=True)
class Slip:
    """What became of a file."""

    folder: str
    """`done` or `failed`."""
    why: str
    """A sentence; without contact data."""
    todo: str
    """What to do next."""
    summary: Summary | None = None
    """Of the run that has its rows; of one that has not it is None."""
    remarks: tuple[str, ...] = field(default=())
    rejected_of: int | None = None
    """The run whose rejected rows are to be put beside it."""
    gives_up: int | None = None
    """The run whose list has no more rows to come, once this is written."""


def taken(summary: Summary, remarks: tuple[str, ...] = ()) -> Slip:
    """Return what is to be said of a list that was read to its end."""
    run = summary.run
    todo = (
        f"The worker sends its calls: `phonon-bulk status {run}` says how far it is,"
        f" `phonon-bulk export {run} -o FILE` what became of each contact."
    )
    if summary.rejected:
        todo += (
            " The rejected rows are beside this file, as they stood in the list and with the"
            " reason: mend them, and drop that file."
        )
    return Slip(
        DONE,
        f"taken: run {run} has all of its rows",
        todo,
        summary,
        remarks,
        run if summary.rejected else None,
    )


def repeated(summary: Summary) -> Slip:
    """Return what is to be said of a list that a run has already."""
    run = summary.run
    return Slip(
        DONE,
        f"run {run} of this campaign has this very list already: nobody is called from it again",
        "To call everybody once more: `phonon-bulk submit CAMPAIGN.toml LIST --again`.",
        summary,
    )


def cancelled(summary: Summary) -> Slip:
    """Return what is to be said of a list whose run was taken back."""
    run = summary.run
    return Slip(
        FAILED,
        f"run {run} of this very list was cancelled, and nothing more of it can be sent",
        "To send the list all the same: `phonon-bulk submit CAMPAIGN.toml LIST --again`.",
        summary,
    )


def unusable(why: str) -> Slip:
    """Return what is to be said of a list that can't be used. No call was made of it."""
    return Slip(
        FAILED,
        f"the list can't be used, and nobody is called from it: {why}",
        "Mend that, and drop the file again.",
    )


def cut_short(summary: Summary, why: str) -> Slip:
    """Return what is to be said of a list of which a part was read, and the rest can't be."""
    run, row = summary.run, summary.rows
    return Slip(
        FAILED,
        f"run {run} has this list up to row {row:,} only: {why}",
        f"Calls of the first {row:,} rows may have been sent: `phonon-bulk status {run}` has the"
        f" sums. `phonon-bulk resume {run} --without-rest` sends what is left of them,"
        f" `phonon-bulk cancel {run}` takes it back. For the rows after them, drop a list that"
        " has no others: whoever is in both is called twice.",
        summary,
        rejected_of=run if summary.rejected else None,
        gives_up=run,
    )


def written_to(summary: Summary) -> Slip:
    """Return what is to be said of a file that somebody wrote to after it was read."""
    run, rows = summary.run, summary.rows
    return Slip(
        FAILED,
        f"it was written to after it was read: run {run} has the {rows:,} rows that it had before,"
        " and nobody is called from what it has now",
        "Drop a list of the rows that are new: whoever is in both is called twice. Write lists"
        " under another name, and rename them when they are complete.",
        summary,
        rejected_of=run if summary.rejected else None,
    )


def text_of(slip: Slip, name: str, at: float) -> str:
    """Return what is written beside a file that came under this name, at `at` (since the epoch)."""
    moment = datetime.fromtimestamp(at, INDIA).isoformat(" ", "seconds")
    parts = [f"{plain(name)}\n{moment}", slip.why, slip.todo]
    parts += ["\n".join(f"- {remark}" for remark in slip.remarks)] if slip.remarks else []
    parts += (
        [f"As it stood then:\n\n{to_text(slip.summary, at_work=False)}"] if slip.summary else []
    )
    return "\n\n".join(parts) + "\n"
