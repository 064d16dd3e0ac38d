"""Kills the command at a named point, or moves its clock. Python imports this at its start.

The command under test is the installed one, unchanged: the harness puts this folder on PYTHONPATH
and says in the environment what is to happen.

    SABOTEUR_KILL=POINT#N    SIGKILL when the point is reached for the Nth time
    SABOTEUR_CLOCK=FILE      the wall clock is off by the seconds that stand in the file

Points: `before:CHANGE` is when the change's statements have run and nothing is committed,
`after:CHANGE` when it is on disk and nobody has heard of it; CHANGE is one of CHANGES or SELDOM.
And `post:begun` (marked as sending, not a byte sent), `post:under_way` (some milliseconds later)
and `post:answered` (the answer is there, and in no journal).
"""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

CHANGES = (
    "open_run",
    "append",
    "finish_reading",
    "recover",
    "claim",
    "each:release",
    "send",
    "settle:accepted",
    "settle:refused",
    "settle:in_doubt",
    "settle:ready",
    "split",
    "replay",
)
SELDOM = ("each:expire", "each:refuse", "resolve")
"""Changes that a campaign without damage, doubts of a person's or an end does not make."""
POINTS = (
    *(f"{when}:{change}" for change in CHANGES for when in ("before", "after")),
    "post:begun",
    "post:under_way",
    "post:answered",
)
_VERBS = (
    *("open_run", "append", "recover", "claim", "send", "settle", "split", "replay", "resolve"),
    *("finish_reading", "move", "each"),
)
_UNDER_WAY_SECONDS = 0.01


def _arm(point: str, nth: int) -> None:
    """Let the process die when `point` is reached for the nth time."""
    from phonon_bulk.endpoint import Endpoint
    from phonon_bulk.journal import changes
    from phonon_bulk.journal.writer import Writer

    seen: Counter[str] = Counter()
    in_this_commit: list[str] = []

    def reached(here: str) -> None:
        seen[here] += 1
        if here == point and seen[here] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(name: str) -> None:
        original = getattr(changes, name)

        def watched(*arguments: Any, **more: Any) -> Any:
            result = original(*arguments, **more)
            change = _name_of(name, arguments)
            reached(f"before:{change}")
            in_this_commit.append(change)
            return result

        setattr(changes, name, watched)

    for name in _VERBS:
        watch(name)
    commit, post = Writer._commit, Endpoint.post

    def watched_commit(self: Writer, group: Any) -> Any:
        in_this_commit.clear()
        results = commit(self, group)
        for change in in_this_commit:
            reached(f"after:{change}")
        return results

    async def watched_post(self: Endpoint, *arguments: Any) -> Any:
        reached("post:begun")
        asyncio.get_running_loop().call_later(_UNDER_WAY_SECONDS, reached, "post:under_way")
        answer = await post(self, *arguments)
        reached("post:answered")
        return answer

    Writer._commit = watched_commit  # type: ignore[method-assign]
    Endpoint.post = watched_post  # type: ignore[method-assign,assignment]


def _name_of(function: str, arguments: tuple[Any, ...]) -> str:
    """Return the change's name: with the state it settles to, or the statement it moves by."""
    match function:
        case "settle":
            return f"settle:{arguments[2].state}"
        case "move":
            return str(arguments[1])
        case "each":
            return f"each:{arguments[1]}"
        case _:
            return function


def _set_clock(file: Path) -> None:
    """Let `time.time` be off by what stands in `file`, as it stands there at each look."""
    real = time.time
    time.time = lambda: real() + float(file.read_text() or 0)


if "SABOTEUR_KILL" in os.environ:
    _point, _, _nth = os.environ["SABOTEUR_KILL"].partition("#")
    _arm(_point, int(_nth))
if "SABOTEUR_CLOCK" in os.environ:
    _set_clock(Path(os.environ["SABOTEUR_CLOCK"]))
