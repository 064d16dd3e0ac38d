"""How the command ends, whatever happens in it."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

import phonon_bulk.cli
from phonon_bulk.cli import main
from phonon_bulk.errors import Exit, JournalError, ListError, PhononBulkError, SettingsError

SAFE = "phonon-bulk: interrupted; what was recorded is safe\n"


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Give the signals back to whoever had them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    kept = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in kept:
        signal.signal(number, handler)


def ended(monkeypatch: pytest.MonkeyPatch, command: Callable[[], None]) -> int:
    """Run `command` as the command line would; return the exit code."""
    monkeypatch.setattr(phonon_bulk.cli, "app", command)
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


def raising(error: BaseException) -> Callable[[], None]:
    """Return a command that ends with an error."""

    def command() -> None:
        raise error

    return command


def test_a_signal_that_comes_when_all_is_done_is_not_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python gives signals their defaults back while it ends, but for those that are ignored."""
    assert ended(monkeypatch, raising(SystemExit(0))) == 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_IGN


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ListError("no rows"), Exit.UNUSABLE, "phonon-bulk: no rows\n"),
        (JournalError("disk full"), Exit.STOPPED, "phonon-bulk: disk full\n"),
        (PhononBulkError("sums"), Exit.FAULT, "phonon-bulk: sums\n"),
        (SettingsError(["a: 1", "b: 2"]), Exit.UNUSABLE, "phonon-bulk: a: 1\nphonon-bulk: b: 2\n"),
        (
            KeyboardInterrupt(),
            Exit.STOPPED,
            "phonon-bulk: interrupted; what was recorded is safe\n",
        ),
    ],
)
def test_errors_are_sentences(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    """Each error of our own is one sentence a problem, and its exit code."""
    assert ended(monkeypatch, raising(error)) == code
    assert capsys.readouterr().err == said


def test_a_fault_shows_where_but_not_what(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error nobody foresaw: exit 70, its place, and not its text: it may hold contact data."""
    group = ExceptionGroup("g", [ExceptionGroup("h", [KeyError("919812345678")])])
    assert ended(monkeypatch, raising(group)) == Exit.FAULT
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "919812345678" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    """Ctrl-C and SIGTERM end a command that is still looking at its list: one sentence, exit 5."""

    def command() -> None:
        os.kill(os.getpid(), number)
        signal.pause()

    assert ended(monkeypatch, command) == Exit.STOPPED
    assert "interrupted" in capsys.readouterr().err
