"""Named tasks that are watched: if one of them dies, or ends by itself, all are told to end.

Half a worker is worse than none: who has it watched (systemd, an operator) sees a process that is
there, and does not see that nobody looks for runs any more.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import structlog

from phonon_bulk.errors import JournalError, PhononBulkError

log = structlog.get_logger("phonon_bulk.worker")


class Crew:
    """Tasks that live and end together."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        """Set when all are to end what they are at."""
        self.died: list[str] = []
        """The names of tasks that died, or ended by themselves."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: JournalError | None = None
        self._fault: BaseException | None = None

    def start(self, name: str, work: Coroutine[Any, Any, None], *, lasting: bool = True) -> None:
        """Start a task; one that is `lasting` must not end before `end` is set."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, lasting=lasting))

    def fail(self, error: JournalError) -> None:
        """End all because the journal failed."""
        self._failed = self._failed or error
        self.end.set()

    async def watch(self, patience: float) -> None:
        """Return when all have ended, which they have `patience` seconds for once `end` is set.

        Raises the JournalError for which they ended, or whatever else a task died of.
        """
        await self.end.wait()
        deadline = time.monotonic() + patience
        while self._tasks:  # one of them may start another while it ends
            left = max(0.0, deadline - time.monotonic())
            _, late = await asyncio.wait(set(self._tasks), timeout=left)
            for task in late:
                log.error("task.cut_off", task=task.get_name())
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._fault is not None:
            raise self._fault
        if self._failed is not None:
            raise self._failed

    def _ended(self, task: "asyncio.Task[None]", *, lasting: bool) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            if (lasting or task.cancelled()) and not self.end.is_set():
                self.died.append(task.get_name())
                self._note(RuntimeError(f"the task {task.get_name()} ended by itself"))
        elif isinstance(error, JournalError):
            self.fail(error)
        elif isinstance(error, PhononBulkError):  # whoever started all says what it is
            self._note(error)
        else:
            self.died.append(task.get_name())
            log.error("task.died", task=task.get_name(), error=type(error).__name__)
            self._note(error)

    def _note(self, fault: BaseException) -> None:
        self._fault = self._fault or fault
        self.end.set()
