"""Where a list comes from: files, standard input, URLs, queries; each becomes parts to be read."""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phonon_bulk.config import Campaign
from phonon_bulk.errors import ListError
from phonon_bulk.source.files import find_files
from phonon_bulk.source.formats.opening import Options, open_part
from phonon_bulk.source.formats.stored import LocalFile, Spool, Stored
from phonon_bulk.source.formats.tables import Part, TablePart, open_tables

STANDARD_INPUT = "-"
_COPIED_AT_ONCE = 1 << 20
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Origin:
    """A list's parts, and what they were read from."""

    name: str
    parts: tuple[Part, ...]
    files: tuple[LocalFile, ...] = ()
    """The user's files, if it was read from such alone, and so can be read again."""
    remarks: tuple[str, ...] = ()


def open_origin(campaign: Campaign, given: Sequence[str], environ: Mapping[str, str]) -> Origin:
    """Return the list that the command line names, or else the campaign.

    Raises ListError if there is none, or if it can't be used.
    """
    places = list(given) or list(campaign.paths)
    if not places and campaign.query is not None:
        return _queried(campaign.query, campaign.database, campaign.folder, environ)
    if not places and campaign.watch is not None:
        raise ListError(
            f"which list? This campaign's are taken by the worker as they come ({campaign.watch});"
            " for one more, name it after the campaign file"
        )
    if not places:
        raise ListError(
            "which list? Name it after the campaign file, or in the campaign's [source] as path"
        )
    return open_places(places, options_of(campaign))


def open_places(places: Sequence[str], options: Options) -> Origin:
    """Return what is in files, folders, standard input or at URLs, in their order.

    Raises ListError if one of them can't be used.
    """
    files: list[LocalFile] = []
    stored: list[Stored] = []
    remarks: list[str] = []
    for place in places:
        if place == STANDARD_INPUT:
            stored.append(_standard_input())
        elif _is_url(place):
            stored.append(_fetched(place))
    local = [place for place in places if place != STANDARD_INPUT and not _is_url(place)]
    if local:
        found = find_files(local)
        remarks += found.remarks
        files = [LocalFile(path) for path in found.files]
    if len(stored) > len({source.name for source in stored}):
        raise ListError("a URL is named twice: its customers would be called twice")
    if stored and files:
        raise ListError("a list comes from files, or from elsewhere, not from both in one run")
    parts = tuple(open_part(source, options) for source in (*files, *stored))
    name = _together([source.name for source in (*files, *stored)])
    return Origin(name, parts, tuple(files), tuple(remarks))


def _together(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{names[0]} and {len(names) - 1:,} more files"


def options_of(campaign: Campaign) -> Options:
    """Return how a campaign wants its files to be read."""
    return Options(campaign.delimiter, campaign.encoding, campaign.quote, campaign.sheet)


def keep(parts: Sequence[Part], folder: Path) -> None:
    """Copy parts that can be read once only into a new folder, by their order.

    The folder is there once it is whole. Raises ListError if that can't be done.
    """
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Of its own: another process may be copying the same list.
        partial = Path(tempfile.mkdtemp(".part", f"{folder.name}.", folder.parent))
        for number, part in enumerate(parts):
            ending = "arrow" if isinstance(part, TablePart) else "csv"
            assert isinstance(part.stored, Spool)  # noqa: S101 - whatever is no user's file is one
            part.stored.copy_to(partial / f"{number:04d}.{ending}")
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(partial, ignore_errors=True)  # the other process was quicker
    except OSError as error:
        raise ListError(f"the list can't be kept in {folder}: {error.strerror}") from None


def open_kept(campaign: Campaign, folder: Path) -> Origin:
    """Return what `keep` has copied. Raises ListError if it isn't there, or can't be read."""
    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    if not paths:
        raise ListError(
            "this list could be read once only, and its copy is not there any more; start the"
            " campaign again with the same list, and it goes on where it was"
        )
    options = Options(delimiter=campaign.delimiter, encoding="utf-8", quote=campaign.quote)
    parts: list[Part] = []
    for path in paths:
        stored = LocalFile(path)
        is_table = path.suffix == ".arrow"
        parts.append(open_tables(stored) if is_table else open_part(stored, options))
    return Origin(f"the copy in {folder}", tuple(parts))


def open_query(
    query: str, database: str | None, folder: str, environ: Mapping[str, str]
) -> TablePart:
    """Return what a query gives: of a database, or of files, which are looked for from `folder`.

    Raises ListError if it can't be asked.
    """
    if database is not None:
        from phonon_bulk.source.formats.database import query_database

        return query_database(database, query, environ, Path(folder))
    from phonon_bulk.source.formats.select import select_rows

    return select_rows(query, Path(folder))


def _queried(query: str, database: str | None, folder: str, environ: Mapping[str, str]) -> Origin:
    part = open_query(query, database, folder, environ)
    return Origin(part.name, (part,))


def _is_url(place: str) -> bool:
    return "://" in place


def _fetched(url: str) -> Spool:
    from phonon_bulk.source.formats.remote import fetch  # loads slowly

    return fetch(url)


def _standard_input() -> Spool:
    if sys.stdin is None or sys.stdin.isatty():
        raise ListError("- is standard input, and nothing is piped into it")
    spool = Spool("standard input")
    while block := sys.stdin.buffer.read(_COPIED_AT_ONCE):
        spool.write(block)
    return spool
