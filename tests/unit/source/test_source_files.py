"""Which files a list is made of."""

import os
from errno import EACCES
from pathlib import Path
from unittest.mock import patch

import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.files import Found, find_files, mark_now, mark_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the working directory one with some files in it."""
    for name in ("b.csv", "a.csv", "c.txt", "sub/d.csv", "sub2/e.csv", "odd[1].csv", "odd1.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"tel1\n1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["b.csv"], ["b.csv"]),
        (["b.csv", "a.csv"], ["b.csv", "a.csv"]),
        (["?.csv"], ["a.csv", "b.csv"]),
        (["c.txt", "[ab].csv"], ["c.txt", "a.csv", "b.csv"]),
        (["**/d.csv"], ["sub/d.csv"]),
        (["s*b"], None),
        (["odd[1].csv"], ["odd[1].csv"]),
        (["odd[1]*.csv"], ["odd1.csv"]),
    ],
)
def test_paths_and_patterns(folder: Path, paths: list[str], found: list[str] | None) -> None:
    """Patterns by name, paths in their order; a name that is there is no pattern; no folders."""
    if found is None:
        with pytest.raises(ListError, match="no file matches"):
            find_files(paths)
    else:
        assert find_files(paths) == Found(tuple(map(Path, found)))
        assert find_files([str(folder / path) for path in paths]).files == tuple(
            folder / name for name in found
        )


def test_a_tilde_is_the_home_folder(folder: Path) -> None:
    """As a shell would have it; settings files have no shell."""
    found = find_files(["~/a.csv", "~/s*b/*.csv", "~/sub2"])
    assert found.files == (folder / "a.csv", folder / "sub/d.csv", folder / "sub2/e.csv")


def test_a_folder_is_the_lists_in_it(folder: Path) -> None:
    """By name, and by their endings; what else is there is said, but folders and hidden ones."""
    inside = folder / "lists"
    (inside / "older.csv").mkdir(parents=True)
    names = ["b.csv", "a.CSV.gz", "c.xlsx", "d.tar.gz", "e.pdf", "noending", ".hidden.csv", "f.gz"]
    for name in [*names, "g.json.zst", "h.Parquet", "i.2026.tsv", "j.csv.bak"]:
        (inside / name).write_bytes(b"x")
    found = find_files(["a.csv", "lists/"])
    lists = ["a.CSV.gz", "b.csv", "c.xlsx", "g.json.zst", "h.Parquet", "i.2026.tsv"]
    assert found.files == (Path("a.csv"), *(Path("lists") / name for name in lists))
    (remark,) = found.remarks
    assert remark.startswith("passed over in the folder lists, by their endings: d.tar.gz, e.pdf")
    assert remark.endswith(", f.gz, j.csv.bak, noending")


@pytest.mark.parametrize("name", ["A.CSV.GZ", "a.csv.Zst"])
def test_capitals_make_no_other_ending(tmp_path: Path, name: str) -> None:
    """Of what is packed either."""
    (tmp_path / name).write_bytes(b"x")
    assert find_files([str(tmp_path)]).files == (tmp_path / name,)


def test_a_folder_that_cannot_be_looked_into(tmp_path: Path) -> None:
    """It is said."""
    denied = PermissionError(EACCES, "Permission denied")
    with (
        patch.object(Path, "iterdir", side_effect=denied),
        pytest.raises(ListError, match="can't be read: Permission denied"),
    ):
        find_files([str(tmp_path)])


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        ([], "no contact list is named"),
        (["none.csv"], "there is no file none.csv .looked for in /"),
        (["none*.csv"], "no file matches none"),
        (["empty"], "there is no contact list in the folder empty"),
        (["odd"], "fifo.csv is no ordinary file"),
        (["sub", "sub/d.csv"], "sub/d.csv is named twice"),
        (["sub", "link"], "link/d.csv is named twice"),
        (["a.csv/x.csv"], "a.csv/x.csv can't be read: Not a directory"),
        (["a.csv", "./a.csv"], "a.csv is named twice"),
        (["a.csv", "*.csv"], "a.csv is named twice"),
        (["fifo"], "fifo is no ordinary file"),
        (["a\0.csv"], "NUL"),
        (["x" * 300], "can't be read: File name too long"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_list_is_refused_with_a_sentence(paths: list[str], sentence: str) -> None:
    """Each says which path, and what to do."""
    os.mkfifo("fifo")
    Path("empty").mkdir()
    Path("odd").mkdir()
    os.mkfifo("odd/fifo.csv")
    Path("link").symlink_to("sub")
    with pytest.raises(ListError, match=sentence):
        find_files(paths)


def test_a_mark_is_another_after_any_change(tmp_path: Path) -> None:
    """By which it is known whether a file was touched."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"x")
    mark = mark_now(path)
    assert mark == mark_of(path.stat()) == mark_now(path)
    path.replace(tmp_path / "other.csv")
    path.write_bytes(b"x")
    assert mark_now(path) != mark
    with pytest.raises(FileNotFoundError):
        mark_now(tmp_path / "gone.csv")
