"""Parquet files as rows of text."""

import io
from decimal import Decimal
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import parquet
from phonon_bulk.source.formats.parquet import open_parquet
from phonon_bulk.source.formats.stored import Spool
from phonon_bulk.source.formats.tables import column_name


def written(table: pa.Table, row_group_size: int = 1000) -> bytes:
    """Return a Parquet file."""
    content = io.BytesIO()
    pq.write_table(table, content, row_group_size=row_group_size)
    return content.getvalue()


def stored(content: bytes) -> Spool:
    """Return a file."""
    file = Spool("list.parquet")
    file.write(content)
    return file


TABLE = pa.table(
    {
        "tel1": pa.array([919812345678.0, None, 919812345679.0]),
        "a": ["é", "", None],
        "amount": [Decimal("1234.50"), Decimal("0.00"), None],
        "day": pa.array([20_781, None, 20_782], pa.date32()),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "more": [[1, 2], None, []],
    }
)


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_rows(size: int) -> None:
    """Each value as text, over batches and row groups."""
    with patch.object(parquet, "_ROWS_AT_ONCE", size):
        part = open_parquet(stored(written(TABLE, row_group_size=2)))
    assert (part.names, part.rows) == (tuple(TABLE.column_names), 3)
    (table,) = part.tables(0, 0)
    assert [table.column(column_name(i)).to_pylist() for i in range(6)] == [
        ["919812345678", "", "919812345679"],
        ["é", "", ""],
        ["1234.50", "0.00", ""],
        ["2026-11-24", "", "2026-11-25"],
        ["x", "y", "x"],
        ["1;2", "", ""],
    ]


def test_a_file_without_rows() -> None:
    """It has columns."""
    part = open_parquet(stored(written(TABLE.slice(0, 0))))
    assert (len(part.names), part.rows) == (6, 0)


@pytest.mark.parametrize("where", ["end", "middle", "beginning"])
def test_a_damaged_file_is_refused(where: str) -> None:
    """Wherever it is damaged."""
    content = written(pa.table({"tel1": [f"9198{i:08d}" for i in range(5000)]}))
    if where == "end":
        content = content[:-20]
    else:
        at = 8 if where == "beginning" else len(content) // 2
        content = content[:at] + b"\xff" * 200 + content[at + 200 :]
    with pytest.raises(ListError, match=r"list\.parquet can't be read as Parquet: it is damaged"):
        open_parquet(stored(content))


def test_trouble_with_the_disk_is_not_taken_for_damage() -> None:
    """The error goes on as it is: the list may be whole."""
    file = stored(written(TABLE))
    with (
        patch("phonon_bulk.source.formats.stored.os.preadv", side_effect=OSError(5, "I/O error")),
        pytest.raises(OSError, match="I/O error"),
    ):
        open_parquet(file)


def test_a_value_without_a_text_is_refused() -> None:
    """The column is named, not the value."""
    content = written(
        pa.table({"tel1": ["1"], "at": pa.array([1 << 60], pa.timestamp("us", "UTC"))})
    )
    with pytest.raises(
        ListError, match='a value in the column "at" that can\'t be written as text'
    ):
        open_parquet(stored(content))


def test_a_file_without_columns_is_refused() -> None:
    """There is nothing in it."""
    with pytest.raises(ListError, match=r"list\.parquet has no columns"):
        open_parquet(stored(written(pa.table({}))))
