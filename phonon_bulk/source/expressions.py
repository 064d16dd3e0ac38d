"""The columns that a mapping computes, added to the list's own.

An expression is DuckDB's SQL over one row; the list's columns have their names in it, and are text.
It can't read files, and can't make rows more or fewer: DuckDB's TRY takes neither a query nor an
aggregate.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import Columns
from phonon_bulk.source.formats.select import ONLY_DUCKDB_WRITES
from phonon_bulk.source.formats.tables import column_name
from phonon_bulk.source.formats.values import text_column

_ENGINE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "1GB",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}


class Expressions:
    """Adds the derived columns to tables, if there are any. A context manager."""

    def __init__(self, columns: Columns) -> None:
        """Take the expressions. Raises ListError, naming it, for one that can't be used."""
        self._columns = columns
        self._own = len(columns.own)
        if not columns.derived:
            return
        self._database = duckdb.connect(config=_ENGINE)
        try:
            # Only now: with it from the start, DuckDB refuses the temp_directory above.
            self._database.execute("SET enable_external_access = false")
            self._database.execute("SET TimeZone = 'Asia/Kolkata'")
            derived = zip(columns.names[self._own :], columns.derived, strict=True)
            kinds = [self._check(name, sql) for name, sql in derived]
        except BaseException:
            self._database.close()
            raise
        names = [column_name(self._own + i) for i in range(len(columns.derived))]
        values = (
            f"TRY(({sql}\n)) AS {name}" for name, sql in zip(names, columns.derived, strict=True)
        )
        guarded = (
            f"{_guarded(name, kind)} AS {name}" for name, kind in zip(names, kinds, strict=True)
        )
        # The campaign's own SQL, checked one by one; nothing from a list gets in here.
        computed = f"SELECT {', '.join(values)} FROM ({self._named()})"  # noqa: S608
        self._query = f"SELECT {', '.join(guarded)} FROM ({computed})"  # noqa: S608

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the engine."""
        if self._columns.derived:
            self._database.close()

    def add(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Yield the tables with the derived columns; null where one has no value for a row.

        Raises ListError if DuckDB fails.
        """
        for table in tables:
            if not self._columns.derived:
                yield table
                continue
            try:
                self._database.register("list", table)
                derived = self._database.sql(self._query).to_arrow_table()
                self._database.unregister("list")
            except duckdb.Error as error:  # its message may quote the row
                raise _failed(type(error).__name__) from None
            if derived.num_rows != table.num_rows:
                raise _failed("not one value for each row")
            for name in derived.column_names:
                values = derived.column(name)
                try:
                    texts = text_column(values)
                except (ValueError, OverflowError, KeyError, pa.ArrowException):
                    raise _failed("a value can't be written as text; CAST it AS VARCHAR") from None
                texts = pc.if_else(values.is_null(), pa.scalar(None, pa.string()), texts)
                table = table.append_column(name, texts)  # noqa: PLW2901 - it grows
            yield table

    def _named(self) -> str:
        # To DuckDB names are the same but for capitals, so what is ambiguous has none.
        bare = Counter(name.casefold() for name in self._columns.own)
        own = [
            f'{column_name(i)} AS "{name.replace(chr(34), chr(34) * 2)}"'
            for i, name in enumerate(self._columns.own)
            if bare[name.casefold()] == 1
        ]
        columns = ", ".join(own) or "NULL AS nothing"
        return f"SELECT {columns} FROM list"  # noqa: S608 - names, quoted as such

    def _check(self, name: str, sql: str) -> str:
        """Return the type of an expression."""
        nothing = pa.table({column_name(i): pa.array([], pa.string()) for i in range(self._own)})
        query = f"SELECT TRY(({sql}\n)) FROM ({self._named()})"  # noqa: S608 - checked right here
        try:
            self._database.register("list", nothing)
            # What closes other brackets than its own can't be right within two kinds of them.
            self._database.extract_statements(f"SELECT [{sql}\n, NULL]")
            statements = self._database.extract_statements(query)
            found = self._database.sql(query)
            if len(statements) != 1 or len(found.types) != 1:
                raise ListError(f"{name[1:-1]} must be one expression")
            found.to_arrow_table()
            return found.types[0].id
        except duckdb.Error as error:  # there are no rows yet that it could quote
            problem = str(error).splitlines()[0]
            raise ListError(f"{name[1:-1]} can't be used: {problem}") from None
        finally:
            self._database.unregister("list")


def _guarded(name: str, kind: str) -> str:
    """Return what is to be made of a value before Arrow has it."""
    if kind in ONLY_DUCKDB_WRITES or kind == "time":  # there is a 24:00
        return f"CAST({name} AS VARCHAR)"
    # There are more dates than Python and ISO have.
    if kind == "date" or (kind.startswith("timestamp") and kind != "timestamp_ns"):
        first, last = (f"CAST('{day}' AS {kind})" for day in ("0002-01-01", "9998-12-31"))
        return f"CASE WHEN {name} BETWEEN {first} AND {last} THEN {name} END"
    return name


def _failed(why: str) -> ListError:
    return ListError(f"the SQL of the campaign's [mapping] could not be computed: {why}")
