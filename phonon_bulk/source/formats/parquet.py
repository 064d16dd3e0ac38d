"""Reads Parquet files."""

from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.stored import Stored
from phonon_bulk.source.formats.tables import TablePart, TableWriter
from phonon_bulk.source.formats.values import text_column

_ROWS_AT_ONCE = 5_000


def open_parquet(stored: Stored) -> TablePart:
    """Copy the rows of a Parquet file; rows are read 5,000 at a time.

    Raises ListError if it is damaged, was cut off, or has a value that there is no text for.
    """
    try:
        with stored.open() as file, _file(file) as source:
            names = source.schema_arrow.names
            writer = TableWriter(stored.name, names)
            for batch in source.iter_batches(_ROWS_AT_ONCE):
                writer.add(_texts(stored.name, names, batch))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # messages may quote values
        if isinstance(error, OSError) and error.errno:  # the disk's trouble, not the data's
            raise
        raise ListError(
            f"{stored.name} can't be read as Parquet: it is damaged or was cut off; copy it again"
        ) from None
    stored.check_unchanged()
    return writer.finish()


def _file(file: BinaryIO) -> pq.ParquetFile:
    return pq.ParquetFile(file, page_checksum_verification=True)


def _texts(name: str, names: list[str], batch: pa.RecordBatch) -> list[pa.Array]:
    texts = []
    for column, values in zip(names, batch.columns, strict=True):
        try:
            texts.append(text_column(values))
        except (ValueError, OverflowError, KeyError, pa.ArrowException):
            raise ListError(
                f'{name} has a value in the column "{column}" that can\'t be written as text: write'
                " the column as text"
            ) from None
    return texts
