"""What each stage costs that a contact goes through, and what the journal costs.

    python benchmarks/stages.py             5 rounds
    python benchmarks/stages.py --short     2 rounds, fewer contacts

Three things are measured in each round, in an order that changes, each in a process of its own that
has the first core to itself; the simulator has the second, and counts calls without reading them:

- each stage by itself, and the floor: the same bodies posted from memory (`stage_costs.py`);
- a whole run, with its journal (`one_process.py`);
- the same run with a journal that writes nothing (`memory_journal.py`).

All is CPU time, of all threads. The sum of the stages need not be the whole: in the whole the
stages are in each other's way (one of Python's threads runs at a time), commits hold other numbers
of changes, and somebody has to hand the work from one to the next. What the journal costs is given
as a share of the run without Python's start, by which the aim is judged, and of the CPU seconds of
the whole process, as the system counted them (wait4). Compressing, hashing and thawing are done for
the journal too, and by both runs; what it costs with them stands beside it.

Figures are written to benchmarks/results/stages.json, with 20 flow variables to stages-20.json.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from children import end_on_sigterm, say
from contacts import NARROW, WIDE, Wanted
from figures import Figures, Spread, aim, keep, of_each, table
from kept_lists import kept
from local_phonon import SECURITY_ID, LocalPhonon, environment, lay_out, simulating
from measuring import CLIENT_CORE, OTHERS, SIMULATOR_CORE, Usage, measured, on_core

HERE = Path(__file__).resolve().parent

STAGES = "stages"
SQLITE, MEMORY = "sqlite", "memory"
SHARE_ALLOWED = 25.0
"""Percent of CPU that the journal may cost (issue 7)."""

FOR_THE_JOURNAL = ("compress", "hash", "thaw")
"""Stages that would not be there without it, and are done by the run without writes too."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    contacts: int
    """For the stages."""
    whole: int
    """Contacts of the whole runs: many, so that Python's start counts for little."""
    rounds: int
    variables: int
    seed: int
    short: bool


# ---- one round


@dataclass(frozen=True, slots=True)
class Stand:
    """A simulator, and a folder in which its clients run one after the other."""

    phonon: LocalPhonon
    folder: Path
    stages_list: Path
    whole_list: Path
    options: Options

    def stages(self) -> dict[str, Any]:
        """Measure the stages and the floor; microseconds a contact."""
        path = str(self.stages_list)
        _, record = self._run("stage_costs.py", path)
        self._check(3 * self.options.contacts)
        return record | {"sum": round(sum(record["stages"].values()), 3)}

    def whole(self, journal: str) -> Figures:
        """Measure a whole run with one of the two journals."""
        path, contacts = str(self.whole_list), self.options.whole
        usage, record = self._run("one_process.py", path, "--journal", journal)
        self._check(contacts)
        if record["accepted"] != contacts:
            sys.exit(f"{journal}: {record['accepted']:,} of {contacts:,} contacts were accepted")
        figures = usage.figures(contacts)
        if not on_core(CLIENT_CORE):
            del figures[OTHERS]  # the client had no core of its own to count it on
        figures["us_a_contact"] = round(record["run"] / contacts * 1e6, 3)
        figures["start_cpu_seconds"] = round(record["start"], 3)
        return figures | {name: record[name] for name in ("commits", "changes")}

    def _run(self, script: str, *words: str) -> tuple[Usage, dict[str, Any]]:
        for left in self.folder.glob("journal.db*"):
            left.unlink()
        self.phonon.reset()
        command = [*on_core(CLIENT_CORE), sys.executable, str(HERE / script), *words]
        env = environment(PHONON_BULK_SECURITY_ID=SECURITY_ID)
        usage, output = measured(command, self.folder, env)
        return usage, orjson.loads(output)

    def _check(self, calls: int) -> None:
        """See that the simulator accepted all calls, each once."""
        books = self.phonon.summary()
        if books["accepted-calls"] != calls or books["accepted-again"]:
            sys.exit(f"the simulator accepted other calls than {calls:,}: {books}")


def one_round(stand: Stand, number: int) -> dict[str, Any]:
    """Measure each of the three once."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        SQLITE: partial(stand.whole, SQLITE),
        MEMORY: partial(stand.whole, MEMORY),
        STAGES: stand.stages,
    }
    order = list(parts) if number % 2 == 0 else list(reversed(parts))
    done = {name: parts[name]() for name in order}
    return {name: done[name] for name in parts} | {"journal": journal_cost(done)}


def journal_cost(done: dict[str, Any]) -> Figures:
    """Return what the journal costs: of the process, of the run, and with what is done for it."""
    with_it, without = done[SQLITE], done[MEMORY]
    microseconds = with_it["us_a_contact"] - without["us_a_contact"]
    frozen = sum(done[STAGES]["stages"][name] for name in FOR_THE_JOURNAL)
    cpu, process = (done[name]["cpu_seconds"] for name in (MEMORY, SQLITE))
    whole = with_it["us_a_contact"]
    return {
        "percent_of_the_run": _percent(microseconds, whole),
        "percent_of_the_process": _percent(process - cpu, process),
        "percent_with_compress_hash_thaw": _percent(microseconds + frozen, whole),
        "us_a_contact": round(microseconds, 3),
    }


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1)


# ---- the benchmark


def bench(options: Options) -> dict[str, Any]:
    """Measure, and return the record to be kept."""
    short_list, long_list = (
        kept(Wanted(n, options.seed, variables=options.variables))
        for n in (options.contacts, options.whole)
    )
    rules = ("--no-parse", "--bulk-requests", "0")
    with (
        tempfile.TemporaryDirectory(prefix="bench-stages-") as name,
        simulating(*rules, prefix=tuple(on_core(SIMULATOR_CORE))) as phonon,
    ):
        folder = Path(name)
        lay_out(folder, phonon.bulk_url)
        stand, rounds = Stand(phonon, folder, short_list, long_list, options), []
        for number in range(options.rounds):
            rounds.append(one_round(stand, number))
            say(f"stages: round {number + 1} of {options.rounds} is done")
    return record_of(options, rounds)


def record_of(options: Options, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of all rounds, and the aim."""
    cost = of_each(one["journal"] for one in rounds)
    share = cost["percent_of_the_run"]["median"]
    met = share <= SHARE_ALLOWED
    return {
        "what": "CPU time of each stage, in microseconds a contact; and what the journal costs",
        "short": options.short,
        "client_on_one_core": bool(on_core(CLIENT_CORE)),
        "seed": options.seed,
        "flow_variables": options.variables,
        "contacts": options.contacts,
        "contacts_of_whole_runs": options.whole,
        "stages": of_each(one[STAGES]["stages"] for one in rounds),
        "sum": of_each({"us_a_contact": one[STAGES]["sum"]} for one in rounds)["us_a_contact"],
        "floor": of_each(one[STAGES]["floor"] for one in rounds),
        "whole": {name: of_each(one[name] for one in rounds) for name in (SQLITE, MEMORY)},
        "journal": cost,
        "aims": [
            aim(
                f"the journal costs at most {SHARE_ALLOWED:g} % of the run's CPU: {share} %",
                met=met,
            ),
        ],
        "rounds": rounds,
    }


# ---- what is printed

_NAMES = {SQLITE: "the whole run", MEMORY: "the whole, journal without writes"}
_OF_PROCESS = ("cpu_seconds", "start_cpu_seconds", "seconds", "peak_mb", "commits", "changes")


def tables(record: dict[str, Any]) -> str:
    """Return the record as two tables, and the aim."""
    contacts, whole = record["contacts"], record["contacts_of_whole_runs"]
    rest = record["whole"][SQLITE]["us_a_contact"]["median"] - record["sum"]["median"]
    lines: dict[str, Spread] = {name: _line(of) for name, of in record["stages"].items()}
    lines["sum of the stages"] = _line(record["sum"])
    lines |= {_NAMES[name]: _line(of["us_a_contact"]) for name, of in record["whole"].items()}
    lines |= {f"floor: {name}": _line(of) for name, of in record["floor"].items()}
    what = f"{contacts:,} contacts (the whole: {whole:,}) with {record['flow_variables']} variables"
    return "\n".join(
        [
            f"\n{what}, {len(record['rounds'])} rounds: median (least to most)\n",
            table(lines),
            f"\nthe whole run, but for the sum of the stages: {rest:.2f} us a contact\n",
            table({name: _of_both(record["whole"], name) for name in (*_OF_PROCESS, OTHERS)}),
            "",
            table({name: {"the journal costs": of} for name, of in record["journal"].items()}),
            "",
            *record["aims"],
        ]
    )


def _of_both(whole: dict[str, Spread], name: str) -> dict[str, Any]:
    return {_NAMES[journal]: of.get(name) for journal, of in whole.items()}


def _line(of: Figures) -> Spread:
    return {"us_a_contact": {name: round(value, 2) for name, value in of.items()}}


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--short", action="store_true", help="2 rounds, fewer contacts")
    parser.add_argument("--rounds", type=int, metavar="N", help="5, short 2")
    parser.add_argument("--contacts", type=int, metavar="N", help="for the stages: 200,000")
    parser.add_argument("--whole", type=int, metavar="N", help="whole runs: 1,000,000")
    parser.add_argument("--variables", type=int, default=NARROW, choices=(NARROW, WIDE))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    options = Options(
        contacts=given.contacts or (100_000 if given.short else 200_000),
        whole=given.whole or (200_000 if given.short else 1_000_000),
        rounds=given.rounds or (2 if given.short else 5),
        variables=given.variables,
        seed=given.seed,
        short=given.short,
    )
    record = bench(options)
    print(tables(record))
    keep("stages" if given.variables == NARROW else f"stages-{WIDE}", record)


if __name__ == "__main__":
    end_on_sigterm()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was written")
