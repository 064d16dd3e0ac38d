"""Settings from file, environment and flags, the later over the earlier.

Each layer is checked by itself, so that everything wrong in all of them is said at once and with
its place. A relative path means: relative to the settings file if it stands there, else relative to
the working directory. An account is replaced as a whole by a later layer, because it takes its
security id from one place only.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from phonon_bulk.config.files import (
    CONFIG_VARIABLE,
    DATABASE_VARIABLES,
    EMPTY_VARIABLE,
    find_settings_file,
    read_toml,
)
from phonon_bulk.config.problems import (
    ANY_NAME,
    Key,
    Problem,
    leaves,
    lines,
    looks_secret,
    near,
    plain,
    problems_in,
    secrets_in,
    type_of,
)
from phonon_bulk.config.settings import (
    DEFAULT_ACCOUNT,
    ENVIRONMENT_PREFIX,
    JOURNAL_EXPECTED,
    SecretFile,
    SendingSettings,
    Settings,
    Text,
    default_journal,
    environment_name,
    home_folder,
    path_from,
    sqlite_path,
)
from phonon_bulk.errors import SettingsError

Values = dict[str, Any]

_COMMAND_LINE = "command line"
_NO_SETTINGS = (CONFIG_VARIABLE, *DATABASE_VARIABLES)
_ACCOUNT_VARIABLE = re.compile(
    f"{ENVIRONMENT_PREFIX}ACCOUNTS__([A-Z0-9]+(?:_[A-Z0-9]+)*)__(SECURITY_ID(?:_FILE)?)"
)
_WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _is_sqlite(journal: str) -> str:
    sqlite_path(journal)
    return journal


class _Given(Settings):
    """The settings as one layer may give them, not all of them needed."""

    journal: Annotated[Text, AfterValidator(_is_sqlite), Field(description=JOURNAL_EXPECTED)] = ""
    security_id_file: SecretFile | None = None
    """The default account's, without a section of its own."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one place says, as it says it, and how to name the place of a key."""

    values: Values
    place: Callable[[Key], str]
    folder: Path
    problems: list[Problem] = field(default_factory=list)


def load_settings(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]
) -> Settings:
    """Return the settings from the file, the environment and the flags.

    `path` is the file given by `--config`; for where it is looked for without, see
    `find_settings_file`. `flags` are dotted names (`endpoints.bulk.workers`); None is not given.

    Raises SettingsError with everything that is wrong in any of them.
    """
    file_problems, file = _file_layer(path, environ)
    layers = [file, _environment_layer(environ, file.values), _flag_layer(flags)]
    found = [problem for layer in layers for problem in layer.problems + _check(layer)]
    if not any(problem.key[:1] == ("sending",) for problem in found):
        found += _check_back_off(layers)
    if found or file_problems:
        raise SettingsError(sorted({*file_problems, *lines(found)}))
    values: Values = {}
    for layer in layers:
        _lay_over(values, _absolute(_settled(layer.values), layer.folder, home_folder(environ)))
    if "journal" not in values:
        values["journal"] = default_journal(environ)
    return _settings(values)


def _settings(values: Values) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:  # a folder's name that is no text, for one
        problems = problems_in(error, Settings, lambda _key: "settings")
    raise SettingsError(lines(problems))


# --- the three layers -------------------------------------------------------------------------


def _file_layer(path: Path | None, environ: Mapping[str, str]) -> tuple[list[str], _Layer]:
    found, values, problems = None, {}, []
    try:
        found = find_settings_file(path, environ)
        values = read_toml(found) if found else {}
    except SettingsError as error:
        problems = error.problems
    place = str(found)
    folder = found.parent if found else Path()
    wrong = [*secrets_in(values, place), *_same_in_environment(values, place)]
    return problems, _Layer(values, lambda _key: place, folder, wrong)


def _account_names(values: Values) -> list[str]:
    accounts = values.get("accounts")
    return list(accounts) if isinstance(accounts, dict) else []


def _same_in_environment(values: Values, place: str) -> list[Problem]:
    """Return a problem for each account that the environment can't tell from another."""
    taken = {DEFAULT_ACCOUNT.upper(): DEFAULT_ACCOUNT}
    problems = []
    for name in _account_names(values):
        other = taken.setdefault(name.upper().replace("-", "_"), name)
        if other != name:
            text = f"in environment variables this is the same name as {plain(other)}; change one"
            problems.append(Problem(place, ("accounts", name), text))
    return problems


def _environment_layer(environ: Mapping[str, str], file_values: Values) -> _Layer:
    keys = _keys_of_environment(environ, _account_names(file_values))
    names: dict[Key, str] = {}
    layer = _Layer({}, lambda key: f"environment variable {names.get(key, '')}", Path())
    for name, text in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _NO_SETTINGS:
            continue
        place = f"environment variable {name}"
        key = keys.get(name)
        if key is None:
            layer.problems.append(Problem(place, (), _unknown_variable(name, keys)))
        elif not text.strip():
            layer.problems.append(Problem(place, key, EMPTY_VARIABLE))
        elif key in names:
            layer.problems.append(Problem(place, key, f"{names[key]} sets it too; unset one"))
        elif key[-1] != "security_id" and looks_secret(text):
            misplaced: Values = {}
            _put(misplaced, key, text)
            layer.problems.extend(secrets_in(misplaced, place))
        else:
            names[key] = name
            _put(layer.values, key, _value_of(text, key))
    return layer


def _keys_of_environment(environ: Mapping[str, str], accounts: list[str]) -> dict[str, Key]:
    """Return the key that each variable sets: all there are, and those of the accounts."""
    keys = {environment_name(key): key for key in _TYPES if ANY_NAME not in key}
    default = ("accounts", DEFAULT_ACCOUNT)
    keys[f"{ENVIRONMENT_PREFIX}SECURITY_ID"] = (*default, "security_id")
    written = {name.upper().replace("-", "_"): name for name in [*accounts, DEFAULT_ACCOUNT]}
    for variable in environ:
        if match := _ACCOUNT_VARIABLE.fullmatch(variable):
            name, setting = match.groups()
            keys[variable] = ("accounts", written.get(name, name.lower()), setting.lower())
    return keys


def _unknown_variable(name: str, keys: Mapping[str, Key]) -> str:
    """Say so, with the variables that were likely meant: a near miss, or a section left out."""
    typed = name.removeprefix(ENVIRONMENT_PREFIX).upper()
    known = [other.removeprefix(ENVIRONMENT_PREFIX) for other in [*keys, *_NO_SETTINGS]]
    if match := re.fullmatch(r"(ACCOUNTS__[A-Z0-9_]+__)[A-Z0-9]+(_[A-Z0-9]+)*", typed):
        known = [match[1] + setting for setting in ("SECURITY_ID", "SECURITY_ID_FILE")]
    last = near(typed, [other.rpartition("__")[2] for other in known])
    meant = [near(typed, known)] if near(typed, known) else []
    meant = meant or [other for other in known if last and other.rpartition("__")[2] == last]
    names = " or ".join(plain(ENVIRONMENT_PREFIX + other) for other in meant)
    return "there is no such setting" + (f"; did you mean {names}?" if names else "")


def _flag_layer(flags: Mapping[str, object]) -> _Layer:
    layer = _Layer({}, lambda _key: _COMMAND_LINE, Path())
    for name, value in flags.items():
        key = tuple(name.split("."))
        if isinstance(value, os.PathLike):
            value = os.fspath(value)  # noqa: PLW2901
        if value is not None:
            _put(layer.values, key, _value_of(value, key) if isinstance(value, str) else value)
    layer.problems.extend(secrets_in(layer.values, _COMMAND_LINE))
    return layer


def _put(values: Values, key: Key, value: object) -> None:
    for part in key[:-1]:
        values = values.setdefault(part, {})
    values[key[-1]] = value


_TYPES = {key: type_of(known) for key, known in leaves(_Given)}
"""The plain type of every setting; a text is read as one of it."""


def _value_of(text: str, key: Key) -> object:
    """Return what a text means for the key, or the text itself if it means nothing there."""
    wanted, word = _TYPES.get(key), text.strip().lower()
    if wanted is bool:
        return _WORDS.get(word, text)
    if wanted is int:
        return int(word) if re.fullmatch(r"[+-]?[0-9]{1,18}", word) else text
    if wanted is float:
        return float(word) if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", word) else text
    return text


# --- checks -----------------------------------------------------------------------------------


def _check(layer: _Layer) -> list[Problem]:
    problems = _two_sources(layer)
    try:
        _Given.model_validate(layer.values)
    except ValidationError as error:
        problems += problems_in(error, _Given, layer.place)
    return problems


def _two_sources(layer: _Layer) -> list[Problem]:
    """Return a problem for each account that one layer gives two sources of its security id."""
    accounts = layer.values.get("accounts")
    sources: dict[str, list[Key]] = {
        name: [("accounts", name, setting) for setting in account]
        for name, account in (accounts.items() if isinstance(accounts, dict) else ())
        if isinstance(account, dict)
    }
    if "security_id_file" in layer.values:
        sources.setdefault(DEFAULT_ACCOUNT, []).append(("security_id_file",))
    return [
        Problem(layer.place(keys[-1]), keys[-1], f"{_named(layer, keys[0])} is given too; keep one")
        for keys in sources.values()
        if len(keys) > 1 and all(key[-1].startswith("security_id") for key in keys)
    ]


def _named(layer: _Layer, key: Key) -> str:
    place = layer.place(key)
    return place if place.startswith("environment") else ".".join(key)


def _check_back_off(layers: list[_Layer]) -> list[Problem]:
    """Return a problem if the first back-off is longer than the longest, wherever each is from."""
    pair = ("back_off_first", "back_off_most")
    values: Values = {}
    last = layers[0].place(())
    for layer in layers:
        given = layer.values.get("sending", {})
        values |= given
        for name in pair:
            last = layer.place(("sending", name)) if name in given else last
    sending = SendingSettings.model_validate(values)
    first, most = sending.back_off_first, sending.back_off_most
    if first <= most:
        return []
    text = f"expected at most sending.back_off_most, which is {most:g}, found {first:g}"
    return [Problem(last, ("sending", "back_off_first"), text)]


# --- one over the other -----------------------------------------------------------------------


def _settled(values: Values) -> Values:
    """Return the values with a `security_id_file` of no section given to the default account."""
    settled = dict(values)
    if name := settled.pop("security_id_file", None):
        default = {DEFAULT_ACCOUNT: {"security_id_file": name}}
        settled["accounts"] = settled.get("accounts", {}) | default
    return settled


def _absolute(values: Values, folder: Path, home: Path | None) -> Values:
    """Return the values with every path made absolute, from where it was written."""
    if "journal" in values:
        values["journal"] = f"sqlite://{path_from(folder, sqlite_path(values['journal']), home)}"
    if "worker" in values:
        values["worker"] = _absolute_in_worker(values["worker"], folder, home)
    if "accounts" in values:
        values["accounts"] = {
            name: {
                setting: path_from(folder, Path(value), home)
                if setting.endswith("_file")
                else value
                for setting, value in account.items()
            }
            for name, account in values["accounts"].items()
        }
    return values


def _absolute_in_worker(worker: Values, folder: Path, home: Path | None) -> Values:
    """Return the section with its paths made absolute."""
    worker = dict(worker)
    if "token_file" in worker:
        worker["token_file"] = path_from(folder, Path(worker["token_file"]), home)
    if "campaigns" in worker:
        named = worker["campaigns"]
        paths = [named] if isinstance(named, str) else named
        worker["campaigns"] = [path_from(folder, Path(path), home) for path in paths]
    return worker


def _lay_over(under: Values, over: Values) -> None:
    for name, value in over.items():
        if name == "accounts":
            under[name] = under.get(name, {}) | value
        elif isinstance(value, dict):
            _lay_over(under.setdefault(name, {}), value)
        else:
            under[name] = value
