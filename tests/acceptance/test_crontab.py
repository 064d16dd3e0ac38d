"""The crontab and its page, each command of them as it stands."""

import re
import shlex
import signal
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from desk import COMMAND, PATIENCE, Desk, Start, until
from pinged import SECRET, Service, service

from phonon_bulk.journal.books import SqliteBooks

__all__ = ["service"]

ROOT = Path(__file__).parents[2]

Machine = tuple[Desk, dict[str, str], dict[str, str]]
"""A desk that stands for the machine, what is replaced by what, and cron's environment."""


def _open_now() -> str:
    """Return a window in India that is open for some hours."""
    now = datetime.now(ZoneInfo("Asia/Kolkata"))
    return f"{now - timedelta(hours=6):%H:%M}-{now + timedelta(hours=6):%H:%M}"


def commands() -> list[str]:
    """Return each command of the crontab and of its page."""
    crontab = (ROOT / "config/crontab").read_text("utf-8")
    timed = re.findall(r"^#?(?:[\d*]+ ){5} (.+)$", crontab, re.MULTILINE)
    page = (ROOT / "docs/cron.md").read_text("utf-8")
    shown = re.findall(r"^    ((?:phonon-bulk|mail|cat) .+)$", page, re.MULTILINE)
    shown = [line for line in shown if not line.startswith("phonon-bulk run 41:")]
    assert len(timed) == 4
    assert len(shown) == 10
    return list(dict.fromkeys(timed + shown))


def variables() -> dict[str, str]:
    """Return what the crontab sets."""
    crontab = (ROOT / "config/crontab").read_text("utf-8")
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", crontab, re.MULTILINE))


@pytest.fixture
def machine(desk: Desk, simulate: Start, service: Service) -> Machine:
    """Return a desk that stands for the machine, what is replaced, and cron's environment."""
    desk.settings(simulate().url)
    desk.campaign()
    desk.contacts(1_200)
    for name in ("etc/campaigns", "var", "bin"):
        (desk.folder / name).mkdir(parents=True)
    (desk.folder / "phonon-bulk.toml").rename(desk.folder / "etc/phonon-bulk.toml")
    (desk.folder / "campaign.toml").rename(desk.folder / "etc/campaigns/reminder.toml")
    (desk.folder / "list.csv").rename(desk.folder / "etc/campaigns/list.csv")
    (desk.folder / "bin/phonon-bulk").symlink_to(COMMAND)
    mail = desk.write("bin/mail", f'#!/bin/sh\n{{ echo "$@"; cat; }} >> {desk.folder}/mailed\n')
    mail.chmod(0o755)
    here = {
        "/etc/phonon-bulk/": f"{desk.folder}/etc/",
        "/var/lib/phonon-bulk/": f"{desk.folder}/var/",
        "/opt/phonon-bulk/bin": f"{desk.folder}/bin",
        "https://ping.example.com/YOUR-UUID": service.url,
        "01:00-09:30": _open_now(),
    }
    environment = {**variables(), "HOME": str(desk.folder)}
    for name, value in environment.items():
        environment[name] = _placed(value, here)
    environment["PHONON_BULK_SECURITY_ID"] = desk._environment()["PHONON_BULK_SECURITY_ID"]
    return desk, here, environment


def _placed(text: str, here: dict[str, str]) -> str:
    for there, place in here.items():
        text = text.replace(there, place)
    return text


def as_cron(command: str, machine: Machine) -> "subprocess.CompletedProcess[str]":
    """Start a command as cron does: by its shell, with its environment and nothing else."""
    desk, here, environment = machine
    return subprocess.run(
        [environment["SHELL"], "-c", _placed(command, here)],
        cwd=desk.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_every_command_of_the_manual(machine: Machine, service: Service) -> None:
    """Each does what the page says; each that is in the crontab without a word."""
    desk, _, _ = machine
    for command in commands():
        ended = as_cron(command, machine)
        assert ended.returncode == 0, (command, ended.stderr)
        if "--quiet" in command or command.endswith("/dev/null"):
            assert (ended.stdout, ended.stderr) == ("", ""), command
    assert service.paths == [f"/{SECRET}/start", f"/{SECRET}"] * 2
    mailed = (desk.folder / "mailed").read_text()
    subject = "phonon-bulk run 1: done, 1,200 of 1,200 accepted (reminder)"
    assert mailed.startswith(f"-s {subject} operations@example.com\n{subject}\n\n")
    assert "exit code:  0, done" in mailed


def test_the_crontab_is_as_cron_wants_it() -> None:
    """No line is cut, no percent sign is bare, the page has the same commands."""
    crontab = (ROOT / "config/crontab").read_text("utf-8")
    assert crontab.endswith("\n")
    page = (ROOT / "docs/cron.md").read_text("utf-8")
    for line in crontab.splitlines():
        if re.match(r"#?[\d*]+ [\d*]+ ", line):
            assert not re.search(r"(?<!\\)%", line)
            assert len(line) < 900  # what the oldest cron takes
            assert line.split(None, 5)[5].removesuffix(" > /dev/null") in page
            assert shlex.split(line.split(None, 5)[5])
        elif not line.startswith("#") and line:
            assert re.fullmatch(r"[A-Z_]+=[^$]*", line), line


def test_last_night_s_run_is_still_at_work(machine: Machine, service: Service) -> None:
    """The line of the crontab ends with one sentence, which cron mails, and the alarm is raised."""
    desk, _, _ = machine
    line = commands()[0]
    settings = desk.folder / "etc/phonon-bulk.toml"
    slow = settings.read_text().replace('create"\n', 'create"\nrequests_per_minute = 60\n')
    settings.write_text(slow)
    rows = "".join(f"9190{number:08d}\n" for number in range(60_000))
    desk.write("etc/campaigns/list.csv", f"tel1\n{rows}")
    _, here, environment = machine
    process = subprocess.Popen(
        [COMMAND, *shlex.split(_placed(line, here))[1:]],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: at_work(desk))
    ended = as_cron(line, machine)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert ended.stderr.count("\n") == 1
    assert f"by process {process.pid} on" in ended.stderr
    assert service.paths[-1] == f"/{SECRET}/fail"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 5


def at_work(desk: Desk) -> bool:
    """Say whether somebody is at work on the desk's journal."""
    path = desk.folder / "etc/journal.db"
    if not path.exists():
        return False
    with SqliteBooks(path) as books:
        return bool(books.at_work())
