"""Generates contact lists in Phonon's upload template.

    python benchmarks/contacts.py contacts.csv --contacts 1000000 --bad 0.001 --start-time
    python benchmarks/contacts.py wide.csv --contacts 1000000 --variables 20

Nobody is in these lists. Names are put together from two short pools, and a number is 91 98 and
eight digits computed from the seed and the row. Such a number may by chance be in use, so a list
made here is for a simulator and nothing else.

The same seed and options give the same bytes, and a shorter list is the beginning of a longer one
(but for the bad rows). As a module: `write(Wanted(contacts=1000), path)`.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from random import Random

FLOW_VARIABLES = ("$flow.key.Name", "$flow.key.Amount", "$flow.key.DueDate", "$flow.key.Policy")
MORE_VARIABLES = tuple(
    f"$flow.key.{name}"
    for name in (
        *("City", "Branch", "Agent", "Product", "Plan", "Frequency", "Language", "Currency"),
        *("Premium", "LateFee", "Total", "LastPaid", "RenewsOn", "Reference", "Account", "Link"),
    )
)
"""What a wide list has besides."""
NARROW = len(FLOW_VARIABLES)
WIDE = NARROW + len(MORE_VARIABLES)
BAD_ROWS = ("no number", "number cut short", "number unreadable", "too few fields")
BAD_START_TIMES = ("start-time unreadable", "start-time past")

_INDIA = timezone(timedelta(hours=5, minutes=30))
_FIRST_NAMES = ("Aarav", "Asha", "Deepak", "Farah", "Gauri", "Imran", "Kavya", "Manoj", "Priya")
_LAST_NAMES = ("Bose", "Das", "Fernandes", "Gill", "Iyer", "Joshi", "Khan", "Mehta", "Nair", "Rao")
_UNUSUAL_NAMES = (
    "आशा शर्मा",
    "அனிதா",
    "Zoë Müller",
    'Anita "Annie" Rao',
    "Rao, Nisha",
    "D'Souza",
    "C:\\Priya\\Shah",
    "Omkar\tIyer",
    "Kavya\nReddy",
    "Farah 👍🏽",
    "“Manoj”",
    "&lt;Gill&gt;",
)
_NAMES = 1024
_UNUSUAL_EVERY = 16
_DUE_DATES = tuple(str(date(2026, 12, 1) + timedelta(days=day)) for day in range(32))
_PAID_DATES = tuple(str(date(2026, 10, 1) + timedelta(days=day)) for day in range(32))
_RENEWAL_DATES = tuple(str(date(2027, 1, 1) + timedelta(days=day)) for day in range(32))
_CITIES = ("Ahmedabad", "Bengaluru", "Chennai", "Kochi", "Kolkata", "Mumbai", "Nagpur", "Pune")
_PRODUCTS = ("Term Life", "Endowment", "Health Family", "Motor", "Home", "Travel", "Crop", "Child")
_PLANS = ("Gold", "Silver", "Basic", "Plus")
_FREQUENCIES = ("monthly", "quarterly", "half-yearly", "yearly")
_LANGUAGES = ("hi-IN", "en-IN", "ta-IN", "bn-IN", "mr-IN", "te-IN", "gu-IN", "kn-IN")

_NUMBERS = 10**8
_STEP = 61_803_399
"""Shares no factor with `_NUMBERS`, so no number comes twice in `_NUMBERS` rows."""
_ALTERNATES_FROM = _NUMBERS // 2
"""Alternates come from the other half of the sequence: none is another row's first number."""

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is to be like."""

    contacts: int
    seed: int = 1
    plain: bool = False
    """Without the names that hold quotes, commas, line feeds or letters beyond ASCII."""
    bad: float = 0.0
    """The share of rows that can't become a call; all kinds of bad rows equally often."""
    start_day: date | None = None
    """The day in a column start-time; None is no such column."""
    variables: int = NARROW
    """Flow variables: 4, or 20 for a wide list, which has the same four first."""

    def __post_init__(self) -> None:
        if self.variables not in (NARROW, WIDE):
            raise ValueError(f"a list has {NARROW} or {WIDE} flow variables")


@dataclass(frozen=True, slots=True)
class Written:
    """What a list has in it."""

    rows: int
    bad: Counter[str]
    """Bad rows of each kind."""


def write(wanted: Wanted, path: Path) -> Written:
    """Write the list to `path` and return what is in it."""
    spoilt = _spoilt_rows(wanted)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(header(wanted)) + "\n")
        for text in _rows(wanted, spoilt):
            file.write(text)
    return Written(wanted.contacts, Counter(spoilt.values()))


def header(wanted: Wanted) -> tuple[str, ...]:
    """Return the columns' names."""
    start_time = () if wanted.start_day is None else ("start-time",)
    more = MORE_VARIABLES if wanted.variables == WIDE else ()
    return ("client-identifier", "tel1", "tel2", *start_time, *FLOW_VARIABLES, *more)


def tomorrow() -> date:
    """Return tomorrow's date where Phonon is: no start-time on it passes during a run."""
    return (datetime.now(UTC).astimezone(_INDIA) + timedelta(days=1)).date()


def _rows(wanted: Wanted, spoilt: dict[int, str]) -> Iterator[str]:
    """Yield the text of the rows, many at once."""
    random = Random(wanted.seed)
    names, offset = _names(random, plain=wanted.plain), random.randrange(_NUMBERS)
    for first in range(1, wanted.contacts + 1, _ROWS_AT_ONCE):
        lines = []
        for row in range(first, min(first + _ROWS_AT_ONCE, wanted.contacts + 1)):
            draw = random.getrandbits(64)
            fields = _fields(row, draw, names, offset)
            if wanted.variables == WIDE:
                fields += _more_fields(row, draw)
            if wanted.start_day is not None:
                fields.insert(3, f"{wanted.start_day}T{10 + row % 8}:{row % 60:02d}:00+05:30")
            if row in spoilt:
                fields = _spoil(fields, spoilt[row])
            lines.append(",".join(fields))
        yield "\n".join(lines) + "\n"


def _fields(row: int, draw: int, names: list[str], offset: int) -> list[str]:
    """Return a good row, its variables taken from 64 random bits."""
    amount = 10_000 + (draw >> 10) % 9_990_000
    return [
        f"ACC{row:08d}",
        _number(offset + row),
        _number(offset + row + _ALTERNATES_FROM) if draw >> 62 == 0 else "",
        names[draw % _NAMES],
        f"{amount // 100}.{amount % 100:02d}",
        _DUE_DATES[(draw >> 34) % 32],
        f"PL-{(draw >> 39) % _NUMBERS:08d}",
    ]


def _more_fields(row: int, draw: int) -> list[str]:
    """Return what a wide list has besides, of the same bits stirred once more."""
    more = draw * 0x9E3779B97F4A7C15 % 2**64
    premium, fee = 50_000 + (more >> 12) % 5_000_000, (more >> 36) % 50_000
    city = more % 8
    return [
        _CITIES[city],
        f"BR{city:02d}{(more >> 3) % 97:02d}",
        f"AG-{(more >> 20) % 100_000:05d}",
        _PRODUCTS[(more >> 6) % 8],
        _PLANS[(more >> 9) % 4],
        _FREQUENCIES[(more >> 11) % 4],
        _LANGUAGES[(more >> 26) % 8],
        "INR",
        f"{premium // 100}.{premium % 100:02d}",
        f"{fee // 100}.{fee % 100:02d}",
        f"{(premium + fee) // 100}.{(premium + fee) % 100:02d}",
        _PAID_DATES[(more >> 40) % 32],
        _RENEWAL_DATES[(more >> 45) % 32],
        f"R{more >> 24:010X}",
        f"XXXXXXXX{(more >> 50) % 10_000:04d}",
        f"https://pay.example/{row:x}/{more >> 32:08x}",
    ]


def _number(place: int) -> str:
    return f"9198{place * _STEP % _NUMBERS:08d}"


def _names(random: Random, *, plain: bool) -> list[str]:
    """Return the names as they stand in a CSV file; one in `_UNUSUAL_EVERY` is unusual."""
    names = [f"{random.choice(_FIRST_NAMES)} {random.choice(_LAST_NAMES)}" for _ in range(_NAMES)]
    if not plain:
        for turn, place in enumerate(range(0, _NAMES, _UNUSUAL_EVERY)):
            names[place] = _quoted(_UNUSUAL_NAMES[turn % len(_UNUSUAL_NAMES)])
    return names


def _quoted(text: str) -> str:
    if not any(mark in text for mark in ',"\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _spoilt_rows(wanted: Wanted) -> dict[int, str]:
    """Return the rows that are to be bad, and how."""
    random = Random(f"{wanted.seed} bad")
    rows = random.sample(range(1, wanted.contacts + 1), round(wanted.contacts * wanted.bad))
    kinds = BAD_ROWS if wanted.start_day is None else BAD_ROWS + BAD_START_TIMES
    return {row: kinds[turn % len(kinds)] for turn, row in enumerate(rows)}


def _spoil(fields: list[str], kind: str) -> list[str]:
    identifier, number, _, *rest = fields
    match kind:
        case "no number":
            return [identifier, "", "", *rest]
        case "number cut short":
            return [identifier, number[:-3], "", *rest]
        case "number unreadable":
            return [identifier, "ask reception", "", *rest]
        case "too few fields":
            return fields[:3]
        case "start-time unreadable":
            return [*fields[:3], "in the morning", *fields[4:]]
        case _:
            return [*fields[:3], "2020-01-01T10:00:00+05:30", *fields[4:]]


def in_words(written: Written) -> str:
    """Return one sentence about a list."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(written.bad.items()))
    return f"{written.rows:,} rows, {written.bad.total():,} of them bad" + (
        f" on purpose ({kinds})" if kinds else ""
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Generate a contact list in Phonon's template.")
    parser.add_argument("path", type=Path, metavar="FILE.csv")
    parser.add_argument("--contacts", "-n", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="no quotes, nothing beyond ASCII")
    parser.add_argument("--variables", type=int, default=4, choices=(4, WIDE), help="of the flow")
    parser.add_argument("--bad", type=float, default=0.0, metavar="SHARE", help="such as 0.001")
    parser.add_argument(
        "--start-time",
        type=date.fromisoformat,
        nargs="?",
        const=tomorrow(),
        metavar="DAY",
        help="with a column start-time; tomorrow if no day is given",
    )
    return parser.parse_args()


def main() -> None:
    """Write a list and say what is in it."""
    given = _arguments()
    wanted = Wanted(
        given.contacts, given.seed, given.plain, given.bad, given.start_time, given.variables
    )
    print(f"{given.path}: {in_words(write(wanted, given.path))}")


if __name__ == "__main__":
    main()
