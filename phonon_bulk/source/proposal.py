"""Which column of a list is likely what: proposed by the names and a sample, for a person to judge.

A name counts more than values: account numbers of ten digits read as phone numbers three times out
of four. What is not certain is said as a doubt. Doubts name columns and counts, never a value.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from itertools import islice

from phonon_bulk.config import KEY_PREFIX, ChecksSettings, Kind, MappingSettings, Value, Window
from phonon_bulk.config import StartTimeForm as Form
from phonon_bulk.config.problems import looks_secret
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import Columns, label, plan_columns, quoted, seems_a_contact
from phonon_bulk.source.looks import LookedAt
from phonon_bulk.source.numbers import NumberReader
from phonon_bulk.source.times import Start, StartTimes

_MOST_NUMBERS = _MOST_LISTED = 10
_LONGEST_NAME = 200
"""Characters of a column's name that a campaign may be expected to repeat."""
_SURE, _LIKELY, _NAMED = 0.9, 0.5, 0.2
"""Shares of values: that leave no doubt, that will do, and that will do with the right name."""

_SECRET_NAME = re.compile(r"security[-_ ]?id", re.IGNORECASE)
_ALL_DAY = Window(time(0), time(23, 59))
_NOBODY = MappingSettings(contact_numbers=(Value(Kind.VALUE, "0"),))


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that a person should look at: about which key of a campaign, and a sentence."""

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Which column is what. Columns are named as a campaign names them."""

    region: str
    rows: int
    """How many were looked at."""
    numbers: tuple[str, ...]
    """The contact numbers in the order they are to be tried; at least one."""
    client_identifier: str | None = None
    start_time: str | None = None
    start_time_form: Form = Form.ISO
    whole_days: bool = False
    """Start-times without a time of day: a calling window is needed."""
    keys: tuple[tuple[str, str], ...] = ()
    """The flow variables, each with its column."""
    is_template: bool = False
    """The list is in Phonon's own template, so no mapping is needed."""
    required: bool = False
    """Every row has a client-identifier."""
    repeated: int = 0
    """Rows whose first number an earlier row had."""
    doubts: tuple[Doubt, ...] = ()


def propose(
    names: Sequence[str], sample: Sequence[Sequence[str]], region: str, now: float
) -> Proposal:
    """Return what a list is likely to be, given its header and the values of each column.

    `sample` has the columns in the order of their names, all of one length; `region` is the country
    of numbers without a country code; `now` (seconds since the epoch) says which days are past.
    Takes a few seconds if the numbers are not ordinary mobile ones of the country.

    Raises ListError if the header seems to be a contact, if a name stands there twice, if no column
    holds phone numbers, or if the region is no country.
    """
    reader = NumberReader(region)
    _refuse_contacts(names, reader)
    plan = plan_columns(names, _NOBODY)
    own = plan.own[:-2] if plan.is_mended else plan.own
    columns = [LookedAt(i, name, sample[i], reader) for i, name in enumerate(own)]
    draft = _Draft([column for column in columns if _can_be_named(column.name, plan.own)], reader)
    template = _template(names)
    if template is None:
        draft.decide(now)
    else:
        draft.take(template, now)
    if not any(column.reads for column in draft.numbers):
        raise ListError(f"no column of the list holds phone numbers; its columns are {quoted(own)}")
    if left_out := [label(column.place) for column in columns if column not in draft.columns]:
        some = ", ".join(left_out[:_MOST_LISTED])
        draft.doubt("keys", f"left out, as a campaign can't name them: {some}")
    return draft.finished(len(sample[0]), is_template=template is not None)


@dataclass(slots=True)
class _Draft:
    """A proposal under way: what was decided, and what was not certain."""

    columns: list[LookedAt]
    reader: NumberReader
    doubts: list[Doubt] = field(default_factory=list)
    numbers: list[LookedAt] = field(default_factory=list)
    identifier: LookedAt | None = None
    start: "_Starts | None" = None
    keys: dict[str, str] = field(default_factory=dict)

    def decide(self, now: float) -> None:
        """Find out which column is what, by names and values."""
        self.numbers = self._find_numbers()
        self.identifier = self._find_identifier()
        self.start = self._find_start(now)
        self.keys = _variables(self._unused())
        if self.keys:
            text = "the flow variables are named like the columns: they must have the flow's names"
            self.doubt("keys", text)

    def take(self, template: Columns, now: float) -> None:
        """Take what the template says."""
        by_place = {column.place: column for column in self.columns}
        self.numbers = [by_place[place] for place in template.numbers]
        if template.client_identifier is not None:
            self.identifier = by_place[template.client_identifier]
        if isinstance(template.start_time, int):
            self.start = _Starts(by_place[template.start_time], now)

    def finished(self, rows: int, *, is_template: bool) -> Proposal:
        """Return it, with the doubts about what was decided."""
        identifier, start = self.identifier, self.start
        for column in self.numbers:
            self.doubts += _about_numbers(column, self.reader.region)
        self.doubts += _about_identifier(identifier) if identifier else ()
        self.doubts += start.doubts() if start else ()
        if repeated := _repeated(self.numbers, self.reader):
            self.doubt(
                "duplicates", f"{repeated:,} of {rows:,} rows repeat an earlier one's number"
            )
        return Proposal(
            region=self.reader.region,
            rows=rows,
            numbers=tuple(column.name for column in self.numbers),
            client_identifier=identifier.name if identifier else None,
            start_time=start.column.name if start else None,
            start_time_form=start.form if start else Form.ISO,
            whole_days=bool(start and start.whole_days),
            keys=tuple(self.keys.items()),
            is_template=is_template,
            required=bool(identifier and not identifier.missing),
            repeated=repeated,
            doubts=tuple(self.doubts),
        )

    def doubt(self, about: str, text: str) -> None:
        self.doubts.append(Doubt(about, text))

    def _unused(self) -> list[LookedAt]:
        used = [*self.numbers, self.identifier, self.start and self.start.column]
        return [column for column in self.columns if column not in used]

    def _find_numbers(self) -> list[LookedAt]:
        """Return the columns that are named so; else the one that looks most like it."""
        named = [c for c in self.columns if c.says_number and (not c.filled or c.reads >= _NAMED)]
        if not any(column.filled for column in named):
            named = []
        others = [c for c in self.columns if c not in named and c.reads >= _SURE]
        others.sort(key=lambda column: (column.says_another, column.order))
        if not named and others:
            named = [others.pop(0)]
            text = f"{named[0]} looks like phone numbers, but is not named like a customer's"
            self.doubt("contact_numbers", text)
        if others:
            text = f"not called, by their names, but like phone numbers too: {_listed(others)}"
            self.doubt("contact_numbers", text)
        return sorted(named, key=lambda column: column.order)[:_MOST_NUMBERS]

    def _find_identifier(self) -> LookedAt | None:
        """Return the column that is named so and unique; else the one that nearly is."""
        likely = [
            (bool(rank) and c.repeated > len(c.filled) * (1 - _SURE), rank, c.repeated, c.place, c)
            for c in self._unused()
            if (rank := c.identifier_rank) is not None
            and len(c.filled) - c.repeated > len(c.values) * _LIKELY
        ]
        if not likely:
            text = "no column says who a contact is: calls are named by run and row"
            self.doubt("client_identifier", text)
            return None
        (*_, best), *others = sorted(likely)
        if others:
            self.doubt("client_identifier", f"it could be {_listed(c for *_, c in others)} as well")
        return best

    def _find_start(self, now: float) -> "_Starts | None":
        """Return the column that is named so and of which most can be read."""
        named = [_Starts(c, now) for c in self._unused() if c.says_start and c.filled]
        for starts in named:
            if starts.share < _LIKELY:
                text = f"{starts.column} is named like a start-time, but is no date with a time"
                self.doubt("start_time", text)
        best = max(named, key=lambda starts: starts.share, default=None)
        return best if best and best.share >= _LIKELY else None


class _Starts:
    """A column of start-times, and the form that most of them can be read in."""

    def __init__(self, column: LookedAt, now: float) -> None:
        read = {form: _moments(column.filled, form, 0.0) for form in Form}
        day, month = read[Form.DAY_FIRST], read[Form.MONTH_FIRST]
        self.column = column
        self.form = max(Form, key=lambda form: _count(read[form]))
        self.is_undecided = self.form is Form.DAY_FIRST and _count(day) == _count(month)
        self.is_undecided &= day != month  # names of months decide by themselves
        self.read = _count(read[self.form])
        self.past = self.read - _count(_moments(column.filled, self.form, now))
        self.whole_days = self.read - _count(_moments(column.filled, self.form, 0.0, None))

    @property
    def share(self) -> float:
        return self.read / max(len(self.column.filled), 1)

    def doubts(self) -> Iterator[Doubt]:
        """Yield what is not certain about them."""
        name, past, days = self.column, self.past, self.whole_days
        unread, missing = len(name.filled) - self.read, name.missing
        start, form = "start_time", "start_time_form"
        return _those(
            (self.is_undecided, form, f"{name} is read with the day first, or is it the month?"),
            (unread, start, f"{unread:,} values in {name} can't be read as start-times"),
            (past, start, f"{past:,} values in {name} are of past days: such rows are rejected"),
            (missing, start, f"{missing:,} rows have no {name}: they are called at once"),
            (days, "window", f"{days:,} values in {name} have no time of day: a window gives it"),
        )


def _moments(
    texts: Sequence[str], form: Form, now: float, window: Window | None = _ALL_DAY
) -> list[datetime | None]:
    """Return what each text is as a start-time, None where it can be none."""
    starts = StartTimes(ChecksSettings(start_time_form=form, window=window), now, 1)
    read = map(starts.read, texts)
    return [start.moment if isinstance(start, Start) else None for start in read]


def _count(moments: Sequence[datetime | None]) -> int:
    return len(moments) - moments.count(None)


def _refuse_contacts(names: Sequence[str], reader: NumberReader) -> None:
    """Raise ListError if a name is a number: then none of them may be shown."""
    read = (number for name in names for number in reader.several(name))
    if seems_a_contact(names) or any(isinstance(number, str) for number in read):
        raise ListError(
            "the first line seems to be a contact: is the header missing? Put a line with the names"
            " of the columns before it, such as account_no,mobile,first_name"
        )


def _template(names: Sequence[str]) -> Columns | None:
    """Return the columns of Phonon's template, if the list is in it and all of it would be sent."""
    try:
        plan = plan_columns(names, None)
    except ListError:
        return None
    return plan if plan.keys or not plan.unused else None


def _can_be_named(name: str, names: Sequence[str]) -> bool:
    """Say whether a campaign can have the name, and means one column by it."""
    is_text = name.encode(errors="replace").decode() == name
    is_short = len(name) <= _LONGEST_NAME
    return is_text and is_short and not looks_secret(name) and names.count(name) == 1


def _listed(columns: Iterable[LookedAt]) -> str:
    return ", ".join(map(str, islice(columns, _MOST_LISTED)))


def _variables(columns: Iterable[LookedAt]) -> dict[str, str]:
    """Return the flow variables that columns may be, each of its own name, and their columns."""
    variables: dict[str, str] = {}
    for column in columns:
        variable = column.name.removeprefix(KEY_PREFIX).strip()
        is_secret = _SECRET_NAME.fullmatch(variable)
        is_named = variable and column.name != label(column.place)
        if is_named and not is_secret and not variable.startswith(KEY_PREFIX):
            variables.setdefault(variable, column.name)
    return variables


def _those(*table: tuple[object, str, str]) -> Iterator[Doubt]:
    """Yield the doubts that there are: each row has whether, about which key, and the sentence."""
    return (Doubt(about, text) for is_so, about, text in table if is_so)


def _about_numbers(column: LookedAt, region: str) -> Iterator[Doubt]:
    is_odd = column.filled and column.reads < _SURE
    share = f"{column.reads:.0%} of the values in {column}"
    return _those(
        (not column.filled, "contact_numbers", f"{column} is empty, and taken by its name"),
        (is_odd, "contact_numbers", f"only {share} can be read as numbers of {region}"),
        (column.damaged, "contact_numbers", column.damage),
    )


def _about_identifier(column: LookedAt) -> Iterator[Doubt]:
    about, missing, repeated = "client_identifier", column.missing, column.repeated
    return _those(
        (repeated, about, f"{repeated:,} rows repeat an earlier one's {column}"),
        (missing, about, f"{missing:,} rows have no {column}: they are named by run and row"),
        (column.damaged, about, column.damage),
    )


def _repeated(columns: Sequence[LookedAt], reader: NumberReader) -> int:
    """Return how many rows have a first number that an earlier row had."""
    firsts = []
    for row in zip(*(column.values for column in columns), strict=True):
        read = (number for text in row for number in reader.several(text))
        first = next((number for number in read if isinstance(number, str)), None)
        firsts += [first] if first else []
    return len(firsts) - len(set(firsts))
