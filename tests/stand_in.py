"""Stands in for systemd's programs where there is none, as far as docs/operating.md needs them.

It is called by the name of what it stands in for: `systemctl`, `systemd-run`, `journalctl`,
`runuser`. Services are started as their unit has it: with its variables, its credentials and its
folder, and a unit of `Type=notify` is started once it has said so. Users and cages are left out.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

UNITS, RUN = Path("/etc/systemd/system"), Path("/run")
STATE = Path("/var/lib/phonon-bulk")
PATIENCE = 60.0
DOES_NOTHING = {"daemon-reload", "list-timers"}
FLAGS_WITH_A_WORD = {"-p", "-u", "-n", "-o"}


class Unit:
    """A service, as its file describes it."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        template, at, self.instance = self.name.partition("@")
        text = (UNITS / f"{template}{at}.service").read_text("utf-8")
        self.lines = re.findall(r"^(\w+)=(.*)$", text.replace("\\\n", " "), re.MULTILINE)
        self.pid_file = RUN / f"{self.name}.pid"

    def all(self, name: str) -> list[str]:
        """Return all values of a line, with what stands for something put in."""
        stands_for = {"%d": str(credentials(self.name)), "%S": "/var/lib", "%i": self.instance}
        found = [value for key, value in self.lines if key == name]
        return [re.sub("%[dSi]", lambda match: stands_for[match[0]], value) for value in found]

    def start(self) -> int:
        """Start it, and return when it is started: its exit code, 0 if it goes on."""
        STATE.mkdir(mode=0o700, exist_ok=True)
        load(self.name, self.all("LoadCredential"))
        environment = os.environ | dict(line.split("=", 1) for line in self.all("Environment"))
        (command,) = self.all("ExecStart")
        address = RUN / f"{self.name}.notify"
        address.unlink(missing_ok=True)
        with log().open("ab") as output, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(address))
            told.settimeout(0.1)
            process = subprocess.Popen(
                shlex.split(command),
                env=environment | {"NOTIFY_SOCKET": str(address)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self.pid_file.write_text(str(process.pid))
            if self.all("Type") == ["oneshot"]:
                return self._as_success(process.wait())
            return wait_until_ready(process, told)

    def _as_success(self, code: int) -> int:
        return 0 if str(code) in self.all("SuccessExitStatus") else code

    @property
    def pid(self) -> int:
        """Its main process; 0 if there is none."""
        pid = int(self.pid_file.read_text()) if self.pid_file.exists() else 0
        return pid if pid and lives(pid) else 0

    def tell(self, number: signal.Signals) -> int:
        """Send it a signal."""
        if not self.pid:
            return 1
        os.kill(self.pid, number)
        return 0

    def stop(self) -> int:
        """End it gently, and return when it has ended."""
        self.tell(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while self.pid:
            assert time.monotonic() < deadline, f"{self.name} does not end"
            time.sleep(0.02)
        return 0


def wait_until_ready(process: "subprocess.Popen[bytes]", told: socket.socket) -> int:
    """Return 0 as soon as a service says that it is ready, or the code it has ended with."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if b"READY=1" in told.recv(4096).splitlines():
                return 0
        except TimeoutError:
            if process.poll() is not None:
                return process.returncode or 1
    return 1


def lives(pid: int) -> bool:
    """Say whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def log() -> Path:
    """Return where all services write to."""
    return RUN / "log"


def credentials(unit: str) -> Path:
    """Return the folder with the secrets of a unit."""
    return RUN / "credentials" / f"{unit}.service"


def load(unit: str, given: Sequence[str]) -> None:
    """Put the secrets of a unit where it looks for them."""
    for line in given:
        name, _, path = line.partition(":")
        credentials(unit).mkdir(parents=True, exist_ok=True)
        copy = credentials(unit) / name
        copy.unlink(missing_ok=True)
        copy.write_bytes(Path(path).read_bytes())
        copy.chmod(0o400)


def systemctl(arguments: Sequence[str]) -> int:
    """Do what `systemctl` is asked for."""
    flags = [word for word in arguments if word.startswith("-")]
    verb, *names = [word for word in arguments if not word.startswith("-")]
    if verb in DOES_NOTHING or names == ["systemd-journald"]:
        return 0
    units = [Unit(name) for name in names if not name.endswith(".timer")]
    if verb in ("enable", "disable") and "--now" not in flags:
        return 0
    return max((_done(verb, unit, flags) for unit in units), default=0)


def _done(verb: str, unit: Unit, flags: Sequence[str]) -> int:
    chosen = [flag.partition("=")[2] for flag in flags if flag.startswith("--signal=")]
    match verb:
        case "start" | "enable":
            return 0 if unit.pid else unit.start()
        case "stop" | "disable":
            return unit.stop()
        case "restart":
            return unit.stop() or unit.start()
        case "reload":
            (command,) = unit.all("ExecReload")
            return subprocess.call(shlex.split(command.replace("$MAINPID", str(unit.pid))))
        case "kill":
            return unit.tell(signal.Signals[f"SIG{chosen[0] if chosen else 'TERM'}"])
        case "status":
            return 0 if unit.pid else 3
    raise AssertionError(verb)


def systemd_run(arguments: Sequence[str]) -> int:
    """Run a command as a unit that exists for that time only."""
    words = list(arguments)
    flags = [words.pop(0) for _ in iter(lambda: words[0].startswith("--"), False)]
    given = [flag.partition("=")[::2] for flag in flags]
    properties = [value.partition("=")[::2] for name, value in given if name == "--property"]
    (unit,) = [value for name, value in given if name == "--unit"]
    variables = dict(value.split("=", 1) for name, value in given if name == "--setenv")
    load(unit, [value for name, value in properties if name == "LoadCredential"])
    folder = dict(properties).get("WorkingDirectory", "/")
    if "StateDirectory" in dict(properties):
        STATE.mkdir(mode=0o700, exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables}
    if "--wait" in flags:
        return subprocess.call(words, env=environment, cwd=folder)
    with log().open("ab") as output:
        subprocess.Popen(words, env=environment, cwd=folder, stdout=output, start_new_session=True)
    time.sleep(2.0)
    return 0


def main() -> int:
    """Stand in for whatever this was called as."""
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    match name:
        case "systemctl":
            return systemctl(arguments)
        case "systemd-run":
            return systemd_run(arguments)
        case "journalctl":
            sys.stdout.write(log().read_text("utf-8"))
            return 0
        case "runuser":
            return subprocess.call(arguments[arguments.index("--") + 1 :])
    raise AssertionError(name)


if __name__ == "__main__":
    sys.exit(main())
