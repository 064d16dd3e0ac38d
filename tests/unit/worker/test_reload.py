"""What was changed in the settings."""

from pathlib import Path

from phonon_bulk.config import Settings, load_settings
from phonon_bulk.worker.reload import Change, changes, kept_back

SECRET = "a" * 32 + "b" * 32


def settings(**environ: str) -> Settings:
    """Return settings from the environment."""
    own = {f"PHONON_BULK_{name}": value for name, value in environ.items()}
    return load_settings(None, {"HOME": "/home/asha", **own}, {})


def test_nothing_changed() -> None:
    """Nothing is said."""
    assert changes(settings(), settings()) == []


def test_each_change_is_named_with_what_it_was() -> None:
    """By its dotted name; a limit that is lifted is off."""
    was = settings(ENDPOINTS__BULK__WORKERS="8")
    now = settings(ENDPOINTS__BULK__REQUESTS_PER_MINUTE="off", INTAKE__FLOW_ID="QG8k000A")
    assert changes(was, now) == [
        Change("endpoints.bulk.requests_per_minute", "30000", "off", at_once=True),
        Change("endpoints.bulk.workers", "8", "auto", at_once=True),
        Change("intake.flow_id", "off", "QG8k000A", at_once=True),
    ]


def test_a_new_account_is_seen_and_its_secret_is_not() -> None:
    """Security ids are in no dump."""
    now = settings(ACCOUNTS__SOUTH__SECURITY_ID=SECRET)
    found = changes(settings(SECURITY_ID=SECRET), now)
    assert SECRET not in repr(found)


def test_what_needs_a_restart_is_kept_back() -> None:
    """The old journal, address, token and loop hold; the rest is new."""
    was = settings(JOURNAL="/var/one.db")
    now = settings(
        JOURNAL="/var/other.db",
        WORKER__LISTEN="127.0.0.1:1",
        WORKER__TOKEN_FILE="/etc/token",
        SENDING__UVLOOP="off",
        INTAKE__ENABLED="off",
        WORKER__RUNS="3",
    )
    held = kept_back(was, now)
    assert held.journal_path == Path("/var/one.db")
    assert held.worker.listen == "127.0.0.1:8787"
    assert held.worker.token_file is None
    assert held.sending.uvloop is True
    assert held.intake.enabled is True
    assert held.worker.runs == 3
    late = {change.name for change in changes(was, now) if not change.at_once}
    assert late == {
        "journal",
        "worker.listen",
        "worker.token_file",
        "intake.enabled",
        "sending.uvloop",
    }
