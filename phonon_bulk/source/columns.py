"""The header and the mapping: which column is what.

Without a mapping a list is in Phonon's own upload template ("Initiate Outbound Flows"): `tel1` to
`tel10` are the contact numbers, `$flow.key.<Variable>` the flow variables; `client-identifier` and
`start-time` are the names that the outbound API itself has for the other two.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from phonon_bulk.call import KEY_PREFIX, read_start_time
from phonon_bulk.config import MappingSettings
from phonon_bulk.errors import ListError

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
    """Which column is what, each by its place in the header, from 0."""

    names: tuple[str, ...]
    """What the columns are called; one without a name is called `(column 3)`."""
    numbers: tuple[int, ...]
    """The contact numbers in the order they are to be tried; at least one."""
    keys: tuple[tuple[str, int], ...] = ()
    """The flow variables, each name as it stands in a request."""
    client_identifier: int | None = None
    start_time: int | datetime | None = None
    """A column, or one moment for all."""

    @property
    def unused(self) -> tuple[str, ...]:
        """The names of the columns of which nothing is sent."""
        used: set[object] = {self.client_identifier, self.start_time}
        used |= {*self.numbers, *(column for _, column in self.keys)}
        return tuple(name for i, name in enumerate(self.names) if i not in used)


def plan_columns(header: Sequence[str], mapping: MappingSettings | None) -> Columns:
    """Return which column is what; names count without the spaces around them.

    Raises ListError for a name that stands there twice, for columns that a mapping names and the
    header has not (all of them at once), and for a list without contact numbers.
    """
    names = tuple(name.strip() for name in header)
    _refuse_doubles(name for name in names if name)
    named = tuple(name or label(i) for i, name in enumerate(names))
    return _template(named) if mapping is None else _mapped(named, mapping)


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
    return any(_NUMBER.fullmatch(name.strip()) for name in names)


_NUMBER = re.compile(r"[+0-9][0-9 ().-]{7,24}")


def quoted(names: Iterable[str]) -> str:
    """Return the names in quotes, with commas between them."""
    names = list(names)
    if seems_a_contact(names):
        return "not shown, as the first line seems to be a contact: is the header missing?"
    return ", ".join(f'"{name}"' for name in names)


def _refuse_doubles(names: Iterable[str]) -> None:
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise ListError(f"more than one column is called {quoted(doubles)}: rename all but one")


def _template(names: tuple[str, ...]) -> Columns:
    plain = [re.sub(r"\s", "", name).lower() for name in names]
    _refuse_doubles(name for name in plain if _TEL.fullmatch(name) or name in _OTHERS)
    numbers = {int(match[1]): i for i, name in enumerate(plain) if (match := _TEL.fullmatch(name))}
    if not numbers:
        raise ListError(
            f"the list has no column tel1; its columns are {quoted(names)}. If the numbers are in"
            f" other columns, say so in the campaign file, for example:\n{_MAPPING_EXAMPLE}"
        )
    return Columns(
        names=names,
        numbers=tuple(numbers[k] for k in sorted(numbers)),
        keys=tuple((n, i) for i, n in enumerate(names) if len(n) > len(KEY_PREFIX) and _is_key(n)),
        client_identifier=_place(plain, "client-identifier"),
        start_time=_place(plain, "start-time"),
    )


def _is_key(name: str) -> bool:
    return name.startswith(KEY_PREFIX)


def _mapped(names: tuple[str, ...], mapping: MappingSettings) -> Columns:
    start_time = _start_time(names, mapping.start_time)
    wanted = [*mapping.contact_numbers, *mapping.keys.values()]
    if mapping.client_identifier is not None:
        wanted.append(mapping.client_identifier)
    problems = [_missing(names, column) for column in wanted if column.strip() not in names]
    if mapping.start_time is not None and start_time is None:
        problems.append(
            f"start_time is {mapping.start_time!r}: neither a column nor a time like"
            " 2026-11-24T10:00:00+05:30"
        )
    if problems:
        problems = list(dict.fromkeys(problems))
        problems.append(f"its columns are {quoted(names)}")
        raise ListError("the list does not fit the campaign's [mapping]:\n" + "\n".join(problems))
    return Columns(
        names=names,
        numbers=tuple(names.index(column.strip()) for column in mapping.contact_numbers),
        keys=tuple((KEY_PREFIX + k, names.index(c.strip())) for k, c in mapping.keys.items()),
        client_identifier=_place(names, mapping.client_identifier),
        start_time=start_time,
    )


def _start_time(names: Sequence[str], wanted: str | None) -> int | datetime | None:
    """Return the column of that name, else the moment that the text is, else None."""
    column = _place(names, wanted)
    return column if column is not None or wanted is None else read_start_time(wanted)


def _place(names: Sequence[str], wanted: str | None) -> int | None:
    return names.index(wanted.strip()) if wanted and wanted.strip() in names else None


def _missing(names: Sequence[str], wanted: str) -> str:
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(wanted.strip().lower(), list(by_lower), n=1)
    hint = f'; is "{by_lower[near[0]]}" meant?' if near else ""
    return f'there is no column "{wanted}"{hint}'
