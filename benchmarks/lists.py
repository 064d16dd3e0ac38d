"""`make bench-lists`: how quickly a list becomes calls in the journal, and in how much memory.

    python benchmarks/lists.py                         1,000,000 contacts, 3 rounds; then 10,000,000
    python benchmarks/lists.py --memory-contacts 0     without the large list

The list is the reference list (contacts.py), in which every hundredth row repeats the number of a
row before it. Beside it there is a list of numbers that are not to be called, as long as itself, on
which 3 % of its contacts have a number. Measured are whole processes, from start to end, imports
included, as the operating system counted them (wait4):

- phonon-bulk: `submit` into a new journal, with `duplicates = "drop"` and `suppress`;
- plain: the script that people write (plain_lists.py), which asks phonenumbers about each number;
- plain, quick: the same with a pattern for ordinary numbers;
- phonon-bulk, no checks: `submit` of the same list without `[checks]`.

All are run in turn, each round in the other order, on whatever core is free. The first three must
come to the same counts, or this ends with an error. What else runs on the machine moves every
figure, so compare those of one round.

The large list is read once without checks, to see how memory grows, and once with them and half
as many numbers that are not to be called.

Figures are written to benchmarks/results/lists.json. Lists are made in benchmarks/work/lists, which
is deleted at the end: some 250 bytes a contact.
"""

import argparse
import csv
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import orjson
from children import end_on_sigterm, say
from contacts import Wanted, write
from local_phonon import FLOW_ID, SECURITY_ID, environment, program
from measuring import OTHERS, commit, machine, measured

HERE = Path(__file__).resolve().parent
WORK = HERE / "work" / "lists"
RESULTS = HERE / "results"

CONTACTS = 1_000_000
MEMORY_CONTACTS = 10_000_000
WARM_UP = 1_000
BYTES_A_CONTACT = 250
"""On the disk, with all that is made of them."""

REPEATED_EVERY = 100
"""How often a row has the number of one before it."""
LISTED_EVERY = 32
"""How often a number of a row is on the do-not-call list."""

OURS, UNCHECKED = "phonon-bulk", "phonon-bulk, no checks"
PLAIN, QUICK = "plain", "plain, quick"

AIM = 200_000
"""Contacts a CPU second (issue 5), as are the next three."""
AIM_RATIO = 2.0
AIM_GROWTH = 1.15
AIM_PEAK_MB = 1000.0

RATE = "contacts_per_cpu_second"
COUNTS = ("rows", "rejected", "suppressed", "duplicates", "calls", "batches")
CAMPAIGN = """\
[campaign]
name = "benchmark"
flow_id = "{flow_id}"
"""
CHECKS = """\
[checks]
duplicates = "drop"
suppress = "{do_not_call}"
"""

Figures = dict[str, float]
Counts = dict[str, int]
Round = dict[str, Figures]
"""The figures of each contender."""


# ---- the lists


@dataclass(frozen=True, slots=True)
class Lists:
    """A contact list, and one of numbers that are not to be called."""

    contacts: int
    path: Path
    do_not_call: Path
    listed: int
    """How many of the second are numbers of the first."""


def make_lists(contacts: int, not_called: int, seed: int) -> Lists:
    """Generate both lists."""
    path, do_not_call = WORK / f"contacts-{contacts}.csv", WORK / f"dnd-{contacts}.csv"
    reference = path.with_suffix(".reference")
    repeated = contacts // REPEATED_EVERY
    write(Wanted(contacts - repeated, seed), reference)
    listed = _with_repeated(reference, path, Random(seed))
    reference.unlink()
    with do_not_call.open("w", encoding="ascii") as file:
        file.write("number\n")
        file.writelines(f"{number}\n" for number in _not_to_be_called(listed, not_called))
    for made in (path, do_not_call):  # read once, so that no round finds more in memory than others
        with made.open("rb") as opened:
            while opened.read(1 << 20):
                pass
    return Lists(contacts, path, do_not_call, len(listed))


def _with_repeated(reference: Path, path: Path, random: Random) -> list[str]:
    """Copy a list with rows more that repeat numbers; return some numbers out of it."""
    repeatable: list[list[str]] = []
    chosen: list[str] = []
    with (
        reference.open(encoding="utf-8", newline="") as source,
        path.open("w", encoding="utf-8", newline="") as target,
    ):
        rows, writer = csv.reader(source), csv.writer(target, lineterminator="\n")
        writer.writerow(next(rows))
        for turn, row in enumerate(rows, start=1):
            writer.writerow(row)
            numbers = row[1:3]
            if turn % LISTED_EVERY == 0:
                chosen.append(random.choice([number for number in numbers if number]))
            if turn % (REPEATED_EVERY - 1) == 0:
                repeatable.append(numbers)
                writer.writerow([f"AGAIN{turn:08d}", *random.choice(repeatable), *row[3:]])
    return chosen


def _not_to_be_called(listed: list[str], count: int) -> Iterator[str]:
    """Yield so many numbers, those that are `listed` spread among others that no contact has."""
    every = count // len(listed)
    for place in range(count):
        turn, among = divmod(place, every)
        if among == 0 and turn < len(listed):
            yield listed[turn]
        else:  # contacts have 9198 and eight digits
            yield f"919{7 + 2 * (place % 2)}{place * 61_803_399 % 10**8:08d}"


# ---- one run


def phonon_bulk(lists: Lists, *, checks: bool = True) -> tuple[Figures, Counts]:
    """Submit a list; return the figures and the counts."""
    text = CAMPAIGN.format(flow_id=FLOW_ID)
    if checks:
        text += CHECKS.format(do_not_call=lists.do_not_call.name)
    (WORK / "campaign.toml").write_text(text, encoding="utf-8")
    words = ["submit", "campaign.toml", lists.path.name, "--journal", "sqlite:journal.db"]
    return _run([program(), *words, "--quiet", "--json"], lists.contacts)


def plain(lists: Lists, *, quick: bool = False) -> tuple[Figures, Counts]:
    """Prepare a list the plain way; return the figures and the counts."""
    words = [lists.path.name, "--journal", "journal.db", "--do-not-call", lists.do_not_call.name]
    script = [sys.executable, str(HERE / "plain_lists.py"), *words]
    return _run([*script, *["--quick"] * quick], lists.contacts)


def _run(command: list[str], contacts: int) -> tuple[Figures, Counts]:
    try:
        usage, output = measured(command, WORK, _environment())
    finally:
        for journal in WORK.glob("journal.db*"):
            journal.unlink()
    figures = usage.figures(contacts)
    del figures[OTHERS]  # it is of one core, and here no process keeps to one
    counted = orjson.loads(output)
    return figures, {name: counted[name] for name in COUNTS}


def _environment() -> dict[str, str]:
    """Return an environment in which modules are compiled, as they are where it is installed."""
    compiled = str(WORK / "compiled")
    more = environment(PHONON_BULK_SECURITY_ID=SECURITY_ID, PYTHONPYCACHEPREFIX=compiled)
    return {name: text for name, text in more.items() if name != "PYTHONDONTWRITEBYTECODE"}


def check_alike(lists: Lists, counts: dict[str, Counts]) -> None:
    """End with an error unless all came to the same, and to what was put into the list."""
    first = next(iter(counts.values()))
    expected = first["rows"] == lists.contacts and not first["rejected"]
    if not expected or any(other != first for other in counts.values()):
        sys.exit(f"the counts are not what they must be, of {lists.contacts:,}: {counts}")
    if not first["suppressed"] or not first["duplicates"]:
        sys.exit(f"nothing was suppressed, or no duplicate found: {counts}")


def check_whole(lists: Lists, counts: Counts) -> None:
    """End with an error unless each row is a call."""
    if (counts["rows"], counts["calls"]) != (lists.contacts, lists.contacts):
        sys.exit(f"without checks each of {lists.contacts:,} rows must be a call: {counts}")


# ---- both parts


def one_round(lists: Lists, *, backwards: bool) -> tuple[Round, Counts]:
    """Measure all contenders in turn; return their figures, and the counts with checks."""
    contenders: dict[str, Callable[[], tuple[Figures, Counts]]] = {
        OURS: lambda: phonon_bulk(lists),
        UNCHECKED: lambda: phonon_bulk(lists, checks=False),
        QUICK: lambda: plain(lists, quick=True),
        PLAIN: lambda: plain(lists),
    }
    done = {who: contenders[who]() for who in sorted(contenders, reverse=backwards)}
    check_alike(lists, {who: done[who][1] for who in (OURS, QUICK, PLAIN)})
    check_whole(lists, done[UNCHECKED][1])
    return {who: done[who][0] for who in contenders}, done[OURS][1]


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all contenders in rounds."""
    say("warming up")
    one_round(make_lists(WARM_UP, WARM_UP, given.seed), backwards=False)
    say(f"generating {given.contacts:,} contacts")
    lists = make_lists(given.contacts, given.contacts, given.seed)
    rounds: list[Round] = []
    counts: Counts = {}
    for number in range(given.rounds):
        figures, counts = one_round(lists, backwards=bool(number % 2))
        rounds.append(figures)
        say(f"round {number + 1} of {given.rounds} is done")
    lists.path.unlink()
    return {
        "contacts": given.contacts,
        "not_to_be_called": given.contacts,
        "numbers_of_the_list_among_them": lists.listed,
        "counts": counts,
        **{who: _of_each(figures[who] for figures in rounds) for who in rounds[0]},
        "ratios": {
            f"{OURS} to {other}": _of_each(_divided(one[OURS], one[other]) for one in rounds)
            for other in (PLAIN, QUICK)
        },
        "rounds": rounds,
    }


def remember(given: argparse.Namespace) -> dict[str, Any]:
    """Measure the large list once without checks, and once with them."""
    contacts, not_called = given.memory_contacts, given.memory_contacts // 2
    say(f"generating {contacts:,} contacts")
    lists = make_lists(contacts, not_called, given.seed)
    unchecked, counts = phonon_bulk(lists, checks=False)
    check_whole(lists, counts)
    say("the large list is read without checks")
    ours, counts = phonon_bulk(lists)
    check_alike(lists, {OURS: counts})
    return {
        "contacts": contacts,
        "not_to_be_called": not_called,
        "counts": counts,
        OURS: ours,
        UNCHECKED: unchecked,
    }


# ---- figures


def _divided(one: Figures, other: Figures) -> Figures:
    return {name: round(one[name] / other[name], 3) for name in one}


def _of_each(records: Iterable[Figures]) -> dict[str, Figures]:
    """Return the median, the least and the most of each figure."""
    rows = list(records)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: {"median": round(median(values), 3), "min": min(values), "max": max(values)}
        for name, values in columns.items()
    }


def show(record: dict[str, Any]) -> None:
    """Print the figures as tables, and which aims they meet."""
    compared, large = record["compared"], record["memory"]
    print(f"\n{compared['contacts']:,} contacts, {_in_words(compared)}: median (least to most)\n")
    columns = {who: compared[who] for who in (OURS, PLAIN, QUICK, UNCHECKED)}
    print(_table({**columns, **compared["ratios"]}))
    if large:
        print(f"\n{large['contacts']:,} contacts, {_in_words(large)}\n")
        print(_table({who: large[who] for who in (OURS, UNCHECKED)}))
    print()
    for sentence in _aims(compared, large):
        print(sentence)


def _in_words(part: dict[str, Any]) -> str:
    names = ("suppressed", "duplicates", "calls")
    counts = ", ".join(f"{part['counts'][name]:,} {name}" for name in names)
    return f"{part['not_to_be_called']:,} not to be called ({counts})"


def _table(columns: dict[str, dict[str, Any]]) -> str:
    """Return the columns as a table, a line for each of them."""
    names = list(next(iter(columns.values())))
    rows = [["", *names]]
    rows += [[who, *(_cell(column[name]) for name in names)] for who, column in columns.items()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _cell(figure: Any) -> str:
    if not isinstance(figure, dict):
        return f"{figure:,}"
    return f"{figure['median']:,} ({figure['min']:,} to {figure['max']:,})"


def _aims(compared: dict[str, Any], large: dict[str, Any] | None) -> Iterator[str]:
    rate = compared[OURS][RATE]["median"]
    ratio = compared["ratios"][f"{OURS} to {PLAIN}"][RATE]["median"]
    yield _aim(f"{rate:,} contacts a CPU second, at least {AIM:,}", met=rate >= AIM)
    yield _aim(f"{ratio} times the plain way, at least {AIM_RATIO}", met=ratio >= AIM_RATIO)
    if large is None:
        return
    growth = round(large[UNCHECKED]["peak_mb"] / compared[UNCHECKED]["peak_mb"]["median"], 3)
    peak = large[OURS]["peak_mb"]
    yield _aim(
        f"{large['contacts']:,} contacts take {growth} times the memory of"
        f" {compared['contacts']:,}, at most {AIM_GROWTH}",
        met=growth <= AIM_GROWTH,
    )
    yield _aim(f"{peak:,} MB with checks, less than {AIM_PEAK_MB:,}", met=peak < AIM_PEAK_MB)


def _aim(sentence: str, *, met: bool) -> str:
    return f"{'met:   ' if met else 'MISSED:'} {sentence}"


def _keep(given: argparse.Namespace, record: dict[str, Any]) -> None:
    described = machine()
    described["packages"] |= {name: version(name) for name in ("numpy", "phonenumbers")}
    document = {"machine": described, "commit": commit(), "seed": given.seed, **record}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "lists.json"
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(f"\nwritten to {path.relative_to(HERE.parent)}")


def _check_room(contacts: int) -> None:
    free = shutil.disk_usage(HERE).free
    if free < contacts * BYTES_A_CONTACT:
        sys.exit(f"too little room on the disk: {contacts * BYTES_A_CONTACT / 1e9:.1f} GB needed")


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description="Measure how lists become calls in the journal.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--contacts", type=int, default=CONTACTS, metavar="N")
    parser.add_argument(
        "--memory-contacts", type=int, default=MEMORY_CONTACTS, metavar="N", help="0 for none"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if any(n % REPEATED_EVERY for n in (given.contacts, given.memory_contacts)):
        parser.error(f"contacts come in multiples of {REPEATED_EVERY}")
    end_on_sigterm()
    _check_room(max(given.contacts, given.memory_contacts))
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    try:
        compared = compare(given)
        record = {
            "compared": compared,
            "memory": remember(given) if given.memory_contacts else None,
        }
    finally:
        shutil.rmtree(WORK, ignore_errors=True)
    show(record)
    _keep(given, record)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
