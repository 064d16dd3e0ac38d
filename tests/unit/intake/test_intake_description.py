"""What is told, described and documented is the same."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from phonon_bulk.intake.answers import ENDS, MOVING, state_of, ticket_body
from phonon_bulk.intake.door import CallState, Ticket
from phonon_bulk.intake.openapi import DESCRIPTION, DOCUMENT, OF_GET, OF_POST
from phonon_bulk.intake.problems import KINDS, TYPE_PREFIX, WRONG_METHOD

MANUAL = (Path(__file__).parents[3] / "docs/intake.md").read_text("utf-8")
CAME_AT = 1_795_000_000.0


def a_ticket(*states: str) -> Ticket:
    """Return a ticket with a call in each of the states."""
    calls = tuple(CallState(f"ACC{i}", state) for i, state in enumerate(states))
    return Ticket("0" * 31 + "1", CAME_AT, 7, calls)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["waiting", "waiting"], "waiting"),
        (["waiting", "sending", "accepted"], "sending"),
        (["accepted", "waiting"], "waiting"),
        (["accepted", "refused", "in_doubt"], "settled"),
        ([], "settled"),
    ],
)
def test_the_state_of_a_request(states: list[str], state: str) -> None:
    """It follows from those of its calls."""
    assert state_of(a_ticket(*states)) == state


def test_a_ticket_as_json() -> None:
    """In the names of the API, each of them always there."""
    calls = (CallState("ACC1", "accepted", None, "r-1", "u-1"),)
    assert orjson.loads(ticket_body(Ticket("0" * 32, CAME_AT, 7, calls))) == {
        "id": "0" * 32,
        "state": "settled",
        "came-at": "2026-11-18T16:36:40+05:30",
        "run": 7,
        "calls": [
            {
                "client-identifier": "ACC1",
                "state": "accepted",
                "reason": None,
                "request-id": "r-1",
                "phonon-uuid": "u-1",
            }
        ],
    }


def test_each_state_settles_or_not_as_the_door_says() -> None:
    """The lists here and the rule there agree."""
    assert not any(a_ticket(state).settled for state in MOVING)
    assert all(a_ticket(state).settled for state in ENDS)


def references(part: Any) -> set[str]:
    """Return all that a part of the description refers to."""
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_the_description_refers_to_what_is_there() -> None:
    """And has nothing that nobody refers to."""
    components = DOCUMENT["components"]
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "headers")
        for name in components[kind]
    }
    assert references(DOCUMENT) == there
    assert orjson.loads(DESCRIPTION) == DOCUMENT


def test_problems_are_told_apart() -> None:
    """Each has a type of its own, and is described where it may be met."""
    assert len({kind.type for kind in KINDS}) == len(KINDS)
    assert {*OF_POST, *OF_GET, WRONG_METHOD} == set(KINDS)


def rows() -> dict[str, int]:
    """Return the problems in the manual's table, with their statuses."""
    found = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", MANUAL, re.MULTILINE)
    return {name: int(status) for status, name in found}


def test_the_manual_has_each_problem() -> None:
    """By name and status, and no other."""
    assert rows() == {kind.name: int(kind.status) for kind in KINDS}
    assert TYPE_PREFIX in MANUAL


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_the_manual_has_each_path(path: str) -> None:
    """With its method."""
    (method,) = DOCUMENT["paths"][path]
    assert f"`{method.upper()} {path}`" in MANUAL


@pytest.mark.parametrize("name", ["Call", "CallState", "Ticket"])
def test_the_manual_has_each_field(name: str) -> None:
    """Of what is sent, and of what is answered."""
    for field in DOCUMENT["components"]["schemas"][name]["properties"]:
        assert f"`{field}`" in MANUAL, field


@pytest.mark.parametrize("state", [*MOVING, *ENDS])
def test_the_manual_has_each_state(state: str) -> None:
    """Of a call."""
    assert f"`{state}`" in MANUAL
