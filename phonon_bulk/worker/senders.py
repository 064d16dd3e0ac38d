"""A dispatcher for each run that has something to send, started when it is due."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from phonon_bulk.batch import Head
from phonon_bulk.config import Campaign, EndpointName, Settings
from phonon_bulk.dispatch import Dispatcher, Ending, Manner, Outcome, Posted, Tally
from phonon_bulk.endpoint import Endpoint
from phonon_bulk.errors import SettingsError
from phonon_bulk.jobs.wiring import ask_of, check_limits, limiter_for, pace_of
from phonon_bulk.journal import Control, DueRun, Journal, Kind, Run, StoppedRun
from phonon_bulk.worker.crew import Crew

log = structlog.get_logger("phonon_bulk.worker")

_URGENT = 100.0
"""The weight of single calls beside that of campaigns on the same endpoint."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a run is tried again that was due and led to nothing."""


@dataclass(slots=True)
class Sender:
    """A run that is being sent."""

    due: DueRun
    dispatcher: Dispatcher
    stop: asyncio.Event
    why: str | None = None
    """Why it was told to stop."""

    @property
    def run(self) -> int:
        """The number of the run."""
        return self.due.run

    @property
    def is_single(self) -> bool:
        """Whether its calls are single ones."""
        return self.due.kind == Kind.INTAKE


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
        self.unsendable: dict[int, StoppedRun] = {}
        """The runs that can't be sent with these settings."""
        self.stopped: Sequence[StoppedRun] = ()
        """The runs that the provider stopped, as the journal has it."""

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs that are being sent."""
        return tuple(sorted(self._senders))

    @property
    def busy(self) -> tuple[int, ...]:
        """Those that have something to send: calls may come to the others at any time."""
        senders = self._senders.values()
        return tuple(sorted(s.run for s in senders if not s.is_single or s.dispatcher.is_busy))

    @property
    def resting(self) -> dict[int, str]:
        """Why the endpoint of a run is left alone, by run: it failed, or gave no clear answer."""
        senders = self._senders.values()
        found = {s.run: s.dispatcher.tally.resting for s in senders}
        return {run: why for run, why in sorted(found.items()) if why is not None}

    @property
    def tallies(self) -> Iterable[Tally]:
        """What each of them has done."""
        return [sender.dispatcher.tally for sender in self._senders.values()]

    def of(self, run: int) -> Dispatcher | None:
        """Return who sends a run, None if nobody does."""
        sender = self._senders.get(run)
        return None if sender is None else sender.dispatcher

    def start_due(self, due: Sequence[DueRun]) -> float:
        """Start those that are not sent yet; return after how many seconds one is tried again.

        Runs that there is no room for are looked at when one of the others has ended: that changes
        the journal.
        """
        self._forget_others({one.run for one in due})
        now, again = asyncio.get_running_loop().time(), math.inf
        for one in due:
            pause = self._pauses.get(one.run)
            if pause is not None and now < pause.until:
                again = min(again, pause.until - now)
            elif one.kind == Kind.INTAKE or self._has_room():
                self.start(one)
        return again

    def _has_room(self) -> bool:
        """Say whether one more list may be sent; single calls take no room from them."""
        lists = [sender for sender in self._senders.values() if not sender.is_single]
        return len(lists) < self._settings.worker.runs

    def _forget_others(self, due: set[int]) -> None:
        """Forget what was noted of runs that are not due, nor may take calls at any time."""
        self._pauses = {run: pause for run, pause in self._pauses.items() if run in due}
        for run in list(self.unsendable):
            if run not in due and not self._stays(run):
                del self.unsendable[run]

    def start(self, due: DueRun) -> None:
        """Start to send a run that is not sent yet; log once if these settings don't let it.

        Nothing is started any more once all are to end.
        """
        # Many may have found at once that nobody sends it.
        if due.run in self._senders or self._crew.end.is_set():
            return
        try:
            endpoint, sender = self._sender(due)
        except SettingsError as error:
            why = "; ".join(error.problems)
            held = StoppedRun(due.run, due.account, due.flow_id, why)
            if self.unsendable.get(due.run) != held:
                log.warning("run.unsendable", run=due.run, what=why)
            self.unsendable[due.run] = held
            return
        self.unsendable.pop(due.run, None)
        self._senders[due.run] = sender
        log.info("run.sending", run=due.run, account=due.account, endpoint=due.endpoint)
        self._crew.start(f"run {due.run}", self._send(sender, endpoint), lasting=False)

    def heed(self, run: Run) -> None:
        """Have a run end what is under way if a person has held it, or sends it elsewhere now.

        What is claimed is given back, also where it waits for an endpoint that rests.
        """
        sender = self._senders.get(run.id)
        if sender is None:
            return
        if run.control is not Control.GO:
            self.stop(run.id, f"the run is {run.control}")
        elif (run.flow_id, run.not_after) != (sender.due.flow_id, sender.due.not_after):
            self.stop(run.id, "it was given another flow, or another end")

    def stop(self, run: int, why: str) -> None:
        """Have a run end what is under way, to be started anew if it is due."""
        sender = self._senders.get(run)
        if sender is not None and not sender.stop.is_set():
            sender.why = why
            sender.stop.set()

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
        pace = pace_of(settings.sending, chosen)
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
        return endpoint, Sender(due, dispatcher, asyncio.Event())

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
        try:
            await self._journal.begin_work(sender.run, "sends", time.time())
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
        if sender.stop.is_set() or tally.requests or tally.expired or tally.refused:
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
            log.info("run.rests", run=sender.run, why=outcome.reason or sender.why, **figures)


def add(totals: Tally, tally: Tally) -> None:
    """Add what one run did to what all did."""
    totals.accepted += tally.accepted
    totals.refused += tally.refused
    totals.in_doubt += tally.in_doubt
    totals.expired += tally.expired
    totals.requests += tally.requests
