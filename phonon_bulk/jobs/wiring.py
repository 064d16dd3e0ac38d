"""The parts of sending, as the settings have them: limits, slots, pace."""

from phonon_bulk.batch import MAX_CALLS
from phonon_bulk.config import (
    FIRST_WORKERS,
    EndpointName,
    EndpointSettings,
    SendingSettings,
    Settings,
)
from phonon_bulk.dispatch import JournalTokens, Pace
from phonon_bulk.errors import SettingsError
from phonon_bulk.journal import Journal
from phonon_bulk.limiter import Limiter
from phonon_bulk.retry import Policy
from phonon_bulk.schedule import Ask, Limits


def set_limits(settings: Settings, endpoint: str) -> Limits:
    """Return the limits that the settings have for an endpoint."""
    chosen = settings.endpoint(EndpointName(endpoint))
    return Limits(chosen.requests_per_minute, chosen.calls_per_minute)


def check_limits(settings: Settings, name: EndpointName) -> None:
    """Raise SettingsError for a limit under which a full batch could never be sent."""
    calls = settings.endpoint(name).calls_per_minute
    if calls is not None and calls < MAX_CALLS:
        text = f"endpoints.{name}.calls_per_minute: {calls} is too small: one request may hold"
        raise SettingsError([f"{text} {MAX_CALLS} calls"])


def ask_of(
    settings: Settings, account: str, endpoint: EndpointName, *, owner: str, run: int, weight: float
) -> Ask:
    """Return who asks for slots for a run, and under which settings."""
    chosen = settings.endpoint(endpoint)
    return Ask(
        account=account,
        endpoint=endpoint,
        owner=owner,
        run=run,
        weight=weight,
        limits=set_limits(settings, endpoint),
        headroom=chosen.headroom,
        ramp=chosen.ramp,
    )


def limiter_for(journal: Journal, ask: Ask) -> Limiter:
    """Return what grants slots to who asks so, out of the schedule that all share."""
    return Limiter(JournalTokens(journal, ask), lambda: journal.now().steady)


def pace_of(sending: SendingSettings, endpoint: EndpointSettings) -> Pace:
    """Return how the work of a run to an endpoint is cut."""
    policy = Policy(sending.back_off_first, sending.back_off_most, sending.give_up_after)
    return Pace(
        workers=endpoint.workers or FIRST_WORKERS,
        most_workers=endpoint.most_workers,
        lease=sending.lease,
        drain_timeout=sending.drain_timeout,
        replay_after=sending.replay_after,
        replay_within=sending.replay_within,
        policy=policy,
    )
