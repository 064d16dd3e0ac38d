"""The doctor's test call: one real call, by the same way as any other."""

import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from phonon_bulk.batch import State
from phonon_bulk.call import start_time_text
from phonon_bulk.cli.session import Flags, begin_logging
from phonon_bulk.config import DEFAULT_ACCOUNT, Campaign, EndpointName, Settings
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.errors import Exit, SettingsError, UnusableError
from phonon_bulk.journal import SettledBatch
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.report.doctor import Check, lines
from phonon_bulk.response import call_details

NAME = "doctor test"
"""The campaign of the run that it is."""

_SECONDS = 30.0
"""For how long it is tried; somebody waits for it."""
_WORTH_SENDING = 300.0
"""Seconds after which it is not sent any more, whatever happens."""
_TAKEN_BACK = "the test call was not sent in time"
_OUT_OF_TIME = "the time for it was over, or it was interrupted (the log above says what happened)"


@dataclass(frozen=True, slots=True, repr=False)
class Wish:
    """A test call as it was asked for, checked."""

    number: str
    flow_id: str
    account: str
    endpoint: EndpointName
    yes: bool

    def __repr__(self) -> str:
        """Show nothing of the number."""
        return f"Wish(flow_id={self.flow_id!r}, endpoint={self.endpoint.value!r})"


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a test call."""

    check: Check
    exit: Exit
    run: int
    state: str
    request_id: str | None = None
    phonon_uuid: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {name: value for name, value in asdict(self).items() if name != "check"}


def read_wish(
    number: str | None,
    flow_id: str | None,
    account: str | None,
    endpoint: EndpointName | None,
    *,
    yes: bool,
) -> Wish | None:
    """Return the test call that the command line asks for, None if it asks for none.

    Raises SettingsError if it can't be placed so.
    """
    if number is None:
        if flow_id or account or endpoint or yes:
            text = "--flow-id, --account, --endpoint and --yes are for a test call: add --send-test"
            raise SettingsError([f"{text} NUMBER, or leave them out"])
        return None
    problems = [*_wrong_flow(flow_id)]
    digits = _digits(number, problems)
    if not yes and not sys.stdin.isatty():
        problems.append(
            "--send-test places a real call, and there is no terminal to ask on: add --yes"
        )
    if problems:
        raise SettingsError(problems)
    name = account or DEFAULT_ACCOUNT
    return Wish(digits, flow_id or "", name, endpoint or EndpointName.BULK, yes)


def _wrong_flow(flow_id: str | None) -> Iterator[str]:
    if flow_id is None:
        yield "--send-test needs a flow to call with: add --flow-id ID, from the flow's edit page"
    elif not (len(flow_id) == 8 and flow_id.isascii() and flow_id.isalnum()):  # noqa: PLR2004
        yield "--flow-id: expected 8 letters and digits"


def _digits(number: str, problems: list[str]) -> str:
    """Return a number as digits with country code; what is wrong with it, never itself, is said."""
    from phonon_bulk.source.numbers import NumberReader, Unusable

    read = NumberReader("IN").read(number)
    if isinstance(read, Unusable):
        problems.append(f"--send-test: the number {read.reason}")
        return ""
    return read


def place(flags: Flags, wish: Wish) -> Placed:
    """Place the call, after asking for consent, and return what became of it.

    Raises UnusableError without consent, SettingsError and JournalError as `run` does.
    """
    from phonon_bulk.jobs.wiring import check_limits

    begin_logging(flags)
    settings = _impatient(flags.settings())
    check_limits(settings, wish.endpoint)
    settings.security_id(wish.account)
    if not wish.yes and not typer.confirm(_question(settings, wish), err=True):
        raise UnusableError("the test call was not placed")
    with _list(wish) as path:
        run, outcome = _carry_out(settings, _campaign(wish, path), flags)
    with SqliteBooks(settings.journal_path) as books:
        batches = list(books.batches(run))
    return judge(run, batches[0] if batches else None, outcome)


def _question(settings: Settings, wish: Wish) -> str:
    url = settings.endpoint(wish.endpoint).url
    return f"Place one real call, with the flow {wish.flow_id}, by way of {url}?"


def _impatient(settings: Settings) -> Settings:
    """Return the settings, but for how long it is tried to send, and waited for an answer then."""
    names = ("give_up_after", "drain_timeout")
    most = {name: min(getattr(settings.sending, name), _SECONDS / 2) for name in names}
    sending = settings.sending.model_copy(update=most)
    return settings.model_copy(update={"sending": sending})


@contextmanager
def _list(wish: Wish) -> Iterator[Path]:
    """Have a list of one row for a while, in a file that nobody else can read.

    No two are alike, so that none is taken for the run of another, or for a repeat.
    """
    now = datetime.now(UTC)
    identifier = f"doctor-test-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="phonon-bulk-") as folder:
        path = Path(folder, "test.csv")
        path.touch(0o600)
        path.write_text(f"client-identifier,tel1\n{identifier},{wish.number}\n", "ascii")
        yield path


def _campaign(wish: Wish, path: Path) -> Campaign:
    end = datetime.fromtimestamp(time.time() + _WORTH_SENDING, UTC)
    return Campaign(
        name=NAME,
        flow_id=wish.flow_id,
        endpoint=wish.endpoint,
        account=wish.account,
        not_after=start_time_text(end),
        paths=(str(path),),
    )


def _carry_out(settings: Settings, campaign: Campaign, flags: Flags) -> tuple[int, Outcome]:
    """Send a campaign as `run` does; what is not sent by the end is taken back for good."""
    from phonon_bulk.cli import sending
    from phonon_bulk.cli.session import run_loop
    from phonon_bulk.jobs import lists, opening
    from phonon_bulk.jobs.hours import Bounds

    contacts = lists.look_over(campaign, [])
    security_id = settings.security_id(campaign.account)
    bounds = Bounds(seconds=_SECONDS, began=time.monotonic())

    async def main() -> tuple[int, Outcome]:
        async with sending.open_journal(settings) as book:
            job = await opening.open_job(book, settings, campaign, contacts, again=False)
            if isinstance(job, opening.Done):
                raise AssertionError("a list that no other is like was sent before")  # noqa: TRY004
            outcome = await sending.send(
                book, job, settings, security_id, flags, bounds=bounds, alone=False
            )
            if outcome.ending is not Ending.FINISHED:
                await book.cancel(job.run, time.time(), _TAKEN_BACK)
            return job.run, outcome

    return run_loop(settings, main())


def judge(run: int, batch: SettledBatch | None, outcome: Outcome) -> Placed:
    """Return what became of the test call that is the only one of its run."""
    reason = (batch.reason if batch else None) or outcome.reason or "nobody knows why"
    state = State.CANCELLED if batch is None else batch.state
    values = {"run": run, "reason": reason}
    match state:
        case State.ACCEPTED if batch is not None:
            return _accepted(run, batch)
        case State.REFUSED:
            return Placed(lines.TEST_REFUSED.check(**values), Exit.SOME_FAILED, run, state)
        case State.IN_DOUBT:
            return Placed(lines.TEST_DOUBT.check(**values), Exit.IN_DOUBT, run, state)
    if outcome.ending is Ending.TOLD:
        outcome = replace(outcome, reason=_OUT_OF_TIME)
    values["reason"] = outcome.reason or reason
    if outcome.ending is Ending.BLOCKED:
        check = lines.TEST_BLOCKED.check(**values, step=_step(outcome.reason or ""))
        return Placed(check, Exit.BLOCKED, run, state)
    return Placed(lines.TEST_UNSENT.check(**values), Exit.STOPPED, run, state)


def _accepted(run: int, batch: SettledBatch) -> Placed:
    details = call_details(batch.answer or b"") or ()
    uuid = details[0].phonon_uuid if details else None
    named = {"request-id": batch.request_id, "phonon-uuid": uuid}
    ids = ", ".join(f"{name} {value}" for name, value in named.items() if value)
    check = lines.TEST_ACCEPTED.check(run=run, ids=ids or "its request-id is not known")
    return Placed(check, Exit.DONE, run, batch.state, batch.request_id, uuid)


def _step(reason: str) -> str:
    from phonon_bulk.report.mending import step_to_mend

    return step_to_mend(reason).replace("flow_id in the campaign file", "--flow-id")
