"""Settings and campaigns: read, checked, and never shown with a secret in them.

    problems   what is wrong, said plainly, all at once, and without repeating a secret
    settings   what may be set, its limits and defaults
    files      TOML files: found, read, and what can go wrong with them
    load       file < environment < flags
    campaign   one list for one flow
    mapping    its [mapping]: what each part of a call is taken from
    checks     its [checks]: what is checked in each row

Everything a caller needs is named here.
"""

from phonon_bulk.config.campaign import Campaign, Encoding, Once, load_campaign
from phonon_bulk.config.checks import (
    ChecksSettings,
    DoNotCall,
    Duplicates,
    DuplicatesBy,
    Outside,
    StartTimeForm,
    Window,
)
from phonon_bulk.config.files import find_settings_file
from phonon_bulk.config.load import load_settings
from phonon_bulk.config.mapping import ALL_OTHERS, KEY_PREFIX, Kind, MappingSettings, Value
from phonon_bulk.config.settings import (
    DEFAULT_ACCOUNT,
    AccountSettings,
    EndpointName,
    EndpointSettings,
    EndpointsSettings,
    SendingSettings,
    Settings,
    environment_name,
    is_loopback,
)

__all__ = [
    "ALL_OTHERS",
    "DEFAULT_ACCOUNT",
    "KEY_PREFIX",
    "AccountSettings",
    "Campaign",
    "ChecksSettings",
    "DoNotCall",
    "Duplicates",
    "DuplicatesBy",
    "Encoding",
    "EndpointName",
    "EndpointSettings",
    "EndpointsSettings",
    "Kind",
    "MappingSettings",
    "Once",
    "Outside",
    "SendingSettings",
    "Settings",
    "StartTimeForm",
    "Value",
    "Window",
    "environment_name",
    "find_settings_file",
    "is_loopback",
    "load_campaign",
    "load_settings",
]
