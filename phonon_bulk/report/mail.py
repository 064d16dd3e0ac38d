"""What a command did, for whoever was not there: a text fit to be mailed, and JSON for machines.

Neither holds contact data: sums, reasons (which are our own words and the list's column names), and
what is to be done next.
"""

import contextlib
import os
import textwrap
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from phonon_bulk.errors import Exit
from phonon_bulk.report.summary import Summary, sum_lines

COLUMNS = 78
"""No line of the text is longer."""

_RUNNING = "running"
_WORDS = {
    Exit.DONE: "done",
    Exit.SOME_FAILED: "finished, but not all contacts were placed",
    Exit.UNUSABLE: "nothing was sent",
    Exit.BLOCKED: "stopped by the provider",
    Exit.IN_DOUBT: "finished but for calls in doubt",
    Exit.STOPPED: "stopped before its end",
    Exit.FAULT: "ended by a fault of the program",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a command did. Times are in seconds since the epoch."""

    command: str
    """`run`, `resume` or `submit`."""
    given: str
    """What it was given: the campaign file's name, or the number of a run."""
    started_at: float
    ended_at: float | None = None
    """None: it is still at it, or it was killed."""
    exit: Exit | None = None
    advice: tuple[str, ...] = ()
    """What went wrong, and what to do next, a sentence or two each."""
    summary: Summary | None = None
    """None: there is no run yet, or its journal can't be read."""

    @property
    def outcome(self) -> str:
        """The exit code by name: `done`, `some_failed`, `unusable`, …, or `running`."""
        return _RUNNING if self.exit is None else self.exit.name.lower()


def to_json(report: Report) -> bytes:
    """Return the summary as `--json` has it, and five fields more; null is what is not known."""
    sums: dict[str, Any] = {field.name: None for field in fields(Summary)}
    if report.summary is not None:
        sums = report.summary.to_dict()
    record = {
        **sums,
        "exit": report.exit,
        "command": report.command,
        "outcome": report.outcome,
        "started_at": _iso(report.started_at),
        "ended_at": None if report.ended_at is None else _iso(report.ended_at),
        "advice": list(report.advice),
    }
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def to_text(report: Report) -> str:
    """Return a text of which the first line can be the subject of a mail."""
    lines = [subject(report), "", *_head(report)]
    if report.advice:
        lines += ["", "What to know and to do:", *_items(report.advice)]
    if report.summary is not None:
        lines += ["", *_sums(report.summary), *_reasons(report.summary)]
    return "\n".join(lines) + "\n"


def subject(report: Report) -> str:
    """Return one line of plain ASCII: what it was, how it ended, how many were accepted."""
    summary = report.summary
    what = f"phonon-bulk {report.command}"
    if report.exit is None:
        began = _local(report.started_at)[: len("2026-11-24 10:00")]
        text = f"{what}: began {began}, no end recorded ({report.given})"
    elif summary is None:
        text = f"{what}: {_WORDS[report.exit]} ({report.given})"
    else:
        text = f"{what} {summary.run}: {_short(report, summary)} ({summary.campaign})"
    return _shortened(_plain(text))


def _short(report: Report, summary: Summary) -> str:
    """Return how it ended in a few words; what asks for something to be done goes first."""
    accepted = f"{summary.accepted:,} of {summary.rows:,} accepted"
    match report.exit:
        case Exit.DONE if report.command == "submit":
            return f"{summary.calls:,} calls ready to be sent"
        case Exit.DONE:
            return f"done, {accepted}"
        case Exit.IN_DOUBT:
            return f"{summary.in_doubt:,} in doubt, {accepted}"
        case Exit.BLOCKED:
            return f"BLOCKED, {accepted}"
        case Exit.STOPPED if summary.to_send:
            return f"stopped, {summary.to_send:,} to send, {accepted}"
        case Exit.STOPPED | Exit.FAULT | Exit.UNUSABLE:
            return f"{'stopped' if report.exit is Exit.STOPPED else 'FAILED'}, {accepted}"
    failed = summary.rejected if report.command == "submit" else summary.rows - _placed(summary)
    return f"finished, {failed:,} not placed, {accepted}"


def _placed(summary: Summary) -> int:
    return summary.accepted + summary.suppressed + summary.duplicates


def _head(report: Report) -> list[str]:
    lines = []
    if report.summary is not None:
        lines += _field("campaign", report.summary.campaign)
        lines += _field("run", str(report.summary.run))
    else:
        lines += _field("given", report.given)
    lines += _field("started", _local(report.started_at))
    if report.exit is None or report.ended_at is None:
        return lines + _field("ended", "it is still running, or it was killed")
    worked = _worked(report.ended_at - report.started_at)
    lines += _field("ended", f"{_local(report.ended_at)}, after {worked}")
    return lines + _field("exit code", f"{int(report.exit)}, {_WORDS[report.exit]}")


def _field(name: str, value: str) -> list[str]:
    return _wrapped(_clean(value), f"{name + ':':<12}", " " * 12)


def _sums(summary: Summary) -> list[str]:
    names = ("rejected", "suppressed", "duplicates", "calls")
    always = {"rejected", "calls", "accepted", "refused"}
    states = ("accepted", "refused", "expired", "cancelled", "in_doubt", "abandoned", "to_send")

    def shown(which: tuple[str, ...]) -> list[tuple[str, int]]:
        values = [(name.replace("_", " "), getattr(summary, name)) for name in which]
        return [(name, value) for name, value in values if value or name in always]

    lines = sum_lines("rows read", summary.rows, shown(names))
    lines += sum_lines("calls", summary.calls, shown(states))
    if not summary.list_read:
        lines.append(f"  the list was read up to row {summary.rows:,} only")
    text = f"{summary.batches:,} batches, {summary.requests:,} requests"
    return [*lines, "", f"  {text}, {summary.seconds:,.1f} seconds"]


def _reasons(summary: Summary) -> list[str]:
    lines: list[str] = []
    if summary.reasons:
        lines += ["", "Why not:"]
    for entry in summary.reasons:
        state = str(entry["state"]).replace("_", " ")
        lines += _counted(entry, f"{state}: {entry['reason']}")
    if summary.notes:
        lines += ["", "Changed in calls:"]
    for entry in summary.notes:
        lines += _counted(entry, str(entry["note"]))
    return lines


def _counted(entry: dict[str, Any], text: str) -> list[str]:
    example = f" (row {entry['row']:,}, for one)" if "row" in entry else ""
    return _wrapped(_clean(text + example), f"{entry['contacts']:>12,} ", " " * 13)


def _items(sentences: tuple[str, ...]) -> list[str]:
    return [line for text in sentences for line in _wrapped(_clean(text), "  - ", "    ")]


_UNBROKEN = "\N{NO-BREAK SPACE}"


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Return lines; a command between `…` stays on one if it fits."""
    pieces = text.split("`")
    pieces[1::2] = [piece.replace(" ", _UNBROKEN) for piece in pieces[1::2]]
    lines = textwrap.wrap(
        "`".join(pieces),
        COLUMNS,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )
    return [line.replace(_UNBROKEN, " ").rstrip() for line in lines or [first]]


def _clean(text: str) -> str:
    """Return a text without line ends and other signs that are not to be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(text: str) -> str:
    return _clean(text).encode("ascii", "replace").decode()


def _shortened(text: str) -> str:
    return text if len(text) <= COLUMNS else f"{text[: COLUMNS - 3]}..."


def _local(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M:%S %z}"


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="seconds")


def _worked(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def write(report: Report, path: Path) -> None:
    """Write a report, as JSON if the file ends in .json; its owner alone can read it.

    The file takes its name when it is whole, in the place of the one that is there. A link is
    followed.

    Raises OSError if it can't be written, and if there is something else than a file.
    """
    text = to_json(report) if path.suffix.lower() == ".json" else to_text(report).encode()
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(0, "it is no file")
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    partial.unlink(missing_ok=True)  # of a process that had the same number, and was killed
    try:
        with open(partial, "xb", opener=_private) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
