"""What a line of the log shows, as commands set it up."""

import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from phonon_bulk.cli.options import LogFormat
from phonon_bulk.cli.session import Flags, begin_logging

NUMBER = "919000000001"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Leave the logging of the tests as it was."""
    level = logging.lastResort.level if logging.lastResort else logging.WARNING
    with warnings.catch_warnings():
        yield
    structlog.reset_defaults()
    if logging.lastResort:
        logging.lastResort.setLevel(level)


def logged(capsys: pytest.CaptureFixture[str], form: LogFormat, **more: object) -> str:
    """Return the line that an error makes which was caught while a contact was at hand."""
    begin_logging(Flags(None, None, log_format=form))
    log = structlog.get_logger("phonon_bulk.test")
    number = NUMBER
    try:
        int(f"{number}!")
    except ValueError as error:
        trace = {key: error if key == "exc_info" else value for key, value in more.items()}
        log.error("task.died", task="looking", **trace)  # noqa: TRY400 - it is what is tried
    return capsys.readouterr().err


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.TEXT])
@pytest.mark.parametrize("more", [{}, {"exc_info": True}, {"exc_info": True, "stack_info": True}])
def test_no_traceback(
    capsys: pytest.CaptureFixture[str], form: LogFormat, more: dict[str, object]
) -> None:
    """Whoever asks for a traceback gets none: neither the error's text nor what is local to it."""
    line = logged(capsys, form, **more)
    assert line.count("\n") == 1
    assert "task.died" in line
    assert "looking" in line
    assert NUMBER not in line
    assert "Traceback" not in line


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal a line is an object with the event, its level and when it was."""
    line = json.loads(logged(capsys, LogFormat.AUTO))
    assert line.keys() == {"event", "level", "timestamp", "task"}
    assert (line["event"], line["level"]) == ("task.died", "error")
