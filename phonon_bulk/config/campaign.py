"""A campaign: which flow, with which list, read how."""

import contextlib
import glob
import os
import re
from datetime import datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from phonon_bulk.config.files import read_toml
from phonon_bulk.config.problems import (
    FoundError,
    Key,
    Section,
    lines,
    problems_in,
    secrets_in,
    shown,
)
from phonon_bulk.config.settings import (
    DEFAULT_ACCOUNT,
    AccountName,
    EndpointName,
    Text,
    home_folder,
    path_from,
)
from phonon_bulk.errors import SettingsError

_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DATE_AND_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_KEY_PREFIX = "$flow.key."
_LONGEST_NAME = 100
_NOT_YET = "not in this version yet; take it out"
_HINTS: dict[Key, str] = {
    ("checks",): _NOT_YET,
    ("source", "query"): _NOT_YET,
    **dict.fromkeys(
        [("security_id_file",), ("campaign", "security_id_file")],
        "this belongs in phonon-bulk.toml, not in a campaign",
    ),
}


class Once(StrEnum):
    """How often a campaign may send the same list without being told to."""

    LIST = "list"
    """Once for good."""
    DAY = "day"
    """Once a day, by the date in India."""


def _campaign_name(text: str) -> str:
    if text == text.strip() and text.isprintable() and 0 < len(text) <= _LONGEST_NAME:
        return text
    raise FoundError(shown(text))


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _columns(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise FoundError("an empty list")
    if len(set(names)) < len(names):
        raise FoundError("a column named twice")
    return names


def _local_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        raise FoundError("an empty list")
    for path in paths:
        if path == "-":
            raise FoundError('"-"; standard input is named on the command line instead')
        if "://" in path:
            raise FoundError(shown(path))
    return paths


def _delimiter(text: str) -> str:
    if len(text) == 1 and not text.isalnum() and text not in '"\r\n\0':
        return text
    raise FoundError(shown(text))


def _moment_as_text(value: Any) -> Any:
    """Take a date and time without quotes, which TOML knows as such, for what it looks like."""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _end_as_text(value: Any) -> Any:
    """Take a time without quotes, which TOML knows as such, for what it looks like."""
    if isinstance(value, time):
        return value.isoformat(timespec="minutes")
    return _moment_as_text(value)


def _end(text: str) -> str:
    """Let through what `call.read_end` can read: a time of day, or a whole moment."""
    if _TIME_OF_DAY.fullmatch(text):
        return text
    if _DATE_AND_TIME.fullmatch(text):
        with contextlib.suppress(ValueError):
            datetime.fromisoformat(text)
            return text
    raise FoundError(shown(text))


def _flow_variables(keys: dict[str, str]) -> dict[str, str]:
    for variable in keys:
        if not variable.strip() or variable.startswith(_KEY_PREFIX):
            raise FoundError(shown(variable))
    return keys


Column = Annotated[Text, Field(description="the name of a column")]
Columns = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_as_list),
    AfterValidator(_columns),
    Field(description="the name of a column, or a list of them, each once"),
]
Moment = Annotated[
    Text,
    BeforeValidator(_moment_as_text),
    Field(description='the name of a column, or a date and time like "2026-11-24T10:00:00+05:30"'),
]
FlowVariables = Annotated[
    dict[str, Text],
    AfterValidator(_flow_variables),
    Field(
        description='a table of flow variables, each with its column: { Name = "first_name" },'
        f" without {_KEY_PREFIX} before the variable"
    ),
]
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
    AfterValidator(_local_paths),
    Field(description="a path or pattern of files on this machine, or a list of them"),
]
Delimiter = Annotated[
    str,
    AfterValidator(_delimiter),
    Field(
        description='one character, such as ";" or "\\t" for a tab, and no letter, digit, quote'
        " or line break"
    ),
]


class MappingSettings(Section):
    """Which column is what: `[mapping]`."""

    client_identifier: Column | None = None
    contact_numbers: Columns
    start_time: Moment | None = None
    keys: FlowVariables = Field(default_factory=dict)


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
    delimiter: Delimiter | None = None


class CampaignFile(Section):
    """A campaign as its file has it."""

    campaign: _CampaignTable
    source: _SourceTable = _SourceTable()
    mapping: MappingSettings | None = None


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
    """Absolute once loaded; patterns among them. None: the list is given on the command line."""
    delimiter: Delimiter | None = None
    """None: found by looking at the header."""
    mapping: MappingSettings | None = None
    """None: the list is in Phonon's own template."""

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
    values = {
        **dict(file.campaign),
        "paths": [_absolute(text, folder) for text in file.source.path or ()],
        "delimiter": file.source.delimiter,
        "mapping": file.mapping,
    }
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
        if not problems:
            return file
    raise SettingsError(lines(problems))


def _absolute(text: str, folder: Path) -> str:
    """Return the path from the folder of the campaign, whose own name is never a pattern."""
    if any(char in text for char in "*?["):
        folder = Path(glob.escape(str(folder)))
    return str(path_from(folder, Path(text), home_folder(os.environ)))
