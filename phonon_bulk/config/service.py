"""What may be set for the long-lived process, and for its door: `[worker]` and `[intake]`."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from phonon_bulk.config.problems import FoundError, Section, shown
from phonon_bulk.config.values import (
    AccountName,
    Switch,
    is_loopback,
    not_blank,
    off_is_none,
    seconds,
    whole,
)

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_MOST_PORT = 65_535


class Address(str):
    """A host and a port to listen on, as in "127.0.0.1:8787"; `[::1]:8787` for IPv6."""

    __slots__ = ()

    @property
    def host(self) -> str:
        """The host, without the brackets of IPv6."""
        return self.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 lets the system choose a free one."""
        return int(self.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine itself can reach it."""
        return is_loopback(self.host)


def _address(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _MOST_PORT:
        raise FoundError(shown(text))
    return Address(text)


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


_PathText = BeforeValidator(lambda value: not_blank(value) if isinstance(value, str) else value)
Listen = Annotated[
    Annotated[str, AfterValidator(_address)] | None,
    BeforeValidator(off_is_none),
    Field(description='a host and a port like 127.0.0.1:8787, or "off"'),
]
Days = Annotated[
    Annotated[int, whole(1, 36_500)] | None,
    BeforeValidator(off_is_none),
    Field(description='a whole number of days from 1 to 36500, or "off"'),
]


class WorkerSettings(Section):
    """How `phonon-bulk worker` runs: `[worker]`."""

    listen: Listen = Field(default="127.0.0.1:8787", validate_default=True)
    token_file: Annotated[
        Path | None,
        _PathText,
        Field(description="the path of a file that holds the bearer token and nothing else"),
    ] = None
    campaigns: Annotated[
        tuple[Annotated[Path, _PathText], ...],
        BeforeValidator(_one_as_list),
        Field(description="paths of campaign files that have source.watch"),
    ] = ()
    runs: Annotated[int, whole(1, 1000)] = 16
    look_every: Annotated[float, seconds(0.05, 60)] = 0.5
    prune_after_days: Days = None

    @property
    def address(self) -> Address | None:
        """Where it listens; None if nowhere."""
        return None if self.listen is None else Address(self.listen)


class IntakeSettings(Section):
    """The door for single calls that must go out now: `[intake]`."""

    enabled: Switch = True
    account: AccountName = "default"
    flow_id: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z0-9]{8}$", description="8 letters and digits"),
    ] = None
    max_waiting: Annotated[int, whole(1, 1_000_000)] = 20_000
    expire_after: Annotated[float, seconds(1, 86_400)] = 300.0
