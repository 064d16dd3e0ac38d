"""Settings and campaigns: read, checked, and never shown with a secret in them.

    problems   what is wrong, said plainly, all at once, and without repeating a secret
    settings   what may be set, its limits and defaults
    files      TOML files: found, read, and what can go wrong with them
    load       file < environment < flags
    campaign   one list for one flow

Everything a caller needs is named here.
"""

from phonon_bulk.config.campaign import Campaign, MappingSettings, Once, load_campaign
from phonon_bulk.config.files import find_settings_file
from phonon_bulk.config.load import load_settings
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
    "DEFAULT_ACCOUNT",
    "AccountSettings",
    "Campaign",
    "EndpointName",
    "EndpointSettings",
    "EndpointsSettings",
    "MappingSettings",
    "Once",
    "SendingSettings",
    "Settings",
    "environment_name",
    "find_settings_file",
    "is_loopback",
    "load_campaign",
    "load_settings",
]
