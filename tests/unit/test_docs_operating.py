"""docs/operating.md keeps step with the units, the settings and the program."""

import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from phonon_bulk.cli import app
from phonon_bulk.config import Settings
from phonon_bulk.errors import Exit
from phonon_bulk.worker import process, reload

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")
UNITS = sorted([*CONFIG.glob("*.service"), *CONFIG.glob("*.timer")])
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
UNEXPLAINED = {"Description"}
"""What says itself what it is for."""


def lines(unit: Path) -> list[tuple[str, str]]:
    """Return what a unit sets, in order."""
    text = unit.read_text("utf-8").replace("\\\n", " ")
    return [
        (name, value)
        for name, equals, value in (line.partition("=") for line in text.splitlines())
        if equals and not name.startswith("#")
    ]


def value(unit: str, name: str) -> str:
    """Return what a unit sets a line to."""
    (found,) = [value for key, value in lines(CONFIG / unit) if key == name]
    return found


def explained() -> set[str]:
    """Return the lines of units that the page explains."""
    table = PAGE[PAGE.index("## The units, line by line") :]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)=`", row)}


def blocks() -> list[str]:
    """Return the blocks of commands."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_line_of_the_units_is_explained() -> None:
    """Each line that a unit sets stands in the table, and none that no unit sets."""
    used = {name for unit in UNITS for name, _ in lines(unit)} - UNEXPLAINED
    assert explained() == used


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_all_services_are_in_the_same_cage(unit: Path) -> None:
    """The lines of the user and of the sandbox are those of the worker, in each of them."""
    own = {"Type", "ExecStart", "ExecReload", "Description", "After", "Wants", "WantedBy"}
    own |= {"WatchdogSec", "TimeoutStartSec", "TimeoutStopSec", "KillMode", "LimitNOFILE"}
    own |= {"Restart", "RestartSec", "RestartPreventExitStatus", "SuccessExitStatus"}
    own |= {"LoadCredential", "Environment"}

    def cage(unit: Path) -> list[tuple[str, str]]:
        return [line for line in lines(unit) if line[0] not in own]

    assert cage(unit) == cage(CONFIG / "phonon-bulk.service")


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_secrets_come_as_credentials(unit: Path) -> None:
    """What a variable names is a credential that is loaded, and the variable is a setting."""
    named = [text for name, text in lines(unit) if name == "Environment"]
    loaded = {text.partition(":")[0] for name, text in lines(unit) if name == "LoadCredential"}
    assert {text.partition("=%d/")[2] for text in named} == loaded
    known = {"PHONON_BULK_SECURITY_ID_FILE", "PHONON_BULK_WORKER__TOKEN_FILE"}
    assert {text.partition("=")[0] for text in named} <= known


def test_time_to_stop_is_enough() -> None:
    """Nothing is killed that may still end by itself, or that waits for a locked journal."""
    settings = Settings(journal="/j")
    ends_within = settings.sending.drain_timeout + process._MORE_THAN_DRAIN
    for unit in ("phonon-bulk.service", "phonon-bulk-run@.service"):
        assert float(value(unit, "TimeoutStopSec")) > ends_within + 10
    wrapper = (CONFIG / "phonon-bulk-as-worker").read_text("utf-8")
    assert f"TimeoutStopSec={value('phonon-bulk.service', 'TimeoutStopSec')} " in wrapper
    waits = 3 * settings.sending.journal_wait
    assert float(value("phonon-bulk.service", "WatchdogSec")) > waits


def test_exits_that_need_a_person_start_nothing_anew() -> None:
    """What the units say of exit codes is what these are."""
    assert value("phonon-bulk.service", "RestartPreventExitStatus") == str(int(Exit.UNUSABLE))
    assert value("phonon-bulk-run@.service", "SuccessExitStatus") == str(int(Exit.SOME_FAILED))


def test_the_command_is_in_the_worker_s_place() -> None:
    """`phonon-bulk-as-worker` has the user, the folder and the secrets of the worker's unit."""
    wrapper = (CONFIG / "phonon-bulk-as-worker").read_text("utf-8")
    of_the_worker = {"DynamicUser", "User", "StateDirectory", "StateDirectoryMode", "UMask"}
    of_the_worker |= {"LoadCredential", "KillMode", "ProtectSystem", "ProtectHome", "PrivateTmp"}
    for name, text in lines(CONFIG / "phonon-bulk.service"):
        if name in of_the_worker:
            assert f"--property={name}={text} " in wrapper
        if name == "Environment":
            variable, _, credential = text.partition("=%d/")
            place = f'"/run/credentials/$unit.service/{credential}"'
            assert f"--setenv={variable}={place} " in wrapper
    settings = value("phonon-bulk.service", "ExecStart").split("--config ")[1]
    assert f"PHONON_BULK_CONFIG={settings} " in wrapper


def test_every_file_of_the_set_up_is_on_the_page() -> None:
    """What lies in config/ for systemd and journald is put in its place there."""
    assert "config/phonon-bulk*.service config/phonon-bulk*.timer" in PAGE
    others = {path for path in CONFIG.glob("*phonon-bulk*") if path not in UNITS}
    for path in others:
        assert f"config/{path.name}" in PAGE


def test_signals_are_those_of_the_manual() -> None:
    """Settings that need a restart are those that a reload keeps back."""
    (row,) = re.findall(r"^\| reload \|.*$", PAGE, re.MULTILINE)
    for name in reload._NEED_A_RESTART:
        assert f"`{name}`" in row


def test_every_command_of_the_page_exists() -> None:
    """Commands and flags of phonon-bulk on the page are those there are."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    texts = [*re.findall(r"`(phonon-bulk [^`]+)`", PAGE), *"".join(blocks()).splitlines()]
    used = [text for text in texts if re.match(r"phonon-bulk [a-z]", text)]
    assert len(used) > 15
    for text in used:
        _, name, *rest = text.split(" ")
        known = {flag for parameter in group.commands[name].params for flag in parameter.opts}
        assert {flag for flag in rest if flag.startswith("--")} <= known, text


def test_no_command_uses_a_real_number() -> None:
    """Numbers on the page are made up, and settings are none of a real account."""
    assert set(re.findall(r"\b91\d{10}\b", PAGE)) == {"919000000001"}


def test_samples_of_settings_are_settings() -> None:
    """Each key that the page writes into the settings is one there is."""
    sample = (CONFIG / "phonon-bulk.toml").read_text("utf-8")
    samples = [
        text
        for block in blocks()
        for text in re.findall(r"phonon-bulk\.toml <<'END'\n([^<]*?)\nEND$", block, re.MULTILINE)
    ]
    assert len(samples) == 3
    for key in re.findall(r"^(\w+) = ", "\n".join(samples), re.MULTILINE):
        assert re.search(rf"^#?{key} = ", sample, re.MULTILINE), key
