"""Part 1 of `make bench`: whole runs of phonon-bulk beside what people use for such work.

    python benchmarks/end_to_end.py            1,000,000 contacts with 4 flow variables, and with 20
    python benchmarks/end_to_end.py --short    200,000 with 4, beside the first two scripts only

A list goes from a CSV file to accepted. All send it to the same simulator, which counts calls and
does not read them; the limit is off. phonon-bulk has its journal. Who the others are, and what
each does not do, stands in contenders/: the plain script, the careful one, requests with threads,
syslog-ng's http() destination, and dlt with a custom destination (as its pages show it, and with
Arrow). What is not installed is left out, with a line that says so. A list with 20 flow variables
is sent with 200 calls a request by those who do not count bytes: 500 would be refused as too large.

With two cores or more the client has the first to itself and the simulator the second. A figure
covers a whole command from its start to its end, as the operating system counted it (wait4), with
all processes that it started and Python's own start. What else runs on the machine moves every
figure, so compare those of one round; who goes first changes from round to round.
`others_seconds` is what other processes took of the client's core during a run: where it is not
near 0, only what is counted in CPU seconds, and memory, can be relied on.

Who would take too long gets a shorter list. Its own line is of that list; beside phonon-bulk it is
set with what the whole list would take it: its start (measured by itself), and the rest in
proportion. Before anything is measured each sends a small list to a simulator that reads every
call, and the simulator's ledger must have each contact of it once.

Figures are written to benchmarks/results/end_to_end.json. Lists are kept in benchmarks/work/, by
seed and size.
"""

import argparse
import contextlib
import csv
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from children import end_on_sigterm, say
from contacts import NARROW, WIDE, Wanted
from contenders.commands import CAREFUL, CONTENDERS, DLT, OURS, PLAIN, Contender, Task
from figures import HERE, Figures, Round, Spread, aim, divided, keep, of_each, spread, table
from kept_lists import WORK, kept
from local_phonon import SECURITY_ID, LocalPhonon, environment, simulating
from measuring import CLIENT_CORE, OTHERS, SIMULATOR_CORE, Usage, measured, on_core

CALLS_IN_A_REQUEST = {NARROW: 500, WIDE: 200}

CONTACTS, ROUNDS = 1_000_000, 5
SHORT_CONTACTS, SHORT_ROUNDS = 200_000, 3
SHORT = (OURS, PLAIN, CAREFUL)
PROOF_CONTACTS = 1_000

RATE, CPU_RATE = "contacts_per_second", "contacts_per_cpu_second"
SHOWN = ("contacts", RATE, CPU_RATE, "peak_mb")
AIMS = {PLAIN: 2.5, CAREFUL: 3.0, DLT: 8.0}
"""Contacts a CPU second as a multiple of theirs, at least (issue 7)."""
PATIENCE, SLOWEST = 60.0, 1_000
"""A run is ended after so many seconds, and one more for each so many contacts."""
DISTURBED = 0.1
"""What others may take of the client's core before it is told."""


# ---- one run


@dataclass(frozen=True, slots=True)
class Stand:
    """A simulator, and a core to send to it from."""

    phonon: LocalPhonon
    pin: bool

    def send(self, who: Contender, path: Path, contacts: int, variables: int) -> Usage:
        """Have a contender send a list; ends this program unless all of it was accepted, once."""
        self.phonon.reset()
        with TemporaryDirectory(dir=WORK, prefix="end-to-end-") as folder:
            calls = CALLS_IN_A_REQUEST[variables]
            task = Task(path, contacts, variables, calls, self.phonon.bulk_url, Path(folder))
            usage, output = measured(
                [*on_core(CLIENT_CORE, pin=self.pin), *who.command(task)],
                task.folder,
                _environment(),
                until=None if who.ends else lambda: self._accepted() >= contacts,
                patience=PATIENCE + contacts / SLOWEST,
            )
        self._check(who, orjson.loads(output) if who.ends else None, contacts)
        return usage

    def figures(self, usage: Usage, contacts: int) -> Figures:
        """Return the figures of a run."""
        figures = usage.figures(contacts)
        if not on_core(CLIENT_CORE, pin=self.pin):
            del figures[OTHERS]  # the client had no core of its own to count it on
        return figures

    def _accepted(self) -> int:
        return int(self.phonon.summary()["accepted-calls"])

    def _check(self, who: Contender, counts: dict[str, Any] | None, contacts: int) -> None:
        books = self.phonon.summary()
        theirs = (books["accepted-calls"], books["accepted-requests"])
        if counts is not None and (counts["accepted"], counts["requests"]) != theirs:
            sys.exit(f"{who.name} and the simulator disagree: {counts}, {books}")
        if theirs[0] != contacts or books["accepted-again"]:
            sys.exit(f"{who.name} did not have each of {contacts} contacts accepted once: {books}")


@contextlib.contextmanager
def stand(*rules: str, pin: bool) -> Iterator[Stand]:
    """Start a simulator without a limit within the block."""
    prefix = tuple(on_core(SIMULATOR_CORE, pin=pin))
    with simulating("--bulk-requests", "0", *rules, prefix=prefix) as phonon:
        yield Stand(phonon, pin)


def _environment() -> dict[str, str]:
    """Return an environment in which modules are compiled, as they are where it is installed."""
    more = environment(
        PHONON_BULK_SECURITY_ID=SECURITY_ID,
        PYTHONPATH=str(HERE),
        PYTHONPYCACHEPREFIX=str(WORK / "compiled"),
    )
    return {name: text for name, text in more.items() if name != "PYTHONDONTWRITEBYTECODE"}


def wanted_of(given: argparse.Namespace, contacts: int, variables: int) -> Wanted:
    """Return what a list is to be like."""
    return Wanted(contacts, given.seed, given.plain, variables=variables)


def prove(given: argparse.Namespace, who: Sequence[Contender], variables: int) -> None:
    """End this program unless each contender's calls are those of the list."""
    path = kept(wanted_of(given, PROOF_CONTACTS, variables))
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        tels = [name for name in rows.fieldnames or () if name.startswith("tel")]
        wanted = Counter(
            (row["client-identifier"], *(row[name] for name in tels if row[name])) for row in rows
        )
    with stand(pin=given.pin) as reading:
        for contender in who:
            reading.send(contender, path, PROOF_CONTACTS, variables)
            calls = reading.phonon.ledger()
            if Counter((c["client-identifier"], *c["contact-numbers"]) for c in calls) != wanted:
                sys.exit(f"{contender.name} sent other calls than are in {path.name}")


# ---- all of them in turn


def compare(given: argparse.Namespace, who: Sequence[Contender], variables: int) -> dict[str, Any]:
    """Measure the contenders in rounds on lists of one shape; return the record."""
    prove(given, who, variables)
    sizes = {one.name: one.contacts(variables, given.contacts) for one in who}
    paths = {size: kept(wanted_of(given, size, variables)) for size in sizes.values()}
    small = kept(wanted_of(given, PROOF_CONTACTS, variables))
    rounds: list[Round] = []
    with stand("--no-parse", pin=given.pin) as counting:
        starts = {
            one.name: counting.send(one, small, PROOF_CONTACTS, variables)
            for one in who
            if sizes[one.name] < given.contacts
        }
        for number in range(given.rounds):
            first = number % len(who)
            figures: Round = {}
            for one in (*who[first:], *who[:first]):
                size = sizes[one.name]
                usage = counting.send(one, paths[size], size, variables)
                figures[one.name] = counting.figures(usage, size)
            rounds.append({one.name: figures[one.name] for one in who})
            say(f"{variables} flow variables: round {number + 1} of {given.rounds} is done")
    return {
        "variables": variables,
        "contacts": given.contacts,
        "calls_in_a_request": CALLS_IN_A_REQUEST[variables],
        "contenders": {
            name: {"contacts": sizes[name], **figures} for name, figures in spread(rounds).items()
        },
        "start": {name: usage.figures(PROOF_CONTACTS) for name, usage in starts.items()},
        "ratios": ratios(rounds, sizes, starts),
        "rounds": rounds,
    }


def ratios(
    rounds: Sequence[Round], sizes: dict[str, int], starts: dict[str, Usage]
) -> dict[str, Any]:
    """Return phonon-bulk's figures as multiples of each other one's, round by round."""
    found = {}
    for name in rounds[0]:
        if name == OURS:
            continue
        theirs = [
            whole_list(figures[name], sizes[name], sizes[OURS], starts[name])
            if name in starts
            else figures[name]
            for figures in rounds
        ]
        each = [divided(own[OURS], other) for own, other in zip(rounds, theirs, strict=True)]
        found[name] = {**of_each(each), "round by round": [one[CPU_RATE] for one in each]}
    return found


def whole_list(figures: Figures, contacts: int, wanted: int, start: Usage) -> Figures:
    """Return what sending `wanted` contacts would take, by a run with fewer.

    The start is taken off, the rest grows with the list, and the start is added. Of memory nothing
    is known.
    """
    times = wanted / contacts
    seconds = start.seconds + (figures["seconds"] - start.seconds) * times
    cpu = start.cpu_seconds + (figures["cpu_seconds"] - start.cpu_seconds) * times
    return {
        RATE: wanted / seconds,
        CPU_RATE: wanted / cpu,
        "seconds": seconds,
        "cpu_seconds": cpu,
    }


# ---- what is printed


def aims(record: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield each aim in words, and whether it is met."""
    for name, least in AIMS.items():
        if name in record["ratios"]:
            ratio = record["ratios"][name]
            middle, each = ratio[CPU_RATE]["median"], ratio["round by round"]
            sentence = (
                f"{middle:.2f} times {name}'s contacts a CPU second with {record['variables']} flow"
                f" variables (rounds: {', '.join(f'{one:.2f}' for one in each)}), at least {least}"
            )
            yield sentence, middle >= least


def show(record: dict[str, Any], rounds: int) -> None:
    """Print the figures of one shape."""
    print(
        f"\n{record['contacts']:,} contacts with {record['variables']} flow variables,"
        f" {rounds} rounds: median (least to most)\n"
    )
    print(table(record["contenders"], SHOWN))
    print(f"\n{OURS} as a multiple of\n")
    print(table(record["ratios"], SHOWN[1:]))
    for name in record["start"]:
        size = record["contenders"][name]["contacts"]
        print(f"{name}: measured on {size:,} contacts, the multiple is in proportion")
    print()
    if record["contacts"] < CONTACTS:
        print(
            f"The aims are those of {CONTACTS:,}: the fewer there are, the more the start weighs."
        )
    for sentence, met in aims(record):
        print(aim(sentence, met=met))
    for name, figures in record["contenders"].items():
        _tell_disturbed(name, figures)


def _tell_disturbed(name: str, figures: Spread) -> None:
    if OTHERS not in figures:
        return
    share = figures[OTHERS]["median"] / figures["seconds"]["median"]
    if share > DISTURBED:
        print(f"disturbed: others took {share:.0%} of the client's core while {name} ran")


def measurable(names: Sequence[str]) -> list[Contender]:
    """Return the contenders that were named and can be measured; say what is left out, and why."""
    chosen = [one for one in CONTENDERS if one.name in names]
    missing = [one for one in chosen if one.missing()]
    for one in missing:
        print(f"{one.name} is left out: it takes {one.needs}", flush=True)
    return [one for one in chosen if one not in missing]


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure whole runs against the simulator.")
    parser.add_argument("--short", action="store_true", help="for a first look: about 1 minute")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--contacts", type=int, metavar="N")
    parser.add_argument("--variables", type=int, nargs="+", choices=CALLS_IN_A_REQUEST)
    names = [one.name for one in CONTENDERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="a list in ASCII without quotes")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="let both use any core")
    given = parser.parse_args(words)
    short = given.short
    given.rounds = given.rounds or (SHORT_ROUNDS if short else ROUNDS)
    given.contacts = given.contacts or (SHORT_CONTACTS if short else CONTACTS)
    given.variables = given.variables or ([NARROW] if short else list(CALLS_IN_A_REQUEST))
    given.only = list({OURS: None, **dict.fromkeys(given.only or (SHORT if short else names))})
    return given


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and write down."""
    given = arguments(words)
    end_on_sigterm()
    WORK.mkdir(exist_ok=True)
    who = measurable(given.only)
    records = [compare(given, who, variables) for variables in given.variables]
    for record in records:
        show(record, given.rounds)
    keep(
        "end_to_end" + "-plain" * given.plain + "-any-core" * (not given.pin),
        {
            "short": given.short,
            "seed": given.seed,
            "client_on_one_core": bool(on_core(CLIENT_CORE, pin=given.pin)),
            "unusual_names": not given.plain,
            "versions": {one.name: one.version() for one in who if one.version()},
            "aims": [
                {"aim": sentence, "met": met}
                for record in records
                for sentence, met in aims(record)
            ],
            "shapes": records,
        },
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
