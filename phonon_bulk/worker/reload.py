"""What was changed in the settings, for whoever reloads them. Pure."""

from dataclasses import dataclass
from typing import Any

from phonon_bulk.config import Settings

_NEED_A_RESTART = (
    "journal",
    "worker.listen",
    "worker.token_file",
    "intake.enabled",
    "sending.uvloop",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that was changed: its name, and whether it takes hold without a restart."""

    name: str
    was: str
    now: str
    at_once: bool


def changes(was: Settings, now: Settings) -> list[Change]:
    """Return what differs, by name. Nothing in it is secret: security ids are in no dump."""
    before, after = _flat(was.model_dump(mode="json")), _flat(now.model_dump(mode="json"))
    found = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, "not set"), after.get(name, "not set")
        if old != new:
            at_once = name not in _NEED_A_RESTART
            found.append(Change(name, str(old), str(new), at_once))
    return found


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{before}{name}.")
        else:
            flat[f"{before}{name}"] = "off" if value is None else value
    return flat


def kept_back(was: Settings, now: Settings) -> Settings:
    """Return the new settings, but for what needs a restart."""
    worker = now.worker.model_copy(
        update={"listen": was.worker.listen, "token_file": was.worker.token_file}
    )
    intake = now.intake.model_copy(update={"enabled": was.intake.enabled})
    sending = now.sending.model_copy(update={"uvloop": was.sending.uvloop})
    update = {"journal": was.journal, "worker": worker, "intake": intake, "sending": sending}
    return now.model_copy(update=update)
