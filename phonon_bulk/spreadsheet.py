"""Files that people open in a spreadsheet: texts that do nothing there, and columns of our own.

A spreadsheet computes a text that begins like a formula, whoever wrote it into a contact list. So
such a text is written with an apostrophe before it, and read without it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import count

_SPACES = " \t\n\v\f\r\u00a0\u3000\ufeff"
_BEGINNINGS = "=+@\t\n\r\uff1d\uff0b\uff20\uff0d\\-"  # \uff..: the full-width forms of = + @ -
_FORMULA = f"[{_SPACES}]*[{_BEGINNINGS}]"

MARKED = f"^'+{_FORMULA}"
"""What `harmless` has put an apostrophe before; means the same to Python and to RE2 (DuckDB)."""

_TO_BE_MARKED = re.compile(f"'*{_FORMULA}")
_MARKED = re.compile(MARKED)


def harmless(text: str) -> str:
    """Return the text with an apostrophe before it, if it begins like a formula.

    That is with = + - @, tab or a line end, spaces before it or not. One that begins so after
    apostrophes gets one more, so that `as_it_was` can tell.
    """
    return f"'{text}" if _TO_BE_MARKED.match(text) else text


def as_it_was(text: str) -> str:
    """Return what `harmless` was given."""
    return text[1:] if _MARKED.match(text) else text


def own_columns(columns: Sequence[str]) -> tuple[str, str]:
    """Return the names under which a row's number and reason stand after a list's `columns`.

    `row` and `reason`, unless the list has one of them itself (case and spaces around it ignored).
    """
    taken = {_bare(name) for name in columns}
    names = (pair for pair in _pairs() if taken.isdisjoint(pair))
    return next(names)


def _pairs() -> Iterator[tuple[str, str]]:
    yield "row", "reason"
    yield "row (phonon-bulk)", "reason (phonon-bulk)"
    for number in count(2):
        yield f"row (phonon-bulk {number})", f"reason (phonon-bulk {number})"


def is_ours(columns: Sequence[str]) -> bool:
    """Say whether columns are those of a file of rejected rows: they end in `own_columns`."""
    last = tuple(_bare(name) for name in columns[-2:])
    return last == own_columns(columns[:-2])


def _bare(name: str) -> str:
    return name.strip().casefold()
