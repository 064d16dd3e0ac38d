"""Whom a batch calls: what tells a contact from others, taken from frozen calls."""

import sqlite3
from typing import Any, Literal

import orjson

from phonon_bulk.errors import DamagedBodyError
from phonon_bulk.journal.frozen import thaw
from phonon_bulk.response import call_details, placed

Key = Literal["number", "client_identifier"]
"""What contacts are told apart by: the first number of a call, or its client-identifier."""


def keys_of(row: sqlite3.Row, by: Key) -> list[str]:
    """Return the keys of the calls in a batch; of those placed, if its `answer` says which.

    About 300,000 calls a second.

    Raises DamagedBodyError, which names the batch, if its calls can't be read any more.
    """
    try:
        calls = orjson.loads(b"[" + thaw(row["body"] or b"") + b"]")
    except DamagedBodyError as error:
        raise DamagedBodyError(
            f"whom batch {row['batch']} of run {row['run']} calls is not known: {error}"
        ) from None
    if row["answer"] is not None:
        calls = _placed(calls, row["answer"])
    if by == "number":
        return [call["contact-numbers"][0] for call in calls]
    return [call["client-identifier"] for call in calls]


def _placed(calls: list[dict[str, Any]], answer: bytes) -> list[dict[str, Any]]:
    """Return the calls that an answer says were placed; all, if it does not say it any more."""
    try:
        details = call_details(thaw(answer))
    except DamagedBodyError:
        return calls
    if not details:
        return calls
    found = placed([call["client-identifier"] for call in calls], details)
    return [call for call, detail in zip(calls, found, strict=True) if detail]
