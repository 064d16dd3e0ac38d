"""How a process shows that it is alive, and others see that it is not.

A lease says how long a batch stays with a process that gives no sign of life; nobody wants to wait
for that after a crash. So each process holds a lock on a file of its own beside the journal. The
system takes the lock away when the process ends, however it ends, and at no other time: a process
that is merely suspended keeps it, until its leases run out.
"""

import os
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without flock: there, leases are all there is
    fcntl = None  # type: ignore[assignment]


_INFIX = "-alive-"


class Sign:
    """The sign of life of `owner` at the journal `path`, until it is taken away."""

    def __init__(self, path: Path, owner: str) -> None:
        self._file = sign_file(path, owner)
        self._descriptor = _made_and_locked(self._file)

    def take_away(self) -> None:
        """End it; the owner must hold nothing any more."""
        if self._descriptor >= 0:
            self._file.unlink(missing_ok=True)
            self.leave()

    def leave(self) -> None:
        """End it as the system does when a process dies: what the owner held is taken back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _made_and_locked(file: Path) -> int:
    """Make a file and lock it; anew, if it was swept away between the two."""
    while True:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
        if fcntl is None:
            return descriptor
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def sign_file(path: Path, owner: str) -> Path:
    """Return the file by which `owner` shows that it is alive."""
    return path.with_name(f"{path.name}{_INFIX}{owner.rsplit(':', 1)[-1]}")


def is_dead(path: Path, owner: str) -> bool:
    """Say whether `owner` is known to have ended. Without a sign of it nothing is known."""
    return _is_left_behind(sign_file(path, owner))


def is_gone(path: Path, owner: str) -> bool:
    """Say whether `owner` has ended, as far as work is concerned that nobody takes over.

    A living process has a sign, so one without any has ended: its sign was swept away, or did not
    come along when the journal was restored from a copy.
    """
    return not sign_file(path, owner).exists() or is_dead(path, owner)


def _is_left_behind(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:
        return False
    try:
        if fcntl is None:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def sweep(path: Path, holding: Iterable[str]) -> None:
    """Remove the signs of dead processes, but for those of owners that still hold something."""
    kept = {sign_file(path, owner) for owner in holding}
    for file in path.parent.glob(f"{path.name}{_INFIX}*"):
        if file not in kept and _is_left_behind(file):
            file.unlink(missing_ok=True)
