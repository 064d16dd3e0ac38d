"""Settings and campaigns: where they come from, what is refused, and what is said of it."""

import json
import os
import pickle
import re
import string
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from phonon_bulk.config import (
    AccountSettings,
    Campaign,
    Encoding,
    EndpointName,
    EndpointSettings,
    Kind,
    MappingSettings,
    Once,
    Outside,
    Settings,
    Value,
    environment_name,
    files,
    find_settings_file,
    is_loopback,
    is_open_to_others,
    load_campaign,
    load_settings,
)
from phonon_bulk.config.problems import ANY_NAME, Key, leaves, shown
from phonon_bulk.errors import Exit, SettingsError

SECRET = "q7" * 32
OTHER_SECRET = "Z9" * 32

WORKERS = 'a whole number from 1 to 1000, or "auto"'
BULK_URL = "https://central-api.phonon.io/kairos-apis/outbound/create"
REALTIME_URL = "https://central.phonon.io/kairos-apis/outbound/create"
CAMPAIGN = """\
[campaign]
name = "reminder"
flow_id = "QG8k000A"
"""
MAPPING = """\
[mapping]
contact_numbers = "mobile"
"""


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the settings of the machine it runs on."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(files, "SYSTEM_FOLDER", tmp_path / "etc")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith(("PHONON_BULK_", "XDG_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a home folder and nothing else."""
    return {"HOME": str(tmp_path / "home")}


def write(path: Path, text: str) -> Path:
    """Write a file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(call: Callable[[], object]) -> list[str]:
    """Return the problems that the call ends with."""
    with pytest.raises(SettingsError) as caught:
        call()
    assert caught.value.exit_code is Exit.UNUSABLE
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(line.isprintable() for line in caught.value.problems)
    assert caught.value.__context__ is None, "a traceback must not lead to pydantic's input"
    return caught.value.problems


def problem(call: Callable[[], object]) -> str:
    """Return the one problem that the call ends with."""
    (only,) = problems(call)
    return only


def from_text(tmp_path: Path, text: str, environ: Mapping[str, str]) -> Settings:
    """Load settings from a file with this text."""
    return load_settings(write(tmp_path / "phonon-bulk.toml", text), environ, {})


def campaign_from(tmp_path: Path, text: str) -> Campaign:
    """Load a campaign from a file with this text."""
    return load_campaign(write(tmp_path / "campaign.toml", text))


# --- defaults and layers ----------------------------------------------------------------------


def test_defaults_hold_without_any_file(tmp_path: Path, environ: dict[str, str]) -> None:
    """No settings file is fine; the defaults are the documented limits of the provider."""
    settings = load_settings(None, environ, {})
    assert settings.journal_path == tmp_path / "home/.local/share/phonon-bulk/journal.db"
    bulk, realtime = settings.endpoint(EndpointName.BULK), settings.endpoint(EndpointName.REALTIME)
    assert (bulk.url, bulk.requests_per_minute, bulk.calls_per_minute) == (BULK_URL, 30_000, None)
    assert (realtime.url, realtime.requests_per_minute) == (REALTIME_URL, 500)
    assert (bulk.workers, bulk.timeout, bulk.connect_timeout) == (None, 30.0, 10.0)
    assert bulk.most_workers == 512
    sending = settings.sending
    assert (sending.back_off_first, sending.back_off_most) == (1.0, 60.0)
    assert (sending.give_up_after, sending.drain_timeout, sending.lease) == (900.0, 35.0, 60.0)
    assert (sending.replay_after, sending.replay_within) == (10.0, 600.0)
    assert sending.uvloop is True
    assert settings.accounts == {}
    assert settings == Settings()


@given(given_in=st.sets(st.sampled_from(["file", "environment", "flags"])))
def test_the_later_layer_goes_over_the_earlier(given_in: set[str]) -> None:
    """File < environment < flags, and what a layer leaves out stays as it was."""
    number = {"file": 1, "environment": 2, "flags": 3}
    with tempfile.TemporaryDirectory() as folder:
        text = "[endpoints.bulk]\ntimeout = 5\n" + "workers = 1\n" * ("file" in given_in)
        path = write(Path(folder, "settings.toml"), text)
        environ = {"PHONON_BULK_ENDPOINTS__BULK__WORKERS": "2"} if "environment" in given_in else {}
        flags = {"endpoints.bulk.workers": 3} if "flags" in given_in else {}
        bulk = load_settings(path, environ, flags).endpoints.bulk
    assert bulk.workers == (max(number[layer] for layer in given_in) if given_in else None)
    assert bulk.timeout == 5.0
    assert bulk.url == BULK_URL


def test_each_setting_can_come_from_the_environment(environ: dict[str, str]) -> None:
    """Texts are read as what the setting is: numbers, switches, "off", paths."""
    texts = {
        "endpoints.bulk.url": ("http://localhost:8080/create", "http://localhost:8080/create"),
        "endpoints.bulk.requests_per_minute": ("off", None),
        "endpoints.bulk.calls_per_minute": ("30000", 30_000),
        "endpoints.bulk.workers": (" Auto ", None),
        "endpoints.realtime.workers": (" 16 ", 16),
        "endpoints.realtime.timeout": ("2.5", 2.5),
        "endpoints.realtime.connect_timeout": ("3", 3.0),
        "sending.lease": ("1e2", 100.0),
        "sending.uvloop": ("off", False),
    }
    for name, (text, _value) in texts.items():
        environ[environment_name(tuple(name.split(".")))] = text
    settings = load_settings(None, environ, {})
    for name, (_text, value) in texts.items():
        found: Any = settings
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value, name
        assert type(found) is type(value), name


@pytest.mark.parametrize("word", ["true", "Yes", "ON", "1", "false", "No", "OFF", "0"])
def test_a_switch_in_the_environment_is_a_word(word: str, environ: dict[str, str]) -> None:
    """The words people write for true and false are read, in either case."""
    environ["PHONON_BULK_SENDING__UVLOOP"] = word
    expected = word.lower() in {"true", "yes", "on", "1"}
    assert load_settings(None, environ, {}).sending.uvloop is expected


def test_a_flag_that_is_none_was_not_given(environ: dict[str, str]) -> None:
    """What the command line leaves out changes nothing; a path may be given as one."""
    flags = {"endpoints.bulk.workers": None, "journal": Path("/j.db"), "sending.lease": "20"}
    settings = load_settings(None, environ, flags)
    assert settings.endpoints.bulk.workers is None
    assert settings.journal == "sqlite:///j.db"
    assert settings.sending.lease == 20.0


# --- where the file is ------------------------------------------------------------------------


def test_the_first_file_there_is_is_read(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given, named, working directory, user's folder, system's folders: in this order."""
    environ["XDG_CONFIG_DIRS"] = f"relative:{tmp_path / 'xdg'}"
    places = [
        tmp_path / "etc/phonon-bulk/phonon-bulk.toml",
        tmp_path / "xdg/phonon-bulk/phonon-bulk.toml",
        tmp_path / "home/.config/phonon-bulk/phonon-bulk.toml",
        tmp_path / "work/phonon-bulk.toml",
        tmp_path / "named.toml",
        tmp_path / "given.toml",
    ]
    monkeypatch.setitem(environ, "PHONON_BULK_UNRELATED", "x")
    assert find_settings_file(None, environ) is None
    for number, place in enumerate(places[:4], start=1):
        write(place, f"[endpoints.bulk]\nworkers = {number}\n")
        found = find_settings_file(None, environ)
        assert found is not None
        assert found.absolute() == place
    environ["PHONON_BULK_CONFIG"] = str(places[4])
    assert find_settings_file(None, environ) == places[4]
    assert find_settings_file(places[5], environ) == places[5]


def test_the_users_folder_may_be_elsewhere(tmp_path: Path, environ: dict[str, str]) -> None:
    """XDG_CONFIG_HOME and XDG_DATA_HOME count if absolute, and are ignored if not."""
    write(tmp_path / "cfg/phonon-bulk/phonon-bulk.toml", "[sending]\nlease = 11\n")
    environ |= {"XDG_CONFIG_HOME": str(tmp_path / "cfg"), "XDG_DATA_HOME": str(tmp_path / "data")}
    settings = load_settings(None, environ, {})
    assert settings.sending.lease == 11
    assert settings.journal_path == tmp_path / "data/phonon-bulk/journal.db"
    environ |= {"XDG_CONFIG_HOME": "cfg", "XDG_DATA_HOME": "data"}
    settings = load_settings(None, environ, {})
    assert settings.sending.lease == 60
    assert settings.journal_path == tmp_path / "home/.local/share/phonon-bulk/journal.db"


def test_without_a_home_the_journal_must_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's home folder is guessed."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert "PHONON_BULK_JOURNAL" in problem(lambda: load_settings(None, {}, {}))
    given_one = load_settings(None, {"PHONON_BULK_JOURNAL": "/j.db"}, {})
    assert given_one.journal_path == Path("/j.db")


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_a_file_that_is_named_must_exist(way: str, tmp_path: Path, environ: dict[str, str]) -> None:
    """A typo in a file's name must not silently mean the defaults."""
    path = tmp_path / "missing.toml"
    if way == "variable":
        environ["PHONON_BULK_CONFIG"] = str(path)
    text = problem(lambda: load_settings(path if way == "flag" else None, environ, {}))
    assert text == f"{path}: there is no such file"


def test_an_empty_name_of_a_file_is_said(environ: dict[str, str]) -> None:
    """An empty PHONON_BULK_CONFIG is a template that was not filled in."""
    environ["PHONON_BULK_CONFIG"] = ""
    text = problem(lambda: load_settings(None, environ, {}))
    assert text.startswith("environment variable PHONON_BULK_CONFIG: it is set but empty")


def test_a_file_that_is_there_but_unreadable_is_not_passed_by(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """A dangling link in a usual place is an error, not a reason to take the defaults."""
    (tmp_path / "work/phonon-bulk.toml").symlink_to(tmp_path / "gone.toml")
    text = problem(lambda: load_settings(None, environ, {}))
    assert text == "phonon-bulk.toml: there is no such file"


# --- files that are no settings ---------------------------------------------------------------


def test_a_folder_in_place_of_a_file(tmp_path: Path, environ: dict[str, str]) -> None:
    """The sentence says what it is."""
    text = problem(lambda: load_settings(tmp_path, environ, {}))
    assert text == f"{tmp_path}: this is a folder, not a file"


def test_a_file_that_may_not_be_read(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's reason is given."""
    path = write(tmp_path / "s.toml", "")

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    text = problem(lambda: load_settings(path, environ, {}))
    assert text == f"{path}: the file can't be read: Permission denied"


def test_a_file_that_is_not_utf8(tmp_path: Path, environ: dict[str, str]) -> None:
    """The line is named; the bytes are not shown."""
    path = tmp_path / "s.toml"
    path.write_bytes(b"# one\n# tw\xf6\n")
    text = problem(lambda: load_settings(path, environ, {}))
    assert text == f"{path}: line 2: not UTF-8 text; save the file as UTF-8"


def test_a_list_in_place_of_a_campaign(tmp_path: Path) -> None:
    """A file of a list's size is not read to its end."""
    path = write(tmp_path / "contacts.csv", "mobile\n" * 200_000)
    assert "is it a contact list?" in problem(lambda: load_campaign(path))


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("[sending]\nlease 5\n", "line 2, column 7: not TOML: "),
        ("[sending]\nlease = 5\nlease = 6\n", "line 3, column 10: not TOML: "),
        ('a = 1\njournal = "x', "line 2, column 13: not TOML: "),
        (f"security_id = {SECRET}\n", "line 1, column 15: not TOML: "),
        (f"[{SECRET}]\n[{SECRET}]\n", "line 2, column 66: not TOML: "),
    ],
)
def test_a_syntax_error_names_line_and_column(
    text: str, position: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Also at the end of the file, and without repeating what stands there."""
    found = problem(lambda: from_text(tmp_path, text, environ))
    assert found.startswith(f"{tmp_path / 'phonon-bulk.toml'}: {position}")
    assert SECRET not in found


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 100_000])
def test_a_file_made_to_break_the_parser(
    text: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Endless numbers and endless nesting are sentences like any other."""
    found = problem(lambda: from_text(tmp_path, text, environ))
    assert "not TOML" in found or "nested" in found


def test_a_byte_order_mark_and_windows_lines_are_read(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """What Notepad saves is a settings file all the same."""
    path = tmp_path / "s.toml"
    path.write_bytes(b"\xef\xbb\xbf[sending]\r\nlease = 12\r\n")
    assert load_settings(path, environ, {}).sending.lease == 12


# --- wrong and unknown keys -------------------------------------------------------------------

LEAVES = {key: field for key, field in leaves(Settings) if ANY_NAME not in key}
WRONG: dict[str, list[object]] = {
    "journal": [5, True, "postgresql://host/x", "sqlite://two/slashes", ":memory:", "folder/"],
    "url": [5, "http://example.com/", "ftp://example.com/", "example.com", "https://a b/"],
    "requests_per_minute": [0, -1, True, 1.5, "many", 10**10, []],
    "calls_per_minute": [0, -1, True, 1.5, "many"],
    "workers": [0, 1001, True, 2.0, "many", [4], {"a": 1}],
    "timeout": [0, -1.0, True, "soon", float("inf"), float("nan"), 10**6],
    "uvloop": [2, 0.0, "perhaps", []],
}
OF_SECONDS = [key[-1] for key in LEAVES if key[0] == "sending" and key[-1] != "uvloop"]
WRONG |= dict.fromkeys(["connect_timeout", *OF_SECONDS], WRONG["timeout"])
WRONG["headroom"] = [0, -1.0, True, "soon", 31, float("nan")]
WRONG["ramp"] = [-0.1, True, "soon", 61]
WRONG["drain_timeout"] = [-0.1, True, "soon", 3601]
WRONG["replay_within"] = [-0.1, True, "soon", 604_801]
WRONG |= {
    "listen": [5, True, "localhost", "a b:1", "127.0.0.1:99999", []],
    "token_file": ["\0"],
    "campaigns": ["\0"],
    "runs": [0, 1001, True, 2.0],
    "look_every": [0, 61, True, "soon"],
    "prune_after_days": [0, -1, True, 1.5, "never"],
    "enabled": WRONG["uvloop"],
    "account": ["a b", "-a"],
    "flow_id": [5, "short", "QG8k000A9"],
    "max_waiting": [0, -1, True, 1.5],
    "expire_after": [0.5, True, "soon", 86_401],
}
ONE_WRONG = [(key, value) for key in LEAVES for value in WRONG[key[-1]]]


def as_toml(key: Key, value: object) -> str:
    """Return the file that sets one key."""
    shown_value = json.dumps(value)
    for python, toml in (("Infinity", "inf"), ("NaN", "nan"), ('{"a": 1}', "{ a = 1 }")):
        shown_value = shown_value.replace(python, toml)
    return f"{'.'.join(key)} = {shown_value}\n"


@given(wrong=st.sampled_from(ONE_WRONG))
def test_any_wrong_value_in_the_file_is_named(wrong: tuple[Key, object]) -> None:
    """One wrong key is one line: file, key, what was expected, what was found."""
    key, value = wrong
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "s.toml"), as_toml(key, value))
        line = problem(lambda: load_settings(path, {}, {}))
    assert line.startswith(f"{path}: {'.'.join(key)}: expected ")
    assert ", found " in line
    assert not re.search(r"Input|valid|pydantic|None\b", line)


@given(wrong=st.sampled_from(ONE_WRONG))
def test_any_wrong_value_of_a_flag_is_named(wrong: tuple[Key, object]) -> None:
    """The same on the command line."""
    key, value = wrong
    line = problem(lambda: load_settings(None, {}, {".".join(key): value}))
    assert line.startswith(f"command line: {'.'.join(key)}: expected ")


@given(wrong=st.sampled_from([(key, value) for key, value in ONE_WRONG if value != []]))
def test_any_wrong_value_in_the_environment_is_named(wrong: tuple[Key, object]) -> None:
    """The same in the environment, where all is text."""
    key, value = wrong
    if (key[-1] == "journal" and not isinstance(value, str)) or value is True:
        return  # "5" is the name of a file there, and "True" is read as a switch
    name = environment_name(key)
    line = problem(lambda: load_settings(None, {name: str(value)}, {}))
    assert line.startswith(f"environment variable {name}: {'.'.join(key)}: expected ")


def test_expectations_are_plain_words(tmp_path: Path, environ: dict[str, str]) -> None:
    """No jargon: what to write, and what stands there."""
    text = '[endpoints.bulk]\nworkers = "32"\n[sending]\nlease = 5\nuvloop = 1\n'
    path = tmp_path / "phonon-bulk.toml"
    assert problems(lambda: from_text(tmp_path, text, environ)) == [
        f'{path}: endpoints.bulk.workers: expected {WORKERS}, found "32"',
        f"{path}: sending.lease: expected a number of seconds from 10 to 86400, found 5",
        f"{path}: sending.uvloop: expected true or false, found 1",
    ]


def test_all_is_said_at_once_sorted_by_place(tmp_path: Path, environ: dict[str, str]) -> None:
    """File, environment and flags are checked together, also where one goes over another."""
    path = write(tmp_path / "s.toml", "jurnal = 1\n[endpoints.bulk]\nworkers = 0\n")
    environ |= {
        "PHONON_BULK_ENDPOINTS__BULK__WORKERS": "none",
        "PHONON_BULK_SENDING__LEASE": "",
        "PHONON_BULK_QUUX": "3",
    }
    flags = {"endpoints.bulk.workers": 0, "sending.laese": 1}
    found = problems(lambda: load_settings(path, environ, flags))
    assert found == sorted(found)
    assert [tuple(line.split(": ")[:2]) for line in found] == [
        (str(path), "endpoints.bulk.workers"),
        (str(path), "jurnal"),
        ("command line", "endpoints.bulk.workers"),
        ("command line", "sending.laese"),
        ("environment variable PHONON_BULK_ENDPOINTS__BULK__WORKERS", "endpoints.bulk.workers"),
        ("environment variable PHONON_BULK_QUUX", "there is no such setting"),
        ("environment variable PHONON_BULK_SENDING__LEASE", "sending.lease"),
    ]


def test_an_unreadable_file_does_not_hide_the_rest(tmp_path: Path, environ: dict[str, str]) -> None:
    """What is wrong in the environment is said beside it."""
    environ["PHONON_BULK_SENDING__LEASE"] = "1"
    found = problems(lambda: load_settings(tmp_path / "missing.toml", environ, {}))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("jurnal = 1", "journal"),
        ("[endpoints.bulk]\nwrokers = 1", "endpoints.bulk.workers"),
        ("[endpoints.bulk]\nRequests-Per-Minute = 1", "endpoints.bulk.requests_per_minute"),
        ("[endpoint.bulk]\nworkers = 1", "endpoints"),
        ("lease = 60", "sending.lease"),
        ("workers = 1", "endpoints.bulk.workers or endpoints.realtime.workers"),
        ("[accounts.south]\nsecurity_file = 'x'", "accounts.south.security_id_file"),
    ],
)
def test_a_near_miss_is_suggested(
    text: str, meant: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Also where the key is right and its section is not."""
    line = problem(lambda: from_text(tmp_path, text, environ))
    assert line.endswith(f"unknown key; did you mean {meant}?")


def test_what_resembles_nothing_is_just_unknown(tmp_path: Path, environ: dict[str, str]) -> None:
    """No far-fetched suggestion."""
    line = problem(lambda: from_text(tmp_path, "quux = 1", environ))
    assert line.endswith("quux: unknown key")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PHONON_BULK_JURNAL", "PHONON_BULK_JOURNAL"),
        ("PHONON_BULK_SECURTY_ID", "PHONON_BULK_SECURITY_ID"),
        ("PHONON_BULK_CONFIGS", "PHONON_BULK_CONFIG"),
        ("PHONON_BULK_ENDPOINTS_BULK_WORKERS", "PHONON_BULK_ENDPOINTS__BULK__WORKERS"),
        ("PHONON_BULK_LEASE", "PHONON_BULK_SENDING__LEASE"),
        (
            "PHONON_BULK_WORKER",
            "PHONON_BULK_ENDPOINTS__BULK__WORKERS or PHONON_BULK_ENDPOINTS__REALTIME__WORKERS",
        ),
        (
            "PHONON_BULK_ACCOUNTS__A__SECURTY_ID",
            "PHONON_BULK_ACCOUNTS__A__SECURITY_ID",
        ),
        (
            "PHONON_BULK_ACCOUNTS__south__SECURITY_ID",
            "PHONON_BULK_ACCOUNTS__SOUTH__SECURITY_ID",
        ),
    ],
)
def test_an_unknown_variable_is_named(name: str, meant: str, environ: dict[str, str]) -> None:
    """With the nearest there is, and without its value."""
    environ[name] = SECRET
    line = problem(lambda: load_settings(None, environ, {}))
    assert line == f"environment variable {name}: there is no such setting; did you mean {meant}?"


def test_variables_of_others_are_left_alone(environ: dict[str, str]) -> None:
    """Only what begins with PHONON_BULK_ is ours."""
    environ |= {"PHONON_BULK": "x", "PHONON_BULKY": "x", "phonon_bulk_journal": "x"}
    load_settings(None, environ, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("endpoints = 5", "endpoints: expected a table, written [endpoints], found 5"),
        ("[endpoints]\nbulk = 'x'", 'written [endpoints.bulk], found "x"'),
        ("[[sending]]\nlease = 20", "written [sending], found a list"),
        ("accounts = 'x'", "expected tables [accounts.NAME]"),
        ("[accounts]\nsouth = 5", "expected a table, written [accounts.south], found 5"),
        ("[accounts.'a b']", 'accounts."a b": this name can\'t be used; expected'),
        (f"[accounts.{'a' * 65}]", "this name can't be used"),
        ("[accounts.a__b]", "this name can't be used"),
        ("journal = 2026-01-01", "found a date or a time"),
        ("journal = ''", "found an empty text"),
    ],
)
def test_a_section_that_is_none(
    text: str, expected: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """A table where a value belongs, and the other way round."""
    assert expected in problem(lambda: from_text(tmp_path, text, environ))


def test_the_first_back_off_is_not_the_longest(tmp_path: Path, environ: dict[str, str]) -> None:
    """Two settings that contradict each other, from two places."""
    environ["PHONON_BULK_SENDING__BACK_OFF_MOST"] = "2"
    line = problem(lambda: from_text(tmp_path, "[sending]\nback_off_first = 3", environ))
    assert line == (
        "environment variable PHONON_BULK_SENDING__BACK_OFF_MOST: sending.back_off_first:"
        " expected at most sending.back_off_most, which is 2, found 3"
    )
    environ["PHONON_BULK_SENDING__BACK_OFF_MOST"] = "4"
    from_text(tmp_path, "[sending]\nback_off_first = 3", environ)


# --- addresses --------------------------------------------------------------------------------


def endpoint_at(url: str) -> EndpointSettings:
    """Return an endpoint's settings with this address."""
    return EndpointSettings(url=url, requests_per_minute=1)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/create",
        "https://10.0.0.7:8443/create?tenant=3",
        "http://localhost:8080/create",
        "http://LOCALHOST/",
        "http://127.0.0.1:1/",
        "http://127.8.9.10/",
        "http://[::1]:8080/create",
    ],
)
def test_addresses_that_keep_the_security_id_safe(url: str) -> None:
    """Encrypted anywhere, plain to this machine alone."""
    assert endpoint_at(url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://localhost.example.com/",
        "http://10.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[::1]example.com/",
        "http://localhost@example.com/",
        "http://localhost\\@example.com/",
        "http://localhost#@example.com/",
        "http://local\thost/",
        "http:/localhost/",
        "http:///create",
        "https://",
        "https://:443/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1",
        "https://user:pass@example.com/",
        "HTTPS//example.com",
        "https://exämple.com/",
        " https://example.com/",
        "https://example.com/\n",
        "",
    ],
)
def test_addresses_that_would_show_the_security_id(url: str) -> None:
    """Plain to elsewhere, or read by one parser as this host and by another as that one."""
    with pytest.raises(ValidationError):
        endpoint_at(url)


def test_a_password_in_an_address_is_not_repeated(environ: dict[str, str]) -> None:
    """It is a secret of somebody's, if not ours."""
    environ["PHONON_BULK_ENDPOINTS__BULK__URL"] = "https://user:hunter2@example.com/"
    line = problem(lambda: load_settings(None, environ, {}))
    assert line.endswith("found an address with a user name in it")


def test_this_machine() -> None:
    """Names and numbers of the machine itself, and nothing that only looks so."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.255.0.1", "::1"]))
    assert not any(map(is_loopback, ["localhost.", "128.0.0.1", "::2", "::1%eth0", "example.com"]))


# --- the journal and other paths --------------------------------------------------------------


@pytest.mark.parametrize(
    ("journal", "path"),
    [
        ("sqlite:///var/lib/j.db", "/var/lib/j.db"),
        ("sqlite:////var/lib/j.db", "/var/lib/j.db"),
        ("sqlite:/var/lib/j.db", "/var/lib/j.db"),
        ("SQLite:j.db", "{folder}/j.db"),
        ("sub/j.db", "{folder}/sub/j.db"),
        ("./a:b.db", "{folder}/a:b.db"),
        ("/var/lib/j.db", "/var/lib/j.db"),
        ("~/j.db", "{home}/j.db"),
        ("sqlite:~/j.db", "{home}/j.db"),
    ],
)
def test_ways_to_name_the_journal(
    journal: str, path: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """In the file, relative means relative to the file; elsewhere, to the working directory."""
    home = tmp_path / "home"
    settings = from_text(tmp_path / "conf", f"journal = '{journal}'", environ)
    expected = path.format(folder=tmp_path / "conf", home=home)
    assert (settings.journal, settings.journal_path) == (f"sqlite://{expected}", Path(expected))
    environ["PHONON_BULK_JOURNAL"] = journal
    expected = path.format(folder=tmp_path / "work", home=home)
    assert load_settings(None, environ, {}).journal_path == Path(expected)


def test_another_kind_of_journal_is_not_there_yet(environ: dict[str, str]) -> None:
    """Said when the settings are loaded, and by the property if they were made by hand."""
    url = "postgresql://user:hunter2@host/journal"
    for call in (
        lambda: load_settings(None, environ, {"journal": url}),
        lambda: Settings(journal=url).journal_path,
    ):
        line = problem(call)
        assert "only sqlite is there so far" in line
        assert "hunter2" not in line
    assert "hunter2" not in repr(Settings(journal=url))
    assert Settings(journal="j.db").journal_path == Path("j.db").absolute()


def test_a_name_that_is_no_text(environ: dict[str, str]) -> None:
    """Bytes that are not UTF-8 in a variable or in the home folder's name: a sentence, no fault."""
    environ["PHONON_BULK_JOURNAL"] = "/j\udcff.db"
    assert '"/j\\udcff.db"' in problem(lambda: load_settings(None, environ, {}))
    assert "\\udcff" in problem(lambda: load_settings(None, {"HOME": "/h\udcff"}, {}))


# --- the security id --------------------------------------------------------------------------


def secret_file(path: Path, content: str = SECRET + "\n", mode: int = 0o600) -> Path:
    """Write a file that holds a security id."""
    write(path, content).chmod(mode)
    return path


def test_the_id_from_the_environment(tmp_path: Path, environ: dict[str, str]) -> None:
    """It goes over a file that the settings file names."""
    secret_file(tmp_path / "id")
    environ["PHONON_BULK_SECURITY_ID"] = f" {OTHER_SECRET}\n"
    settings = from_text(tmp_path, "security_id_file = 'id'", environ)
    assert settings.security_id("default").get_secret_value() == OTHER_SECRET
    assert settings.security_id_file_warning("default") is None


@pytest.mark.parametrize(
    "text", ["security_id_file = 'id'", "[accounts.default]\nsecurity_id_file = 'id'"]
)
def test_the_id_from_a_file(text: str, tmp_path: Path, environ: dict[str, str]) -> None:
    """Relative to the settings file; white space around it doesn't matter."""
    secret_file(tmp_path / "id", f"\ufeff  {SECRET}\r\n")
    settings = from_text(tmp_path, text, environ)
    assert settings.accounts["default"].security_id_file == tmp_path / "id"
    assert settings.security_id("default").get_secret_value() == SECRET


def test_a_file_named_on_the_command_line_goes_over_all(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """The later layer decides where an account's id comes from."""
    secret_file(tmp_path / "id")
    environ["PHONON_BULK_SECURITY_ID"] = OTHER_SECRET
    settings = load_settings(None, environ, {"security_id_file": tmp_path / "id"})
    assert settings.security_id("default").get_secret_value() == SECRET


def test_accounts_by_name(tmp_path: Path, environ: dict[str, str]) -> None:
    """Each has its own id; a variable finds the account whatever its case and dashes."""
    secret_file(tmp_path / "id")
    environ["PHONON_BULK_ACCOUNTS__SOUTH_EAST__SECURITY_ID"] = OTHER_SECRET
    environ["PHONON_BULK_ACCOUNTS__WEST_2__SECURITY_ID_FILE"] = str(tmp_path / "id")
    text = "[accounts.South-East]\n[accounts.north]\nsecurity_id_file = 'id'"
    settings = from_text(tmp_path, text, environ)
    assert sorted(settings.accounts) == ["South-East", "north", "west_2"]
    assert settings.security_id("South-East").get_secret_value() == OTHER_SECRET
    assert settings.security_id("north").get_secret_value() == SECRET
    assert settings.security_id("west_2").get_secret_value() == SECRET


def test_accounts_the_environment_could_not_tell_apart(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    """Sending from the wrong account must not hang on the order of a table."""
    text = "[accounts.a-b]\n[accounts.A_b]\n[accounts.Default]"
    found = problems(lambda: from_text(tmp_path, text, environ))
    assert [line.split(": ")[1] for line in found] == ["accounts.A_b", "accounts.Default"]


@pytest.mark.parametrize(
    ("account", "variable", "key"),
    [
        ("default", "PHONON_BULK_SECURITY_ID", "security_id_file"),
        (
            "south-east",
            "PHONON_BULK_ACCOUNTS__SOUTH_EAST__SECURITY_ID",
            "accounts.south-east.security_id_file",
        ),
    ],
)
def test_a_missing_id_says_what_to_set(
    account: str, variable: str, key: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """The variable and the key, to be copied from the message."""
    settings = from_text(tmp_path, "[accounts.south-east]", environ)
    line = problem(lambda: settings.security_id(account))
    assert f" {variable}," in line
    assert f" {key} in phonon-bulk.toml" in line


def test_an_account_that_is_not_there(tmp_path: Path, environ: dict[str, str]) -> None:
    """Those there are are listed; the account "default" needs no section."""
    settings = from_text(tmp_path, "[accounts.south]\n[accounts.north]", environ)
    line = problem(lambda: settings.account("sout"))
    assert line == (
        'there is no account "sout" in the settings; did you mean south?;'
        " there are: default, north, south"
    )
    assert problem(lambda: settings.security_id("sout")) == line
    assert settings.account("default") == AccountSettings()
    assert "there is: default" in problem(lambda: Settings().account("x"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "found 0 characters"),
        (SECRET[:-1].encode(), "found 63 characters"),
        (f"{SECRET[:32]} {SECRET[32:]}".encode(), "found 65 characters, not all of them letters"),
        (f"security_id={SECRET}".encode(), "found 76 characters, not all of them letters"),
        (("é" * 64).encode(), "found 64 characters, not all of them letters"),
        (b"\xff\xfe" + SECRET.encode("utf-16-le"), "found no text"),
        (b"a" * 100_000, "found 4096 characters"),
    ],
)
def test_a_file_that_holds_no_id(
    content: bytes, expected: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """What is wrong is counted, not shown."""
    path = tmp_path / "id"
    path.write_bytes(content)
    settings = from_text(tmp_path, "security_id_file = 'id'", environ)
    line = problem(lambda: settings.security_id("default"))
    assert line.startswith(f"{path}: expected 64 letters and digits and nothing else, ")
    assert expected in line
    assert SECRET[:20] not in line


def test_a_file_of_an_id_that_is_not_there(tmp_path: Path, environ: dict[str, str]) -> None:
    """The file and the system's reason."""
    settings = from_text(tmp_path, "security_id_file = 'id'", environ)
    line = problem(lambda: settings.security_id("default"))
    assert line == f"{tmp_path / 'id'}: the security id can't be read from there: " + os.strerror(2)
    assert settings.security_id_file_warning("default") is None


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604, 0o644])
def test_a_file_that_others_may_read_is_worth_a_warning(
    mode: int, tmp_path: Path, environ: dict[str, str]
) -> None:
    """A warning, not a refusal: in a container it may not be ours to change."""
    path = secret_file(tmp_path / "id", mode=mode)
    settings = from_text(tmp_path, "security_id_file = 'id'", environ)
    warning = settings.security_id_file_warning("default")
    assert (warning is not None) == bool(mode & 0o077)
    assert warning is None or f"chmod 600 {path}" in warning
    assert Settings().security_id_file_warning("default") is None


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o460, 0o404])
def test_a_credential_of_systemd_is_open_to_nobody_else(mode: int, tmp_path: Path) -> None:
    """Its group's bits show the access list by which one user may read it."""
    path = secret_file(tmp_path / "id", mode=mode)
    inside = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert is_open_to_others(path, inside) == bool(mode & 0o027)
    assert is_open_to_others(path, {"CREDENTIALS_DIRECTORY": "/run"}) == bool(mode & 0o077)


def test_two_sources_in_one_place_are_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    """Which of two accounts' ids is meant is not for us to guess."""
    text = "security_id_file = 'a'\n[accounts.default]\nsecurity_id_file = 'b'"
    line = problem(lambda: from_text(tmp_path, text, environ))
    assert "accounts.default.security_id_file is given too; keep one" in line
    environ |= {
        "PHONON_BULK_SECURITY_ID": SECRET,
        "PHONON_BULK_SECURITY_ID_FILE": "id",
    }
    line = problem(lambda: load_settings(None, environ, {}))
    assert line.endswith("environment variable PHONON_BULK_SECURITY_ID is given too; keep one")
    del environ["PHONON_BULK_SECURITY_ID_FILE"]
    environ["PHONON_BULK_ACCOUNTS__DEFAULT__SECURITY_ID"] = SECRET
    line = problem(lambda: load_settings(None, environ, {}))
    assert line.endswith("sets it too; unset one")


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("security_id = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("security-id = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("Security_ID = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("security_id = 5", "PHONON_BULK_SECURITY_ID"),
        ("[endpoints.bulk]\nsecurity_id = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("[accounts.south]\nsecurity_id = '{}'", "PHONON_BULK_ACCOUNTS__SOUTH__SECURITY_ID"),
        ("security_id_file = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("journal = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("secret = '{}'", "PHONON_BULK_SECURITY_ID"),
        ("[accounts]\n{} = 1", "PHONON_BULK_ACCOUNTS"),
    ],
)
def test_an_id_written_in_a_file_is_refused(
    text: str, variable: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    """In settings or campaign, under whatever key; where it may come from is said."""
    text = text.format(SECRET)
    line = problem(lambda: from_text(tmp_path, text, environ))
    assert f"the environment variable {variable}" in line
    assert "security_id_file in phonon-bulk.toml" in line
    found = problems(lambda: campaign_from(tmp_path, f"{text}\n{CAMPAIGN}"))
    assert "security id" in "".join(found)
    assert SECRET not in line + "".join(found)


ALPHANUMERIC = st.text(string.ascii_letters + string.digits, min_size=64, max_size=64)
PLACES = [*(".".join(key) for key in LEAVES), "security_id", "secruity_id", "accounts.x.id", "a.b"]


@given(
    secret=ALPHANUMERIC,
    place=st.sampled_from(PLACES),
    form=st.sampled_from(["{}", " {} ", "{}x", "id={}", "https://{}/", "https://x@{}:1/"]),
)
def test_no_error_repeats_a_secret(secret: str, place: str, form: str) -> None:
    """Wherever an id was typed by mistake, and whatever stands around it."""
    text = form.format(secret)
    variable = environment_name(tuple(place.split(".")))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "s.toml"), f"{place} = {json.dumps(text)}\n")
        for call in (
            lambda: load_settings(path, {}, {}),
            lambda: load_settings(None, {variable: text}, {}),
            lambda: load_settings(None, {}, {place: text}),
            lambda: load_campaign(path),
        ):
            try:
                call()
            except SettingsError as error:
                told = "".join(traceback.format_exception(error)) + repr(error)
                assert secret not in told
                assert secret[:32] not in told


def test_nothing_that_is_printed_holds_a_secret(environ: dict[str, str]) -> None:
    """Repr, str and every dump of settings, and the error of what was made by hand."""
    environ["PHONON_BULK_SECURITY_ID"] = SECRET
    settings = load_settings(None, environ, {})
    account = settings.account("default")
    printed = [repr(settings), str(settings), repr(account), f"{account}", str(account)]
    printed += [settings.model_dump_json(), str(settings.model_dump()), repr(settings.__dict__)]
    printed += [str(settings.security_id("default")), repr(settings.security_id("default"))]
    with pytest.raises(ValidationError) as caught:
        AccountSettings.model_validate({"security_id": SECRET + "!"})
    assert SECRET not in "".join([*printed, str(caught.value), repr(caught.value)])


def test_a_wrong_id_in_the_environment_is_said_at_once(environ: dict[str, str]) -> None:
    """When the settings are loaded, not when the first batch is due."""
    environ["PHONON_BULK_SECURITY_ID"] = "hunter2!"
    assert problem(lambda: load_settings(None, environ, {})) == (
        "environment variable PHONON_BULK_SECURITY_ID: accounts.default.security_id:"
        " expected 64 letters and digits, found 8 characters, not all of them letters or digits"
    )


def test_values_are_shown_short_and_on_one_line() -> None:
    """A message is for a terminal: no control characters, no flood, no endless number."""
    assert shown("a\nb\x1b[31m\u2028") == '"a\\nb\\x1b[31m\\u2028"'
    assert shown("ab " * 100) == '"' + ("ab " * 20) + '…"'
    assert shown(int("9" * 64)) == "a very large number"
    assert shown(1 << 100_000) == "a very large number"
    assert shown("x" * 64) == "a text of 64 characters (not shown)"
    assert shown(None) == "nothing"
    assert shown(Path("/a")) == '"/a"'
    assert shown(object()) == "a object"


def test_settings_are_frozen(environ: dict[str, str]) -> None:
    """Nobody changes a limit under way."""
    settings = load_settings(None, environ, {})
    with pytest.raises(ValidationError):
        settings.endpoints.bulk.workers = 1
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


# --- campaigns --------------------------------------------------------------------------------


def test_a_whole_campaign(tmp_path: Path) -> None:
    """As the design shows it."""
    campaign = campaign_from(
        tmp_path,
        """
        [campaign]
        name = "premium-reminder"
        flow_id = "QG8k000A"
        endpoint = "realtime"
        account = "south"
        [source]
        path = "contacts/*.csv"
        delimiter = ";"
        [mapping]
        client_identifier = "account_no"
        contact_numbers = ["mobile", "alternate"]
        start_time = "2026-11-24T10:00:00+05:30"
        keys = { Name = "first_name", Amount = "due" }
        """,
    )
    assert campaign == Campaign(
        name="premium-reminder",
        flow_id="QG8k000A",
        endpoint=EndpointName.REALTIME,
        account="south",
        paths=(f"{tmp_path}/contacts/*.csv",),
        folder=str(tmp_path),
        delimiter=";",
        mapping=MappingSettings.model_validate(
            {
                "client_identifier": "account_no",
                "contact_numbers": ["mobile", "alternate"],
                "start_time": "2026-11-24T10:00:00+05:30",
                "keys": {"Name": "first_name", "Amount": "due"},
            }
        ),
    )


def test_every_check_and_source(tmp_path: Path) -> None:
    """All there is can be set, and comes back from the journal as it was."""
    campaign = campaign_from(
        tmp_path,
        """
        [campaign]
        name = "premium-reminder"
        flow_id = "QG8k000A"
        [source]
        query = "SELECT 1"
        database = "postgresql://crm@db/customers"
        quote = ""
        encoding = "windows-1252"
        sheet = "North"
        [mapping]
        client_identifier = { sql = "upper(account_no)" }
        contact_numbers = ["mobile", { sql = "std || landline" }]
        keys = { Name = "first_name", Company = { value = "" }, Due = { sql = "due" } }
        [checks]
        region = "AE"
        start_time_form = "dmy"
        window = "10:00 - 19:00"
        outside_window = "reject"
        time_zone = "Asia/Dubai"
        required = "account_no"
        max_lengths = { first_name = 40 }
        known_keys = ["Name", "Company", "Due"]
        suppress = ["dnd/*.csv", { path = "/x/a.csv", column = "tel" }, { query = "SELECT n" }]
        duplicates = "reject"
        duplicates_by = "client_identifier"
        duplicates_days = 30
        """,
    )
    assert Campaign.from_json(campaign.to_json()) == campaign
    mapping, checks = campaign.mapping, campaign.checks
    assert mapping is not None
    assert mapping.keys == {
        "Name": Value(Kind.COLUMN, "first_name"),
        "Company": Value(Kind.VALUE, ""),
        "Due": Value(Kind.SQL, "due"),
    }
    assert (str(checks.window), checks.outside_window) == ("10:00-19:00", Outside.REJECT)
    assert [entry.path for entry in checks.suppress] == [f"{tmp_path}/dnd/*.csv", "/x/a.csv", None]
    assert (campaign.database, campaign.encoding) == (
        "postgresql://crm@db/customers",
        Encoding.WINDOWS_1252,
    )


def test_all_other_columns(tmp_path: Path) -> None:
    """A star for the flow variables."""
    mapping = campaign_from(tmp_path, CAMPAIGN + MAPPING + "keys = '*'").mapping
    assert mapping is not None
    assert mapping.keys == "*"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("[source]\npath = 'a'\nquery = 'SELECT 1'", "source.query", "not from both"),
        ("[source]\ndatabase = 'sqlite:///a.db'", "source.database", "needs a query"),
        ("[checks]\nduplicates_days = 3", "checks.duplicates_days", 'duplicates = "drop"'),
        (
            "[mapping]\ncontact_numbers = 'a'\nstart_time = 'b'\n[checks]\nspread = '10:00-11:00'",
            "checks.spread",
            "given by mapping.start_time already",
        ),
    ],
)
def test_what_can_not_be_true_together(tmp_path: Path, text: str, key: str, words: str) -> None:
    """Two settings that say different things are an error."""
    line = problem(lambda: campaign_from(tmp_path, CAMPAIGN + text))
    assert key in line
    assert words in line


def test_a_password_in_a_url_is_not_shown(tmp_path: Path) -> None:
    """It is refused, and nothing repeats it."""
    text = CAMPAIGN + "[source]\nquery = 'SELECT 1'\ndatabase = 'mysql://u:hunter2@host/db'"
    line = problem(lambda: campaign_from(tmp_path, text))
    assert "PHONON_BULK_DATABASE_PASSWORD" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"19:00"', "19:00"),
        ("19:00:00", "19:00"),
        ('"2026-11-24T19:00:00+05:30"', "2026-11-24T19:00:00+05:30"),
        ("2026-11-24T19:00:00+05:30", "2026-11-24T19:00:00+05:30"),
    ],
)
def test_an_end_with_and_without_quotes(tmp_path: Path, written: str, text: str) -> None:
    """TOML knows times and moments by itself; they mean the same in quotes."""
    campaign = campaign_from(tmp_path, f"{CAMPAIGN}not_after = {written}\nonce = 'day'\n")
    assert (campaign.not_after, campaign.once) == (text, Once.DAY)


def test_a_campaign_needs_little(tmp_path: Path) -> None:
    """A name and a flow: the list comes from the command line, in Phonon's own template."""
    campaign = campaign_from(tmp_path, CAMPAIGN)
    assert (campaign.endpoint, campaign.account) == (EndpointName.BULK, "default")
    assert (campaign.paths, campaign.delimiter, campaign.mapping) == ((), None, None)


def test_paths_are_from_the_campaigns_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the campaign's own path was given; a pattern is one in its own part alone."""
    source = '[source]\npath = ["a.csv", "/b.csv", "~/c.csv", "d/*.csv", "../e.csv"]\n'
    folder = tmp_path / "work" / "[x]"
    write(folder / "campaign.toml", CAMPAIGN + source)
    assert load_campaign(Path("[x]/campaign.toml")).paths == (
        f"{folder}/a.csv",
        "/b.csv",
        f"{tmp_path}/home/c.csv",
        f"{tmp_path}/work/[[]x]/d/*.csv",
        f"{folder}/../e.csv",
    )
    monkeypatch.chdir(folder)
    assert load_campaign(Path("campaign.toml")).paths[0] == f"{folder}/a.csv"


def test_a_moment_without_quotes(tmp_path: Path) -> None:
    """TOML knows dates and times itself; a column is a text."""
    text = CAMPAIGN + MAPPING + "start_time = {}\n"
    for written, read in (
        ("2026-11-24T10:00:00+05:30", "2026-11-24T10:00:00+05:30"),
        ("2026-11-24T10:00:00", "2026-11-24T10:00:00"),
        ('"when"', "when"),
    ):
        mapping = campaign_from(tmp_path, text.format(written)).mapping
        assert mapping is not None
        assert mapping.start_time == Value(Kind.COLUMN, read)
        assert mapping.contact_numbers == (Value(Kind.COLUMN, "mobile"),)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("", "campaign", "missing; expected a table, written [campaign]"),
        ("[campaign]\nflow_id = 'QG8k000A'", "campaign.name", "missing; expected 1 to 100"),
        ("[campaign]\nname = 'x'", "campaign.flow_id", "missing; expected 8 letters and digits"),
        ("[campaign]\nname = ' x'\nflow_id = 'QG8k000A'", "campaign.name", 'found " x"'),
        ("[campaign]\nname = 'x'\nflow_id = 12345678", "campaign.flow_id", "found 12345678"),
        ("[campaign]\nname = 'x'\nflow_id = 'QG8k000'", "campaign.flow_id", 'found "QG8k000"'),
        (CAMPAIGN + "endpoint = 'blk'", "campaign.endpoint", '"bulk" or "realtime", found "blk"'),
        (CAMPAIGN + "account = 'a b'", "campaign.account", "expected a name of at most 64"),
        (CAMPAIGN + "once = 'week'", "campaign.once", '"list" or "day", found "week"'),
        (CAMPAIGN + "not_after = '7 pm'", "campaign.not_after", 'found "7 pm"'),
        (CAMPAIGN + "not_after = '24:00'", "campaign.not_after", "a time of day like"),
        (CAMPAIGN + "not_after = '2026-13-01T10:00'", "campaign.not_after", "a time of day like"),
        (CAMPAIGN + "not_after = 19", "campaign.not_after", "found 19"),
        (CAMPAIGN + "weight = 0", "campaign.weight", "a number from 0.01 to 100"),
        (CAMPAIGN + "weight = 'much'", "campaign.weight", "a number from 0.01 to 100"),
        (CAMPAIGN + "flowid = 'x'", "campaign.flowid", "did you mean campaign.flow_id?"),
        (CAMPAIGN + "[source]\npath = []", "source.path", "found an empty list"),
        (CAMPAIGN + "[source]\npath = ''", "source.path", "found an empty text"),
        (CAMPAIGN + "[source]\npath = '-'", "source.path", "standard input"),
        (CAMPAIGN + "[source]\npath = ['a', 5]", "source.path", "found 5"),
        (CAMPAIGN + "[source]\nquery = ' '", "source.query", "found"),
        (
            CAMPAIGN + "[source]\nquery = 'x'\ndatabase = 'oracle://x'",
            "source.database",
            "sqlite://",
        ),
        (CAMPAIGN + "[source]\nquote = 'ab'", "source.quote", "one character"),
        (CAMPAIGN + "[source]\nencoding = 'latin-9'", "source.encoding", '"windows-1252"'),
        (CAMPAIGN + "[source]\ndelimiter = 'tab'", "source.delimiter", '"\\t" for a tab'),
        (CAMPAIGN + "[source]\ndelimiter = '\"'", "source.delimiter", "one character"),
        (CAMPAIGN + "[checks]\nregion = 'India'", "checks.region", 'like "IN", found "India"'),
        (CAMPAIGN + "[checks]\nwindow = '19:00-10:00'", "checks.window", "ends before it begins"),
        (CAMPAIGN + "[checks]\nwindow = '10-19'", "checks.window", 'like "10:00-19:00"'),
        (CAMPAIGN + "[checks]\nspread = 10", "checks.spread", "found 10"),
        (CAMPAIGN + "[checks]\ntime_zone = 'Mars/Port'", "checks.time_zone", '"Mars/Port"'),
        (CAMPAIGN + "[checks]\nrequired = ['a', 'a']", "checks.required", "a name twice"),
        (CAMPAIGN + "[checks]\nmax_lengths = { a = 0 }", "checks.max_lengths.a", "found 0"),
        (CAMPAIGN + "[checks]\nknown_keys = [5]", "checks.known_keys", "found 5"),
        (CAMPAIGN + "[checks]\nsuppress = [5]", "checks.suppress", "found 5"),
        (CAMPAIGN + "[checks]\nsuppress = { column = 'a' }", "checks.suppress", "neither a path"),
        (CAMPAIGN + "[checks]\nsuppress = { paht = 'a' }", "checks.suppress", '"paht"'),
        (CAMPAIGN + "[checks]\nduplicates = 'no'", "checks.duplicates", '"drop" or "reject"'),
        (CAMPAIGN + "[checks]\nduplicates_by = 'a'", "checks.duplicates_by", '"number" or'),
        (CAMPAIGN + "[checks]\nduplicates_days = -1", "checks.duplicates_days", "0 to 366"),
        (CAMPAIGN + "[checks]\nstart_time_form = 'd'", "checks.start_time_form", '"dmy"'),
        (CAMPAIGN + "[checks]\noutside_window = 'd'", "checks.outside_window", '"move" or'),
        (CAMPAIGN + MAPPING + "keys.Name = { column = 5 }", "mapping.keys", '"column" for "Name"'),
        (CAMPAIGN + "[mapping]", "mapping.contact_numbers", "missing; expected the name of a"),
        (CAMPAIGN + "[mapping]\ncontact_numbers = []", "mapping.contact_numbers", "an empty list"),
        (
            CAMPAIGN + "[mapping]\ncontact_numbers = ['a', 'a']",
            "mapping.contact_numbers",
            "found a column named twice",
        ),
        (CAMPAIGN + MAPPING + "start_time = 2026-11-24", "mapping.start_time", "a date or a time"),
        (CAMPAIGN + MAPPING + "client_identifier = ' '", "mapping.client_identifier", 'found " "'),
        (CAMPAIGN + MAPPING + "keys = ['a']", "mapping.keys", "found a list"),
        (CAMPAIGN + MAPPING + "keys.Name = 5", "mapping.keys", 'found 5 for "Name"'),
        (CAMPAIGN + MAPPING + "keys.' ' = 'x'", "mapping.keys", 'found " "'),
        (
            CAMPAIGN + MAPPING + "keys.'$flow.key.Name' = 'x'",
            "mapping.keys",
            "without $flow.key. before the variable",
        ),
        ("security_id_file = 'x'\n" + CAMPAIGN, "security_id_file", "belongs in phonon-bulk.toml"),
        (CAMPAIGN + f"[x]\ny = '{SECRET}'", "x.y", "looks like a security id"),
    ],
)
def test_what_is_wrong_in_a_campaign_is_named(
    text: str, key: str, words: str, tmp_path: Path
) -> None:
    """File, key, what was expected, what was found."""
    found = problems(lambda: campaign_from(tmp_path, text))
    assert any(
        line.startswith(f"{tmp_path / 'campaign.toml'}: {key}: ") and words in line
        for line in found
    ), found
    assert len(found) == 1 or "[x]" in text


def test_everything_wrong_in_a_campaign_at_once(tmp_path: Path) -> None:
    """One run of the command is enough to see it all."""
    text = "[campaign]\nname = ''\n[source]\npath = 5\n[mapping]\n[extra]\n"
    found = problems(lambda: campaign_from(tmp_path, text))
    assert [line.split(": ")[1] for line in found] == [
        "campaign.flow_id",
        "campaign.name",
        "extra",
        "mapping.contact_numbers",
        "source.path",
    ]


def test_a_campaign_in_a_folder_that_is_no_text(tmp_path: Path) -> None:
    """A path that the journal could not keep is refused before anything is read."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    try:
        path = write(folder / "campaign.toml", CAMPAIGN + "[source]\npath = 'a.csv'\n")
    except OSError:
        pytest.skip("this file system keeps no such name")
    assert "paths whose names are UTF-8 text" in problem(lambda: load_campaign(path))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
COLUMN = TEXT.filter(lambda text: bool(text.strip()))
VARIABLE = COLUMN.filter(lambda text: not text.startswith("$flow.key."))
CAMPAIGNS = st.builds(
    Campaign,
    name=COLUMN.map(str.strip).filter(str.isprintable),
    flow_id=st.text(string.ascii_letters + string.digits, min_size=8, max_size=8),
    endpoint=st.sampled_from(EndpointName),
    account=st.sampled_from(["default", "south", "South-East_2"]),
    once=st.sampled_from(Once),
    not_after=st.sampled_from([None, "19:00", "2026-11-24T19:00:00+05:30"]),
    paths=st.lists(COLUMN).map(tuple),
    delimiter=st.sampled_from([None, ",", ";", "\t", "|"]),
    mapping=st.none()
    | st.builds(
        MappingSettings,
        client_identifier=st.none() | COLUMN,
        contact_numbers=st.lists(COLUMN, min_size=1, unique=True).map(tuple),
        start_time=st.none() | COLUMN,
        keys=st.dictionaries(VARIABLE, COLUMN),
    ),
)


@given(campaign=CAMPAIGNS)
def test_the_journals_copy_is_the_campaign(campaign: Campaign) -> None:
    """`to_json` and `from_json` undo each other, to the order of the flow variables."""
    again = Campaign.from_json(campaign.to_json())
    assert again == campaign
    assert again.to_json() == campaign.to_json()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"name": "x", "flow_id": "QG8k000A", "newer": 1}']
)
def test_a_copy_that_is_no_campaign(text: str) -> None:
    """A damaged or newer journal is a sentence."""
    for line in problems(lambda: Campaign.from_json(text)):
        assert line.startswith("campaign kept in the journal: ")


# --- the module -------------------------------------------------------------------------------


def test_the_import_stays_light() -> None:
    """`--help` must not wait for what only sending needs."""
    code = "import sys, phonon_bulk.config; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in printed.stdout.decode().split()}
    heavy = {"aiohttp", "duckdb", "pyarrow", "rich", "typer", "pydantic_settings", "orjson"}
    assert not loaded & heavy


@pytest.mark.parametrize("spread", ["14:00-18:00", "09:00-12:00", "10:00-12:01"])
def test_a_spread_lies_within_the_window(tmp_path: Path, spread: str) -> None:
    """Otherwise all start at the opening, which is the opposite of a spread."""
    text = CAMPAIGN + "[checks]\nwindow = '10:00-12:00'\nspread = '{}'\n"
    line = problem(lambda: campaign_from(tmp_path, text.format(spread)))
    assert f"checks.spread: {spread} is not within checks.window, 10:00-12:00" in line
    assert campaign_from(tmp_path, text.format("10:30-12:00")).checks.spread
