"""`[mapping]`: what each part of a call is taken from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator

from phonon_bulk.config.problems import FoundError, Section, plain, shown

KEY_PREFIX = "$flow.key."
"""What the name of a flow variable begins with in a request, and not in a campaign."""

ALL_OTHERS: Literal["*"] = "*"
"""`keys = "*"`: each column that is used for nothing else is a flow variable of its name."""


class Kind(StrEnum):
    """What the text of a `Value` is."""

    COLUMN = "column"
    VALUE = "value"
    SQL = "sql"


@dataclass(frozen=True, slots=True)
class Value:
    """What a part of a call is taken from: a column, one text for all rows, or an SQL expression.

    A plain text is the name of a column, always; SQL is marked as such, `{ sql = "…" }`, so that a
    name is never taken for code.
    """

    kind: Kind
    text: str

    @classmethod
    def read(cls, value: object) -> Self:
        """Return what was written in a campaign. Raises FoundError for anything else."""
        match value:
            case cls():
                return value
            case str() if value.strip():
                return cls(Kind.COLUMN, value)
            case {**table} if len(table) == 1:
                (name, text), *_ = table.items()
                if (
                    name in set(Kind)
                    and isinstance(text, str)
                    and (text.strip() or name == "value")
                ):
                    return cls(Kind(str(name)), text)
                raise FoundError(f"a table with {shown(name)}")
        raise FoundError(shown(value))

    def written(self) -> str | dict[str, str]:
        """Return it as it is written in a campaign."""
        return self.text if self.kind is Kind.COLUMN else {self.kind.value: self.text}


def _read(value: object) -> Value:
    return Value.read(value)


def _written(value: Value) -> str | dict[str, str]:
    return value.written()


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping | Value) else value


def _each_once(values: tuple[Value, ...]) -> tuple[Value, ...]:
    if not values:
        raise FoundError("an empty list")
    if len(set(values)) < len(values):
        raise FoundError("a column named twice")
    return values


def _moment_as_text(value: Any) -> Any:
    """Take a date and time without quotes, which TOML knows as such, for what it looks like."""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _flow_variables(keys: object) -> dict[str, Value] | Literal["*"]:
    if keys == ALL_OTHERS:
        return ALL_OTHERS
    if not isinstance(keys, Mapping):
        raise FoundError(shown(keys))
    for variable in keys:
        if not variable.strip() or variable.startswith(KEY_PREFIX):
            raise FoundError(shown(variable))
    return {variable: _value_of(variable, value) for variable, value in keys.items()}


def _value_of(variable: str, value: object) -> Value:
    try:
        return Value.read(value)
    except FoundError as error:
        raise FoundError(f'{error} for "{plain(variable)}"') from None


def _written_keys(keys: dict[str, Value] | Literal["*"]) -> Any:
    return keys if keys == ALL_OTHERS else {k: v.written() for k, v in keys.items()}


_FORMS = 'the name of a column, { sql = "…" } or { value = "…" }'
_Value = Annotated[Value, PlainValidator(_read), PlainSerializer(_written)]
_One = Annotated[_Value, Field(description=_FORMS)]
_Numbers = Annotated[
    tuple[_Value, ...],
    BeforeValidator(_one_as_list),
    AfterValidator(_each_once),
    Field(description='the name of a column, { sql = "…" }, or a list of them, each once'),
]
_Moment = Annotated[
    _Value,
    BeforeValidator(_moment_as_text),
    Field(
        description='the name of a column, { sql = "…" }, or a date and time like'
        ' "2026-11-24T10:00:00+05:30"'
    ),
]
_Keys = Annotated[
    dict[str, Value] | Literal["*"],
    PlainValidator(_flow_variables),
    PlainSerializer(_written_keys),
    Field(
        description='"*", or a table of flow variables, each with its column:'
        f' {{ Name = "first_name" }}, without {KEY_PREFIX} before the variable'
    ),
]


class MappingSettings(Section):
    """Which column is what: `[mapping]`."""

    client_identifier: _One | None = None
    contact_numbers: _Numbers
    start_time: _Moment | None = None
    keys: _Keys = Field(default_factory=dict)
