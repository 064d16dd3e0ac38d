"""Every kind of source that docs/lists.md names is tried, with the lines that stand there."""

import base64
import gzip
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import google_crc32c
import pyarrow as pa
import pytest
from pyarrow import parquet
from remotes import certificate, gs, http, https, of_nobody, s3, sftp
from servers import PASSWORD, USER, Answer, Server, mariadb, postgresql
from workbooks import workbook

from phonon_bulk.config import load_campaign
from phonon_bulk.source.contacts import open_list

__all__ = [
    "certificate",
    "gs",
    "http",
    "https",
    "mariadb",
    "of_nobody",
    "postgresql",
    "s3",
    "sftp",
]

PAGE = (Path(__file__).parents[2] / "docs/lists.md").read_text(encoding="utf-8")
NUMBERS = ("919800000001", "919800000002")
CSV = b"tel1\n919800000001\n919800000002\n"
CREATE = "CREATE TABLE contacts (tel1 varchar(20))"
INSERT = "INSERT INTO contacts VALUES ('919800000001'), ('919800000002')"
CAMPAIGN = re.search(r"^    (\[campaign\]\n    name = .*\n    flow_id = .*)$", PAGE, re.MULTILINE)
ROWS = re.findall(r"^\| ([^|`]+) \| ((?:`[^`]+`(?:<br>)?)+) \|$", PAGE, re.MULTILINE)
LINES = {source: re.findall(r"`([^`]+)`", lines) for source, lines in ROWS if source != "source"}


def campaign(folder: Path, source: str, place: str = "", real: str = "") -> Path:
    """Write the campaign of the page; a `place` on the net is replaced by a real one."""
    assert CAMPAIGN is not None
    lines = "\n".join(LINES[source])
    assert place in lines
    lines = lines.replace(place, real) if place else lines
    path = folder / "reminder.toml"
    path.write_text(CAMPAIGN[1].replace("\n    ", "\n") + f"\n[source]\n{lines}\n")
    return path


def calls(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    """Return the numbers that a campaign calls."""
    found: list[str] = []
    for chunk in open_list(load_campaign(path), [], environ).chunks(run=1, now=2e9, room=250_000):
        block = chunk.calls
        for start, end in zip(block.ends, block.ends[1:], strict=False):
            found += json.loads(bytes(block.data[start : end - 1]))["contact-numbers"]
        assert not chunk.left_out
    return found


def files(name: str, data: bytes) -> Callable[[Path], None]:
    """Return what writes one file."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)

    return write


def both(first: str, second: str) -> Callable[[Path], None]:
    """Return what writes a list in two files."""

    def write(folder: Path) -> None:
        files(first, b"tel1\n919800000001\n")(folder)
        files(second, b"tel1\n919800000002\n")(folder)

    return write


def zipped(folder: Path) -> None:
    """Write a ZIP with one list in it."""
    with zipfile.ZipFile(folder / "contacts.zip", "w") as archive:
        archive.writestr("contacts.csv", CSV)


def as_parquet(folder: Path) -> None:
    """Write a Parquet file."""
    parquet.write_table(pa.table({"tel1": [int(n) for n in NUMBERS]}), folder / "contacts.parquet")


def as_workbook(folder: Path) -> None:
    """Write a workbook."""
    (folder / "contacts.xlsx").write_bytes(
        workbook({"Sheet1": [["tel1"], *([int(n)] for n in NUMBERS)]})
    )


OBJECTS = [{"tel1": number} for number in NUMBERS]
LOCAL: dict[str, Callable[[Path], None]] = {
    "CSV, TSV, any delimiter": files("contacts.csv", CSV),
    "CSV, gzip or zstd": files("contacts.csv.gz", gzip.compress(CSV)),
    "ZIP with one list in it, as Phonon's upload takes it": zipped,
    "several files": both("north.csv", "south.csv"),
    "a pattern": both("lists/a.csv", "lists/b.csv"),
    "a folder": both("lists/a.csv", "lists/b.csv"),
    "JSON, an array of objects": files("contacts.json", json.dumps(OBJECTS).encode()),
    "NDJSON, an object a line": files(
        "contacts.ndjson", "\n".join(map(json.dumps, OBJECTS)).encode()
    ),
    "Parquet": as_parquet,
    "Excel": as_workbook,
    "SQL over files": as_parquet,
}


@pytest.mark.parametrize("source", LOCAL)
def test_files(source: str, tmp_path: Path) -> None:
    """Whatever they hold."""
    LOCAL[source](tmp_path)
    assert calls(campaign(tmp_path, source)) == [*NUMBERS]


LOGIN = {"PHONON_BULK_DATABASE_USER": USER, "PHONON_BULK_DATABASE_PASSWORD": PASSWORD}


def test_postgresql(postgresql: Server, tmp_path: Path) -> None:
    """By its URL, credentials from the environment."""
    postgresql.run(CREATE, INSERT)
    path = campaign(tmp_path, "PostgreSQL", "crm@localhost/customers", f"{postgresql.host}/crm")
    assert calls(path, LOGIN) == [*NUMBERS]


def test_mysql(mariadb: Server, tmp_path: Path) -> None:
    """The same."""
    mariadb.run("USE crm", CREATE, INSERT)
    path = campaign(tmp_path, "MySQL, MariaDB", "crm@localhost/customers", f"{mariadb.host}/crm")
    assert calls(path, LOGIN) == [*NUMBERS]


def test_sqlite(tmp_path: Path) -> None:
    """From the folder of the campaign."""
    with closing(sqlite3.connect(tmp_path / "customers.db")) as database, database:
        database.execute(CREATE)
        database.execute(INSERT)
    assert calls(campaign(tmp_path, "SQLite")) == [*NUMBERS]


def test_the_web(https: Any, tmp_path: Path) -> None:
    """Over HTTPS."""
    https.answers["/contacts.csv"] = Answer(CSV)
    path = campaign(tmp_path, "the web", "https://example.com", https.url)
    assert calls(path) == [*NUMBERS]


def test_s3(s3: Any, tmp_path: Path) -> None:
    """Packed, too."""
    s3.answers["/bucket/contacts.csv.gz"] = Answer(gzip.compress(CSV))
    assert calls(campaign(tmp_path, "S3")) == [*NUMBERS]


def test_gs(gs: Any, tmp_path: Path) -> None:
    """With its checksum."""
    checksum = google_crc32c.Checksum(CSV).digest()  # type: ignore[no-untyped-call]
    crc = base64.b64encode(checksum).decode()
    headers = {"Content-Length": str(len(CSV)), "x-goog-hash": f"crc32c={crc}"}
    gs.answers["/download/storage/v1/b/bucket/o/contacts.csv"] = Answer(CSV, headers=headers)
    assert calls(campaign(tmp_path, "Google Cloud Storage")) == [*NUMBERS]


def test_sftp(sftp: Any, tmp_path: Path) -> None:
    """By a user's key, from a server that is known."""
    sftp.files["/contacts.csv"] = CSV
    server = f"{USER}@127.0.0.1:{sftp.port}"
    assert calls(campaign(tmp_path, "SFTP", "user@example.com", server)) == [*NUMBERS]


def test_every_line_of_the_page_is_tried_here() -> None:
    """None is left out, and none was written for nothing."""
    tried = [*LOCAL, "PostgreSQL", "MySQL, MariaDB", "SQLite", "the web", "S3"]
    assert set(LINES) == {*tried, "Google Cloud Storage", "SFTP"}
