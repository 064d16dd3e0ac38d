"""The audit on real journals: it finds every promise kept, and whichever is broken on purpose."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import DAY, make_batch, make_left_out, make_run

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut
from phonon_bulk.journal import Moment, Settlement
from phonon_bulk.journal.evidence import History, SqliteEvidence, Try
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.audit import Finding, audit, state_by_evidence, to_text
from phonon_bulk.response import Verdict
from phonon_bulk.schedule import Limits

ME, HEAD, OTHER_HEAD = "me", b"h" * 32, b"o" * 32
NOW = 1_795_400_000.0
ACCEPTED = Settlement(State.ACCEPTED, Verdict.ACCEPTED, accepted=2, request_id="r")
REFUSED = Settlement(State.REFUSED, Verdict.BAD_DATA, reason="Invalid Contact Number (205)")
DOUBT = Settlement(State.IN_DOUBT, Verdict.LOST, reason="no answer")
AGAIN = Settlement(State.READY, Verdict.THROTTLED, reason="HTTP 429", denied=True)
REPEATED = Settlement(State.ACCEPTED, Verdict.REPEATED, accepted=2, reason="taken before")


def at(seconds: float) -> Moment:
    """Return a moment so many seconds after the first, on both clocks."""
    return Moment(NOW + seconds, NOW + seconds)


async def _one(journal: SqliteJournal, run: int, seconds: float, *ends: Settlement) -> int:
    """Claim, send and settle a batch, once for each of `ends`; later ones are replays or tries."""
    batch = 0
    for number, end in enumerate(ends):
        moment = at(seconds + number)
        claims = await journal.claim(run, owner=ME, limit=1, now=moment, lease=60)
        doubts = await journal.doubts(run, limit=1, now=moment, within=600, today=str(DAY), but=())
        if doubts:
            await journal.replay(doubts[0], ME, moment, 60)
            await journal.release([claim.batch for claim in claims], ME)
        else:
            await journal.send(claims[0], HEAD, ME, moment, 60)
        batch = (doubts or claims)[0].batch
        await journal.settle(batch, end, ME, moment.wall)
    return batch


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a journal with a bit of everything: accepted, refused, doubts, proofs, splits."""
    journal = SqliteJournal(tmp_path / "journal.db")
    run = (await journal.open_run(make_run(), NOW)).run
    pairs = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (12, 13), (14, 15)]
    states = {11: LeftOut.REJECTED, 16: LeftOut.SUPPRESSED, 17: LeftOut.DUPLICATE}
    left_out = [make_left_out(row, state) for row, state in states.items()]
    batches = [make_batch(pair) for pair in pairs]
    await journal.append(run, batches, left_out, after_row=0, last_row=17)
    await journal.finish_reading(run, NOW)
    await _one(journal, run, 0, ACCEPTED)
    await _one(journal, run, 10, AGAIN, ACCEPTED)
    await _one(journal, run, 20, DOUBT, REPEATED)
    (claim,) = await journal.claim(run, owner=ME, limit=1, now=at(30), lease=60)
    await journal.send(claim, HEAD, ME, at(30), 60)
    halves = [make_batch([7]), make_batch([8])]
    bad = Settlement(State.SPLIT, Verdict.BAD_DATA)
    await journal.split(claim, halves, ME, NOW + 31, answered=bad, reason="bad")
    await _one(journal, run, 32, REFUSED)
    one = Settlement(State.ACCEPTED, Verdict.ACCEPTED, accepted=1, request_id="r")
    await _one(journal, run, 33, one)
    doubted = await _one(journal, run, 40, DOUBT)
    await journal.resolve(run, [doubted], State.ACCEPTED, who="asha@desk", now=at(50))
    await _one(journal, run, 700, DOUBT)
    (claim,) = await journal.claim(run, owner=ME, limit=1, now=at(800), lease=60)
    await journal.send(claim, HEAD, ME, at(800), 60)
    await journal.close()
    return tmp_path / "journal.db"


def findings(path: Path, run: int | None = None, limit: int | None = 500) -> list[Finding]:
    """Return what the audit finds."""
    with SqliteEvidence(path) as evidence:
        return audit(evidence, run, lambda _endpoint: Limits(limit, None))


@pytest.mark.parametrize("run", [None, 1])
def test_all_hold(path: Path, run: int | None) -> None:
    """A journal in which everything happened keeps every promise."""
    found = findings(path, run)
    assert [finding.faults for finding in found] == [[], [], [], [], []]
    text = to_text(found)
    assert text.count("holds") == 5
    assert "1 runs, 17 rows" in text
    assert "at most 9 requests of 500" in text


def _sabotage() -> Iterator[tuple[int, str]]:
    yield 1, "UPDATE batch SET calls = 1 WHERE id = 1"
    yield 1, "UPDATE run SET rows = rows + 1, calls = calls + 1"
    yield 1, "DELETE FROM left_out WHERE state = 'rejected'"
    yield 1, "DELETE FROM left_out WHERE state = 'duplicate'"
    yield 1, "UPDATE left_out SET row = 3 WHERE state = 'suppressed'"
    yield 1, "UPDATE left_out SET state = 'rejected' WHERE state = 'suppressed'"
    yield 1, "UPDATE run SET suppressed = 2, duplicates = 0"
    yield 1, "UPDATE batch SET first_row = 3 WHERE id = 1"
    yield 1, "UPDATE batch SET first_row = 300 WHERE id = 1"
    yield 1, "UPDATE batch SET parent = NULL WHERE first_row = 8"
    yield 2, "DELETE FROM body WHERE batch = 1"
    yield 2, "UPDATE body SET calls = x'00' WHERE batch = 1"
    yield 2, "UPDATE body SET calls = (SELECT calls FROM body WHERE batch = 2) WHERE batch = 1"
    yield 2, "UPDATE attempt SET head_sha256 = randomblob(32) WHERE batch = 3 AND n = 2"
    yield 2, "UPDATE batch SET sha256 = (SELECT sha256 FROM batch WHERE id = 1) WHERE id = 2"
    yield 3, "UPDATE attempt SET verdict = 'lost' WHERE batch = 1"
    yield 3, "UPDATE attempt SET verdict = 'accepted' WHERE batch = 6"
    yield 3, "DELETE FROM attempt WHERE batch = 1"
    yield 3, "UPDATE attempt SET verdict = 'throttled' WHERE batch = 3 AND n = 1"
    yield 3, "DELETE FROM resolution"
    yield 3, "UPDATE attempt SET ended_at = 1 WHERE batch = 7"
    yield 5, "UPDATE left_out SET reason = ' ' WHERE state = 'duplicate'"
    yield 5, "UPDATE batch SET reason = NULL WHERE state = 'refused'"
    yield 5, "UPDATE batch SET calls = 2 WHERE state = 'refused'"


@pytest.mark.parametrize(("promise", "statement"), list(_sabotage()))
def test_each_broken_promise_is_found(path: Path, promise: int, statement: str) -> None:
    """Whatever is changed behind the journal's back, the promise that it breaks is named."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    assert connection.execute(statement).rowcount >= 1
    connection.close()
    broken = [finding.number for finding in findings(path) if not finding.holds]
    assert promise in broken


def test_a_limit_that_was_exceeded(path: Path) -> None:
    """Of requests within 60 seconds the worst are counted; more than allowed is a fault."""
    assert findings(path, limit=9)[3].holds
    finding = findings(path, limit=8)[3]
    assert finding.faults == ["bulk (default): at most 9 requests of 8"]


def test_many_faults_are_cut_short(path: Path) -> None:
    """An operator is shown a few faults of each kind, and how many more there are."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE body SET calls = x'00'")
    connection.commit()
    connection.close()
    found = findings(path)
    assert len(found[1].faults) == 9
    assert "and 4 more" in to_text(found)


def history(*tries: Verdict | None, resolutions: tuple[tuple[int, State], ...] = ()) -> History:
    """Return the history of a batch with these answers."""
    lines = [Try(verdict is not None, verdict, HEAD) for verdict in tries]
    return History(1, 1, State.READY, lines, resolutions)


LOST, REPEAT, THROTTLED = Verdict.LOST, Verdict.REPEATED, Verdict.THROTTLED


@pytest.mark.parametrize(
    ("tries", "state"),
    [
        ((Verdict.ACCEPTED,), State.ACCEPTED),
        ((Verdict.PARTIAL,), State.ACCEPTED),
        ((LOST,), State.IN_DOUBT),
        ((None,), State.IN_DOUBT),
        ((Verdict.UNCLEAR, LOST, REPEAT), State.ACCEPTED),
        ((LOST, Verdict.ACCEPTED), State.ACCEPTED),
        ((Verdict.BAD_DATA,), State.READY),
        ((LOST, Verdict.BAD_DATA), State.IN_DOUBT),
        ((REPEAT,), State.READY),
        ((THROTTLED, REPEAT), State.READY),
        ((THROTTLED, LOST, REPEAT), State.IN_DOUBT),
        ((LOST, THROTTLED), State.IN_DOUBT),
        ((LOST, THROTTLED, REPEAT), State.IN_DOUBT),
        ((LOST, Verdict.NOT_SENT), State.IN_DOUBT),
        ((LOST, Verdict.HELD_BACK), State.IN_DOUBT),
        ((Verdict.NOT_SENT, Verdict.SETUP, Verdict.ACCEPTED), State.ACCEPTED),
    ],
)
def test_what_answers_prove(tries: tuple[Verdict | None, ...], state: State) -> None:
    """The rules of evidence, in a table of their own."""
    assert state_by_evidence(history(*tries)) is state


def test_what_persons_decide() -> None:
    """A decision holds until something else is known; resent bytes are still in doubt."""
    decided = ((1, State.READY),)
    assert state_by_evidence(history(LOST, resolutions=decided)) is State.READY
    assert state_by_evidence(history(LOST, REPEAT, resolutions=decided)) is State.ACCEPTED
    held = history(LOST, Verdict.HELD_BACK, resolutions=decided)
    assert state_by_evidence(held) is State.IN_DOUBT
    refused = history(LOST, Verdict.BAD_DATA, resolutions=decided)
    assert state_by_evidence(refused) is State.READY
    doubted = history(LOST, LOST, Verdict.BAD_DATA, resolutions=decided)
    assert state_by_evidence(doubted) is State.IN_DOUBT
    abandoned = ((1, State.ABANDONED),)
    assert state_by_evidence(history(LOST, resolutions=abandoned)) is State.ABANDONED


def test_other_bytes_prove_nothing() -> None:
    """Checksum Repeated for bytes with another head says nothing of those before."""
    tries = [Try(True, LOST, HEAD), Try(True, REPEAT, OTHER_HEAD)]
    resent = History(1, 1, State.REFUSED, tries, [(1, State.READY)])
    assert state_by_evidence(resent) is State.READY
