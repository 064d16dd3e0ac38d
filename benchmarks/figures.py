"""Medians and spreads of rounds, tables of them, aims beside them, and the files that keep them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from measuring import OTHERS, commit, machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

_WHOLE_FROM = 1_000
"""Figures from here on are shown without decimals."""

Figures = dict[str, float]
"""What was measured once, by name."""

Round = dict[str, Figures]
"""The figures of each contender, or of each size, in one round."""

Spread = dict[str, Figures]
"""The median, the least and the most of each figure."""


def divided(one: Mapping[str, float], other: Mapping[str, float]) -> Figures:
    """Return each figure of `one` as a multiple of that of `other`, where that is not 0."""
    names = [name for name in one if name != OTHERS and other.get(name)]
    return {name: round(one[name] / other[name], 3) for name in names}


def of_each(records: Iterable[Mapping[str, float]]) -> Spread:
    """Return the median, the least and the most of each figure that all the records have."""
    rows = list(records)
    columns = {
        name: [row[name] for row in rows] for name in rows[0] if all(name in r for r in rows)
    }
    return {
        name: {"median": round(median(values), 3), "min": min(values), "max": max(values)}
        for name, values in columns.items()
    }


def spread(rounds: Sequence[Round]) -> dict[str, Spread]:
    """Return the spread of the figures of each contender over the rounds."""
    return {who: of_each(figures[who] for figures in rounds) for who in rounds[0]}


def table(lines: Mapping[str, Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return a table with a line for each contender and a column for each figure.

    A figure is a number, a spread, or missing. `columns` are those of the first line if not given.
    """
    names = list(next(iter(lines.values()))) if columns is None else columns
    rows = [["", *(name.replace("_", " ") for name in names)]]
    rows += [[who, *(_cell(line.get(name)) for name in names)] for who, line in lines.items()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _cell(figure: Any) -> str:
    match figure:
        case None:
            return ""
        case {"median": middle, "min": least, "max": most}:
            return f"{_number(middle)} ({_number(least)} to {_number(most)})"
        case int() | float():
            return _number(figure)
        case _:
            return str(figure)


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= _WHOLE_FROM else f"{figure:,}"


def aim(sentence: str, *, met: bool) -> str:
    """Return a line that says whether an aim is met."""
    return f"{'met:   ' if met else 'MISSED:'} {sentence}"


def keep(name: str, record: Mapping[str, Any]) -> None:
    """Write a record to results/NAME.json, with the machine and the commit, and say where it is."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"machine": machine(), "commit": commit(), **record}
    partial = path.with_suffix(".part")
    partial.write_bytes(
        orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    partial.replace(path)
    print(f"\nwritten to {path.relative_to(HERE.parent)}")
