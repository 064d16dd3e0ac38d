"""The script that people write to prepare a list, to measure `phonon-bulk submit` against.

    python benchmarks/plain_lists.py contacts.csv --journal plain.db --do-not-call dnd.csv

Reads a list in Phonon's template with csv.DictReader, brings each number to E.164 with
phonenumbers, leaves out the numbers of the do-not-call list and the rows whose first number was
there before (two Python sets), and keeps bodies of 500 calls in SQLite, compressed as phonon-bulk
does it. With `--quick` a number that looks ordinary, 91 and ten digits from 6 on, is taken as it
is, and phonenumbers is asked about the others only.

It is meant to be a decent script: it streams, and does nothing twice. What it does not have: a
look over the file for damage, a name for each row that was left out, a hash of what it keeps, a way
to go on after it was stopped half-way.
"""

import argparse
import csv
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import orjson
import phonenumbers
import zstandard

CALLS_IN_A_REQUEST = 500
BODY_BYTES = 256_000
HEAD_BYTES = 200
"""More than what stands before the calls in a body."""
BATCHES_IN_A_COMMIT = 100

ORDINARY = re.compile(r"91[6-9][0-9]{9}")

Read = Callable[[str], str | None]
"""Makes digits with country code of a number as it was written, or None."""


@dataclass(slots=True)
class Counts:
    """What is printed at the end."""

    rows: int = 0
    rejected: int = 0
    suppressed: int = 0
    duplicates: int = 0
    calls: int = 0
    batches: int = 0


def exactly(text: str) -> str | None:
    """Return a number that exists as digits with country code, or None."""
    try:
        number = phonenumbers.parse(text, "IN")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]


def quickly(text: str) -> str | None:
    """Return the same, without asking for a number that looks ordinary."""
    return text if ORDINARY.fullmatch(text) else exactly(text)


def read_do_not_call(path: Path, read: Read) -> set[str]:
    """Return the numbers of a do-not-call list."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        numbers = (read(row["number"]) for row in csv.DictReader(file))
        return {number for number in numbers if number}


def read_calls(path: Path, read: Read, do_not_call: set[str], counts: Counts) -> Iterator[bytes]:
    """Yield a call as JSON for each row that is to be one."""
    india = timezone(timedelta(hours=5, minutes=30))
    start_time = datetime.now(UTC).astimezone(india).isoformat(timespec="seconds")
    seen: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        tels = [name for name in columns if name.startswith("tel")]
        keys = [name for name in columns if name.startswith("$flow.key.")]
        for row in reader:
            counts.rows += 1
            there = [number for name in tels if row[name] and (number := read(row[name]))]
            numbers = [number for number in dict.fromkeys(there) if number not in do_not_call]
            if not numbers:
                counts.suppressed += bool(there)
                counts.rejected += not there
                continue
            if numbers[0] in seen:
                counts.duplicates += 1
                continue
            seen.add(numbers[0])
            yield orjson.dumps(
                {
                    "client-identifier": row["client-identifier"],
                    "start-time": row.get("start-time") or start_time,
                    "contact-numbers": numbers,
                    "keys": [{"name": name, "value": row[name]} for name in keys],
                }
            )


def batches(calls: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield the calls in lists of 500 that fit a body."""
    batch: list[bytes] = []
    size = HEAD_BYTES
    for call in calls:
        if len(batch) == CALLS_IN_A_REQUEST or size + len(call) > BODY_BYTES:
            yield batch
            batch, size = [], HEAD_BYTES
        batch.append(call)
        size += len(call) + 1
    if batch:
        yield batch


def keep(path: Path, calls: Iterator[bytes], counts: Counts) -> None:
    """Write the batches to SQLite."""
    compress = zstandard.ZstdCompressor(level=1).compress
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE batch (id INTEGER PRIMARY KEY, calls INTEGER, body BLOB)")
        for batch in batches(calls):
            body = compress(b",".join(batch))
            db.execute("INSERT INTO batch (calls, body) VALUES (?, ?)", (len(batch), body))
            counts.calls += len(batch)
            counts.batches += 1
            if counts.batches % BATCHES_IN_A_COMMIT == 0:
                db.commit()
        db.commit()


def main() -> None:
    """Prepare a list and print the counts."""
    parser = argparse.ArgumentParser(description="Prepare a contact list, the plain way.")
    parser.add_argument("path", type=Path, metavar="FILE.csv")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--do-not-call", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--quick", action="store_true", help="a pattern for ordinary numbers")
    given = parser.parse_args()
    read = quickly if given.quick else exactly
    counts = Counts()
    do_not_call = read_do_not_call(given.do_not_call, read)
    keep(given.journal, read_calls(given.path, read, do_not_call, counts), counts)
    print(orjson.dumps(asdict(counts)).decode())


if __name__ == "__main__":
    main()
