"""The same list in every format, packed and plain; and the odd files that people have."""

import gzip
import io
import json
import os
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from workbooks import workbook

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.opening import Options, open_part
from phonon_bulk.source.formats.stored import LocalFile, Spool
from phonon_bulk.source.formats.tables import BROKEN, FAULT, ROW, Part, column_name

NAMES = ("tel1", "$flow.key.Name", "due", "amount")
ROWS = [
    ("919812345678", "Asha", "2026-11-24", "1234.5"),
    ("919812345679", 'Ravi "R" K, Pune', "2026-11-25", "0.1"),
    ("919812345670", "Zoë\nMüller", "2026-11-26", ""),
    ("919812345671", "", "2026-11-27", "100000"),
]


def open_file(path: Path, content: bytes, **options: Any) -> Part:
    """Write a file and open it."""
    path.write_bytes(content)
    return open_part(LocalFile(path), Options(**options))


def rows_of(part: Part) -> list[Any]:
    """Return the values of each row, or what is broken of it and why."""
    rows: list[Any] = []
    for table in part.tables(0, 0):
        for row in table.to_pylist():
            values = tuple(row[column_name(i)] for i in range(len(part.names)))
            rows.append((row[BROKEN], row[FAULT]) if row[FAULT] else values)
            assert row[ROW] == len(rows)
    assert len(rows) == part.rows
    return rows


# --- the same list, written in every way ----------------------------------------------------------


def as_csv(delimiter: str = ",", end: str = "\n") -> str:
    """Return the list as CSV, every field in quotes."""
    rows = (('"' + field.replace('"', '""') + '"' for field in row) for row in (NAMES, *ROWS))
    return "".join(delimiter.join(row) + end for row in rows)


def as_objects() -> list[dict[str, object]]:
    """Return the list as objects, its amounts as numbers and without what is empty."""
    rows = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    return [
        {k: float(v) if k == "amount" else v for k, v in row.items() if v or k == NAMES[1]}
        for row in rows
    ]


def as_parquet() -> bytes:
    """Return the list as Parquet, each column of its type."""
    tel, name, due, amount = zip(*ROWS, strict=True)
    table = pa.table(
        [
            pa.array(map(float, tel)),
            pa.array(name),
            pa.array(due).cast(pa.date32()),
            pa.array([float(x) if x else None for x in amount]),
        ],
        names=list(NAMES),
    )
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def as_excel() -> bytes:
    """Return the list as a workbook, with numbers where the list has such."""
    rows = [[_cell(letter, text) for letter, text in zip("ABCD", row, strict=True)] for row in ROWS]
    return workbook({"S": [list(NAMES), *rows]})


def _cell(letter: str, text: str) -> str | float:
    return float(text) if letter in "AD" and text else text


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


WAYS: dict[str, Callable[[], bytes]] = {
    "CSV": lambda: as_csv().encode(),
    "CSV of Windows": lambda: as_csv(";", "\r\n").encode("utf-8-sig"),
    "CSV of old Macs": lambda: as_csv(",", "\r").encode(),
    "CSV in Windows-1252": lambda: as_csv().encode("cp1252"),
    "Unicode text of Excel": lambda: as_csv("\t", "\r\n").encode("utf-16"),
    "UTF-16 without a mark": lambda: as_csv("|").encode("utf-16-be"),
    "NDJSON": lambda: "\n".join(map(json.dumps, as_objects())).encode(),
    "JSON": lambda: json.dumps(as_objects(), indent=1, ensure_ascii=False).encode(),
    "Parquet": as_parquet,
    "Excel": as_excel,
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "zip": lambda content: zipped({"__MACOSX/._list": b"x", "lists/list": content}),
    "zip of gzip": lambda content: zipped({"list.gz": gzip.compress(content)}),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("way", WAYS)
def test_the_same_list_in_every_way(tmp_path: Path, way: str, packing: str) -> None:
    """It has the same rows, and the same digest when it is opened again."""
    content = PACKINGS[packing](WAYS[way]())
    part = open_file(tmp_path / "list", content)
    assert part.names == NAMES
    assert rows_of(part) == ROWS
    assert len(part.remarks) == (way == "CSV in Windows-1252")
    assert rows_of(part) == ROWS, "it can be read as often as needed"
    assert part.digest == open_file(tmp_path / "again", content).digest


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_packed_list_that_was_cut_off_is_refused(tmp_path: Path, codec: str) -> None:
    """Even if all of its rows are whole up to there."""
    content = PACKINGS[codec](as_csv().encode() * 50)[:-1]
    with pytest.raises(ListError, match=rf"list was cut off: it can't be unpacked with {codec}"):
        open_file(tmp_path / "list", content)


def test_a_large_list_is_not_read_into_memory(tmp_path: Path) -> None:
    """Not what is packed, and not what is unpacked: 80 MB here."""
    content = gzip.compress(
        b"tel1,a\n" + b"919812345678,abcdefghijklmnopqrstuvwxyz\n" * 2_000_000, 1
    )
    tracemalloc.start()
    try:
        part = open_file(tmp_path / "list.csv.gz", content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert part.rows == 2_000_000
    assert peak < 25 << 20


# --- odd files ------------------------------------------------------------------------------------


def test_a_list_of_two_thousand_columns(tmp_path: Path) -> None:
    """In each format."""
    names = [f"c{i}" for i in range(2000)]
    rows = [[f"{r}-{i}" for i in range(2000)] for r in range(20)]
    text = "\n".join(",".join(row) for row in (names, *rows))
    lines = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows)
    for content in (text, lines):
        part = open_file(tmp_path / "list", content.encode())
        assert list(part.names) == names
        assert rows_of(part) == [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"tel1,a\n1,%s\n", "line 2: a row of more than 2,097,152 bytes"),
        (b'tel1,a\n1,"%s"\n', "line 2: a row of more than 2,097,152 bytes"),
        (b'{"tel1": "1"}\n{"tel1": "%s"}\n', "line 2: an object of more than 2,097,152 bytes"),
        (b'[{"tel1": "1"},\n{"tel1": "%s"}]', "line 2: an object of more than 2,097,152 bytes"),
    ],
)
def test_a_field_of_20_mb_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    """In one sentence."""
    with pytest.raises(ListError, match=sentence) as caught:
        open_file(tmp_path / "list", content % (b"x" * (20 << 20)))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"tel1,a\n1,x\0y\n\0,2", [("1", "x\0y"), ("\0", "2")]),
        (b'tel1,a\n1,5" x\n2,a"b"c\n', [("1", '5" x'), ("2", 'a"b"c')]),
        (b'tel1,a\r\n1,2\n3,"4\n5"\r\n6,7\n', [("1", "2"), ("3", "4\n5"), ("6", "7")]),
        (b"tel1,\n1,2\n", [("1", "2")]),
        (b",,\n1,2,3\n", [("1", "2", "3")]),
        (b"tel1,a\n1\n", [(["1"], "too few fields: 1 of 2")]),
        (b"tel1,a\n1,2,3\n", [(["1", "2", "3"], "too many fields: 3 of 2")]),
    ],
)
def test_odd_texts(tmp_path: Path, content: bytes, rows: list[object]) -> None:
    """NULs, quotes within fields, mixed line ends, columns without a name, ragged rows."""
    assert rows_of(open_file(tmp_path / "list", content)) == rows


def test_a_quote_that_is_not_closed_on_the_last_line(tmp_path: Path) -> None:
    """It is found before a row is read."""
    with pytest.raises(ListError, match="line 3: the quotes of a field don't close properly"):
        open_file(tmp_path / "list", b'tel1,a\n1,2\n3,"4\n')


@pytest.mark.parametrize("change", ["replaced", "grown", "touched", "gone"])
def test_a_file_that_changes_is_not_read_on(tmp_path: Path, change: str) -> None:
    """What was looked over is what is read; a copy of what was there stays readable."""
    path = tmp_path / "list"
    text = b"tel1\n" + b"919812345678\n" * 50_000
    part, copy = open_file(path, text), open_file(tmp_path / "list.gz", gzip.compress(text))
    tables = part.tables(0, 0)
    next(tables)
    for file in (path, tmp_path / "list.gz"):
        if change == "replaced":
            (tmp_path / "other").write_bytes(file.read_bytes()[::-1])
            (tmp_path / "other").replace(file)
        elif change == "grown":
            with file.open("ab") as more:
                more.write(b"919812345678\n")
        elif change == "touched":
            os.utime(file, (0, 0))
        else:
            file.unlink()
    with pytest.raises(ListError, match=r"was changed|is gone"):
        list(tables)
    assert sum(table.num_rows for table in copy.tables(0, 0)) == 50_000


@pytest.mark.parametrize("way", WAYS)
def test_damage_anywhere_is_a_sentence_or_a_list(way: str) -> None:
    """Whatever bytes are changed or lost, nothing but ListError comes out."""
    content, chance = WAYS[way](), random.Random(way)  # noqa: S311 - the same damage each time
    sentences = []
    for _ in range(40):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        file = Spool("list")
        file.write(bytes(damaged[: chance.randint(len(damaged) // 2, len(damaged) * 2)]))
        try:
            rows_of(open_part(file, Options()))
        except ListError as error:
            sentences.append(str(error))
    assert sentences
    assert not any("Asha" in sentence or "91981234" in sentence for sentence in sentences)
