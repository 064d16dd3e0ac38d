"""The header and the mapping: which column is what.

Without a mapping a list is in Phonon's own upload template ("Initiate Outbound Flows"): `tel1` to
`tel10` are the contact numbers, `$flow.key.<Variable>` the flow variables; `client-identifier` and
`start-time` are the names that the outbound API itself has for the other two.

Constants and SQL expressions of a mapping become columns too, after those of the list
(`expressions`), so that all the rest of the way knows columns only.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from phonon_bulk.call import read_start_time
from phonon_bulk.config import ALL_OTHERS, KEY_PREFIX, ChecksSettings, Kind, MappingSettings, Value
from phonon_bulk.config.problems import shortened
from phonon_bulk.errors import ListError
from phonon_bulk.spreadsheet import as_it_was, is_ours

_TEL = re.compile(r"tel([1-9]|10)")
_OTHERS = ("client-identifier", "start-time")
_MAPPING_EXAMPLE = (
    "[mapping]\n"
    'contact_numbers = ["mobile", "alternate"]\n'
    'client_identifier = "account_no"\n'
    'keys = { Name = "first_name" }'
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what, each by its place, from 0: the list's own, and then derived ones."""

    names: tuple[str, ...]
    """What all are called; one of the list's that has no name is called `(column 3)`."""
    numbers: tuple[int, ...]
    """The contact numbers in the order they are to be tried; at least one."""
    keys: tuple[tuple[str, int], ...] = ()
    """The flow variables, each name as it stands in a request."""
    client_identifier: int | None = None
    start_time: int | datetime | None = None
    """A column, or one moment for all."""
    derived: tuple[str, ...] = ()
    """The SQL of the columns that are not the list's own."""
    required: tuple[int, ...] = ()
    """Columns that must not be empty."""
    max_lengths: tuple[tuple[int, int], ...] = ()
    """Columns that may have so many characters at most."""
    is_mended: bool = False
    """Whether the list is a file of rejected rows that comes back mended: nothing is sent of its
    last two columns."""
    said: tuple[str, ...] = field(init=False)
    """What all are called in a message."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "said", tuple(map(shortened, self.names)))

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the list's own columns."""
        return self.names[: len(self.names) - len(self.derived)]

    @property
    def unused(self) -> tuple[str, ...]:
        """The names of the list's columns of which nothing is sent, and nothing checked."""
        used: set[object] = {self.client_identifier, self.start_time, *self.required}
        used |= {*self.numbers, *(column for _, column in self.keys)}
        used |= {column for column, _ in self.max_lengths}
        own = self.own[:-2] if self.is_mended else self.own
        return tuple(name for i, name in enumerate(own) if i not in used)


@dataclass(slots=True)
class _Plan:
    """Finds columns by name, and gathers what is wrong."""

    names: tuple[str, ...]
    is_mended: bool = False
    derived: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def place(self, wanted: str) -> int:
        """Return where a column is; -1, and a problem more, if there is none."""
        found = _places(self.names, wanted)
        if len(found) == 1:
            return found[0]
        self.problems.append(_ambiguous(wanted) if found else _missing(self.names, wanted))
        return -1

    def value(self, of: str, value: Value) -> int:
        """Return the column that a part of a call is taken from, one more if there is none yet."""
        if value.kind is Kind.COLUMN:
            return self.place(value.text)
        sql = value.text if value.kind is Kind.SQL else "'" + value.text.replace("'", "''") + "'"
        self.derived.append((f"(the {value.kind.value} of {of})", sql))
        return len(self.names) + len(self.derived) - 1


def plan_columns(
    header: Sequence[str], mapping: MappingSettings | None, checks: ChecksSettings | None = None
) -> Columns:
    """Return which column is what; names count without capitals and the spaces around them.

    Raises ListError for a name that stands there twice, for columns that the campaign names and the
    header has not (all of them at once), for flow variables that the campaign does not know, and
    for a list without contact numbers.
    """
    is_mended = is_ours(header)
    names = tuple((as_it_was(name) if is_mended else name).strip() for name in header)
    _refuse_doubles(name for name in names if name)
    plan = _Plan(tuple(name or label(i) for i, name in enumerate(names)), is_mended)
    checks = checks or ChecksSettings()
    columns = (
        _template(plan) if mapping is None else _mapped(plan, mapping, ZoneInfo(checks.time_zone))
    )
    required = tuple(plan.place(name) for name in checks.required)
    lengths = tuple((plan.place(name), most) for name, most in checks.max_lengths.items())
    plan.problems += _unknown_keys(columns, checks.known_keys)
    if plan.problems:
        problems = [*dict.fromkeys(plan.problems), f"its columns are {quoted(plan.names)}"]
        raise ListError("the list does not fit the campaign:\n" + "\n".join(problems))
    return replace(
        columns,
        names=(*plan.names, *(name for name, _ in plan.derived)),
        derived=tuple(sql for _, sql in plan.derived),
        required=required,
        max_lengths=lengths,
        is_mended=is_mended,
    )


def find_column(names: Sequence[str], wanted: str, of: str) -> int:
    """Return where a column is. Raises ListError if there is none, or more than one."""
    plan = _Plan(tuple(names))
    place = plan.place(wanted)
    if plan.problems:
        raise ListError(f"{of}: {plan.problems[0]}; its columns are {quoted(names)}")
    return place


def label(column: int) -> str:
    """Return what a column without a name is called, given its place from 0."""
    return f"(column {column + 1})"


def describe_difference(names: Sequence[str], expected: Sequence[str]) -> str:
    """Say in what a file's header differs from that of the first file."""
    if seems_a_contact([*names, *expected]):
        return "a first line seems to be a contact (is a header missing?)"
    parts = []
    if lacking := [name for name in expected if name not in names]:
        parts.append("without " + quoted(lacking))
    if more := [name for name in names if name not in expected]:
        parts.append("with " + quoted(more))
    return ", ".join(parts) or "the same columns in another order or number"


def seems_a_contact(names: Iterable[str]) -> bool:
    """Say whether what should be a header holds a number: then nothing of it is to be shown."""
    return any(
        sum(map(str.isdigit, name)) >= _DIGITS_OF_A_NUMBER
        or _SCIENTIFIC.search(name)
        or _NUMBER.fullmatch(name.strip())
        for name in names
    )


_NUMBER = re.compile(r"[+0-9][0-9 ().-]{7,24}")
_DIGITS_OF_A_NUMBER = 9  # a date has eight
_SCIENTIFIC = re.compile(r"\d[.,]\d+[eE]\+?\d")
_MOST_QUOTED = 50
_NOT_SHOWN = "not shown, as the first line seems to be a contact: is the header missing?"


def quoted(names: Iterable[str]) -> str:
    """Return the names in quotes, with commas between them."""
    names = list(names)
    if seems_a_contact(names):
        return _NOT_SHOWN
    more = f" and {len(names) - _MOST_QUOTED:,} more" if len(names) > _MOST_QUOTED else ""
    return ", ".join(f'"{shortened(name)}"' for name in names[:_MOST_QUOTED]) + more


def _refuse_doubles(names: Iterable[str]) -> None:
    names = list(names)
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        called = _NOT_SHOWN if seems_a_contact(names) else quoted(doubles)
        raise ListError(f"more than one column is called {called}: rename all but one")


def _template(plan: _Plan) -> Columns:
    names = plan.names
    bare = [re.sub(r"\s", "", name).lower() for name in names]
    _refuse_doubles(name for name in bare if _TEL.fullmatch(name) or name in _OTHERS)
    numbers = {int(match[1]): i for i, name in enumerate(bare) if (match := _TEL.fullmatch(name))}
    if not numbers and seems_a_contact(names):
        raise ListError(
            "the first line of the list seems to be a contact: is the header missing? Put a line"
            " with the columns' names before it"
        )
    if not numbers:
        raise ListError(
            f"the list has no column tel1; its columns are {quoted(names)}. If the numbers are in"
            " other columns, say so in the campaign file (`phonon-bulk init LIST` proposes one),"
            f" for example:\n{_MAPPING_EXAMPLE}"
        )
    places = {name: bare.index(name) for name in _OTHERS if name in bare}
    return Columns(
        names=names,
        numbers=tuple(numbers[k] for k in sorted(numbers)),
        keys=tuple((n, i) for i, n in enumerate(names) if len(n) > len(KEY_PREFIX) and _is_key(n)),
        client_identifier=places.get("client-identifier"),
        start_time=places.get("start-time"),
    )


def _is_key(name: str) -> bool:
    return name.startswith(KEY_PREFIX)


def _mapped(plan: _Plan, mapping: MappingSettings, zone: ZoneInfo) -> Columns:
    identifier, start_time = mapping.client_identifier, mapping.start_time
    columns = Columns(
        names=plan.names,
        is_mended=plan.is_mended,
        numbers=tuple(plan.value("contact_numbers", value) for value in mapping.contact_numbers),
        client_identifier=None
        if identifier is None
        else plan.value("client_identifier", identifier),
        start_time=None if start_time is None else _start_time(plan, start_time, zone),
        keys=tuple(
            (KEY_PREFIX + name, plan.value(f"keys.{name}", value))
            for name, value in (mapping.keys.items() if mapping.keys != ALL_OTHERS else ())
        ),
    )
    if mapping.keys != ALL_OTHERS:
        return columns
    others = [(_variable(n), i) for i, n in enumerate(plan.names) if n in columns.unused]
    named = tuple((name, i) for name, i in others if plan.names[i] != label(i))
    _refuse_doubles(name for name, _ in named)
    return replace(columns, keys=named)


def _variable(name: str) -> str:
    return name if _is_key(name) else KEY_PREFIX + name


def _start_time(plan: _Plan, value: Value, zone: ZoneInfo) -> int | datetime | None:
    """Return the column of that name, else the moment that the text is."""
    is_column = value.kind is Kind.COLUMN and _places(plan.names, value.text)
    moment = None if value.kind is Kind.SQL or is_column else read_start_time(value.text, zone)
    if is_column or (moment is None and value.kind is not Kind.COLUMN):
        return plan.value("start_time", value)
    if moment is None:
        plan.problems.append(
            f"start_time is {value.text!r}: neither a column nor a time like"
            " 2026-11-24T10:00:00+05:30"
        )
    return moment


def _places(names: Sequence[str], wanted: str) -> list[int]:
    """Return the columns of that name: the one that is written so, else all but for capitals."""
    wanted = wanted.strip()
    exact = [i for i, name in enumerate(names) if name == wanted]
    return exact or [i for i, name in enumerate(names) if name.casefold() == wanted.casefold()]


def _ambiguous(wanted: str) -> str:
    return (
        f'more columns than one are called "{wanted.strip()}" but for capitals: write it as it is'
    )


def _missing(names: Sequence[str], wanted: str) -> str:
    return f'there is no column "{wanted}"{_hint(wanted, names)}'


def _hint(wanted: str, known: Sequence[str]) -> str:
    by_lower = {name.casefold(): name for name in known}
    near = get_close_matches(wanted.strip().casefold(), list(by_lower), n=1)
    if not near or seems_a_contact(known):
        return ""
    return f'; is "{shortened(by_lower[near[0]])}" meant?'


def _unknown_keys(columns: Columns, known: Sequence[str]) -> list[str]:
    names = [name.removeprefix(KEY_PREFIX) for name, _ in columns.keys]
    return [
        f'checks.known_keys has no flow variable "{name}"{_hint(name, known)}'
        for name in names
        if known and name not in known
    ]
