"""Which list is known without being read."""

from typing import Any

import pytest

from phonon_bulk.cli.jobs import _is_of

SECOND = 1_000_000_000
MARK = [100, 50 * SECOND, 60 * SECOND, 7]


def read(mark: list[int] | None = None, looked_at: float = 70.0) -> dict[str, Any]:
    """Return a list as a journal has it."""
    return {"files": [{"path": "/l.csv", "mark": mark or MARK}], "looked_at": looked_at}


def test_an_untouched_file() -> None:
    """The same place, size, times and inode: the same list."""
    assert _is_of(read(), {"/l.csv": MARK})


@pytest.mark.parametrize("place", range(4))
def test_a_file_that_was_touched(place: int) -> None:
    """Whatever of the mark is another, the file is to be read."""
    other = [value + (n == place) for n, value in enumerate(MARK)]
    assert not _is_of(read(), {"/l.csv": other})


def test_other_files() -> None:
    """One more file, or the same one elsewhere, is another list."""
    assert not _is_of(read(), {"/l.csv": MARK, "/m.csv": MARK})
    assert not _is_of(read(), {"/m.csv": MARK})


@pytest.mark.parametrize("looked_at", [60.0, 61.9])
def test_a_file_changed_just_before_it_was_read(looked_at: float) -> None:
    """It could have been changed once more within the same tick of its file system's clock."""
    assert not _is_of(read(looked_at=looked_at), {"/l.csv": MARK})


def test_a_list_of_an_older_version() -> None:
    """Without a mark in the journal the file is read."""
    assert not _is_of({"files": [{"path": "/l.csv"}], "bytes": 5}, {"/l.csv": MARK})
