"""Finds the files that a contact list is made of."""

import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
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


_ENDINGS = {".csv", ".tsv", ".txt", ".json", ".ndjson", ".jsonl", ".parquet", ".xlsx", ".zip"}
_WRAPPINGS = {".gz", ".zst"}


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a list, in their order."""

    files: tuple[Path, ...]
    remarks: tuple[str, ...] = ()
    """What was passed over and should be seen."""


def find_files(paths: Sequence[str]) -> Found:
    """Return the files that paths, patterns and folders mean, in their order.

    `~` is the home folder, and `**` any number of folders. The files of a pattern come by name, and
    so do those of a folder, of which those are taken that have the ending of a list; hidden ones
    and folders in it are passed over.

    Raises ListError for a path, pattern or folder without a file, for what is no readable file, and
    for a file named twice, whose customers would all be called twice.
    """
    if not paths:
        raise ListError("no contact list is named")
    found = [_found(path) for path in paths]
    files = tuple(file for each in found for file in each.files)
    _refuse_doubles(files)
    return Found(files, tuple(remark for each in found for remark in each.remarks))


def _found(path: str) -> Found:
    name = os.path.expanduser(path)  # noqa: PTH111 - Path would tidy the pattern up
    if "\0" in name:
        raise ListError("a path with a NUL character in it can't be the contact list")
    if not name.strip():
        raise ListError("an empty path can't be the contact list: is a variable not set?")
    if glob.has_magic(name) and not os.path.lexists(name):
        return Found(tuple(_matches(path, name)))
    if os.path.isdir(name):  # noqa: PTH112 - says no to a name that is too long
        return _in_folder(Path(name))
    _check_ordinary(Path(name))
    return Found((Path(name),))


def _in_folder(folder: Path) -> Found:
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "~$")))
    except OSError as error:
        raise ListError(f"{folder} can't be read: {error.strerror}") from None
    files = [path for path in inside if not path.is_dir()]
    lists = [path for path in files if is_list(path)]
    if not lists:
        raise ListError(f"there is no contact list in the folder {folder}")
    for path in lists:
        _check_ordinary(path)
    others = ", ".join(path.name for path in files if path not in lists)
    remark = f"passed over in the folder {folder}, by their endings: {others}"
    return Found(tuple(lists), (remark,) if others else ())


def is_list(path: Path) -> bool:
    """Say whether a file has the ending of a list, in capitals or not."""
    *before, last = ["", *(suffix.lower() for suffix in path.suffixes)][-2:]
    return (before[-1] if last in _WRAPPINGS and before else last) in _ENDINGS


def _matches(path: str, pattern: str) -> list[Path]:
    found = [Path(match) for match in sorted(_glob(pattern))]
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise ListError(f"no file matches {path} (looked for in {Path.cwd()})")
    for file in files:
        _check_ordinary(file)
    return files


def _check_ordinary(file: Path) -> None:
    if not _is_text(str(file)):
        raise ListError(f"{str(file)!a} is no name in UTF-8: rename the file")
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise ListError(f"there is no file {file} (looked for in {Path.cwd()})") from None
    except OSError as error:
        raise ListError(f"{file} can't be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise ListError(
            f"{file} is no ordinary file: save the list to a file, or pipe it in and name it -"
        )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _glob(pattern: str) -> set[str]:
    """Do as `glob` does, but let `**` follow no links: those may lead round in circles."""
    before, recursive, after = pattern.partition("**/")
    if not recursive or (before and not before.endswith("/")):
        return set(glob.glob(pattern))  # noqa: PTH207 - Path takes no absolute patterns
    found = set()
    for root in glob.glob(before) if before else [""]:  # noqa: PTH207 - as above
        for folder, inside, _files in os.walk(root or "."):
            inside[:] = [name for name in inside if not name.startswith(".")]
            here = "" if folder == "." else folder + "/"
            found |= _glob(glob.escape(here) + after)
    return found


def _refuse_doubles(files: Sequence[Path]) -> None:
    seen = set()
    for file in files:
        real = file.resolve()
        if real in seen:
            raise ListError(f"{file} is named twice: its customers would be called twice")
        seen.add(real)
