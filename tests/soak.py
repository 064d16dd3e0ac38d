"""A day in an hour: a worker under all that may happen to it, and then both sides' books.

    python tests/soak.py 30 --seed 7

One worker, the simulator as its provider, and for so many minutes: lists are submitted by processes
of their own, runs are paused, resumed, cancelled and pruned; single calls come by HTTP, alone, in
lists and in bursts, and are repeated; the provider fails in each of the simulator's ways, and comes
back; another program holds the journal locked; the settings are reloaded. In the middle part the
worker is killed (SIGKILL), told to stop (SIGTERM, once or twice) and started again, over and over;
before and after it lives undisturbed, which is where its memory is looked at.

In the end the provider is well, doubts that nothing can prove are settled by its ledger, and then
ledger and journal must agree call by call, `audit` must find every promise kept, and the ledger's
worst 60 seconds must be within the limits. The seed replays the choices, but not the moments.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
from desk import Desk
from soaking.callers import Callers
from soaking.judge import Verdict, judge
from soaking.operators import Operators
from soaking.stage import LIMITS, Stage, say, staged
from soaking.troubles import Troubles


@dataclass(frozen=True, slots=True)
class Plan:
    """When what happens, in seconds from the beginning; and how much of it."""

    seconds: float
    rough_from: float
    rough_until: float
    pace: float
    """Seconds between two things of a kind, about."""
    largest: int
    """Contacts of the largest lists."""

    @property
    def lives(self) -> tuple[tuple[float, float], ...]:
        """The spans in which the worker is let live."""
        return (0.0, self.rough_from), (self.rough_until, self.seconds)


def plan_of(minutes: float) -> Plan:
    """Return the plan of a soak that long: two fifths in peace, a quarter rough, the rest in peace.

    A short one has everything in smaller numbers and at a faster pace.
    """
    seconds = minutes * 60
    short = minutes < 5
    return Plan(
        seconds=seconds,
        rough_from=0.4 * seconds,
        rough_until=0.65 * seconds,
        pace=2.5 if short else 8.0,
        largest=1_500 if short else 12_000,
    )


async def soak(folder: Path, minutes: float, seed: int) -> Verdict:
    """Play a soak in an empty folder; return what came of it."""
    plan = plan_of(minutes)
    async with staged(Desk(folder), seed) as stage:
        callers = Callers(stage, plan.pace)
        operators = Operators(stage, plan.pace, plan.largest)
        troubles = Troubles(stage, plan.pace)
        await play(plan, stage, callers, operators, troubles)
        say("the time is over: the provider is well, and what is left is settled")
        await troubles.end()
        await callers.ask_again()
        await operators.settle()
        tickets = await callers.tickets()
        await stage.stop()
        return await asyncio.to_thread(
            judge, stage, callers.orders, tickets, operators.lists, plan.lives
        )


async def play(
    plan: Plan, stage: Stage, callers: Callers, operators: Operators, troubles: Troubles
) -> None:
    """Let everything happen for its time. Whatever fails in it ends the soak."""
    async with asyncio.TaskGroup() as tasks:
        for part in (*callers.parts(), *operators.parts(), *troubles.parts()):
            tasks.create_task(part)
        tasks.create_task(stage.watch())
        tasks.create_task(_rough(plan, stage, troubles))
        while not stage.over.is_set():
            await stage.rest(min(60.0, plan.seconds / 4, plan.seconds - stage.seconds()))
            say(stage.in_words())
            if stage.seconds() >= plan.seconds:
                stage.over.set()


async def _rough(plan: Plan, stage: Stage, troubles: Troubles) -> None:
    await stage.rest(plan.rough_from)
    say("from now on the worker is killed and stopped")
    while stage.seconds() < plan.rough_until and not stage.over.is_set():
        await troubles.end_worker()
    say("from now on the worker is let live")


def main() -> None:
    """Soak as the command line says; exit 1 if something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("minutes", type=float, nargs="?", default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the figures are written")
    given = parser.parse_args()
    say(f"seed {given.seed}, {given.minutes:g} minutes, limits {LIMITS}")
    with tempfile.TemporaryDirectory() as folder:
        verdict = asyncio.run(soak(Path(folder), given.minutes, given.seed))
    record = {"minutes": given.minutes, "seed": given.seed, **verdict.to_dict()}
    text = orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sys.stdout.buffer.write(text)
    if given.out:
        given.out.write_bytes(text)
    sys.exit(not (verdict.good and verdict.flat))


if __name__ == "__main__":
    main()
