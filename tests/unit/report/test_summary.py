"""Sums, states, exit codes, words."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import make_batch, make_left_out, make_run

from phonon_bulk.batch import State
from phonon_bulk.call import LeftOut
from phonon_bulk.errors import Exit, PhononBulkError
from phonon_bulk.journal import Control, Kind, Run, RunCounts
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.journal.sqlite import SqliteJournal
from phonon_bulk.report.summary import Summary, add_up, resuming, summarize, to_table, to_text


def summary(
    calls: dict[State, int],
    *,
    accepted: int | None = None,
    rejected: int = 0,
    suppressed: int = 0,
    duplicates: int = 0,
    read: bool = True,
    control: Control = Control.GO,
    reason: str | None = None,
    kind: Kind = Kind.LIST,
) -> Summary:
    """Return the summary of a run with so many calls in each state."""
    total = sum(n for state, n in calls.items() if state is not State.SPLIT)
    run = Run(
        id=7,
        campaign="reminder",
        account="default",
        endpoint="bulk",
        flow_id="QG8k000A",
        definition="{}",
        list="{}",
        list_sha256="",
        not_after=None,
        identity="",
        variant=0,
        created_at=0.0,
        read_at=1.0 if read else None,
        whole=1,
        control=control,
        reason=reason,
        rows=total + rejected + suppressed + duplicates,
        rejected=rejected,
        suppressed=suppressed,
        duplicates=duplicates,
        calls=total,
        kind=kind,
    )
    if accepted is None:
        accepted = calls.get(State.ACCEPTED, 0)
    counts = RunCounts(dict.fromkeys(calls, 1), calls, accepted, len(calls), None)
    return add_up(run, counts, 2.0, [])


A, R = State.ACCEPTED, State.REFUSED


@pytest.mark.parametrize(
    ("made", "state", "code"),
    [
        (summary({A: 5}), "done", Exit.DONE),
        (summary({A: 5, State.SPLIT: 9}), "done", Exit.DONE),
        (summary({A: 5}, rejected=1), "done", Exit.SOME_FAILED),
        (summary({A: 5}, suppressed=2, duplicates=3), "done", Exit.DONE),
        (summary({}, suppressed=2), "done", Exit.DONE),
        (summary({A: 5}, suppressed=2, rejected=1), "done", Exit.SOME_FAILED),
        (summary({A: 5, R: 1}), "done", Exit.SOME_FAILED),
        (summary({A: 5}, accepted=4), "done", Exit.SOME_FAILED),
        (summary({A: 5, State.EXPIRED: 1}), "done", Exit.SOME_FAILED),
        (summary({A: 5, State.ABANDONED: 1}), "done", Exit.SOME_FAILED),
        (summary({A: 5, State.IN_DOUBT: 1}), "in_doubt", Exit.IN_DOUBT),
        (summary({A: 5, State.IN_DOUBT: 1}, rejected=2), "in_doubt", Exit.IN_DOUBT),
        (summary({A: 5, State.READY: 1}), "sending", Exit.STOPPED),
        (summary({A: 5, State.CLAIMED: 1}), "sending", Exit.STOPPED),
        (summary({A: 5, State.SENDING: 1, State.IN_DOUBT: 1}), "sending", Exit.STOPPED),
        (summary({A: 5}, read=False), "reading", Exit.STOPPED),
        (summary({State.READY: 5}, control=Control.PAUSED), "paused", Exit.STOPPED),
        (summary({State.READY: 5}, control=Control.STOPPED), "stopped", Exit.BLOCKED),
        (summary({A: 1}, control=Control.STOPPED, read=False), "stopped", Exit.BLOCKED),
        (summary({A: 5, State.CANCELLED: 5}, control=Control.CANCELLED), "cancelled", 1),
        (summary({}), "done", Exit.DONE),
    ],
)
def test_state_and_exit(made: Summary, state: str, code: int) -> None:
    """Each way a run can stand has its word and its exit code."""
    assert (made.state, made.exit) == (state, code)


def test_the_sum_of_a_partial_success() -> None:
    """Calls that a partial success leaves out are refused, and the sum is kept."""
    made = summary({A: 500}, accepted=480)
    assert (made.accepted, made.refused, made.calls) == (480, 20, 500)


def test_sums_that_do_not_agree_are_a_fault() -> None:
    """A call that is nowhere is never papered over."""
    run = Run(
        campaign="",
        account="",
        endpoint="",
        flow_id="",
        definition="",
        list="",
        list_sha256="",
        identity="",
        not_after=None,
        variant=0,
        id=1,
        created_at=0,
        read_at=1,
        whole=1,
        control=Control.GO,
        reason=None,
        rows=10,
        rejected=0,
        suppressed=0,
        duplicates=0,
        calls=10,
    )
    with pytest.raises(PhononBulkError, match="does not add up") as caught:
        add_up(run, RunCounts({A: 1}, {A: 9}, 9, 1, None), 0, [])
    assert caught.value.exit_code == Exit.FAULT


def test_in_words() -> None:
    """The text shows both sums, and what is not zero."""
    text = to_text(summary({A: 1000, State.IN_DOUBT: 500}, rejected=3))
    assert "rows read          1,503" in text
    assert "= rejected               3" in text
    assert "+ in doubt             500" in text
    assert "expired" not in text
    assert "finished but for calls in doubt" in text


def test_rows_left_out_on_purpose_are_in_the_sum() -> None:
    """The text shows suppressed rows and duplicates where there are some."""
    text = to_text(summary({A: 1000}, suppressed=20, duplicates=3))
    assert "rows read          1,023" in text
    assert "+ suppressed            20" in text
    assert "+ duplicates             3" in text
    assert "suppressed" not in to_text(summary({A: 1000}))


async def test_reasons_and_notes(tmp_path: Path) -> None:
    """Each row left out has its own state, and what was changed in calls is said with its row."""
    journal = SqliteJournal(tmp_path / "j")
    run = (await journal.open_run(make_run(), 0.0)).run
    left_out = [make_left_out(row, state) for row, state in enumerate(LeftOut, 3)]
    notes = [("start-time moved", 1, 1), ("a number was left out", 2, 1)]
    await journal.append(run, [make_batch([1, 2])], left_out, after_row=0, last_row=5, notes=notes)
    await journal.close()
    with SqliteBooks(tmp_path / "j") as books:
        made = summarize(books, run)
    assert [(entry["state"], entry["row"]) for entry in made.reasons] == [
        ("rejected", 3),
        ("suppressed", 4),
        ("duplicate", 5),
    ]
    assert made.to_dict()["notes"] == [
        {"note": "a number was left out", "contacts": 2, "row": 1},
        {"note": "start-time moved", "contacts": 1, "row": 1},
    ]
    *_, why, one, two, three, _, changed, first, second = to_text(made).splitlines()
    assert (why, changed) == ("  why not:", "  changed in calls:")
    assert [line.split(":")[0].split() for line in (one, two, three)] == [
        ["1", "rejected"],
        ["1", "suppressed"],
        ["1", "duplicate"],
    ]
    assert first.split(None, 1) == ["2", "a number was left out (row 1, for one)"]
    assert second.split(None, 1) == ["1", "start-time moved (row 1, for one)"]


def test_a_note_costs_no_exit_code() -> None:
    """What was changed in a call and sent is no failure; without notes nothing is said of them."""
    made = replace(summary({A: 5}), notes=[{"note": "moved", "contacts": 5, "row": 1}])
    assert made.exit == Exit.DONE
    assert "changed in calls:" in to_text(made)
    assert "changed" not in to_text(summary({A: 5}))


def test_a_stopped_run_says_why() -> None:
    """The first line of a stopped run has the provider's reason."""
    text = to_text(summary({State.READY: 5}, control=Control.STOPPED, reason="Invalid Flow ID"))
    assert text.startswith("run 7 · reminder · stopped: Invalid Flow ID")


@pytest.mark.parametrize("control", [Control.PAUSED, Control.CANCELLED])
def test_a_run_that_is_held_says_by_whom(control: Control) -> None:
    """Whoever finds it so at night knows whom to ask."""
    text = to_text(summary({State.READY: 5}, control=control, reason=f"{control} by asha@vm"))
    assert text.startswith(f"run 7 · reminder · {control} by asha@vm\n")
    assert to_text(summary({State.READY: 5}, control=control)).startswith(
        f"run 7 · reminder · {control}\n"
    )


def test_an_unread_list_is_said() -> None:
    """If rows are still to be read, the text says up to which row they are."""
    assert "up to row 5 only" in to_text(summary({A: 5}, read=False))


def test_single_calls_have_no_list() -> None:
    """Nothing is to be read on; a worker alone sends them, and lets them go on."""
    text = to_text(summary({A: 5}, read=False, kind=Kind.INTAKE))
    assert text.startswith("run 7 · reminder · single calls of a day, more may come")
    assert "phonon-bulk worker" in text
    assert "list" not in text
    assert "resume" not in text
    held = summary({A: 5}, read=False, kind=Kind.INTAKE, control=Control.PAUSED)
    assert resuming(held) == "`phonon-bulk resume 7 --to-worker`"
    assert "--to-worker" in resuming(summary({A: 5}))


def test_who_is_at_work_is_said_by_the_clock_of_india() -> None:
    """As all other times of day that a summary has."""
    made = replace(
        summary({State.READY: 5}),
        at_work=[{"host": "vm", "pid": 12, "what": "sends", "since": 1_795_493_730.0}],
    )
    assert "process 12 on vm sends since 09:45 (India); no answer yet" in to_text(made)
    later = to_text(replace(made, settled_at="2026-11-24T09:52:07+05:30"))
    assert "since 09:45 (India); the last answer at 09:52:07 on 2026-11-24" in later
    assert "process 12" not in to_text(made, at_work=False)


def test_the_table() -> None:
    """A line each, figures to the right; and a sentence where there are none."""
    lines = to_table([summary({A: 12345})]).splitlines()
    heads = "run campaign state calls accepted to send in doubt"
    assert lines[0].split() == heads.split()
    assert lines[1].split() == ["7", "reminder", "done", "12,345", "12,345", "0", "0"]
    assert to_table([]) == "no runs in this journal yet"
