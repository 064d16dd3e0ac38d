"""Fills in `calls.sql`: which column is what, as SQL.

Nothing from a list's rows gets in here. What does, the names of flow variables, is JSON in a
string constant.
"""

from importlib import resources
from string import Template

import orjson

from phonon_bulk.call import MAX_DIGITS, MIN_DIGITS, start_time_text
from phonon_bulk.config import DuplicatesBy
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.feed import MOVED, START, START_DAY
from phonon_bulk.source.formats.tables import FAULT, ROW, column_name
from phonon_bulk.source.numbers import FILLERS, NumberReader
from phonon_bulk.source.row import Rules, days_since_epoch

KEY = "key"
"""The column with the hash of each row's client-identifier, if duplicates are known by it."""


def number_name(i: int) -> str:
    """Return the column with the i-th number as a whole number; null where there is none."""
    return f"number{i}"


def macros(numbers: NumberReader) -> str:
    """Return the SQL that defines what is usual in a field."""
    return Template(_sql_text("macros.sql")).substitute(
        code=numbers.country_code,
        trunk=numbers.trunk,
        ordinary=numbers.ordinary,
        least=MIN_DIGITS,
        most=MAX_DIGITS,
    )


def call_query(columns: Columns, rules: Rules) -> str:
    """Return the query that writes the rows of `list` as calls."""
    parts = _identifier(columns, rules)
    parts += [_constant(',"start-time":"'), _start_time(rules)]
    parts += [_constant('","contact-numbers":["'), *_numbers(columns)]
    parts += [_constant('],"keys":['), *_keys(columns), _constant("]},")]
    return Template(_sql_text("calls.sql")).substitute(
        room=rules.room,
        day=_day(rules),
        usual=" AND ".join(_usual(columns, rules)),
        parts=", ".join(parts),
        derived=", ".join(_derived(columns, rules)),
        more=", ".join(_more(columns, rules)),
    )


def _sql_text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _derived(columns: Columns, rules: Rules) -> list[str]:
    """Return what is found out about a row before its call is written."""
    derived = [f"clean_number({column_name(c)}) AS n{i}" for i, c in enumerate(columns.numbers)]
    if columns.client_identifier is not None:
        field, other = column_name(columns.client_identifier), f"concat('{rules.run}-', {ROW})"
        derived.append(f"identifier_json({field}, {other}) AS identifier")
    return derived


def _usual(columns: Columns, rules: Rules) -> list[str]:
    """Return the conditions under which a row can be written here."""
    usual = [f"{FAULT} IS NULL", "n0 IS NOT NULL"]
    nothing = ", ".join(_constant(text) for text in sorted(FILLERS))
    for i, column in enumerate(columns.numbers[1:], start=1):
        field = column_name(column)
        usual.append(f"({field} = '' OR n{i} IS NOT NULL OR upper(trim({field})) IN ({nothing}))")
    if columns.client_identifier is not None:
        usual.append("identifier IS NOT NULL")
    if rules.start is None:
        usual.append(f"{START} IS NOT NULL")
    usual += [f"regexp_matches({column_name(c)}, '[!-~]')" for c in columns.required]
    usual += [f"length({column_name(c)}) <= {most}" for c, most in columns.max_lengths]
    own, every = len(columns.own), len(columns.names)
    return usual + [f"{column_name(c)} IS NOT NULL" for c in range(own, every)]


def _more(columns: Columns, rules: Rules) -> list[str]:
    """Return what else is to be known of a row."""
    more = [MOVED] if rules.start is None else []
    if rules.suppressed is not None:
        more += [_number(i) for i in range(len(columns.numbers))]
    elif rules.key is DuplicatesBy.NUMBER:
        more.append(_number(0))
    if rules.key is DuplicatesBy.CLIENT_IDENTIFIER and columns.client_identifier is not None:
        field = column_name(columns.client_identifier)
        more.append(f"identifier_key({field}, identifier) AS {KEY}")
    return more or ["NULL AS nothing"]


def _number(i: int) -> str:
    return f"n{i}::BIGINT AS {number_name(i)}"


def _identifier(columns: Columns, rules: Rules) -> list[str]:
    if columns.client_identifier is not None:
        return [_constant('{"client-identifier":'), "identifier"]
    return [_constant(f'{{"client-identifier":"{rules.run}-'), ROW, _constant('"')]


def _start_time(rules: Rules) -> str:
    return START if rules.start is None else _constant(start_time_text(rules.start.moment))


def _day(rules: Rules) -> str:
    if rules.start is None:
        return START_DAY
    return f"{days_since_epoch(rules.start.moment.date())}::INTEGER"


def _numbers(columns: Columns) -> list[str]:
    """Return the numbers: the first is there, a further one is left out if it was there before."""
    parts = ["n0", _constant('"')]
    for i in range(1, len(columns.numbers)):
        doubled = " OR ".join(f"n{i} = n{k}" for k in range(i))
        parts.append(f"""CASE WHEN {doubled} THEN '' ELSE ',"' || n{i} || '"' END""")
    return parts


def _keys(columns: Columns) -> list[str]:
    parts: list[str] = []
    for name, column in columns.keys:
        comma = "," if parts else ""
        parts.append(_constant(f'{comma}{{"name":{orjson.dumps(name).decode()},"value":'))
        parts += [f"to_json({column_name(column)})", _constant("}")]
    return parts


def _constant(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
