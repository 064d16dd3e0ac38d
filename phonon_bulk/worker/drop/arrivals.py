"""Which files of a watched folder have come whole, and what is to be done with each: decisions.

A file is whole when nobody has written to it for `SETTLE` seconds. One that is renamed in after
that is taken at once; so whoever writes under another name and renames waits for nothing. An empty
file may be one that its writer has only opened: it is given a minute.

What is to be done with a file follows from the runs that the journal has. Its own run is known by
its path and mark before a byte is read, so that one whose process died is gone on with; any other
is known by its content, and nobody is called twice from it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from heapq import nsmallest
from pathlib import Path

import orjson

from phonon_bulk.journal import Control, Run
from phonon_bulk.source.files import Mark, is_list

SETTLE = 5.0
"""Seconds without a change after which a file is whole."""
SETTLE_EMPTY = 60.0

_NANO = 1e-9
_MAGIC = re.compile(r"[*?\[\]]")
_WRAPPINGS = {".gz", ".zst"}
_LONGEST_STEM = 150
"""Bytes: with a number, an ending and that of its report a name has 255 at most."""


# ---- which files are a campaign's


@dataclass(frozen=True, slots=True)
class Watch:
    """The files that a campaign takes: of one folder, by their names."""

    folder: Path
    pattern: str | None
    """For names; None is every file that has the ending of a list."""

    @classmethod
    def of(cls, watch: str) -> "Watch":
        """Return what a campaign's `watch` means. It is absolute.

        Without a pattern it is a file if it has the ending of a list, else a folder.
        """
        path = Path(watch)
        if _MAGIC.search(path.name) or is_list(path):
            return cls(path.parent, path.name)
        return cls(path, None)

    def wants(self, name: str) -> bool:
        """Say whether a file of that name is taken. Hidden ones are not, nor those Excel locks."""
        if name.startswith((".", "~$")):
            return False
        return is_list(Path(name)) if self.pattern is None else fnmatchcase(name, self.pattern)

    def may_share(self, other: "Watch") -> bool:
        """Say whether one name could be wanted by both; True if that can't be told easily."""
        mine, theirs = self.pattern, other.pattern
        if mine is not None and not _MAGIC.search(mine):
            return other.wants(mine)
        if theirs is not None and not _MAGIC.search(theirs):
            return self.wants(theirs)
        if mine is None or theirs is None:
            return True
        (begin, end), (other_begin, other_end) = _plain_ends(mine), _plain_ends(theirs)
        begins = begin.startswith(other_begin) or other_begin.startswith(begin)
        return begins and (end.endswith(other_end) or other_end.endswith(end))


def _plain_ends(pattern: str) -> tuple[str, str]:
    """Return what every name begins and ends with that matches."""
    return _MAGIC.split(pattern, maxsplit=1)[0], _MAGIC.split(pattern)[-1]


# ---- which of them are whole


@dataclass(frozen=True, slots=True)
class Sight:
    """A file as it was seen in its folder."""

    name: str
    mark: Mark
    is_ordinary: bool
    """It is a file, and no link, pipe or device."""

    @property
    def written(self) -> tuple[int, int, int]:
        """By which a write is noticed: size, time of change, inode."""
        size, changed, _, inode = self.mark
        return size, changed, inode


class Arrivals:
    """Tells which files of one folder have come whole. It remembers what it saw at the last look.

    By the file's own time of change; and by how long it has been seen unchanged, for the clock of
    another machine may have set that time. Both clocks are passed in, in seconds: `wall` since the
    epoch, `steady` from anywhere.
    """

    def __init__(self, settle: float = SETTLE, settle_empty: float = SETTLE_EMPTY) -> None:
        self._settle = settle
        self._settle_empty = settle_empty
        self._since: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._aside: dict[str, tuple[tuple[int, int, int], float]] = {}

    def whole(self, seen: Iterable[Sight], *, wall: float, steady: float, most: int) -> list[Sight]:
        """Return up to `most` files that are whole and not put aside, the oldest first."""
        here = {sight.name: sight for sight in seen}
        self._since = {
            name: known
            if (known := self._since.get(name)) and known[0] == sight.written
            else (sight.written, steady)
            for name, sight in here.items()
        }
        self._aside = {
            name: (written, until)
            for name, (written, until) in self._aside.items()
            if until > steady and name in here and here[name].written == written
        }
        ready = (
            sight
            for sight in here.values()
            if sight.name not in self._aside and self._is_whole(sight, wall, steady)
        )
        return nsmallest(most, ready, key=lambda sight: (sight.mark[1], sight.name))

    def put_aside(self, sight: Sight, until: float) -> None:
        """Pass a file over until then (by the steady clock), unless it is written to before."""
        self._aside[sight.name] = (sight.written, until)

    def _is_whole(self, sight: Sight, wall: float, steady: float) -> bool:
        settle = self._settle if sight.mark[0] else self._settle_empty
        unchanged = steady - self._since[sight.name][1]
        return max(wall - sight.mark[1] * _NANO, unchanged) >= settle


# ---- what is to be done with one


class Step(StrEnum):
    """What is to be done with a file."""

    READ = "read"
    """Its list is new."""
    GO_ON = "go_on"
    """A run has read a part of it."""
    FILE = "file"
    """Its own run has read it: it is only to be put away."""
    REPEAT = "repeat"
    """A run has read the same list from another file, or on another day from one of its name."""
    CANCELLED = "cancelled"
    """The run of this list was taken back."""
    CHANGED = "changed"
    """A run has read a part of what it was before."""
    CUT_SHORT = "cut_short"
    """The run of this list was ended before the last row."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with a file, and the run that it hangs on."""

    step: Step
    run: Run | None = None
    abandoned: tuple[int, ...] = ()
    """Runs of an earlier content of this file, of which no row was read: there will be none."""


def by_mark(runs: Sequence[Run], mark: Mark) -> Decision | None:
    """Return what is to be done with a file that a run was begun with and nobody touched since.

    `runs` are those of its campaign and path. None if there is no such run: its content decides.
    """
    for run in runs:
        if orjson.loads(run.list)["files"][0].get("mark") == list(mark):
            return Decision(_of_its_own(run), run)
    return None


def _of_its_own(run: Run) -> Step:
    if run.read_at is None:
        return Step.CANCELLED if run.control is Control.CANCELLED else Step.GO_ON
    return Step.FILE if run.whole else Step.CUT_SHORT


def by_content(runs: Sequence[Run], same: Run | None, sha256: str) -> Decision:
    """Return what is to be done with a file of this content.

    `runs` are those of its campaign and path; `same` is the newest run that the campaign would have
    with this list, if there is one.
    """
    begun = [run for run in runs if run.read_at is None and run.control is not Control.CANCELLED]
    for run in begun:
        if run.list_sha256 == sha256:
            return Decision(Step.GO_ON, run)
    if changed := cut_off(runs):
        return Decision(Step.CHANGED, changed)
    abandoned = tuple(run.id for run in begun)
    if same is None:
        return Decision(Step.READ, None, abandoned)
    return Decision(_of_the_same(same), same, abandoned)


def _of_the_same(run: Run) -> Step:
    if run.control is Control.CANCELLED:
        return Step.CANCELLED
    if run.read_at is None:
        return Step.GO_ON
    return Step.REPEAT if run.whole else Step.CUT_SHORT


def cut_off(runs: Sequence[Run]) -> Run | None:
    """Return the run that has read a part of a file and could still read on; None if none has."""
    for run in runs:
        if run.read_at is None and run.rows and run.control is not Control.CANCELLED:
            return run
    return None


# ---- what it is called where it is put


def numbered(name: str, number: int) -> str:
    """Return a name for the file that comes so late under it: list.csv, then list.2.csv.

    What would be too long with the endings of its papers is shortened.
    """
    stem, ending = _parts(name)
    short = stem.encode(errors="surrogateescape")[:_LONGEST_STEM]
    stem = short.decode(errors="ignore") if len(short) == _LONGEST_STEM else stem
    return f"{stem}{ending}" if number == 1 else f"{stem}.{number}{ending}"


def _parts(name: str) -> tuple[str, str]:
    path = Path(name)
    ending = path.suffix
    if ending.lower() in _WRAPPINGS:
        ending = Path(path.stem).suffix + ending
    if len(ending.encode(errors="surrogateescape")) > 20:  # noqa: PLR2004 - no ending is so long
        return name, ""
    return name.removesuffix(ending) if ending else name, ending
