"""Puts a file that was taken into `done/` or `failed/`, with its papers; all of it or nothing.

Everything is gathered in a hidden folder there first, which is named after what the file will be
called; the file itself comes last. From then on it is filed, and if the process dies, what is in
the hidden folder is put in its place at the next start; before, the hidden folder is swept away,
and the file is where it was. Nothing is ever overwritten. Blocks: it is called on threads.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from phonon_bulk.worker.drop.arrivals import numbered

try:
    import fcntl
except ImportError:  # a system without flock: there, only one worker may watch a folder
    fcntl = None  # type: ignore[assignment]

_LIST, _COPY = "list", "list.copy"
_PAPERS = {"report.txt": ".report.txt", "rejected.csv": ".rejected.csv"}
"""What may be beside a list, by its name in the hidden folder: the ending it gets."""
_HIDDEN = ".filing"

WriteRejected = Callable[[Path], object]


class AnotherFileError(Exception):
    """What has the name now is not the file that was taken: it was written to, or replaced."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[int | None]:
    """Hold a file so that no other worker takes it; yield its descriptor, None if another has it.

    The system lets go of it when the process ends, however it ends. Raises OSError if it can't be
    opened, which never waits, and follows no link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        yield descriptor if _lock(descriptor) and _is(path, descriptor) else None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a file system without locks: there, only one worker may watch
        return not isinstance(error, BlockingIOError)
    return True


def _is(path: Path, descriptor: int) -> bool:
    """Say whether the name still is that of the open file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def file_away(
    path: Path,
    descriptor: int | None,
    folder: Path,
    report: str,
    write_rejected: WriteRejected | None = None,
) -> Path:
    """Move a file into `folder` (made if need be, 0700), with its papers; return where it is.

    `descriptor` is of the file that was taken, None for what is no file. All becomes readable by
    its owner alone (0600), but for a file that can neither be changed nor copied.

    Raises AnotherFileError if there is another file of that name now; it stays. Raises OSError, or
    what `write_rejected` raises, if it can't be done; the file stays, or is filed by `finish`.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    target, hidden = _reserve(folder, path.name)
    with _locked(hidden):
        try:
            _write(hidden / "report.txt", report)
            if write_rejected is not None:
                write_rejected(hidden / "rejected.csv")
                _flush(hidden / "rejected.csv")
            _move(path, descriptor, hidden)
        except BaseException:
            if not os.path.lexists(hidden / _LIST):
                shutil.rmtree(hidden, ignore_errors=True)
            raise
        return _publish(hidden, folder, target)


def finish(folder: Path) -> None:
    """Put in its place what dead processes have left half filed. Raises OSError if it can't be."""
    with contextlib.suppress(FileNotFoundError):
        for hidden in sorted(folder.glob(f".*{_HIDDEN}")):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), _locked(hidden):
                if os.path.lexists(hidden / _LIST):
                    _publish(hidden, folder, hidden.name[1:].removesuffix(_HIDDEN))
                else:
                    shutil.rmtree(hidden)


def _reserve(folder: Path, name: str) -> tuple[str, Path]:
    """Return a name that nothing in the folder has, and the hidden folder that keeps it free."""
    number = 1
    while True:
        target = numbered(name, number)
        hidden = folder / f".{target}{_HIDDEN}"
        with contextlib.suppress(FileExistsError):
            hidden.mkdir(mode=0o700)
            if not any(os.path.lexists(folder / f"{target}{e}") for e in ("", *_PAPERS.values())):
                return target, hidden
            hidden.rmdir()
        number += 1


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder as long as this process works in it. Raises BlockingIOError if another does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _lock(descriptor):
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)


def _move(path: Path, descriptor: int | None, hidden: Path) -> None:
    if descriptor is not None and not _is(path, descriptor):
        raise AnotherFileError
    moved = hidden / _LIST
    try:
        path.rename(moved)
    except OSError as error:
        if error.errno != errno.EXDEV or descriptor is None:
            raise
        _copy(descriptor, hidden)
        if not _is(path, descriptor):
            moved.unlink()
            raise AnotherFileError from None
        path.unlink()
        return
    if descriptor is not None and not _is(moved, descriptor):  # put there in this very moment
        moved.rename(_free(path.parent, path.name))
        raise AnotherFileError


def _make_private(hidden: Path) -> None:
    """Let only its owner, which is this process's, read what was moved to a hidden folder.

    Others may own it, or link to it: a copy takes its place then. What can be neither changed nor
    copied stays as it is, in a folder that nobody else can enter.
    """
    file = hidden / _LIST
    if not is_ordinary(file.lstat()):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if not _is_made_private(file, os.fstat(descriptor)):
                _copy(descriptor, hidden)
        finally:
            os.close(descriptor)


def _is_made_private(file: Path, status: os.stat_result) -> bool:
    if status.st_nlink > 1 or status.st_uid != os.geteuid():
        return False
    file.chmod(0o600)
    return True


def _copy(descriptor: int, hidden: Path) -> None:
    """Make a copy of an open file in the hidden folder, durably; it takes its place when whole."""
    copy = hidden / _COPY
    copy.unlink(missing_ok=True)
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as source, open(copy, "xb", opener=_private) as to:
        shutil.copyfileobj(source, to, 1 << 20)
        to.flush()
        os.fsync(to.fileno())
    copy.replace(hidden / _LIST)


def _publish(hidden: Path, folder: Path, target: str) -> Path:
    """Give everything in a hidden folder its name, the list last, and remove it."""
    _make_private(hidden)
    for paper, ending in _PAPERS.items():
        if (hidden / paper).exists():
            (hidden / paper).rename(_free(folder, f"{target}{ending}"))
    place = _free(folder, target)
    (hidden / _LIST).rename(place)
    shutil.rmtree(hidden, ignore_errors=True)  # if there was no room, a copy that was begun
    return place


def _free(folder: Path, name: str) -> Path:
    """Return a place of that name, or a numbered one, where nothing is."""
    place, number = folder / name, 1
    while os.path.lexists(place):
        number += 1
        place = folder / numbered(name, number)
    return place


def _write(path: Path, text: str) -> None:
    with open(path, "x", encoding="utf-8", opener=_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def is_ordinary(status: os.stat_result) -> bool:
    """Say whether this is a file, and no link, pipe or device."""
    return stat.S_ISREG(status.st_mode)
