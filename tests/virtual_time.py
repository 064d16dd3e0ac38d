"""An event loop whose clock jumps to the next timer instead of waiting for it: nothing sleeps."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop in which an hour passes as soon as there is nothing left to do in it."""

    def __init__(self) -> None:
        """Start at second 0."""
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        """Return the virtual seconds."""
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            # A hair more than nothing, as any clock: a timer that fires a rounding error too early
            # and sets itself anew for the same moment would stand still for ever.
            self.now = max(self.now + 1e-6, self._scheduled[0]._when)  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on a loop with virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
