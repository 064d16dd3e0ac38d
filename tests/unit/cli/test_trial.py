"""The doctor's test call: how it may be asked for, and what is said of what became of it."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from phonon_bulk.batch import State
from phonon_bulk.cli.trial import Wish, judge, read_wish
from phonon_bulk.config import EndpointName
from phonon_bulk.dispatch import Ending, Outcome
from phonon_bulk.errors import SettingsError
from phonon_bulk.journal import SettledBatch

NUMBER = "919000000001"
FLOW = "QG8k000A"
FINISHED = Outcome(Ending.FINISHED)


def wish(number: str | None = NUMBER, flow_id: str | None = FLOW, **more: Any) -> Wish | None:
    """Return what is asked for."""
    given = {"account": None, "endpoint": None, "yes": True, **more}
    return read_wish(number, flow_id, given.pop("account"), given.pop("endpoint"), **given)


def test_none_is_asked_for() -> None:
    """Then there are no flags for it either."""
    assert read_wish(None, None, None, None, yes=False) is None


@pytest.mark.parametrize(
    "flags",
    [
        {"flow_id": FLOW, "yes": False},
        {"flow_id": None, "account": "a", "yes": False},
        {"flow_id": None, "endpoint": EndpointName.BULK, "yes": False},
        {"flow_id": None, "yes": True},
    ],
)
def test_flags_without_a_number(flags: dict[str, Any]) -> None:
    """They are for a test call alone."""
    with pytest.raises(SettingsError, match="add --send-test"):
        wish(None, **flags)


def test_a_wish() -> None:
    """Bulk and the default account, if nothing else is said; shown without the number."""
    asked = wish("+91 90000 00001")
    assert asked == Wish(NUMBER, FLOW, "default", EndpointName.BULK, yes=True)
    assert NUMBER not in repr(asked)
    other = wish(account="other", endpoint=EndpointName.REALTIME)
    assert other == Wish(NUMBER, FLOW, "other", EndpointName.REALTIME, yes=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flow_id": None}, "--send-test needs a flow to call with: add --flow-id"),
        ({"flow_id": "short"}, "expected 8 letters and digits"),
        ({"flow_id": "QG8k000é"}, "expected 8 letters and digits"),
        ({"number": "12"}, "--send-test: the number has too few digits"),
        ({"number": "9" * 20}, "--send-test: the number has too many digits"),
        ({"number": "phone"}, "--send-test: the number has letters"),
        ({"number": ""}, "--send-test: the number"),
    ],
)
def test_what_is_wrong(changes: dict[str, Any], says: str) -> None:
    """It is said, and the number is not."""
    with pytest.raises(SettingsError) as raised:
        wish(**changes)
    assert says in str(raised.value)
    number = changes.get("number")
    assert not number or number not in str(raised.value)


def test_all_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, --yes is missing too."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(SettingsError) as raised:
        wish("12", None, yes=False)
    assert len(raised.value.problems) == 3
    assert "no terminal to ask on: add --yes" in raised.value.problems[2]


BATCH = SettledBatch(
    batch=1,
    state=State.ACCEPTED,
    reason=None,
    request_id="r-1",
    accepted=1,
    attempts=1,
    settled_at=1.0,
    rows=[1],
    calls=b"",
    answer=None,
)


@pytest.mark.parametrize(
    ("changes", "outcome", "exit_code", "grade", "says"),
    [
        ({}, FINISHED, 0, "well", "taken by Phonon (request-id r-1), run 7"),
        ({"request_id": None}, FINISHED, 0, "well", "its request-id is not known"),
        (
            {"state": State.REFUSED, "reason": "Invalid Contact Number"},
            FINISHED,
            *(1, "ill", "refused, run 7: Invalid Contact Number. Nothing was placed"),
        ),
        (
            {"state": State.CANCELLED, "reason": "taken back"},
            Outcome(Ending.BLOCKED, "Invalid Flow ID"),
            *(3, "ill", "refused, run 7: Invalid Flow ID. Correct --flow-id"),
        ),
        (
            {"state": State.CANCELLED, "reason": "taken back"},
            Outcome(Ending.GIVEN_UP, "no connection in time"),
            *(5, "ill", "not sent, run 7: no connection in time. It was taken back"),
        ),
        (
            {"state": State.EXPIRED, "reason": "its end has passed"},
            FINISHED,
            *(5, "ill", "not sent, run 7: its end has passed"),
        ),
        (
            {"state": State.IN_DOUBT, "reason": "no answer"},
            Outcome(Ending.GIVEN_UP, "no answer"),
            *(4, "mind", "`phonon-bulk resolve 7 --all --accepted`, else --abandon"),
        ),
    ],
)
def test_what_became_of_it(
    changes: dict[str, Any], outcome: Outcome, exit_code: int, grade: str, says: str
) -> None:
    """As a run would end, and in words."""
    placed = judge(7, replace(BATCH, **changes), outcome)
    assert (placed.exit, placed.check.grade) == (exit_code, grade)
    assert says in placed.check.found
    assert set(placed.to_dict()) == {"run", "state", "exit", "request_id", "phonon_uuid"}


def test_the_uuid_of_a_call() -> None:
    """Where the answer has it."""
    details = [{"client-identifier": "doctor-test", "phonon-uuid": "u-1"}]
    answer = orjson.dumps({"call-details": details})
    placed = judge(7, replace(BATCH, answer=answer), FINISHED)
    assert "(request-id r-1, phonon-uuid u-1)" in placed.check.found
    assert (placed.request_id, placed.phonon_uuid) == ("r-1", "u-1")


def test_nothing_was_read() -> None:
    """It was stopped before there was a batch."""
    placed = judge(7, None, Outcome(Ending.TOLD))
    assert (placed.exit, placed.state) == (5, "cancelled")
