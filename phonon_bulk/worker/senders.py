"""A dispatcher for each run that has something to send, started when it is due."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from phonon_bulk.batch import Head
from phonon_bulk.config import Campaign, EndpointName, Settings
from phonon_bulk.dispatch import Dispatcher, Ending, Manner, Outcome, Posted, Tally
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.errors import SettingsError
from phonon_bulk.jobs.wiring import ask_of, check_limits, limiter_for, pace_of
from phonon_bulk.journal import DueRun, Journal, Kind
from phonon_bulk.worker.crew import Crew

log = structlog.get_logger("phonon_bulk.worker")

_URGENT = 100.0
"""The weight of single calls beside that of campaigns on the same endpoint."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a run is tried again that was due and led to nothing."""


@dataclass(slots=True)
class Sender:
    """A run that is being sent."""

    run: int
    dispatcher: Dispatcher
    stop: asyncio.Event


@dataclass(frozen=True, slots=True)
class _Pause:
    seconds: float
    until: float


class Senders:
    """The runs that this process sends."""

    def __init__(
        self,
        journal: Journal,
        settings: Settings,
        crew: Crew,
        *,
        observe: Callable[[Posted], None],
        totals: Tally,
        stays: Callable[[int], bool],
    ) -> None:
        """Send as `settings` have it, in `crew`.

        `observe` is told of every request; `totals` takes what ended runs did; `stays` tells the
        runs to which calls may come at any time.
        """
        self._journal = journal
        self._settings = settings
        self._crew = crew
        self._observe = observe
        self._totals = totals
        self._stays = stays
        self._senders: dict[int, Sender] = {}
        self._pauses: dict[int, _Pause] = {}
        self._warned: set[str] = set()
        self.unsendable: dict[int, str] = {}
        """Why runs can't be sent with these settings."""
        self.stopped: dict[int, str] = {}
        """Why runs were stopped by the provider, as the journal has it."""

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs that are being sent."""
        return tuple(sorted(self._senders))

    @property
    def tallies(self) -> Iterable[Tally]:
        """What each of them has done."""
        return [sender.dispatcher.tally for sender in self._senders.values()]

    def of(self, run: int) -> Dispatcher | None:
        """Return who sends a run, None if nobody does."""
        sender = self._senders.get(run)
        return None if sender is None else sender.dispatcher

    def start_due(self, due: Iterable[DueRun]) -> bool:
        """Start those that are not sent yet; say whether there was no room for one."""
        now = asyncio.get_running_loop().time()
        for run in due:
            pause = self._pauses.get(run.run)
            if run.run in self._senders or (pause is not None and now < pause.until):
                continue
            if run.kind != Kind.INTAKE and self._is_full():
                return True
            self.start(run)
        return False

    def _is_full(self) -> bool:
        return len(self._senders) >= self._settings.worker.runs

    def start(self, due: DueRun) -> None:
        """Start to send a run that is not sent yet; log once if these settings don't let it."""
        if due.run in self._senders:  # many may have found at once that nobody sends it
            return
        try:
            endpoint, sender = self._sender(due)
        except SettingsError as error:
            if due.run not in self.unsendable:
                log.warning("run.unsendable", run=due.run, what="; ".join(error.problems))
            self.unsendable[due.run] = "; ".join(error.problems)
            return
        self.unsendable.pop(due.run, None)
        self._senders[due.run] = sender
        log.info("run.sending", run=due.run, account=due.account, endpoint=due.endpoint)
        self._crew.start(f"run {due.run}", self._send(sender, endpoint), lasting=False)

    def stop(self, run: int) -> None:
        """Have a run end what is under way, to be started anew if it is due."""
        if run in self._senders:
            self._senders[run].stop.set()

    def _sender(self, due: DueRun) -> tuple[Endpoint, Sender]:
        name, settings = EndpointName(due.endpoint), self._settings
        check_limits(settings, name)
        security_id = settings.security_id(due.account)
        self._warn_of_readable(due.account)
        is_intake = due.kind == Kind.INTAKE
        campaign = Campaign.from_json(due.definition)
        ask = ask_of(
            settings,
            due.account,
            name,
            # Each run is a sender of its own, with its part of the limit.
            owner=f"{self._journal.owner}/{due.run}",
            run=due.run,
            weight=_URGENT if is_intake else campaign.weight,
        )
        chosen = settings.endpoint(name)
        pace = pace_of(settings.sending, chosen.workers)
        # Nobody is there to start it anew: it goes on looking, a minute apart.
        pace = replace(pace, policy=replace(pace.policy, give_up_after=math.inf))
        dispatcher = Dispatcher(
            self._journal,
            endpoint := Endpoint(name, chosen),
            limiter_for(self._journal, ask),
            Head(security_id.get_secret_value(), due.flow_id),
            run=due.run,
            pace=pace,
            not_after=due.not_after,
            manner=self._manner(due, is_intake=is_intake),
            ask=ask,
            observe=self._observe,
        )
        return endpoint, Sender(due.run, dispatcher, asyncio.Event())

    def _warn_of_readable(self, account: str) -> None:
        warning = self._settings.security_id_file_warning(account)
        if warning and account not in self._warned:
            log.warning("security_id.readable_by_others", what=warning)
        self._warned.add(account)

    def _manner(self, due: DueRun, *, is_intake: bool) -> Manner:
        if not is_intake:
            return Manner(waits_for_list=False)
        fresh_for = self._settings.intake.expire_after
        return Manner(False, stays=self._stays(due.run), gathers=True, fresh_for=fresh_for)

    async def _send(self, sender: Sender, endpoint: Endpoint) -> None:
        relay = asyncio.create_task(self._relay(sender), name=f"stop of run {sender.run}")
        await self._journal.begin_work(sender.run, "sends", time.time())
        try:
            async with endpoint:
                outcome = await sender.dispatcher.run(sender.stop)
            await self._journal.end_work(sender.run, "sends")
        finally:
            relay.cancel()
            self._forget(sender)
        self._say(sender, outcome)

    async def _relay(self, sender: Sender) -> None:
        await self._crew.end.wait()
        sender.stop.set()

    def abort(self) -> None:
        """End all posts under way at once; what has no answer is in doubt."""
        for sender in self._senders.values():
            sender.dispatcher.abort()

    def _forget(self, sender: Sender) -> None:
        del self._senders[sender.run]
        tally = sender.dispatcher.tally
        add(self._totals, tally)
        if tally.requests or tally.expired or tally.refused:
            self._pauses.pop(sender.run, None)
            return
        before = self._pauses.get(sender.run)
        seconds = _FIRST_PAUSE if before is None else min(before.seconds * 2, _LONGEST_PAUSE)
        now = asyncio.get_running_loop().time()
        self._pauses[sender.run] = _Pause(seconds, now + seconds)

    def _say(self, sender: Sender, outcome: Outcome) -> None:
        tally = sender.dispatcher.tally
        figures = {"accepted": tally.accepted, "requests": tally.requests}
        if outcome.ending is Ending.BLOCKED:
            log.error("run.stopped", run=sender.run, why=outcome.reason, **figures)
        else:
            log.info("run.rests", run=sender.run, why=outcome.reason, **figures)


def add(totals: Tally, tally: Tally) -> None:
    """Add what one run did to what all did."""
    totals.accepted += tally.accepted
    totals.refused += tally.refused
    totals.in_doubt += tally.in_doubt
    totals.expired += tally.expired
    totals.requests += tally.requests
