"""SQL over files, in DuckDB: Parquet, CSV and JSON, by their names in the query.

A query sees files only: no variables of this program, no files elsewhere (`remote` fetches those),
and no extension of DuckDB that is not built in, so that nothing is downloaded.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.tables import TablePart, TableWriter
from phonon_bulk.source.formats.values import text_column

_MEMORY: Final = "1GB"
_ROWS_AT_ONCE: Final = 20_000
_ABOUT_THE_QUERY = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
"""Their messages quote the query and names of columns, never a value."""
_FAULTS = (duckdb.Error, pa.ArrowException, OSError)
"""What fails in the middle of a result arrives as an error of Arrow's, or as an OSError."""
ONLY_DUCKDB_WRITES: Final = frozenset(
    {"interval", "time with time zone", "map", "bit", "union", "variant", "bignum"}
)
"""Types whose values Arrow has in another form, or not at all."""
_MESSAGE_LENGTH: Final = 400
_KIND: Final = re.compile(r"[A-Z][A-Za-z ]{0,30}? Error(?=: )")
_EXTENSION: Final = re.compile(r"\bLOAD (\w+)")
_WORD: Final = re.compile(r"""'([^']+)'|"([^"]+)"|([\w./-]+)""")
"""What may be the name of a file in a query, in quotes or not."""


def select_rows(query: str, folder: Path, *, name: str = "the query") -> TablePart:
    """Return the result of one SELECT, in the order in which DuckDB gives it.

    Names of files in it that are relative are so to `folder`. Times with a zone are written as
    India's. The result is copied to disk as it comes. What a sort, a join or a grouping can't hold
    in 1 GB of memory goes to files that only their owner can read, encrypted, in a folder that is
    removed at the end; they stay behind, unreadable, if the process is killed.

    Raises ListError if it is not one SELECT, or if it fails; no message quotes a value.
    """
    try:
        with _engine(folder, name) as database:
            _check_one_select(database, query, name)
            _check_files(query, folder, name)
            reads_csv = _reads_csv(database, query)
            part = _copied(database, query, name)
    except _FAULTS as error:
        raise _failure(name, error) from None
    return replace(part, remarks=(_csv_remark(name),)) if reads_csv else part


@contextmanager
def _engine(folder: Path, name: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB with a private folder for what does not fit into memory."""
    if "," in str(folder.absolute()):
        raise ListError(f"{name} can't be run in {folder.absolute()}: DuckDB allows no comma there")
    spill = tempfile.mkdtemp(prefix="phonon-bulk-")
    try:
        database = duckdb.connect(config=_settings(folder, spill))
        try:
            database.execute("SET enable_progress_bar = false")  # in a notebook it would be there
            database.execute("SET TimeZone = 'Asia/Kolkata'")
            # A killed process can't remove its files. DuckDB calls the cipher that is built in
            # unsafe, for its random numbers; without it they would be there for all to read.
            database.execute("SET force_mbedtls_unsafe = true")
            yield database
        finally:
            database.close()
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _settings(folder: Path, spill: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": 2,  # a list is read beside the sending, and often on a small machine
        "memory_limit": _MEMORY,
        "file_search_path": str(folder.absolute()),
        "temp_directory": spill,
        "temp_file_encryption": True,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,  # or a name might be a variable of this program
    }


def _check_one_select(database: duckdb.DuckDBPyConnection, query: str, name: str) -> None:
    statements = database.extract_statements(query)
    if [statement.type.name for statement in statements] != ["SELECT"]:
        raise ListError(f"{name} must be one SELECT, and nothing besides")


def _check_files(query: str, folder: Path, name: str) -> None:
    """Refuse a name that DuckDB would find in the working folder, where it looks first."""
    for words in _WORD.findall(query):
        word = "".join(words)
        there = os.path.isfile(word)  # noqa: PTH113 - says no to a text that can't be a path
        if there and not _same_file(Path(word), folder / word):
            raise ListError(
                f"{name} can't be run in {Path.cwd()}: a file of the same name as {folder / word}"
                " is there and would be read in its place; write the whole path in the query"
            )


def _same_file(one: Path, other: Path) -> bool:
    return other.is_file() and one.samefile(other)


def _reads_csv(database: duckdb.DuckDBPyConnection, query: str) -> bool:
    ((_, plan),) = database.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()
    return '"name": "READ_CSV' in plan


def _copied(database: duckdb.DuckDBPyConnection, query: str, name: str) -> TablePart:
    result = database.sql(query)
    names = result.columns
    writer = TableWriter(name, names)
    with result.project(_columns(result)).to_arrow_reader(_ROWS_AT_ONCE) as batches:
        for batch in batches:
            writer.add(_texts(name, names, batch))
    return writer.finish()


def _texts(name: str, names: list[str], batch: pa.RecordBatch) -> list[pa.Array]:
    texts = []
    for column, values in zip(names, batch.columns, strict=True):
        try:
            texts.append(text_column(values))
        except (ValueError, OverflowError, KeyError):
            raise ListError(
                f'{name} has a value in the column "{column}" that can\'t be written as text: CAST'
                " the column AS VARCHAR in it"
            ) from None
    return texts


def _columns(result: duckdb.DuckDBPyRelation) -> str:
    """Return the columns by their places, since names may be there twice."""
    kinds = [kind.id for kind in result.types]
    return ", ".join(
        f"CAST(#{place} AS VARCHAR)" if kind in ONLY_DUCKDB_WRITES else f"#{place}"
        for place, kind in enumerate(kinds, 1)
    )


def _csv_remark(name: str) -> str:
    return (
        f"{name} reads CSV with DuckDB, which can leave out rows that do not fit their header"
        " without a word: compare the number of rows, or name CSV files as path"
    )


def _failure(name: str, error: Exception) -> ListError:
    text = str(error)
    if extension := _EXTENSION.search(text):
        return ListError(
            f"{name} needs DuckDB's extension {extension[1]}, and none is loaded here: fetch or"
            " convert that file first, and name the copy in the query"
        )
    if isinstance(error, _ABOUT_THE_QUERY) or text.startswith("IO Error: "):
        return ListError(f"{name} can't be run: {_plain(text)}")
    kind = _kind(error, text)
    if kind == "Out of Memory Error":
        return ListError(f"{name} needs more than {_MEMORY} of memory: join or group less in it")
    return ListError(
        f"{name} failed: {kind}; the rest of the message may quote the list and is left out, but"
        " the same query in DuckDB's own command shows it"
    )


def _plain(text: str) -> str:
    """Return a message of DuckDB's in one line, without its picture of the query."""
    sentence = text.split("\n\nLINE ", 1)[0].split("Error: ", 1)[-1]
    return " ".join(sentence.split())[:_MESSAGE_LENGTH]


def _kind(error: Exception, text: str) -> str:
    """Return what sort of error it is, as DuckDB's messages begin: `Conversion Error`."""
    kind = _KIND.match(text)
    return kind[0] if kind else type(error).__name__
