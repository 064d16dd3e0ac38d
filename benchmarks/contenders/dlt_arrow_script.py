"""dlt with a custom destination, the list going through it as Arrow tables.

    export PHONON_BULK_SECURITY_ID=... PYTHONPATH=benchmarks
    python -m contenders.dlt_arrow_script contacts.csv --url URL --flow-id ID --folder FOLDER

The quick way through dlt: Arrow reads the list as columns of text, dlt writes these to Parquet
files without looking at each value, and only the function that posts makes calls of rows, 500 at a
time. For the rest it is `dlt_script`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
from contenders.dlt_script import arguments_with_folder, poster, run
from contenders.plain_script import Call, Counts, head_of, show
from pyarrow import csv


def tables(path: Path, counts: Counts) -> Iterator[Any]:
    """Yield the list in tables of text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        columns = file.readline().rstrip("\r\n").split(",")
    reader = csv.open_csv(
        path,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )
    for batch in reader:
        counts.rows += batch.num_rows
        yield pa.Table.from_batches([batch])


def calls_of(rows: Any) -> list[Call]:
    """Return a call for each row."""
    india = timezone(timedelta(hours=5, minutes=30))
    start_time = datetime.now(UTC).astimezone(india).isoformat(timespec="seconds")
    tels = [name for name in rows.schema.names if name.startswith("tel")]
    keys = [name for name in rows.schema.names if name.startswith("$flow.key.")]
    return [
        {
            "client-identifier": row["client-identifier"],
            "start-time": row.get("start-time") or start_time,
            "contact-numbers": [row[name] for name in tels if row[name] and row[name].isdigit()],
            "keys": [{"name": name, "value": row[name]} for name in keys],
        }
        for row in rows.to_pylist()
    ]


def main() -> None:
    """Send a list and print the counts."""
    given = arguments_with_folder().parse_args()
    counts = Counts()
    post = poster(given.url, head_of(given.flow_id), counts)

    def phonon(items: Any, table: Any) -> None:
        post(calls_of(items), table)

    run(
        tables(given.path, counts),
        phonon,
        size=given.calls_in_a_request,
        folder=given.folder,
        file_format="parquet",
    )
    show(counts)


if __name__ == "__main__":
    main()
