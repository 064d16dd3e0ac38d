"""Draws what the parts of `make bench` measured: an SVG for each JSON in benchmarks/results/.

    python benchmarks/plots.py              all that there is
    python benchmarks/plots.py stages       one

What was not measured yet is passed over, with a line that says so. The same figures give the same
file. Bars are medians, and the thin lines on them reach from the least to the most of the rounds.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from at_limit import FILLED
from figures import RESULTS
from growth import MOST_MB
from startup import AIMS

Axes = Any
Record = dict[str, Any]

BLUE, LIGHT, ORANGE, GREEN = "#0072b2", "#56b4e9", "#d55e00", "#009e73"
GREY, DARK = "#999999", "#555555"
_PLAIN = "{x:,.0f}"


# ---- what all have in common


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **how: Any) -> Any:
    """Return a figure and its axes, in a list."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **how)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes.flat)


def bars(
    axes: Axes,
    spreads: Mapping[str, Mapping[str, float]],
    colours: Sequence[str],
    form: str = "{:,.0f}",
) -> None:
    """Draw a horizontal bar for each spread, from above, with its figure beside it."""
    names, of = list(spreads), list(spreads.values())
    middles = [one["median"] for one in of]
    reach = [
        [one["median"] - one["min"] for one in of],
        [one["max"] - one["median"] for one in of],
    ]
    axes.barh(names, middles, color=colours, xerr=reach, error_kw={"elinewidth": 1})
    for place, one in enumerate(of):
        text = form.format(one["median"])
        axes.annotate(text, (one["max"], place), (4, 0), va="center", textcoords="offset points")
    if "," in form:
        axes.xaxis.set_major_formatter(_PLAIN)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)


def line(
    axes: Axes,
    of: Mapping[float, Mapping[str, Mapping[str, float]]],
    figure: str,
    words: str,
    *,
    x: str = "log",
    y: str = "linear",
    name: str | None = None,
    colour: str = BLUE,
) -> None:
    """Draw a line through the medians of one figure, over the numbers that `of` has."""
    spreads = [one[figure] for one in of.values()]
    middles = [one["median"] for one in spreads]
    reach = [
        [one["median"] - one["min"] for one in spreads],
        [one["max"] - one["median"] for one in spreads],
    ]
    axes.errorbar(list(of), middles, yerr=reach, color=colour, marker="o", label=name, capsize=3)
    axes.set_xscale(x)
    axes.set_yscale(y)
    axes.xaxis.set_major_formatter(_PLAIN)
    if y == "log" or spreads[0]["max"] >= 1000:
        axes.yaxis.set_major_formatter(_PLAIN)
    if y != "log":
        _from_zero_to(axes, max(one["max"] for one in spreads))
    axes.set_ylabel(words)
    axes.grid(color="0.9")


def mark(axes: Axes, at: float) -> None:
    """Draw an aim, or a limit: a dotted line across."""
    axes.axhline(at, color="black", linewidth=1, linestyle=":")
    _from_zero_to(axes, at)


def _from_zero_to(axes: Axes, most: float) -> None:
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.08 * most))


# ---- part 3: stages

GROUPS = {
    "the list": (BLUE, ("look over", "read", "write calls")),
    "frozen": (LIGHT, ("pack", "compress", "hash", "thaw")),
    "the journal": (ORANGE, ("commit", "claim", "mark as sending", "settle")),
    "the network": (GREEN, ("post",)),
}
"""The stages that belong together."""


def draw_stages(record: Record) -> Any:
    """Draw what each stage costs, and their sum beside whole runs and the floor."""
    figure, (upper, lower) = new_figure(8.5, 7.0, 2, height_ratios=[12, 5], sharex=False)
    of = record["stages"]
    bars(upper, of, [_group_of(name)[1] for name in of], "{:.2f}")
    upper.set_title(
        f"CPU time of each stage by itself, {record['flow_variables']} flow variables",
    )
    _draw_sums(lower, record)
    lower.set_title("All of them, whole runs, and the floor: bodies posted from memory")
    for axes in (upper, lower):
        axes.set_xlabel("microseconds a contact")
    return figure


def _group_of(stage: str) -> tuple[str, str]:
    """Return the group of a stage and its colour."""
    found = ((name, colour) for name, (colour, members) in GROUPS.items() if stage in members)
    return next(found, ("else", GREY))


def _draw_sums(axes: Axes, record: Record) -> None:
    whole, floor = record["whole"], record["floor"]
    spreads = {
        "sum of the stages": record["sum"],
        "the whole run": whole["sqlite"]["us_a_contact"],
        "the same without the\njournal's writes": whole["memory"]["us_a_contact"],
        **{f"floor: {name}": of for name, of in floor.items()},
    }
    bars(axes, spreads, [GREY, DARK, GREY, *[GREEN] * len(floor)], "{:.2f}")
    begin = 0.0
    for name, (colour, members) in GROUPS.items():
        width = sum(record["stages"].get(member, {"median": 0.0})["median"] for member in members)
        axes.barh("sum of the stages", width, left=begin, color=colour, label=name)
        begin += width
    axes.legend(frameon=False, ncols=2, loc="lower right")


# ---- part 1: end to end

_MEASURES = {
    "contacts_per_cpu_second": "contacts a CPU second",
    "contacts_per_second": "contacts a second",
    "peak_mb": "peak memory, MB",
}
_OURS = "phonon-bulk"


def draw_end_to_end(record: Record) -> Any:
    """Draw all contenders, a column for each shape of the list."""
    shapes = record["shapes"]
    figure, axes = new_figure(6.5 * len(shapes), 7.5, len(_MEASURES), len(shapes))
    for place, (measure, words) in enumerate(_MEASURES.items()):
        for column, shape in enumerate(shapes):
            here = axes[place * len(shapes) + column]
            contenders = shape["contenders"].items()
            spreads = {_called(who, of, shape): of[measure] for who, of in contenders}
            bars(here, spreads, [BLUE if who == _OURS else GREY for who in spreads])
            here.set_xlabel(words)
    for here, shape in zip(axes, shapes, strict=False):
        here.set_title(f"{shape['contacts']:,} contacts, {shape['variables']} flow variables")
    return figure


def _called(who: str, of: Record, shape: Record) -> str:
    """Return a contender's name, with the length of its list if that was a shorter one."""
    contacts = of["contacts"]
    return who if contacts == shape["contacts"] else f"{who} ({contacts:,})"


# ---- part 2: at the limit

_USERS = {"ours": BLUE, "server": GREY, "everything_else": LIGHT}


def draw_at_limit(record: Record) -> Any:
    """Draw how much of the limit is filled, and who had the machine."""
    figure, (upper, lower) = new_figure(8.5, 4.2, 2, height_ratios=[3, 2])
    of, periods = record["spread"], record["periods"]
    share = record["limit"] * record["seconds"] / 60 / 100
    window = {name: value / share for name, value in of["worst_window"].items()}
    spreads = {
        f"filled, {periods} x {record['seconds']:g} s": of["filled_percent"],
        "the emptiest of these": of["least_filled_percent"],
        f"the fullest {record['seconds']:g} s": window,
    }
    bars(upper, spreads, [BLUE, BLUE, ORANGE], "{:.1f}")
    upper.set_title(f"{record['limit']:,} requests a minute, {record['how']}")
    upper.set_xlabel("% of the limit")
    upper.axvline(FILLED, color="black", linewidth=1, linestyle=":")
    begin = 0.0
    for who, colour in _USERS.items():
        width = of[f"percent_of_machine_{who}"]["median"]
        words = f"{who.replace('_', ' ')} ({width:.0f} %)"
        lower.barh(["CPU time"], width, left=begin, color=colour, label=words)
        begin += width
    lower.set_xlim(0, 100)
    lower.set_xlabel("% of all cores")
    lower.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


# ---- part 4: growth


def draw_growth(record: Record) -> Any:
    """Draw what happens when there is more of something."""
    figure, axes = new_figure(9.5, 9.5, 3, 2)
    rate, memory, latency, bodies, claims, beside = axes
    sizes = _of(record, "sizes")
    line(rate, sizes, "contacts_per_cpu_second", "contacts", name="a CPU second")
    line(rate, sizes, "contacts_per_second", "contacts", name="a second", colour=ORANGE)
    rate.legend(frameon=False)
    line(memory, sizes, "peak_mb", "peak memory, MB")
    mark(memory, MOST_MB)
    _draw_latencies(latency, record)
    line(bodies, _of(record, "bodies"), "contacts_per_second", "contacts a second", y="log")
    line(claims, _of(record, "journals"), "claim_ms", "ms, a claim", x="symlog")
    line(beside, _of(record, "journals"), "cpu_seconds", "CPU seconds, a run", x="symlog")
    titles = {
        "contacts in the list": (rate, memory),
        "ms until the server answers": (latency,),
        "calls in a body": (bodies,),
        "settled batches in the journal": (claims, beside),
    }
    for words, those in titles.items():
        for one in those:
            one.set_xlabel(words)
    return figure


def _draw_latencies(axes: Axes, record: Record) -> None:
    of = _of(record, "latencies")
    line(axes, of, "requests_per_second", "requests a second", name="no limit")
    line(axes, of, "under_the_limit", "requests a second", name="at the limit", colour=ORANGE)
    mark(axes, record["limit"] / 60)
    axes.legend(frameon=False)


def _of(record: Record, part: str) -> dict[float, Any]:
    """Return the spreads of one of the four, by the number that their names begin with."""
    spread = record[part]["spread"]
    return {float(name.split()[0].replace(",", "")): of for name, of in spread.items()}


# ---- part 5: start-up


def draw_startup(record: Record) -> Any:
    """Draw the seconds of each command, with the aims."""
    figure, (axes,) = new_figure(8.5, 3.6)
    spreads = {name: of["seconds"] for name, of in record["spread"].items()}
    bars(axes, spreads, [BLUE if name in AIMS else GREY for name in spreads], "{:.2f}")
    for place, name in enumerate(spreads):
        if name in AIMS:
            axes.plot([AIMS[name]] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2)
    axes.set_title(
        f"Start-up; black: the aims. A list of {record['contacts']:,} contacts,"
        f" a journal of {record['batches']:,} batches",
        fontsize="medium",
    )
    axes.set_xlabel("seconds")
    return figure


PARTS: dict[str, Callable[[Record], Any]] = {
    "end_to_end": draw_end_to_end,
    "at_limit": draw_at_limit,
    "at_limit-read": draw_at_limit,
    "stages": draw_stages,
    "stages-20": draw_stages,
    "growth": draw_growth,
    "startup": draw_startup,
}
"""How each part is drawn, by the name of its file."""


# ---- all of them


def draw(name: str) -> str:
    """Draw one part, if it was measured; return a line that says what was done."""
    source, target = RESULTS / f"{name}.json", RESULTS / f"{name}.svg"
    try:
        record = orjson.loads(source.read_bytes())
    except FileNotFoundError:
        return f"{name}: not measured yet (there is no {source.name})"
    try:
        figure = PARTS[name](record)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        return f"{name}: NOT DRAWN: {source.name} is not as it is written now ({error!r})"
    save(figure, target)
    return f"{name}: {target.relative_to(RESULTS.parent.parent)}"


def save(figure: Any, path: Path) -> None:
    """Write a figure as SVG: the same one gives the same bytes."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Draw what the command line names, or all that there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    names = parser.parse_args().names or list(PARTS)
    if unknown := set(names) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError:
        print("no pictures: matplotlib is not installed (pip install --editable '.[bench]')")
        return
    lines = [draw(name) for name in names]
    print("\n".join(lines))
    sys.exit(int(any("NOT DRAWN" in line for line in lines)))


if __name__ == "__main__":
    main()
