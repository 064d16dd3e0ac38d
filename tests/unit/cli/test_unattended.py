"""A command that nobody watches is reported, however it ends."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
import typer

from phonon_bulk.cli.ending import End
from phonon_bulk.cli.failing import InterruptedBySignal
from phonon_bulk.cli.session import Flags, begin_logging
from phonon_bulk.cli.unattended import Attendance, attended
from phonon_bulk.errors import Exit, JournalError, ListError, NotNowError, SettingsError
from phonon_bulk.report.summary import Summary

QUIET = Flags(None, None, quiet=True)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Give logging back as it was."""
    kept = None if logging.lastResort is None else logging.lastResort.level
    with warnings.catch_warnings():
        yield
    structlog.reset_defaults()
    if logging.lastResort is not None and kept is not None:
        logging.lastResort.setLevel(kept)


def ended(code: Exit) -> End:
    """Return an end with a summary."""
    names = [name for name in Summary.__slots__ if name not in {"reasons", "notes", "limit"}]
    fields: dict[str, Any] = {**dict.fromkeys(names, 0), "campaign": "c", "state": "done"}
    return End(code, Summary(**{**fields, "run": 4, "list_read": True, "exit": code}), ("do it",))


def work(files: list[Path], url: str | None = None) -> Any:
    """Attend to a command with reports."""
    return attended("run", "c.toml", QUIET, files, url)


def read(file: Path) -> dict[str, Any]:
    """Return a report."""
    record = orjson.loads(file.read_bytes())
    assert isinstance(record, dict)
    return record


def test_what_ended_is_reported(tmp_path: Path) -> None:
    """In each file, by its ending; one that was named twice is written once."""
    files = [tmp_path / "r.json", tmp_path / "r.txt", tmp_path / "r.json"]
    with work(files) as here:
        assert read(files[0])["outcome"] == "running"
        here.end = ended(Exit.SOME_FAILED)
    record = read(files[0])
    assert (record["run"], record["outcome"], record["advice"]) == (4, "some_failed", ["do it"])
    assert files[1].read_text().startswith("phonon-bulk run 4: finished")


@pytest.mark.parametrize(
    ("error", "outcome", "advice"),
    [
        (SettingsError(["a: 1", "b: 2"]), "unusable", ["a: 1", "b: 2"]),
        (ListError("no rows"), "unusable", ["no rows"]),
        (NotNowError("closed"), "stopped", ["closed"]),
        (JournalError("disk full"), "stopped", ["disk full"]),
        (InterruptedBySignal(), "stopped", ["interrupted; what was recorded is safe"]),
    ],
)
def test_what_failed_is_reported_and_still_raised(
    tmp_path: Path, error: BaseException, outcome: str, advice: list[str]
) -> None:
    """With the sentences that stand on standard error."""
    with pytest.raises(type(error)), work([tmp_path / "r.json"]):
        raise error
    record = read(tmp_path / "r.json")
    assert (record["outcome"], record["advice"]) == (outcome, advice)
    assert record["run"] is None
    assert record["ended_at"] is not None


def test_a_fault_is_reported_without_its_text(tmp_path: Path) -> None:
    """It may hold contact data."""
    with pytest.raises(KeyError), work([tmp_path / "r.json", tmp_path / "r.txt"]):
        raise KeyError("919000000001")
    record = read(tmp_path / "r.json")
    assert (record["exit"], record["outcome"]) == (70, "fault")
    assert "KeyError" in record["advice"][0]
    assert "919000000001" not in str(record) + (tmp_path / "r.txt").read_text()


def test_a_url_that_can_not_be_pinged_is_refused_and_reported(tmp_path: Path) -> None:
    """A wrong line in a crontab is found when it is tried, not when it is needed."""
    with pytest.raises(SettingsError), work([tmp_path / "r.json"], "ftp://example.com/"):
        pytest.fail("it went on")
    assert read(tmp_path / "r.json")["outcome"] == "unusable"


def test_a_report_that_can_not_be_written_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the file, and changes no end; others are written."""
    with work([tmp_path / "no" / "r.txt", tmp_path / "r.json"]) as here:
        here.end = ended(Exit.DONE)
    said = capsys.readouterr()
    assert (said.out, said.err.count("report.not_written")) == ("", 2)
    assert "No such file or directory" in said.err
    assert read(tmp_path / "r.json")["outcome"] == "done"


def test_without_files_and_a_url_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is anything written."""
    with attended("run", "c.toml", QUIET, None, None) as here:
        here.end = ended(Exit.DONE)
    assert capsys.readouterr() == ("", "")


def test_seconds_are_counted_from_the_beginning() -> None:
    """On a clock that nobody sets."""
    assert Attendance(began=0.0).seconds > 0


def test_quiet_is_for_libraries_too(capsys: pytest.CaptureFixture[str]) -> None:
    """What they say to programmers and below an error is not mailed to operators each night."""
    begin_logging(QUIET)
    warnings.warn("use another function", DeprecationWarning, stacklevel=1)
    warnings.warn("a number is odd", RuntimeWarning, stacklevel=1)
    logging.getLogger("library").warning("retrying")
    typer.echo("only this", err=True)
    assert capsys.readouterr() == ("", "only this\n")
