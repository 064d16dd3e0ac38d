"""Finds the files that a contact list is made of."""

import glob
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from phonon_bulk.errors import ListError

Mark = tuple[int, int, int, int]
"""By which a file that was not touched is known: size, times of change in nanoseconds, inode."""


def mark_of(status: os.stat_result) -> Mark:
    """Return the mark of a file as it is now."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def mark_now(file: Path) -> Mark:
    """Return the mark that a file has now. It is opened, so that no remote disk says an old one.

    Raises OSError if it can't be.
    """
    with file.open("rb") as opened:
        return mark_of(os.fstat(opened.fileno()))


def find_files(paths: Sequence[str]) -> tuple[Path, ...]:
    """Return the files that the paths and patterns mean, in their order, a pattern's by name.

    `~` is the home folder, and `**` any number of folders. Raises ListError for a path or pattern
    without a file, for what is no readable file, and for a file named twice, whose customers would
    all be called twice.
    """
    if not paths:
        raise ListError("no contact list is named")
    files = tuple(file for path in paths for file in _files_of(path))
    _refuse_doubles(files)
    return files


def _files_of(path: str) -> list[Path]:
    name = os.path.expanduser(path)  # noqa: PTH111 - Path would tidy the pattern up
    if "\0" in name:
        raise ListError("a path with a NUL character in it can't be the contact list")
    if glob.has_magic(name) and not os.path.lexists(name):
        return _matches(path, name)
    _check_ordinary(Path(name))
    return [Path(name)]


def _matches(path: str, pattern: str) -> list[Path]:
    found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise ListError(f"no file matches {path} (looked for in {Path.cwd()})")
    for file in files:
        _check_ordinary(file)
    return files


def _check_ordinary(file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise ListError(f"there is no file {file} (looked for in {Path.cwd()})") from None
    except OSError as error:
        raise ListError(f"{file} can't be read: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise ListError(f"{file} is a folder: name the files in it, for example {file}/*.csv")
    if not stat.S_ISREG(mode):
        raise ListError(f"{file} is no ordinary file: save the list to a file first")


def _refuse_doubles(files: Sequence[Path]) -> None:
    seen = set()
    for file in files:
        real = file.resolve()
        if real in seen:
            raise ListError(f"{file} is named twice: its customers would be called twice")
        seen.add(real)
