"""What may be set, between which limits, and what holds if it isn't set.

A field's description says what is expected of it, as error messages repeat it; what it means stands
in docs/settings.md, and a test sees to it that nothing is missing there.
"""

import os
import re
import stat
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr

from phonon_bulk.config.problems import SECURITY_ID, FoundError, Key, Section, near, plain, shown
from phonon_bulk.config.service import IntakeSettings, WorkerSettings
from phonon_bulk.config.values import (
    ACCOUNT_EXPECTED,
    AccountName,
    Switch,
    auto_is_none,
    is_loopback,
    none_is_auto,
    not_blank,
    off_is_none,
    seconds,
    whole,
)
from phonon_bulk.errors import SettingsError

DEFAULT_ACCOUNT = "default"
FIRST_WORKERS = 32
"""So many requests of a run are under way at once to begin with, if the settings leave it open."""
MOST_WORKERS = 512
"""And so many at most: enough for 30,000 a minute that take a second each, and 128 MB of bodies."""
ENVIRONMENT_PREFIX = "PHONON_BULK_"

_URL = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST_AND_PORT = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*\.?)(:[0-9]{{1,5}})?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
# More than this is no security id, whatever the file is.
_MOST_BYTES_OF_ID = 4096


class EndpointName(StrEnum):
    """The two doors of the provider."""

    BULK = "bulk"
    REALTIME = "realtime"


def environment_name(key: Key) -> str:
    """Return the environment variable that sets the key."""
    return ENVIRONMENT_PREFIX + "__".join(part.upper().replace("-", "_") for part in key)


def _safe_url(text: str) -> str:
    """Let no address through that would send the security id in the open, or to a guessed host."""
    if not _URL.fullmatch(text):
        raise FoundError("an address with characters that can't stand in one")
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if host and "@" in parts.netloc:
        raise FoundError("an address with a user name in it")
    encrypted = parts.scheme == "https" if host else False
    plain_here = bool(host) and parts.scheme == "http" and is_loopback(host or "")
    if host and _HOST_AND_PORT.fullmatch(parts.netloc) and (encrypted or plain_here):
        return text
    raise FoundError(shown(text))


Limit = Annotated[
    Annotated[int, whole(1, 1_000_000_000)] | None,
    BeforeValidator(off_is_none),
    Field(description='a whole number from 1 to 1000000000, or "off"'),
]
Workers = Annotated[
    Annotated[int, whole(1, 1000)] | None,
    BeforeValidator(auto_is_none),
    PlainSerializer(none_is_auto, when_used="json"),
    Field(description='a whole number from 1 to 1000, or "auto"'),
]
Url = Annotated[
    str,
    AfterValidator(_safe_url),
    Field(
        description="an https:// address (http:// only to this machine itself: the security id"
        " is sent with every request)"
    ),
]


class EndpointSettings(Section):
    """How one endpoint is used: `[endpoints.bulk]`, `[endpoints.realtime]`."""

    url: Url
    requests_per_minute: Limit
    calls_per_minute: Limit = None
    headroom: Annotated[float, seconds(0.05, 30)] = 0.5
    ramp: Annotated[float, seconds(0, 60)] = 3.0
    workers: Workers = None
    timeout: Annotated[float, seconds(0.01, 3600)] = 30.0
    connect_timeout: Annotated[float, seconds(0.01, 3600)] = 10.0

    @property
    def most_workers(self) -> int:
        """How many requests of one run may be under way at once."""
        return MOST_WORKERS if self.workers is None else self.workers


def _from(**defaults: Any) -> BeforeValidator:
    """Let a table stand on the endpoint's own defaults."""
    return BeforeValidator(lambda table: defaults | table if isinstance(table, dict) else table)


class EndpointsSettings(Section):
    """Both endpoints: `[endpoints]`."""

    bulk: Annotated[
        EndpointSettings,
        _from(
            url="https://central-api.phonon.io/kairos-apis/outbound/create",
            requests_per_minute=30_000,
        ),
    ] = Field(default={}, validate_default=True)
    realtime: Annotated[
        EndpointSettings,
        _from(
            url="https://central.phonon.io/kairos-apis/outbound/create",
            requests_per_minute=500,
            ramp=0.0,  # a call that must go out now does not wait for a rate to grow
        ),
    ] = Field(default={}, validate_default=True)


class SendingSettings(Section):
    """What sending does when it meets resistance: `[sending]`."""

    back_off_first: Annotated[float, seconds(0.001, 3600)] = 1.0
    back_off_most: Annotated[float, seconds(0.001, 3600)] = 60.0
    give_up_after: Annotated[float, seconds(0.1, 604_800)] = 900.0
    drain_timeout: Annotated[float, seconds(0, 3600)] = 35.0
    lease: Annotated[float, seconds(10, 86_400)] = 60.0
    replay_after: Annotated[float, seconds(0.1, 3600)] = 10.0
    replay_within: Annotated[float, seconds(0, 604_800)] = 600.0
    journal_wait: Annotated[float, seconds(0.1, 3600)] = 30.0
    uvloop: Switch = True


def _right_id(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not SECURITY_ID.fullmatch(text):
        raise FoundError(f"{len(text)} characters" + _odd_ones(text))
    return SecretStr(text)


def _odd_ones(text: str) -> str:
    return "" if re.fullmatch(r"[A-Za-z0-9]*", text) else ", not all of them letters or digits"


SecretId = Annotated[
    SecretStr, AfterValidator(_right_id), Field(description="64 letters and digits")
]
Text = Annotated[str, AfterValidator(not_blank)]
SecretFile = Annotated[
    Path,
    BeforeValidator(lambda value: not_blank(value) if isinstance(value, str) else value),
    Field(description="the path of a file that holds the security id and nothing else"),
]


class AccountSettings(Section):
    """Where an account's security id comes from: `[accounts.NAME]`.

    `security_id` is filled from the environment alone, and left out of every dump.
    """

    security_id_file: SecretFile | None = None
    security_id: SecretId | None = Field(default=None, exclude=True, repr=False)


def sqlite_path(journal: str) -> Path:
    """Return where the journal named so is.

    Raises FoundError if it isn't a file of SQLite's.
    """
    match = _SCHEME.fullmatch(journal)
    path = journal
    if match:
        scheme, path = match.groups()
        if scheme.lower() != "sqlite":
            raise FoundError(f'a journal of the kind "{plain(scheme)}"')
        if path.startswith("//"):
            path = path.removeprefix("//")
            if not path.startswith("/"):
                raise FoundError("two slashes after sqlite: where an absolute path has three")
            path = "/" + path.lstrip("/")
    if not path.strip() or "\0" in path or path == ":memory:" or path.endswith("/"):
        raise FoundError(shown(journal))
    return Path(path)


def user_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return a folder of the XDG Base Directory rules, or None if there is no home folder."""
    chosen = environ.get(variable, "")
    if Path(chosen).is_absolute():  # a relative one is to be ignored, the rules say
        return Path(chosen)
    home = home_folder(environ)
    return home / below_home if home else None


def home_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the home folder, or None if there is none."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() may raise
    return Path(home) if Path(home).is_absolute() else None


def path_from(folder: Path, path: Path, home: Path | None) -> Path:
    """Return the path made absolute: from the home folder if it begins with `~/`, else `folder`."""
    if home and path.parts[:1] == ("~",):
        return home.joinpath(*path.parts[1:])
    return (folder / path).absolute()


def default_journal(environ: Mapping[str, str]) -> str:
    """Return where the journal is if nobody says so."""
    folder = user_folder(environ, "XDG_DATA_HOME", ".local/share")
    if folder is None:
        raise SettingsError(
            ["journal: there is no home folder to keep it in; set PHONON_BULK_JOURNAL"]
        )
    return f"sqlite://{folder}/phonon-bulk/journal.db"


JOURNAL_EXPECTED = (
    "sqlite:///absolute/path, sqlite:relative/path or the path of a file;"
    " only sqlite is there so far"
)


class Settings(Section):
    """Everything that is set, as it holds after file, environment and flags."""

    journal: Annotated[Text, Field(description=JOURNAL_EXPECTED)] = Field(
        default_factory=lambda: default_journal(os.environ)
    )
    endpoints: EndpointsSettings = EndpointsSettings()
    sending: SendingSettings = SendingSettings()
    worker: WorkerSettings = WorkerSettings()
    intake: IntakeSettings = IntakeSettings()
    accounts: dict[AccountName, AccountSettings] = Field(
        default_factory=dict, description=f"tables [accounts.NAME], each with {ACCOUNT_EXPECTED}"
    )

    @property
    def journal_path(self) -> Path:
        """The journal's file. Raises SettingsError if it is of another kind than SQLite."""
        try:
            return sqlite_path(self.journal).absolute()
        except FoundError as error:
            text = f"journal: expected {JOURNAL_EXPECTED}, found {error}"
        raise SettingsError([text])

    def endpoint(self, name: EndpointName) -> EndpointSettings:
        """Return how the endpoint is used."""
        match name:
            case EndpointName.BULK:
                return self.endpoints.bulk
            case EndpointName.REALTIME:
                return self.endpoints.realtime

    def account(self, name: str) -> AccountSettings:
        """Return the account. Raises SettingsError, naming those there are, if it isn't set."""
        if name == DEFAULT_ACCOUNT:
            return self.accounts.get(name, AccountSettings())
        if name in self.accounts:
            return self.accounts[name]
        names = sorted({DEFAULT_ACCOUNT, *self.accounts})
        likely = near(name, names)
        meant = f"; did you mean {likely}?" if likely else ""
        known = f"there {'is' if len(names) == 1 else 'are'}: {', '.join(names)}"
        raise SettingsError([f"there is no account {shown(name)} in the settings{meant}; {known}"])

    def security_id(self, account: str) -> SecretStr:
        """Return the account's security id, from the environment or from its file.

        Raises SettingsError, saying what to set or what to mend.
        """
        chosen = self.account(account)
        if chosen.security_id is not None:
            return chosen.security_id
        if chosen.security_id_file is not None:
            return _read_security_id(chosen.security_id_file)
        key = () if account == DEFAULT_ACCOUNT else ("accounts", account)
        text = (
            f"no security id for the account {account}: set the environment variable"
            f" {environment_name((*key, 'security_id'))}, or name a file that holds it by"
            f" {'.'.join((*key, 'security_id_file'))} in phonon-bulk.toml"
        )
        raise SettingsError([text])

    def security_id_file_warning(self, account: str) -> str | None:
        """Return a sentence to warn with if others may read the file that the id comes from."""
        chosen = self.account(account)
        if chosen.security_id is not None or chosen.security_id_file is None or os.name == "nt":
            return None
        try:
            if not is_open_to_others(chosen.security_id_file):
                return None
        except OSError:
            return None  # `security_id` says it better
        name = plain(str(chosen.security_id_file))
        return f"{name} holds a security id, and others than its owner may use it: chmod 600 {name}"


def is_open_to_others(secret: Path, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether others than its owner may use the file of a secret.

    A credential that systemd hands over belongs to root and lets one user read it by an access
    list, which shows in the bits of the group; that is not open to others.

    Raises OSError if it can't be looked at.
    """
    mode, folder = stat.S_IMODE(secret.stat().st_mode), environ.get("CREDENTIALS_DIRECTORY")
    if folder and secret.parent == Path(folder):
        return bool(mode & (stat.S_IWGRP | stat.S_IRWXO))
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def _read_security_id(path: Path) -> SecretStr:
    """Return the security id that the file holds, and let no error repeat what it holds."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES_OF_ID).decode("utf-8-sig")
        return _right_id(SecretStr(text))
    except FoundError as error:
        wrong = f"expected 64 letters and digits and nothing else, found {error}"
    except UnicodeDecodeError:
        wrong = "expected 64 letters and digits and nothing else, found no text"
    except OSError as error:
        wrong = f"the security id can't be read from there: {error.strerror}"
    raise SettingsError([f"{plain(str(path))}: {wrong}"])
