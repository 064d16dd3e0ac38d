"""A campaign: which flow, with which list, read how."""

import contextlib
import glob
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from phonon_bulk.config.checks import ChecksSettings, Duplicates
from phonon_bulk.config.files import read_toml
from phonon_bulk.config.mapping import MappingSettings
from phonon_bulk.config.problems import (
    FoundError,
    Key,
    Problem,
    Section,
    lines,
    problems_in,
    secrets_in,
    shown,
)
from phonon_bulk.config.settings import (
    DEFAULT_ACCOUNT,
    EndpointName,
    Text,
    home_folder,
    path_from,
)
from phonon_bulk.config.values import AccountName
from phonon_bulk.errors import SettingsError

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DATE_AND_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_LONGEST_NAME = 100
_DATABASES = ("postgresql", "mysql", "sqlite")
_PASSWORD_IN_URL = re.compile(r"[a-z]+://[^/@]*:[^/@]*@")
_HINTS: dict[Key, str] = dict.fromkeys(
    [("security_id_file",), ("campaign", "security_id_file")],
    "this belongs in phonon-bulk.toml, not in a campaign",
)


class Once(StrEnum):
    """How often a campaign may send the same list without being told to."""

    LIST = "list"
    """Once for good."""
    DAY = "day"
    """Once a day, by the date in India."""


class Encoding(StrEnum):
    """How the text of a list is encoded."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    WINDOWS_1252 = "windows-1252"


def _campaign_name(text: str) -> str:
    if text == text.strip() and text.isprintable() and 0 < len(text) <= _LONGEST_NAME:
        return text
    raise FoundError(shown(text))


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        raise FoundError("an empty list")
    for path in paths:
        if path == "-":
            raise FoundError('"-"; standard input is named on the command line instead')
    return paths


def _watch(text: str) -> str:
    if "://" in text:
        raise FoundError("a URL; files are taken from a folder on this machine")
    if glob.has_magic(str(Path(text).parent)) or "**" in text:
        raise FoundError(f"{shown(text)}; a pattern can stand for names of files, not of folders")
    return text


def _delimiter(text: str) -> str:
    if len(text) == 1 and text.isascii() and not text.isalnum() and text not in '"\r\n\0':
        return text
    raise FoundError(shown(text))


def _quote(text: str) -> str:
    return _delimiter(text) if text not in {"", '"'} else text


def _database(url: str) -> str:
    if url.partition("://")[0] not in _DATABASES or "://" not in url:
        raise FoundError(shown(url.partition("://")[0]))
    if _PASSWORD_IN_URL.match(url):
        raise FoundError(
            "a password in it; a campaign may be shared: set PHONON_BULK_DATABASE_PASSWORD instead"
        )
    return url


def _end_as_text(value: Any) -> Any:
    """Take a time without quotes, which TOML knows as such, for what it looks like."""
    if isinstance(value, time):
        return value.isoformat(timespec="minutes")
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _end(text: str) -> str:
    """Let through what `call.read_end` can read: a time of day, or a whole moment."""
    if _TIME_OF_DAY.fullmatch(text):
        return text
    if _DATE_AND_TIME.fullmatch(text):
        with contextlib.suppress(ValueError):
            datetime.fromisoformat(text)
            return text
    raise FoundError(shown(text))


Name = Annotated[
    str,
    AfterValidator(_campaign_name),
    Field(description=f"1 to {_LONGEST_NAME} characters on one line, no space around them"),
]
FlowId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]{8}$", description="8 letters and digits, in quotes")
]
NotAfter = Annotated[
    str,
    BeforeValidator(_end_as_text),
    AfterValidator(_end),
    Field(
        description='a time of day like "19:00" (in India), or a date and time like'
        ' "2026-11-24T19:00:00+05:30"'
    ),
]
Once_ = Annotated[Once, Field(description='"list" or "day"')]
Weight = Annotated[
    float,
    Field(
        strict=True,
        ge=0.01,
        le=100,
        allow_inf_nan=False,
        description="a number from 0.01 to 100",
    ),
]
Endpoint = Annotated[EndpointName, Field(description='"bulk" or "realtime"')]
Paths = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_as_list),
    AfterValidator(_paths),
    Field(description="a path, a pattern, a folder or a URL, or a list of them"),
]
Watch = Annotated[
    Text,
    AfterValidator(_watch),
    Field(description='a folder, or a folder and a pattern for the names in it: "incoming/*.csv"'),
]
Delimiter = Annotated[
    str,
    AfterValidator(_delimiter),
    Field(
        description='one character, such as ";" or "\\t" for a tab, and no letter, digit, quote'
        " or line break"
    ),
]


Quote = Annotated[
    str,
    AfterValidator(_quote),
    Field(
        description="one character, and no letter, digit or line break; or an empty text for none"
    ),
]
Database = Annotated[
    str,
    AfterValidator(_database),
    Field(description="a URL that begins with postgresql://, mysql:// or sqlite://"),
]
Encoding_ = Annotated[Encoding, Field(description='"utf-8", "utf-16" or "windows-1252"')]


class _CampaignTable(Section):
    """`[campaign]`."""

    name: Name
    flow_id: FlowId
    endpoint: Endpoint = EndpointName.BULK
    account: AccountName = DEFAULT_ACCOUNT
    once: Once_ = Once.LIST
    not_after: NotAfter | None = None
    weight: Weight = 1.0


class _SourceTable(Section):
    """`[source]`."""

    path: Paths | None = None
    watch: Watch | None = None
    query: Text | None = None
    database: Database | None = None
    delimiter: Delimiter | None = None
    quote: Quote = '"'
    encoding: Encoding_ | None = None
    sheet: Text | None = None


class CampaignFile(Section):
    """A campaign as its file has it."""

    campaign: _CampaignTable
    source: _SourceTable = _SourceTable()
    mapping: MappingSettings | None = None
    checks: ChecksSettings = ChecksSettings()


class Campaign(Section):
    """One list for one flow. It holds no secret: the journal keeps it with the run."""

    name: Name
    flow_id: FlowId
    endpoint: Endpoint = EndpointName.BULK
    account: AccountName = DEFAULT_ACCOUNT
    once: Once_ = Once.LIST
    not_after: NotAfter | None = None
    """As it was written; `call.read_end` makes a moment of it."""
    weight: Weight = 1.0
    """Its part of the limit, among the runs that send at the same time."""
    paths: Annotated[
        tuple[Text, ...], Field(description="a list of paths whose names are UTF-8 text")
    ] = ()
    """Absolute once loaded; patterns and URLs among them. Neither paths nor a query: the list is
    given on the command line."""
    watch: Text | None = None
    """Absolute once loaded: the folder whose files are lists, or such a folder and a pattern for
    their names. The worker takes them."""
    folder: str = ""
    """The campaign file's, from which the files in a query are looked for."""
    query: Text | None = None
    """SQL that gives the list: of the database, or of files."""
    database: Database | None = None
    delimiter: Delimiter | None = None
    """None: found by looking at the header."""
    quote: Quote = '"'
    encoding: Encoding_ | None = None
    """None: found by looking at the file."""
    sheet: Text | None = None
    """None: the first one of a workbook."""
    mapping: MappingSettings | None = None
    """None: the list is in Phonon's own template."""
    checks: ChecksSettings = ChecksSettings()

    def to_json(self) -> str:
        """Return the campaign as the journal keeps it, so that `resume` needs no file."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the campaign that `to_json` wrote. Raises SettingsError if it did not."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problems = problems_in(error, cls, lambda _key: "campaign kept in the journal")
        raise SettingsError(lines(problems))


def load_campaign(path: Path) -> Campaign:
    """Return the campaign that the file describes.

    Raises SettingsError with everything that is wrong in it.
    """
    place = str(path)
    file = _checked(read_toml(path), place)
    folder = path.parent.absolute()
    source, folder_text = file.source, str(folder)
    watch = source.watch and str(path_from(folder, Path(source.watch), home_folder(os.environ)))
    values = {
        **dict(file.campaign),
        **dict(source.model_copy(update={"path": None})),
        "paths": [_absolute(text, folder) for text in source.path or ()],
        "watch": watch,
        "folder": folder_text,
        "mapping": file.mapping,
        "checks": _with_absolute_lists(file.checks, folder),
    }
    del values["path"]
    try:
        return Campaign.model_validate(values)
    except ValidationError as error:  # the folder's name is no text
        problems = problems_in(error, Campaign, lambda _key: place)
    raise SettingsError(lines(problems))


def _checked(values: dict[str, Any], place: str) -> CampaignFile:
    problems = list(secrets_in(values, place))
    try:
        file = CampaignFile.model_validate(values)
    except ValidationError as error:
        problems += problems_in(error, CampaignFile, lambda _key: place, _HINTS)
    else:
        problems += [Problem(place, key, text) for key, text in _contradictions(file)]
        if not problems:
            return file
    raise SettingsError(lines(problems))


def _contradictions(file: CampaignFile) -> Iterator[tuple[Key, str]]:
    """Yield what can't be true together."""
    source, checks = file.source, file.checks
    if source.query is not None and source.path is not None:
        yield ("source", "query"), "a list comes from a path or from a query, not from both"
    if source.watch is not None and (source.path is not None or source.query is not None):
        yield ("source", "watch"), "lists are taken from a folder as they come, or from elsewhere"
    if source.database is not None and source.query is None:
        yield ("source", "database"), "a database needs a query: which rows of it are the list?"
    if checks.spread is not None and file.mapping and file.mapping.start_time is not None:
        yield ("checks", "spread"), "the start-times are given by mapping.start_time already"
    window, spread = checks.window, checks.spread
    if window and spread and not window.opens <= spread.opens < spread.closes <= window.closes:
        yield ("checks", "spread"), f"{spread} is not within checks.window, {window}"
    if checks.duplicates_days and checks.duplicates is Duplicates.KEEP:
        yield ("checks", "duplicates_days"), 'it needs duplicates = "drop" or "reject"'


def _with_absolute_lists(checks: ChecksSettings, folder: Path) -> ChecksSettings:
    lists = [
        replace(entry, path=_absolute(entry.path, folder)) if entry.path else entry
        for entry in checks.suppress
    ]
    return checks.model_copy(update={"suppress": tuple(lists)})


def _absolute(text: str, folder: Path) -> str:
    """Return the path from the folder of the campaign, whose own name is never a pattern."""
    if "://" in text:
        return text
    if any(char in text for char in "*?["):
        folder = Path(glob.escape(str(folder)))
    return str(path_from(folder, Path(text), home_folder(os.environ)))
