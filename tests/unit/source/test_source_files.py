"""Which files a list is made of."""

import os
from pathlib import Path

import pytest

from phonon_bulk.errors import ListError
from phonon_bulk.source.files import find_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the working directory one with some files in it."""
    for name in ("b.csv", "a.csv", "c.txt", "sub/d.csv", "odd[1].csv", "odd1.csv"):
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
        (["s*"], None),
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
        assert find_files(paths) == tuple(map(Path, found))
        assert find_files([str(folder / path) for path in paths]) == tuple(
            folder / name for name in found
        )


def test_a_tilde_is_the_home_folder(folder: Path) -> None:
    """As a shell would have it; settings files have no shell."""
    assert find_files(["~/a.csv", "~/s*/*.csv"]) == (folder / "a.csv", folder / "sub/d.csv")


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        ([], "no contact list is named"),
        (["none.csv"], "there is no file none.csv .looked for in /"),
        (["none*.csv"], "no file matches none"),
        (["sub"], "sub is a folder: name the files in it, for example sub/"),
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
    with pytest.raises(ListError, match=sentence):
        find_files(paths)
