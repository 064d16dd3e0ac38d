"""The units of config/, as systemd itself reads them, and the command that runs beside them."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"
COMMAND = Path(sys.executable).with_name("phonon-bulk")
UNITS = sorted([*CONFIG.glob("*.service"), *CONFIG.glob("*.timer")])
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PAGE = (CONFIG.parent / "docs/operating.md").read_text("utf-8")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd here (apt-get install systemd)"
)


def named(unit: Path) -> str:
    """Return what to call a unit in the list of tests."""
    return unit.name


def run(*command: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        command,
        env={**os.environ, "SYSTEMD_COLORS": "0", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a folder with all units, in which the program is where this one is."""
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/phonon-bulk/bin/phonon-bulk", str(COMMAND))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=named)
def test_systemd_has_nothing_to_say(unit: Path, installed: Path) -> None:
    """`systemd-analyze verify` knows every line and finds every program."""
    ended = run("systemd-analyze", "verify", "--man=no", installed / unit.name)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@needs_systemd
def test_systemd_would_have_something_to_say(installed: Path) -> None:
    """The test above can fail: a line that nobody knows is complained of."""
    unit = installed / "phonon-bulk.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nRestartsec=5", 1))
    assert "Restartsec" in run("systemd-analyze", "verify", "--man=no", unit).stderr


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=named)
def test_the_exposure_is_what_the_manual_says(unit: Path, installed: Path) -> None:
    """`systemd-analyze security` rates each service no worse than docs/operating.md quotes."""
    flags = ("--offline=true", "--no-pager")
    ended = run("systemd-analyze", "security", *flags, installed / unit.name)
    assert ended.returncode == 0, ended.stderr
    rated = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ended.stdout)
    quoted = re.search(r"rated ([0-9.]+) \(of 10", PAGE)
    assert rated is not None
    assert quoted is not None
    assert float(rated[1]) <= float(quoted[1])


@needs_systemd
@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".timer"], ids=named)
def test_timers_go_by_the_time_in_india(unit: Path) -> None:
    """Each time is one that systemd understands, whatever zone the machine is in."""
    (time,) = re.findall(r"^OnCalendar=(.*)$", unit.read_text("utf-8"), re.MULTILINE)
    ended = run(
        "systemd-analyze", "calendar", "--base-time=2026-11-24 00:00:00 UTC", time, TZ="UTC"
    )
    assert ended.returncode == 0, ended.stderr
    local = re.search(r"(\d\d):(\d\d):00", time)
    assert local is not None
    minutes = (int(local[1]) * 60 + int(local[2]) - 330) % 1440
    assert f"{minutes // 60:02}:{minutes % 60:02}:00 UTC" in ended.stdout


@needs_systemd
def test_a_user_is_made(tmp_path: Path) -> None:
    """`systemd-sysusers` makes the user of config/phonon-bulk-sysusers.conf, without a login."""
    (tmp_path / "etc").mkdir()
    ended = run("systemd-sysusers", f"--root={tmp_path}", CONFIG / "phonon-bulk-sysusers.conf")
    assert ended.returncode == 0, ended.stderr
    user, _, _, _, _, home, shell = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert (user, home, shell.rpartition("/")[2]) == (
        "phonon-bulk",
        "/var/lib/phonon-bulk",
        "nologin",
    )


# ---- the command that is run as the worker's user

STAND_IN = f"""#!{sys.executable}
import json, os, sys
print(json.dumps(sys.argv[1:]))
sys.exit(5)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return a PATH on which `systemd-run` says how it was called, and ends with 5."""
    stand_in = tmp_path / "systemd-run"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_arguments_and_exit_codes_go_through(path: str) -> None:
    """Whatever is in an argument; and where there is no terminal, pipes are passed on."""
    given = ["submit", "a campaign.toml", "-", "--report", 'it\'s "$HOME".txt']
    ended = run(CONFIG / "phonon-bulk-as-worker", *given, PATH=path)
    assert ended.returncode == 5, ended.stderr
    called = json.loads(ended.stdout)
    assert called[-6:] == ["/opt/phonon-bulk/bin/phonon-bulk", *given]
    assert "--pipe" in called
    assert "--pty" not in called


def test_secrets_are_looked_for_where_they_are_put(path: str) -> None:
    """The credentials are those of the very unit that is started."""
    called = json.loads(run(CONFIG / "phonon-bulk-as-worker", "runs", PATH=path).stdout)
    (unit,) = [flag.partition("=")[2] for flag in called if flag.startswith("--unit=")]
    folder = f"/run/credentials/{unit}.service"
    assert f"--setenv=PHONON_BULK_SECURITY_ID_FILE={folder}/security-id" in called
    assert f"--setenv=PHONON_BULK_WORKER__TOKEN_FILE={folder}/token" in called


def test_who_called_sudo_is_who_did_it(path: str) -> None:
    """`resolve` writes down a person, not the worker's user."""
    called = run(CONFIG / "phonon-bulk-as-worker", "runs", PATH=path, SUDO_USER="asha").stdout
    assert "--setenv=LOGNAME=asha" in json.loads(called)


def test_a_terminal_is_passed_on(path: str) -> None:
    """So that the bar is seen, and Ctrl-C reaches the command."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PATH": path, "LANG": "C"}
    command = [CONFIG / "phonon-bulk-as-worker", "runs"]
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = subprocess.Popen(command, env=environment, **ends)  # type: ignore[call-overload]
    os.close(theirs)
    assert process.wait(30) == 5
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert '"--pty"' in shown
    assert '"--pipe"' not in shown
