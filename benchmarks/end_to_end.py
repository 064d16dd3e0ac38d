"""`make bench`: a whole run of phonon-bulk beside the plain script, and how memory grows.

    python benchmarks/end_to_end.py                   1,000,000 contacts, 3 rounds of both in turn
    python benchmarks/end_to_end.py --growth          phonon-bulk at 1,000,000 and at 5,000,000

Both send the same list to the same simulator, which counts calls and does not read them; the limit
is off. With two cores or more the client has the first to itself and the simulator the second. A
figure covers a whole process from its start to its end, as the operating system counted it (wait4),
Python's own start included. What else runs on the machine moves every figure, so compare the two of
one round; which of them goes first changes from round to round. `others_seconds` is what other
processes took of the client's core during a run: where it is not near 0, only what is counted in
CPU seconds, and memory, can be relied on.

Figures are written to benchmarks/results/. Lists are kept in benchmarks/work/, by seed and size.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson
from contacts import Wanted, write
from local_phonon import FLOW_ID, SECURITY_ID, LocalPhonon, environment, program, simulating
from measuring import CLIENT_CORE, OTHERS, SIMULATOR_CORE, Usage, commit, machine, measured, on_core

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
RESULTS = HERE / "results"

CONTACTS = 1_000_000
GROWTH = 5
GROWTH_ALLOWED = 1.15
"""How much more memory `GROWTH` times the contacts may take (issue 2)."""

OURS = "phonon-bulk"
PLAIN = "plain script"

SETTINGS = """\
journal = "sqlite:journal.db"
[endpoints.bulk]
url = "{url}"
requests_per_minute = "off"
"""
CAMPAIGN = """\
[campaign]
name = "benchmark"
flow_id = "{flow_id}"
"""

Figures = dict[str, float]
Round = dict[str, Figures]
"""The figures of each contender."""


# ---- one run


@dataclass(frozen=True, slots=True)
class Bench:
    """A simulator, and the two ways to send a list to it."""

    phonon: LocalPhonon
    pin: bool

    def phonon_bulk(self, path: Path, contacts: int) -> Figures:
        """Send a list with phonon-bulk."""
        try:
            usage, output = self._run(
                [program(), "run", "campaign.toml", str(path), "--quiet", "--json"]
            )
        finally:
            for journal in WORK.glob("journal.db*"):
                journal.unlink()
        summary = orjson.loads(output)
        self._check(OURS, summary, contacts)
        return self._figures(usage, contacts)

    def plain_script(self, path: Path, contacts: int) -> Figures:
        """Send a list with the plain script."""
        script = [sys.executable, str(HERE / "plain_script.py"), str(path), "--no-limit"]
        usage, output = self._run([*script, "--url", self.phonon.bulk_url, "--flow-id", FLOW_ID])
        self._check(PLAIN, orjson.loads(output), contacts)
        return self._figures(usage, contacts)

    def _run(self, command: list[str]) -> tuple[Usage, bytes]:
        self.phonon.reset()
        env = environment(PHONON_BULK_SECURITY_ID=SECURITY_ID)
        return measured([*on_core(CLIENT_CORE, pin=self.pin), *command], WORK, env)

    def _figures(self, usage: Usage, contacts: int) -> Figures:
        figures = usage.figures(contacts)
        if not on_core(CLIENT_CORE, pin=self.pin):
            del figures[OTHERS]  # the client had no core of its own to count it on
        return figures

    def _check(self, who: str, counts: dict[str, Any], contacts: int) -> None:
        """See that every contact was accepted, once, and that both sides say so."""
        books = self.phonon.summary()
        theirs = (books["accepted-calls"], books["accepted-requests"], books["accepted-again"])
        if (counts["accepted"], counts["requests"]) != theirs[:2] or theirs[2]:
            sys.exit(f"{who} and the simulator disagree: {counts}, {books}")
        if counts["accepted"] != contacts:
            sys.exit(f"{who} had {counts['accepted']} of {contacts} contacts accepted")


@contextlib.contextmanager
def bench(*, pin: bool) -> Iterator[Bench]:
    """Start the simulator, and write settings that send to it."""
    WORK.mkdir(exist_ok=True)
    rules = ("--no-parse", "--bulk-requests", "0")
    with simulating(*rules, prefix=tuple(on_core(SIMULATOR_CORE, pin=pin))) as phonon:
        settings = SETTINGS.format(url=phonon.bulk_url)
        (WORK / "phonon-bulk.toml").write_text(settings, encoding="utf-8")
        campaign = CAMPAIGN.format(flow_id=FLOW_ID)
        (WORK / "campaign.toml").write_text(campaign, encoding="utf-8")
        yield Bench(phonon, pin)


def contact_list(given: argparse.Namespace, contacts: int) -> Path:
    """Return the path of a list without bad rows, generated if it is not there yet."""
    WORK.mkdir(exist_ok=True)
    path = WORK / f"contacts-{contacts}-seed{given.seed}{'-plain' if given.plain else ''}.csv"
    if not path.exists():
        _say(f"generating {path.name}")
        partial = path.with_suffix(".part")
        write(Wanted(contacts, given.seed, given.plain), partial)
        partial.rename(path)
    with path.open("rb") as file:  # read once, so that no round finds it more in memory than others
        while file.read(1 << 20):
            pass
    return path


# ---- both benchmarks


def compare(given: argparse.Namespace) -> None:
    """Measure phonon-bulk and the plain script in turn."""
    path = contact_list(given, given.contacts)
    with bench(pin=given.pin) as stand:
        contenders = {OURS: stand.phonon_bulk, PLAIN: stand.plain_script}
        rounds = []
        for number in range(given.rounds):
            order = sorted(contenders, reverse=bool(number % 2))
            rounds.append({who: contenders[who](path, given.contacts) for who in order})
            _say(f"round {number + 1} of {given.rounds} is done")
    ratios = [_divided(figures[OURS], figures[PLAIN]) for figures in rounds]
    record = {
        "contacts": given.contacts,
        **_spread(rounds),
        "ratio, phonon-bulk to plain script, round by round": _of_each(ratios),
    }
    print(f"\n{given.contacts:,} contacts, {given.rounds} rounds: median (least to most)\n")
    print(_table(record))
    _keep("end_to_end", given, record, rounds)


def grow(given: argparse.Namespace) -> None:
    """Measure phonon-bulk's memory at a size, and at five times that."""
    sizes = (given.contacts, given.contacts * GROWTH)
    paths = {size: contact_list(given, size) for size in sizes}
    rounds = []
    with bench(pin=given.pin) as stand:
        for number in range(given.rounds):
            rounds.append({f"{n:,} contacts": stand.phonon_bulk(paths[n], n) for n in sizes})
            _say(f"round {number + 1} of {given.rounds} is done")
    small, large = rounds[0]
    ratios = [_divided(figures[large], figures[small]) for figures in rounds]
    record = {**_spread(rounds), "ratio, round by round": _of_each(ratios)}
    print(f"\n{OURS}, {given.rounds} rounds: median (least to most)\n")
    print(_table(record))
    growth = record["ratio, round by round"]["peak_mb"]["median"]
    verdict = "within" if growth <= GROWTH_ALLOWED else "MORE THAN"
    print(
        f"\n{GROWTH} times the contacts take {growth} times the memory: {verdict} {GROWTH_ALLOWED}"
    )
    _keep("growth", given, record, rounds)


# ---- figures


def _divided(one: Figures, other: Figures) -> Figures:
    return {name: round(one[name] / other[name], 3) for name in one if name != OTHERS}


def _spread(rounds: list[Round]) -> dict[str, Any]:
    return {who: _of_each([figures[who] for figures in rounds]) for who in rounds[0]}


def _of_each(records: list[Figures]) -> dict[str, Figures]:
    """Return the median, the least and the most of each figure."""
    columns = {name: [record[name] for record in records] for name in records[0]}
    return {
        name: {"median": round(median(values), 3), "min": min(values), "max": max(values)}
        for name, values in columns.items()
    }


def _table(record: dict[str, Any]) -> str:
    """Return the records as a table, a column for each."""
    columns = {name: spread for name, spread in record.items() if isinstance(spread, dict)}
    names = next(iter(columns.values()))
    rows = [["", *(name.partition(",")[0] if "ratio" in name else name for name in columns)]]
    rows += [[name, *(_cell(column.get(name)) for column in columns.values())] for name in names]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _cell(spread: Figures | None) -> str:
    if spread is None:
        return ""
    return f"{spread['median']:,} ({spread['min']:,} to {spread['max']:,})"


def _keep(
    name: str, given: argparse.Namespace, record: dict[str, Any], rounds: list[Round]
) -> None:
    RESULTS.mkdir(exist_ok=True)
    name += "-plain" * given.plain + "-any-core" * (not given.pin)
    path = RESULTS / f"{name}.json"
    document = {
        "machine": machine(),
        "commit": commit(),
        "client_on_one_core": bool(on_core(CLIENT_CORE, pin=given.pin)),
        "unusual_names": not given.plain,
        "seed": given.seed,
        **record,
        "rounds": rounds,
    }
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(f"\nwritten to {path.relative_to(HERE.parent)}")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure whole runs against the simulator.")
    parser.add_argument("--growth", action="store_true", help="how memory grows with the list")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--contacts", type=int, default=CONTACTS, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="a list in ASCII without quotes")
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="let both use any core")
    given = parser.parse_args()
    run: Callable[[argparse.Namespace], None] = grow if given.growth else compare
    run(given)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
