"""Every setting is documented and shown in the samples, with its true default."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from phonon_bulk.config import (
    Campaign,
    EndpointName,
    Settings,
    environment_name,
    load_campaign,
    load_settings,
)
from phonon_bulk.config.campaign import CampaignFile
from phonon_bulk.config.problems import Key, leaves

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
SAMPLES = {
    "settings": ROOT / "config/phonon-bulk.toml",
    "campaign": ROOT / "config/campaign.toml",
}
SETTINGS: list[Key] = [("security_id_file",), *(key for key, _field in leaves(Settings))]
CAMPAIGN: list[Key] = [key for key, _field in leaves(CampaignFile)]
NAMED_FREELY = {("mapping", "keys"), ("checks", "max_lengths")}
# They take the place of other keys that the sample shows, so they stand in it as remarks.
INSTEAD = {"source.watch", "source.query", "source.database", "checks.spread"}
# What has no default, or one that hangs on the machine.
WITHOUT = {
    "security_id_file",
    "accounts.NAME.security_id_file",
    "journal",
    "worker.token_file",
    "intake.flow_id",
}


def dotted(key: Key) -> str:
    """Return the key as the reference names it."""
    return ".".join(key)


def row_of(key: Key) -> list[str]:
    """Return the cells of the key's row in the reference, without the first."""
    rows = [line for line in REFERENCE.splitlines() if line.startswith(f"| `{dotted(key)}` |")]
    assert len(rows) == 1, f"{dotted(key)} needs one row in docs/settings.md"
    return [cell.strip() for cell in rows[0].strip("|").split("|")][1:]


def default_of(key: Key) -> str:
    """Return the setting's default as TOML writes it."""
    value: Any = Settings(journal="j").model_dump(mode="json")
    for part in key:
        value = value[part]
    return '"off"' if value is None else json.dumps(value)


def every_key_set(sample: Path) -> str:
    """Return the sample with all its defaults uncommented."""
    return re.sub(r"(?m)^#(?=[\[a-z])", "", sample.read_text(encoding="utf-8"))


def keys_in(values: dict[str, Any], key: Key = ()) -> set[str]:
    """Return every key of a file, `NAME` for the names that people choose."""
    found = set()
    for name, value in values.items():
        here = (*key, "NAME" if key == ("accounts",) else name)
        is_section = isinstance(value, dict) and here not in NAMED_FREELY
        found |= keys_in(value, here) if is_section else {dotted(here)}
    return found


@pytest.mark.parametrize("key", SETTINGS, ids=dotted)
def test_every_setting_has_its_row(key: Key) -> None:
    """Key, environment variable, default, unit and meaning: none is empty, none is wrong."""
    variable, default, unit, meaning = row_of(key)
    assert variable == f"`{environment_name(key)}`"
    assert unit
    assert meaning
    if dotted(key) not in WITHOUT:
        assert default == f"`{default_of(key)}`"


@pytest.mark.parametrize("key", CAMPAIGN, ids=dotted)
def test_every_key_of_a_campaign_has_its_row(key: Key) -> None:
    """Key, default and meaning."""
    default, meaning = row_of(key)
    assert meaning
    field = dict(leaves(CampaignFile))[key]
    if field.is_required():
        expected = "must be given"
    else:
        value = field.get_default(call_default_factory=True)
        expected = f"`{json.dumps(value)}`" if value else "none"
    assert default == expected


def test_no_row_is_left_from_a_setting_that_is_gone() -> None:
    """The reference names nothing that doesn't exist."""
    rows = set(re.findall(r"^\| `([a-zN][\w.]+)` \|", REFERENCE, re.MULTILINE))
    assert rows == {dotted(key) for key in [*SETTINGS, *CAMPAIGN]}


@pytest.mark.parametrize("name", ["", "SECURITY_ID", "ACCOUNTS__NAME__SECURITY_ID", "CONFIG"])
def test_every_variable_that_is_no_setting_is_told_of(name: str) -> None:
    """Those of the environment alone, too."""
    assert f"`PHONON_BULK_{name}`" in REFERENCE


def test_the_sample_of_the_settings_shows_every_key() -> None:
    """With its true default, but for those that have none."""
    values = tomllib.loads(every_key_set(SAMPLES["settings"]))
    assert keys_in(values) == {dotted(key) for key in SETTINGS}
    for key in SETTINGS:
        if dotted(key) not in WITHOUT:
            value: Any = values
            for part in key:
                value = value[part]
            assert json.dumps(value) == default_of(key), dotted(key)


def test_the_sample_of_a_campaign_shows_every_key() -> None:
    """Those with a default have it commented out."""
    values = tomllib.loads(every_key_set(SAMPLES["campaign"]))
    assert keys_in(values) == {dotted(key) for key in CAMPAIGN} - INSTEAD
    text = SAMPLES["campaign"].read_text(encoding="utf-8")
    for key in INSTEAD:
        assert f"\n# {key.rpartition('.')[2]} = " in text


def test_the_sample_of_the_settings_loads(tmp_path: Path) -> None:
    """As it is, it changes nothing; with every line in force, it is still valid."""
    environ = {"HOME": str(tmp_path)}
    assert load_settings(SAMPLES["settings"], environ, {}) == load_settings(None, environ, {})
    path = tmp_path / "all.toml"
    path.write_text(every_key_set(SAMPLES["settings"]), encoding="utf-8")
    settings = load_settings(path, environ, {})
    assert settings.journal_path == Path("/var/lib/phonon-bulk/journal.db")
    assert set(settings.accounts) == {"default", "south"}


def test_the_sample_of_a_campaign_loads(tmp_path: Path) -> None:
    """As it is, and with every line in force."""
    campaign = load_campaign(SAMPLES["campaign"])
    assert campaign.paths == (str(ROOT / "config/contacts/*.csv"),)
    assert campaign.endpoint is EndpointName.BULK
    assert Campaign.from_json(campaign.to_json()) == campaign
    path = tmp_path / "all.toml"
    path.write_text(every_key_set(SAMPLES["campaign"]), encoding="utf-8")
    everything = load_campaign(path)
    assert everything.delimiter == ","
    assert everything.mapping == campaign.mapping
