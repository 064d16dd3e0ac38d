"""Fills in `calls.sql`: which column is what, as SQL.

Nothing from a list's rows gets in here. What does, the names of flow variables, is JSON in a
string constant.
"""

from importlib import resources
from string import Template

import orjson

from phonon_bulk.call import start_time_text
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.feed import START, START_DAY
from phonon_bulk.source.row import Given, days_since_epoch
from phonon_bulk.source.rows import ROW, column_name


def sql_text(name: str) -> str:
    """Return one of the SQL files beside this module."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def call_query(columns: Columns, given: Given) -> str:
    """Return the query that writes the rows of `list` as calls."""
    parts = _identifier(columns, given)
    parts += [_constant(',"start-time":"'), _start_time(columns, given)]
    parts += [_constant('","contact-numbers":["'), *_numbers(columns)]
    parts += [_constant('],"keys":['), *_keys(columns), _constant("]},")]
    return Template(sql_text("calls.sql")).substitute(
        fields=", ".join(column_name(i) for i in range(len(columns.names))),
        room=given.room,
        day=_day(columns, given),
        usual=" AND ".join(f"{name} IS NOT NULL" for name in _must_be_there(columns)),
        parts=", ".join(parts),
        derived=", ".join(_derived(columns, given)),
    )


def _derived(columns: Columns, given: Given) -> list[str]:
    """Return what is found out about a row before its call is written."""
    derived = [f"clean_number({column_name(c)}) AS n{i}" for i, c in enumerate(columns.numbers)]
    if columns.client_identifier is not None:
        field, other = column_name(columns.client_identifier), _generated(given)
        derived.append(f"identifier_json({field}, {other}) AS identifier")
    return derived


def _must_be_there(columns: Columns) -> list[str]:
    """Return the derived values without which a row is not usual; other numbers are optional."""
    names = ["n0"]
    if columns.client_identifier is not None:
        names.append("identifier")
    if isinstance(columns.start_time, int):
        names.append(START)
    return names


def _identifier(columns: Columns, given: Given) -> list[str]:
    if columns.client_identifier is not None:
        return [_constant('{"client-identifier":'), "identifier"]
    return [_constant(f'{{"client-identifier":"{given.run}-'), ROW, _constant('"')]


def _start_time(columns: Columns, given: Given) -> str:
    if isinstance(columns.start_time, int):
        return START
    return _constant(start_time_text(columns.start_time or given.moment))


def _day(columns: Columns, given: Given) -> str:
    if isinstance(columns.start_time, int):
        return START_DAY
    return f"{days_since_epoch((columns.start_time or given.moment).date())}::INTEGER"


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


def _generated(given: Given) -> str:
    return f"concat('{given.run}-', {ROW})"


def _constant(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
