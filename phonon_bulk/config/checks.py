"""`[checks]`: what is done to a row before it is a call, and which rows are none."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import time
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator

from phonon_bulk.config.problems import FoundError, Section, shown
from phonon_bulk.config.settings import Text

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_LONGEST_LENGTH = 256_000
_MOST_DAYS = 366


class Duplicates(StrEnum):
    """What becomes of a row whose key an earlier row had."""

    KEEP = "keep"
    """It is a call like any other; nothing is compared."""
    DROP = "drop"
    """It is left out, and counted as a duplicate."""
    REJECT = "reject"
    """It is rejected, and so stands in the file of rejected rows."""


class DuplicatesBy(StrEnum):
    """The key by which rows are duplicates."""

    NUMBER = "number"
    """The number that is called first."""
    CLIENT_IDENTIFIER = "client_identifier"


class Outside(StrEnum):
    """What becomes of a start-time outside the calling window."""

    MOVE = "move"
    """It becomes the next opening of the window."""
    REJECT = "reject"


class StartTimeForm(StrEnum):
    """How start-times are written in the list, where they are not in ISO 8601."""

    ISO = "iso"
    DAY_FIRST = "dmy"
    """24/11/2026 10:30, 24-11-2026 10:30 AM, 24-Nov-2026 10:30."""
    MONTH_FIRST = "mdy"
    """11/24/2026 10:30 AM."""
    EXCEL = "excel"
    """Days since 1899-12-30, as Excel counts them: 46350.4375."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time of day to another, on the same day; the second is not in it."""

    opens: time
    closes: time

    @classmethod
    def read(cls, text: object) -> Self:
        """Return what was written as "10:00-19:00". Raises FoundError for anything else."""
        if isinstance(text, cls):
            return text
        match = _WINDOW.fullmatch(text.replace(" ", "")) if isinstance(text, str) else None
        if match is None:
            raise FoundError(shown(text))
        first, second, third, fourth = map(int, match.groups())
        window = cls(time(first, second), time(third, fourth))
        if window.opens >= window.closes:
            raise FoundError(f"{shown(text)}, which ends before it begins")
        return window

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"


@dataclass(frozen=True, slots=True)
class DoNotCall:
    """A list of numbers that are not to be called: files, or a query."""

    path: str | None = None
    column: str | None = None
    """None: the one column that looks like numbers."""
    query: str | None = None
    database: str | None = None

    @classmethod
    def read(cls, value: object) -> Self:
        """Return what was written in a campaign. Raises FoundError for anything else."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = {"path": value}
        if not isinstance(value, Mapping):
            raise FoundError(shown(value))
        known = {field.name for field in fields(cls)}
        if unknown := [name for name in value if name not in known]:
            raise FoundError(f"a table with {shown(unknown[0])}")
        texts = [text for text in value.values() if text is not None]
        if wrong := [text for text in texts if not isinstance(text, str) or not text.strip()]:
            raise FoundError(shown(wrong[0]))
        read = cls(**value)
        if (read.path is None) == (read.query is None) or (read.database and not read.query):
            raise FoundError("a table with neither a path nor a query, or with both")
        return read

    def written(self) -> dict[str, str]:
        """Return it as it is written in a campaign."""
        return {name: text for name, text in asdict(self).items() if text is not None}


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping) else value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise FoundError(shown(name)) from None
    return name


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise FoundError("a name twice")
    return names


def _window(value: object) -> Window:
    return Window.read(value)


def _do_not_call(value: object) -> DoNotCall:
    return DoNotCall.read(value)


_Window = Annotated[
    Window,
    PlainValidator(_window),
    PlainSerializer(str),
    Field(description='two times of day, the earlier first, like "10:00-19:00"'),
]
_Zone = Annotated[str, AfterValidator(_zone), Field(description='a time zone like "Asia/Kolkata"')]
_Region = Annotated[
    str,
    Field(pattern=r"^[A-Z]{2}$", description='two capital letters of a country, like "IN"'),
]
_Names = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_as_list),
    AfterValidator(_each_once),
    Field(description="a list of names, each once"),
]
_Lengths = Annotated[
    dict[str, Annotated[int, Field(strict=True, ge=1, le=_LONGEST_LENGTH)]],
    Field(
        description="a table of columns, each with the most characters it may have:"
        f" {{ first_name = 40 }}, 1 to {_LONGEST_LENGTH}"
    ),
]
_Suppress = Annotated[
    tuple[
        Annotated[DoNotCall, PlainValidator(_do_not_call), PlainSerializer(DoNotCall.written)], ...
    ],
    BeforeValidator(_one_as_list),
    Field(description='a path, { path = "…", column = "…" } or { query = "…" }, or a list of them'),
]
_Days = Annotated[
    int,
    Field(strict=True, ge=0, le=_MOST_DAYS, description=f"a whole number from 0 to {_MOST_DAYS}"),
]


class ChecksSettings(Section):
    """What is checked in each row: `[checks]`."""

    region: _Region = "IN"
    start_time_form: Annotated[
        StartTimeForm, Field(description='"iso", "dmy", "mdy" or "excel"')
    ] = StartTimeForm.ISO
    window: _Window | None = None
    outside_window: Annotated[Outside, Field(description='"move" or "reject"')] = Outside.MOVE
    spread: _Window | None = None
    time_zone: _Zone = "Asia/Kolkata"
    required: _Names = ()
    max_lengths: _Lengths = Field(default_factory=dict)
    known_keys: _Names = ()
    suppress: _Suppress = ()
    duplicates: Annotated[Duplicates, Field(description='"keep", "drop" or "reject"')] = (
        Duplicates.KEEP
    )
    duplicates_by: Annotated[DuplicatesBy, Field(description='"number" or "client_identifier"')] = (
        DuplicatesBy.NUMBER
    )
    duplicates_days: _Days = 0
