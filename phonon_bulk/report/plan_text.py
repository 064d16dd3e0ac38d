"""A plan as an operator reads it, and as `--json` has it."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from phonon_bulk.call import INDIA, LeftOut
from phonon_bulk.errors import Exit
from phonon_bulk.report.plan import Sums, Timing
from phonon_bulk.report.summary import sum_lines

_REASONS = 10
"""How many reasons the text lists of each kind."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign would do with its list."""

    campaign: str
    source: str
    """What the list is called."""
    sums: Sums
    timing: Timing
    to: str
    """Where it would be sent: the URL of its endpoint."""
    limit: str
    """The limit in words."""
    window: str | None
    unused_columns: tuple[str, ...]
    remarks: tuple[str, ...]
    first_body: dict[str, Any] | None = field(repr=False)

    @property
    def exit(self) -> Exit:
        """1 if rows are rejected or calls do not fit, or if there are none."""
        wrong = self.sums.states[LeftOut.REJECTED] or self.timing.do_not_fit
        return Exit.SOME_FAILED if wrong or not self.sums.calls else Exit.DONE

    def to_dict(self) -> dict[str, Any]:
        """Return the plan for `--json`. Moments are ISO 8601 at +05:30."""
        sums, timing = self.sums, self.timing
        seconds = None if timing.ends is None else round(timing.ends - timing.begins, 1)
        return {
            "campaign": self.campaign,
            "list": self.source,
            "rows": sums.rows,
            "rejected": sums.states[LeftOut.REJECTED],
            "suppressed": sums.states[LeftOut.SUPPRESSED],
            "duplicates": sums.states[LeftOut.DUPLICATE],
            "calls": sums.calls,
            "reasons": _reasons(sums),
            "notes": [
                {"note": note, "contacts": contacts, "row": row}
                for note, (contacts, row) in sums.notes.items()
            ],
            "batches": len(sums.calls_of),
            "largest_body_bytes": max(sums.bytes_of, default=0),
            "to": self.to,
            "limit": self.limit,
            "begins": _iso(timing.begins),
            "seconds": seconds,
            "ends": _iso(timing.ends),
            "not_after": _iso(timing.not_after),
            "do_not_fit": timing.do_not_fit,
            "window": self.window,
            "unused_columns": list(self.unused_columns),
            "remarks": list(self.remarks),
            "first_body": self.first_body,
            "exit": self.exit,
        }

    def to_text(self) -> str:
        """Return the plan as an operator reads it, the sum written out."""
        sums = self.sums
        lines = [f"check · {self.campaign} · {self.source} · nothing is sent or written", ""]
        lines += _sum(sums)
        lines += _why(sums)
        lines += [""] + [f"  {text}" for text in self._batches()]
        lines += [""] + [f"  {text}" for text in self._times()]
        lines += [f"  note: {remark}" for remark in self.remarks]
        if self.unused_columns:
            lines.append(f"  note: not sent: {', '.join(self.unused_columns)}")
        if self.first_body is not None:
            lines += ["", *self._body(self.first_body)]
        return "\n".join(lines)

    def _batches(self) -> list[str]:
        sums = self.sums
        if not sums.calls_of:
            return ["there is no call to be sent"]
        mean = sums.calls / len(sums.calls_of)
        largest = max(sums.bytes_of)
        batches = f"{len(sums.calls_of):,} batch{'es' if len(sums.calls_of) > 1 else ''}"
        return [f"{batches} of {mean:,.1f} calls on average, the largest {largest:,} bytes"]

    def _times(self) -> list[str]:
        timing = self.timing
        lines = [f"to {self.to}, limit: {self.limit}"]
        if timing.ends is None:
            lines.append("no limit is set: it would be sent as fast as the network is")
        else:
            took = _duration(timing.ends - timing.begins)
            lines.append(
                f"started at {_clock(timing.begins)}, with no other run, it takes {took} to send,"
                f" until {_clock(timing.ends)}"
            )
        if timing.not_after is None:
            return lines
        end = _clock(timing.not_after)
        if timing.do_not_fit:
            of = f"{timing.do_not_fit:,} of {self.sums.calls:,} calls"
            return [*lines, f"{of} do not fit before {end}"]
        return [*lines, f"all of it can be handed over before {end}"]

    def _body(self, body: dict[str, Any]) -> list[str]:
        more = self.sums.calls_of[0] - len(body["calls"])
        text = json.dumps(body, indent=2, ensure_ascii=False).splitlines()
        if more:
            text[-2] = f"{text[-2]}  and {more:,} calls more"
        return ["  the first request, numbers masked:", *(f"    {line}" for line in text)]


def _reasons(sums: Sums) -> list[dict[str, Any]]:
    ordered = sorted(sums.left.items(), key=lambda item: (-item[1].rows, item[0]))
    return [
        {"state": state, "reason": reason, "contacts": left.rows, "examples": left.examples}
        for (state, reason), left in ordered
    ]


def _sum(sums: Sums) -> list[str]:
    names = [
        (LeftOut.REJECTED, "rejected"),
        (LeftOut.SUPPRESSED, "suppressed"),
        (LeftOut.DUPLICATE, "duplicates"),
    ]
    parts = [(text, sums.states[state]) for state, text in names]
    parts = [(text, rows) for text, rows in parts if rows or text == "rejected"]
    return sum_lines("rows read", sums.rows, [*parts, ("calls", sums.calls)])


def _why(sums: Sums) -> list[str]:
    lines: list[str] = []
    if reasons := _reasons(sums):
        lines += ["", "  why not:"]
        for entry in reasons[:_REASONS]:
            rows = ", ".join(_example(example) for example in entry["examples"])
            why = f"{entry['state']}: {entry['reason']}"
            lines.append(f"    {entry['contacts']:>9,} {why} ({rows})")
        if more := len(reasons) - _REASONS:
            lines += [f"              and {more:,} reasons more: see --json"] if more > 0 else []
    if sums.notes:
        lines += ["", "  changed in calls:"]
        ordered = sorted(sums.notes.items(), key=lambda item: -item[1][0])[:_REASONS]
        lines += [f"    {n:>9,} {note} (row {row:,}, for one)" for note, (n, row) in ordered]
    return lines


def _example(example: dict[str, Any]) -> str:
    numbers = "".join(f" {number}" for number in example["contact_numbers"] if number)
    return f"row {example['row']:,}{':' if numbers else ''}{numbers}"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(round(seconds), INDIA)


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else _moment(seconds).isoformat()


def _clock(seconds: float) -> str:
    return f"{_moment(seconds):%Y-%m-%d %H:%M:%S} (India)"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
