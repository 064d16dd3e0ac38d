"""TOML files: where they are looked for, how they are read, and what can go wrong with them."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from phonon_bulk.config.problems import plain, without_secret
from phonon_bulk.config.settings import user_folder
from phonon_bulk.errors import SettingsError

CONFIG_VARIABLE = "PHONON_BULK_CONFIG"
DATABASE_VARIABLES = ("PHONON_BULK_DATABASE_USER", "PHONON_BULK_DATABASE_PASSWORD")
"""Who asks the database that a campaign's list comes from."""
FILE_NAME = "phonon-bulk.toml"
BELOW_CONFIG = Path("phonon-bulk", FILE_NAME)
SYSTEM_FOLDER = Path("/etc")

# A thousand times what anybody writes by hand; a contact list is easily larger.
_MOST_BYTES = 1_000_000
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def find_settings_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file that holds, or None if there is none.

    It is the one given (`--config`), else the one named by PHONON_BULK_CONFIG, else the first there
    is in the working directory, the user's and the system's configuration folders.

    Raises SettingsError if the variable is empty. Whether a file that was named exists is for the
    reader of it to find out.
    """
    if path is not None:
        return path
    named = environ.get(CONFIG_VARIABLE)
    if named is not None:
        if not named.strip():
            raise SettingsError([f"environment variable {CONFIG_VARIABLE}: {EMPTY_VARIABLE}"])
        return Path(named)
    return next((place for place in _usual_places(environ) if _is_there(place)), None)


EMPTY_VARIABLE = "it is set but empty; give it a value, or unset it"


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    yield Path(FILE_NAME)
    user = user_folder(environ, "XDG_CONFIG_HOME", ".config")
    if user is not None:
        yield user / BELOW_CONFIG
    for folder in (environ.get("XDG_CONFIG_DIRS") or str(SYSTEM_FOLDER / "xdg")).split(":"):
        if Path(folder).is_absolute():
            yield folder / BELOW_CONFIG
    yield SYSTEM_FOLDER / BELOW_CONFIG


def _is_there(path: Path) -> bool:
    """Tell whether to read the file: also if it can't be read, so that it is not passed by."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def read_toml(path: Path) -> dict[str, Any]:
    """Return what the file says. Raises SettingsError, which names the line if there is one."""
    return _parse(_text(_bytes(path), path), path)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        wrong = "there is no such file"
    except IsADirectoryError:
        wrong = "this is a folder, not a file"
    except (OSError, ValueError) as error:
        wrong = f"the file can't be read: {getattr(error, 'strerror', None) or 'no valid name'}"
    else:
        if len(content) <= _MOST_BYTES:
            return content
        wrong = "the file is larger than 1 MB, so it is no TOML file of ours; is it a contact list?"
    raise SettingsError([f"{plain(str(path))}: {wrong}"])


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise SettingsError(
        [f"{plain(str(path))}: line {line}: not UTF-8 text; save the file as UTF-8"]
    )


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        wrong = "too deeply nested"
    except ValueError as error:  # tomllib lets one of int() through where a number is endless
        wrong = _syntax_error(str(error), text)
    raise SettingsError([f"{plain(str(path))}: {wrong}"])


def _syntax_error(message: str, text: str) -> str:
    match = _POSITION.search(message)
    if match is None:
        return "not TOML: a number in it is too long"
    line, column = match.groups()
    if line is None:
        line, column = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
    what = plain(without_secret(message[: match.start()]))
    return f"line {line}, column {column}: not TOML: {what[:1].lower()}{what[1:]}"
