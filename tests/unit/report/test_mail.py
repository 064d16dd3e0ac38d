"""The report of a command: one line for a subject, a text for a mail, JSON for machines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.errors import Exit
from phonon_bulk.report.mail import COLUMNS, Report, subject, to_json, to_text, write
from phonon_bulk.report.summary import Summary

SUMMARY = Summary(
    run=7,
    campaign="reminder",
    state="done",
    rows=1_203,
    rejected=2,
    suppressed=0,
    duplicates=1,
    calls=1_200,
    accepted=1_199,
    refused=1,
    expired=0,
    cancelled=0,
    in_doubt=0,
    abandoned=0,
    to_send=0,
    batches=3,
    requests=5,
    seconds=2.5,
    exit=1,
    list_read=True,
    reasons=[
        {"state": "rejected", "reason": "no usable number: tel1 is empty", "contacts": 2, "row": 7},
        {"state": "refused", "reason": "Invalid Contact Number", "contacts": 1},
    ],
    notes=[{"note": "start-time moved to the next opening", "contacts": 4, "row": 9}],
)
BEGAN = 1_795_000_000.0


def report(**changes: Any) -> Report:
    """Return a report of a run with two bad rows."""
    fields: dict[str, Any] = {
        "command": "run",
        "given": "reminder.toml",
        "started_at": BEGAN,
        "ended_at": BEGAN + 4_210,
        "exit": Exit.SOME_FAILED,
        "advice": ("2 rejected: `phonon-bulk export 7 --only rejected -o mend.csv` writes them",),
        "summary": SUMMARY,
        **changes,
    }
    return Report(**fields)


@pytest.mark.parametrize(
    ("code", "changes", "said"),
    [
        (Exit.DONE, {"accepted": 1_203, "rows": 1_203}, "run 7: done, 1,203 of 1,203 accepted"),
        (Exit.SOME_FAILED, {}, "run 7: finished, 3 not placed, 1,199 of 1,203 accepted"),
        (Exit.BLOCKED, {}, "run 7: BLOCKED, 1,199 of"),
        (Exit.IN_DOUBT, {"in_doubt": 500}, "run 7: 500 in doubt, 1,199 of"),
        (Exit.STOPPED, {"to_send": 400}, "run 7: stopped, 400 to send, 1,199 of"),
        (Exit.STOPPED, {}, "run 7: stopped, 1,199 of"),
        (Exit.FAULT, {}, "run 7: FAILED, 1,199 of"),
    ],
)
def test_the_subject_says_how_it_ended(code: Exit, changes: dict[str, Any], said: str) -> None:
    """First what asks for something to be done, then how many were accepted."""
    line = subject(report(exit=code, summary=replace(SUMMARY, **changes)))
    assert said in line
    assert line.endswith("(reminder)")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (Exit.UNUSABLE, "phonon-bulk run: nothing was sent (reminder.toml)"),
        (Exit.STOPPED, "phonon-bulk run: stopped before its end (reminder.toml)"),
        (Exit.FAULT, "phonon-bulk run: ended by a fault of the program (reminder.toml)"),
    ],
)
def test_a_command_that_never_had_a_run(code: Exit, said: str) -> None:
    """It is told by what it was given, with the sentence that it ended with."""
    text = to_text(report(exit=code, summary=None, advice=("reminder.toml: no such file",)))
    assert text.splitlines()[0] == said
    assert "  - reminder.toml: no such file" in text


def test_a_submission_is_told_by_what_is_ready() -> None:
    """Nothing was accepted yet, and that is as it should be."""
    line = subject(report(command="submit", exit=Exit.DONE))
    assert line == "phonon-bulk submit 7: 1,200 calls ready to be sent (reminder)"
    assert "2 not placed" in subject(report(command="submit"))


def test_one_that_was_killed() -> None:
    """What was written when it began stays, and says that no end is known."""
    killed = report(ended_at=None, exit=None, summary=None, advice=())
    assert "no end recorded (reminder.toml)" in subject(killed)
    assert "it is still running, or it was killed" in to_text(killed)
    record = orjson.loads(to_json(killed))
    assert (record["outcome"], record["exit"], record["ended_at"]) == ("running", None, None)


def test_the_text_has_sums_reasons_and_steps() -> None:
    """All that somebody who was not there needs."""
    text = to_text(report())
    assert "exit code:  1, finished, but not all contacts were placed\n" in text
    assert "after 1 h 10 min\n" in text
    assert "    + duplicates             1\n" in text
    assert "           2 rejected: no usable number: tel1 is empty (row 7, for one)\n" in text
    assert "           1 refused: Invalid Contact Number\n" in text
    assert "           4 start-time moved to the next opening (row 9, for one)\n" in text
    assert "`phonon-bulk export 7 --only rejected -o mend.csv`" in text
    assert "up to row" not in text
    assert "up to row 1,203 only" in to_text(report(summary=replace(SUMMARY, list_read=False)))


def test_json_is_the_summary_and_more() -> None:
    """The fields of --json, when it began and ended, how, and what to do."""
    record = orjson.loads(to_json(report()))
    assert {name: record[name] for name in SUMMARY.to_dict()} == SUMMARY.to_dict()
    assert (record["outcome"], record["exit"], record["command"]) == ("some_failed", 1, "run")
    assert record["advice"] == list(report().advice)
    assert record["started_at"][:10] == "2026-11-18"
    assert set(record) == set(orjson.loads(to_json(report(summary=None))))


@given(name=st.text(), advice=st.lists(st.text()), reason=st.text(), code=st.sampled_from(Exit))
def test_any_text_fits_a_mail(name: str, advice: list[str], reason: str, code: Exit) -> None:
    """No line is too long, the first is plain ASCII and not empty, nothing unseen is in it."""
    summary = replace(
        SUMMARY, campaign=name, reasons=[{"state": "rejected", "reason": reason, "contacts": 1}]
    )
    made = report(summary=summary, advice=tuple(advice), exit=code)
    text = to_text(made)
    lines = text.split("\n")
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].isascii()
    assert lines[0].isprintable()
    assert lines[0].startswith("phonon-bulk run 7: ")
    assert lines[1] == ""
    assert all(line.isprintable() for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_a_file_is_written_whole_and_for_its_owner(tmp_path: Path) -> None:
    """In the place of the one that is there; nothing else is left in the folder."""
    for name in ("r.txt", "r.json", "R.JSON", "report"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o666)
        write(report(), tmp_path / name)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (
        (tmp_path / "report").read_text() == (tmp_path / "r.txt").read_text() == to_text(report())
    )
    assert orjson.loads((tmp_path / "r.json").read_bytes())["run"] == 7
    assert (tmp_path / "R.JSON").read_bytes() == (tmp_path / "r.json").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "R.JSON",
        "r.json",
        "r.txt",
        "report",
    ]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """The link stays one."""
    (tmp_path / "link").symlink_to(tmp_path / "real.txt")
    write(report(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.txt").read_text() == to_text(report())


@pytest.mark.parametrize("path", ["no/such/folder.txt", ".", "/dev/null"])
def test_what_can_not_be_written(tmp_path: Path, path: str) -> None:
    """A device is not replaced, a folder is not made; nothing is left."""
    with pytest.raises(OSError, match=r"file|folder|directory"):
        write(report(), tmp_path / path)
    assert list(tmp_path.iterdir()) == []
    assert Path("/dev/null").is_char_device()


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full takes no report away."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "r.txt").write_text("last night's")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(report(), tmp_path / "r.txt")
    assert (tmp_path / "r.txt").read_text() == "last night's"
    assert [file.name for file in tmp_path.iterdir()] == ["r.txt"]
