"""Which format a file is taken for, whatever it is called."""

import gzip
import io
import os
import zipfile
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats.csv_rows import CsvPart
from phonon_bulk.source.formats.opening import Options, open_part
from phonon_bulk.source.formats.stored import LocalFile, Spool
from phonon_bulk.source.formats.tables import Part, TablePart

CSV = b"tel1,a\n1,2\n"


def opened(content: bytes, name: str = "list", options: Options | None = None) -> Part:
    """Open a file of this name."""
    file = Spool(name)
    file.write(content)
    return open_part(file, options or Options())


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def parquet() -> bytes:
    """Return a Parquet file."""
    content = io.BytesIO()
    pq.write_table(pa.table({"tel1": ["1"], "a": ["2"]}), content)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        b'{"tel1": 1, "a": 2}',
        b'\xef\xbb\xbf\n [{"tel1": 1, "a": 2}]',
        parquet(),
        gzip.compress(CSV),
        gzip.compress(gzip.compress(CSV)),
        gzip.compress(parquet()),
        zipped({"list": CSV}),
        zipped({"a/list.csv.gz": gzip.compress(CSV)}),
        gzip.compress(zipped({"list.json": b'{"tel1": 1, "a": 2}'})),
        "tel1,a\n1,2\n".encode("utf-16"),
        '[{"tel1": 1,\n"a": 2}]'.encode("utf-16-be"),
        b"tel1,a\r1,2\r",
        "tel1,a\r1,2\r".encode("utf-16-le"),
    ],
)
@pytest.mark.parametrize("name", ["list", "list.xlsx", "list.parquet"])
def test_the_same_list_in_every_way(content: bytes, name: str) -> None:
    """The name says nothing."""
    part = opened(content, name)
    assert (part.name, part.names, part.rows, part.remarks) == (name, ("tel1", "a"), 1, ())
    (table,) = part.tables(0, 0)
    assert table.select(["c0", "c1", "row"]).to_pylist() == [{"c0": "1", "c1": "2", "row": 1}]


@pytest.mark.parametrize(
    ("name", "is_csv"),
    [
        ("list.csv", True),
        ("list.TSV", True),
        ("list.txt", True),
        ("list.csv.gz", True),
        ("list.txt.ZST", True),
        ("list.json", False),
        ("list", False),
        ("csv", False),
    ],
)
def test_a_csv_may_begin_like_json(name: str, is_csv: bool) -> None:
    """Only where it is called so."""
    content = b'{"tel1": 1}\n{"tel1": 2}\n'
    assert isinstance(opened(content, name), CsvPart if is_csv else TablePart)
    assert isinstance(opened(zipped({name: content}), "a.zip"), CsvPart if is_csv else TablePart)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "list is empty"),
        (gzip.compress(b""), "list is empty"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "list is an old Excel workbook"),
        (zipped({"content.xml": b"", "mimetype": b""}), "is an OpenDocument file"),
        (zipped({"a.csv": CSV, "b.csv": CSV}), "is a ZIP archive with 2 files"),
        (zipped({}), "is a ZIP archive with no files"),
        (zipped({"xl/workbook.xml": b"x"}), "can't be read as an Excel workbook"),
        (gzip.compress(gzip.compress(gzip.compress(CSV))), "list is packed more than twice"),
        (b"tel1\n1\r2\n", "line 2: a carriage return stands without a line feed"),
        (b'tel1\r1\r"2"x\r', "line 3: the quotes of a field don't close"),
        ("tel1,é\n".encode() + b"\n\xe9", r"list is not UTF-8 text \(line 3\), but parts of it"),
    ],
)
def test_what_is_no_list(content: bytes, sentence: str) -> None:
    """Each has a sentence."""
    with pytest.raises(ListError, match=sentence):
        opened(content)


def test_options_are_passed_on() -> None:
    """Each to what it is for."""
    assert opened(b"a:b\n", options=Options(delimiter=":")).names == ("a", "b")
    assert opened(b"'a,b'\n", options=Options(quote="'")).names == ("a,b",)
    assert opened(b"'a\rb'\r1\r", options=Options(quote="'")).names == ("a\rb",)
    assert opened("é\n".encode(), options=Options(encoding="windows-1252")).names == ("Ã©",)
    with patch("phonon_bulk.source.formats.opening.open_excel") as read:
        opened(zipped({"xl/workbook.xml": b""}), options=Options(sheet="x"))
    assert read.call_args.args[1] == "x"


def test_windows_text_is_remarked_on() -> None:
    """It is a guess, unless it was said."""
    part = opened(b"tel1,a\n1,\xe9\n")
    assert part.remarks == (
        "list is read as Windows-1252 text; if names look wrong, set source.encoding",
    )
    (table,) = part.tables(0, 0)
    assert table.column("c1").to_pylist() == ["é"]
    assert opened(b"tel1,\xe9\n", options=Options(encoding="windows-1252")).remarks == ()
    with pytest.raises(ListError, match=r"list is not UTF-8 text \(line 2\): save it as"):
        opened(b"tel1,a\n1,\xe9\n", options=Options(encoding="utf-8"))


def test_a_disk_that_fails_is_a_sentence() -> None:
    """In whatever format it was being read."""
    for content in (CSV, parquet(), gzip.compress(CSV)):
        file = Spool("list")
        file.write(content)
        with (
            patch(
                "phonon_bulk.source.formats.stored.os.preadv", side_effect=OSError(5, "I/O error")
            ),
            pytest.raises(ListError, match="list can't be read on: I/O error"),
        ):
            open_part(file, Options())


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        gzip.compress(CSV),
        zipped({"a": CSV}),
        parquet(),
        b'{"a": 1}',
        b"a\r1\r",
        b"\xff\xfea\0",
        b"tel1\n\xe9\n",
    ],
)
@pytest.mark.parametrize("change", ["touched", "grown"])
def test_a_file_that_changes_while_it_is_looked_over_is_refused(
    tmp_path: Path, content: bytes, change: str
) -> None:
    """Half of this and half of that is no list; it is not said to be damaged, either."""
    path = tmp_path / "list"
    path.write_bytes(content)
    file = LocalFile(path)
    if change == "touched":
        os.utime(path, (0, 0))
    else:
        path.write_bytes(content + b"\n")
    with pytest.raises(ListError, match="was changed while it was being read"):
        open_part(file, Options())


def test_windows_text_that_is_said_to_be_may_change_as_well(tmp_path: Path) -> None:
    """The copy of it is checked too."""
    path = tmp_path / "list"
    path.write_bytes(b"tel1\n\xe9\n")
    file = LocalFile(path)
    os.utime(path, (0, 0))
    with pytest.raises(ListError, match="was changed while it was being read"):
        open_part(file, Options(encoding="windows-1252"))
