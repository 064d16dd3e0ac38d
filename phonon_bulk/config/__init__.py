"""Settings and campaigns: read, checked, and never shown with a secret in them.

    problems   what is wrong, said plainly, all at once, and without repeating a secret
    settings   what may be set, its limits and defaults
    service    of these, what is for the long-lived process
    values     kinds of values that they have in common
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
from phonon_bulk.config.service import Address, IntakeSettings, WorkerSettings
from phonon_bulk.config.settings import (
    DEFAULT_ACCOUNT,
    FIRST_WORKERS,
    AccountSettings,
    EndpointName,
    EndpointSettings,
    EndpointsSettings,
    SendingSettings,
    Settings,
    environment_name,
    is_open_to_others,
)
from phonon_bulk.config.values import is_loopback

__all__ = [
    "ALL_OTHERS",
    "DEFAULT_ACCOUNT",
    "FIRST_WORKERS",
    "KEY_PREFIX",
    "AccountSettings",
    "Address",
    "Campaign",
    "ChecksSettings",
    "DoNotCall",
    "Duplicates",
    "DuplicatesBy",
    "Encoding",
    "EndpointName",
    "EndpointSettings",
    "EndpointsSettings",
    "IntakeSettings",
    "Kind",
    "MappingSettings",
    "Once",
    "Outside",
    "SendingSettings",
    "Settings",
    "StartTimeForm",
    "Value",
    "Window",
    "WorkerSettings",
    "environment_name",
    "find_settings_file",
    "is_loopback",
    "is_open_to_others",
    "load_campaign",
    "load_settings",
]
