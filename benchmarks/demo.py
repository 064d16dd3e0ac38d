"""`make demo`: a whole campaign on this machine, checked call by call. Nothing leaves it.

Generates a contact list with some bad rows, starts a simulated Phonon, sends the list to it,
exports what became of every contact, and compares that with the simulator's own books. All files
are in demo/, which is made anew each time.
"""

import contextlib
import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from contacts import Wanted, Written, in_words, tomorrow, write
from local_phonon import FLOW_ID, SECURITY_ID, LocalPhonon, environment, program, simulating

FOLDER = Path(__file__).resolve().parent.parent / "demo"
CONTACTS = 100_000
BAD = 0.001

_SOME_FAILED = 1
_STOPPED = 5
"""Exit codes of `phonon-bulk run`: some contacts failed; stopped by a signal."""

_DRAIN_SECONDS = 10.0

SETTINGS = """\
# Made by `make demo`. Three lines are enough to send to a simulator.
journal = "sqlite:journal.db"
security_id_file = "security-id"

[endpoints.bulk]
url = "{url}"
"""

CAMPAIGN = """\
[campaign]
name = "demo"
flow_id = "{flow_id}"

[source]
path = "contacts.csv"        # in Phonon's own template, so there is no [mapping]
"""


class Placed(NamedTuple):
    """One call as both books have it."""

    client_identifier: str
    contact_numbers: str
    request_id: str


def main() -> int:
    """Run the demo; return 0 if both books agree."""
    signal.signal(signal.SIGTERM, _told)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _told)
    began = time.monotonic()
    _make_folder()
    written = _make_list()
    with simulating() as phonon:
        _show(f"phonon-bulk simulate --port {phonon.port} &")
        print(phonon.announcement)
        _make_files(phonon)
        problems = _run_campaign(written)
        problems += _export() or _compare(written, phonon)
    _conclude(problems, phonon.port, time.monotonic() - began)
    return 1 if problems else 0


def _told(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


# ---- what is needed


def _make_folder() -> None:
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    os.chdir(FOLDER)
    print("Everything below is in the folder demo/. To repeat a command by hand:")
    print(f'    cd {FOLDER.name} && export PATH="{Path(program()).parent}:$PATH"')


def _make_list() -> Written:
    _show(f"python ../benchmarks/contacts.py contacts.csv -n {CONTACTS} --bad {BAD} --start-time")
    wanted = Wanted(CONTACTS, bad=BAD, start_day=tomorrow())
    written = write(wanted, Path("contacts.csv"))
    print(in_words(written))
    print("Nobody is in it: names and numbers are generated, and go to the simulator only.")
    return written


def _make_files(phonon: LocalPhonon) -> None:
    secret = Path("security-id")
    secret.touch(mode=0o600)
    secret.write_text(SECURITY_ID + "\n", encoding="ascii")
    _make_file("phonon-bulk.toml", SETTINGS.format(url=phonon.bulk_url))
    _make_file("campaign.toml", CAMPAIGN.format(flow_id=FLOW_ID))


def _make_file(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8")
    _show(f"cat {name}")
    print(text, end="")


# ---- the campaign


def _run_campaign(written: Written) -> list[str]:
    """Check the list and send it; return what is wrong."""
    code = _command("check", "campaign.toml")
    if code != _SOME_FAILED:
        return [f"`check` ended with exit code {code} instead of {_SOME_FAILED}"]
    code = _command("run", "campaign.toml")
    if code == _STOPPED:
        raise KeyboardInterrupt  # it was told to stop, and so are we
    if code != _SOME_FAILED:
        return [f"`run` ended with exit code {code} instead of {_SOME_FAILED}"]
    print(f"(exit code 1, as it should be: {written.bad.total()} rows are bad on purpose)")
    return []


def _export() -> list[str]:
    """Export what became of each contact and show some of it; return what is wrong."""
    code = _command("export", "1", "-o", "export.csv")
    if code:
        return [f"`export` ended with exit code {code} instead of 0"]
    with Path("export.csv").open(encoding="utf-8") as file:
        lines = iter(file)
        _show("head -n 4 export.csv; grep -m 3 rejected export.csv")
        print("".join(islice(lines, 4)), end="")
        print("".join(islice((line for line in lines if ",rejected," in line), 3)), end="")
    return []


def _command(*words: str) -> int:
    """Show a command of the program, run it, and return its exit code."""
    _show(shlex.join(["phonon-bulk", *words]))
    with _child([program(), *words]) as process:
        return process.wait()


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command that shares our terminal; whatever happens, it has ended after the block."""
    process = subprocess.Popen(command, env=environment())
    try:
        yield process
    finally:
        # Ctrl-C has told the child as well: let it settle what is under way, and end it if it
        # was only us who were told. A second Ctrl-C must not leave it running.
        for stop in (None, process.terminate, process.kill):
            if process.poll() is None:
                if stop:
                    stop()
                with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                    process.wait(_DRAIN_SECONDS if stop else 2.0)


# ---- both books


def _compare(written: Written, phonon: LocalPhonon) -> list[str]:
    """Hold the export against the list and the simulator's ledger; return what differs."""
    _show(f"curl -s http://127.0.0.1:{phonon.port}/ledger    # the simulator's books")
    with Path("export.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    states = Counter(line["state"] for line in lines)
    accepted = Counter(_of_export(line) for line in lines if line["state"] == "accepted")
    try:
        ledger = Counter(map(_of_ledger, phonon.ledger()))
    except OSError as error:
        return [f"the simulator's ledger can't be read ({error})"]
    print(
        f"{len(lines):,} contacts in the export: "
        + ", ".join(f"{count:,} {state}" for state, count in states.most_common())
    )
    print(f"{ledger.total():,} calls in the simulator's ledger")
    return (
        _differences(written, lines, states)
        + _only_in("the export", accepted - ledger)
        + _only_in("the ledger", ledger - accepted)
    )


def _of_export(line: dict[str, str]) -> Placed:
    return Placed(line["client_identifier"], line["contact_numbers"], line["request_id"])


def _of_ledger(call: dict[str, Any]) -> Placed:
    numbers = " ".join(call["contact-numbers"])
    return Placed(call["client-identifier"], numbers, call["request-id"])


def _differences(written: Written, lines: list[dict[str, str]], states: Counter[str]) -> list[str]:
    """Return what the export should have from the list, and has not."""
    bad = written.bad.total()
    problems = []
    if [line["row"] for line in lines] != [str(row + 1) for row in range(written.rows)]:
        problems.append(f"the export does not have each of the rows 1 to {written.rows:,} once")
    if states != {"accepted": written.rows - bad, "rejected": bad}:
        problems.append(f"{written.rows - bad:,} should be accepted and {bad:,} rejected")
    if not all(line["reason"] for line in lines if line["state"] == "rejected"):
        problems.append("rows are rejected without a reason")
    return problems


def _only_in(book: str, calls: Counter[Placed]) -> list[str]:
    """Return the calls that one book has more often than the other, the first three by name."""
    if not calls:
        return []
    some = "; ".join(str(tuple(call)) for call in islice(calls, 3))
    return [f"{calls.total():,} calls are only in {book}: {some}"]


def _conclude(problems: list[str], port: int, seconds: float) -> None:
    for problem in problems:
        print(f"DISAGREES: {problem}")
    if problems:
        return
    print(
        "\nBoth books agree, call by call: each accepted contact is in the ledger exactly once,"
        "\nwith its identifier, numbers and request-id, and nothing else is in the ledger."
        f"\nThat took {seconds:.0f} seconds. To look around:"
        "\n    cd demo"
        f"\n    phonon-bulk simulate --port {port} &      # it was stopped; run needs it"
        "\n    phonon-bulk runs; phonon-bulk status 1; phonon-bulk --help"
    )


def _show(command: str) -> None:
    # Flushed, because what the command prints does not go through our buffer.
    print(f"\n$ {command}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ndemo: stopped; nothing is left running")
