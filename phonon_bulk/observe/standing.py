"""How a long-lived process stands: what /readyz, the metrics, systemd and the log show of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """How the process stands at one moment. Free of contact data."""

    since: float
    """When it began, seconds since the epoch."""
    sending: tuple[int, ...] = ()
    """The numbers of the runs that have something to send just now."""
    accepted: int = 0
    """Calls, since it began; as the next three."""
    refused: int = 0
    in_doubt: int = 0
    expired: int = 0
    requests: int = 0
    journal_problem: str | None = None
    """Why the journal can't be written; None if it can."""
    blocked: tuple[str, ...] = ()
    """Why runs can't be sent, a sentence each."""
    barred: bool = False
    """What stops one of them stops all: the account, or the flow that is set for single calls."""
    resting: tuple[str, ...] = ()
    """Why an endpoint is left alone for a while, a sentence for each run that it keeps waiting."""
    draining: bool = False
    """It was told to stop, and ends what is under way."""

    def in_words(self) -> str:
        """Return it on one line, as systemd and the log show it."""
        if self.draining:
            return "stopping: what is under way is ended"
        if self.journal_problem:
            return f"waiting for the journal: {self.journal_problem}"
        runs = ", ".join(str(run) for run in self.sending[:5])
        more = ", …" if len(self.sending) > 5 else ""  # noqa: PLR2004 - a line is short
        text = f"sending run {runs}{more}" if self.sending else "idle"
        text += f"; {self.accepted:,} calls accepted"
        text += f", {self.in_doubt:,} in doubt" if self.in_doubt else ""
        text += f"; the provider is away: {self.resting[0]}" if self.resting else ""
        return text + (f"; stopped: {'; '.join(self.blocked)}" if self.blocked else "")
