"""The installed command against the simulator, each test in a folder of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.request import Request, urlopen

import orjson
import pytest
from builders import FLOW_ID, SECURITY_ID

COMMAND = str(Path(sys.executable).with_name("phonon-bulk"))
PATIENCE = 60.0
"""Seconds after which something that should have happened will not."""


@dataclass
class Simulator:
    """A running `phonon-bulk simulate`."""

    url: str

    def get(self, path: str) -> bytes:
        """Return what GET on a path of the simulator answers."""
        with urlopen(self.url + path, timeout=10) as answer:  # noqa: S310 - our own, on loopback
            return cast(bytes, answer.read())

    def ledger(self) -> list[dict[str, Any]]:
        """Return the calls it accepted."""
        return [orjson.loads(line) for line in self.get("/ledger").splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests it received."""
        return [orjson.loads(line) for line in self.get("/ledger/requests").splitlines()]

    def change(self, **rules: Any) -> None:
        """Change its rules from now on."""
        body = orjson.dumps(rules)
        request = Request(  # noqa: S310 - our own, on loopback
            self.url + "/rules", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urlopen(request, timeout=10):  # noqa: S310 - our own, on loopback
            pass

    def wait_for(self, accepted_requests: int) -> None:
        """Return when so many requests were accepted."""
        until(lambda: sum(r["accepted"] > 0 for r in self.requests()) >= accepted_requests)


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of an NDJSON file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail if it does not in good time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


Start = Callable[..., Simulator]


@pytest.fixture
def simulate() -> Iterator[Start]:
    """Return what starts a simulator with the given flags; all are ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> Simulator:
        process = subprocess.Popen(
            [COMMAND, "simulate", "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        return Simulator(process.stdout.readline().split()[-1])

    yield start
    for process in running:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


@dataclass
class Ended:
    """How a command ended."""

    exit: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object on standard output."""
        return cast(dict[str, Any], orjson.loads(self.out))


@dataclass
class Desk:
    """A folder with settings, a campaign and lists, in which the command is run."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def settings(self, url: str, **more: Any) -> None:
        """Write phonon-bulk.toml; `more` are endpoint keys, `sending` a table of its own."""
        sending = more.pop("sending", {})
        keys = "\n".join(f"{name} = {orjson.dumps(value).decode()}" for name, value in more.items())
        rest = "\n".join(f"{name} = {value}" for name, value in sending.items())
        tables = "".join(
            f'[endpoints.{name}]\nurl = "{url}/{name}/kairos-apis/outbound/create"\n{keys}\n'
            for name in ("bulk", "realtime")
        )
        self.write("phonon-bulk.toml", f'journal = "journal.db"\n{tables}[sending]\n{rest}\n')

    def campaign(self, *, endpoint: str = "bulk", path: str = "list.csv", rest: str = "") -> None:
        """Write campaign.toml."""
        self.write(
            "campaign.toml",
            f'[campaign]\nname = "reminder"\nflow_id = "{FLOW_ID}"\nendpoint = "{endpoint}"\n'
            f'[source]\npath = "{path}"\n{rest}',
        )

    def contacts(self, rows: int, bad: tuple[int, ...] = ()) -> None:
        """Write list.csv in Phonon's template; the rows in `bad` have no usable number."""
        lines = ["tel1,tel2,client-identifier,$flow.key.Name"]
        for row in range(1, rows + 1):
            number = "none" if row in bad else f"9198{row:08d}"
            lines.append(f'{number},,ACC{row:06d},"Asha ""प्रिया"" {row}"')
        self.write("list.csv", "\n".join(lines) + "\n")

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def start(self, *arguments: str, stdin: Path | None = None) -> "subprocess.Popen[str]":
        """Start the command, with a file for its standard input."""
        with (stdin or Path(os.devnull)).open("rb") as source:
            return self._start(arguments, source)

    def _start(self, arguments: tuple[str, ...], stdin: BinaryIO) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: Path | None = None) -> Ended:
        """Run the command to its end."""
        return self.end(self.start(*arguments, stdin=stdin))

    def end(self, process: "subprocess.Popen[str]") -> Ended:
        """Wait until a command has ended. Whatever it said holds no secret and no traceback."""
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert "Traceback" not in err
        assert SECURITY_ID not in out + err
        return Ended(process.returncode, out, err)

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PHONON_BULK_")}
        return {
            **kept,
            "HOME": str(self.folder),
            "PHONON_BULK_SECURITY_ID": SECURITY_ID,
            **self.environment,
        }

    def export(self, run: int = 1, *flags: str) -> list[dict[str, Any]]:
        """Return what became of every contact."""
        ended = self.run("export", str(run), "-o", "export.ndjson", *flags)
        assert ended.exit == 0, ended.err
        return json_lines(self.folder / "export.ndjson")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return an empty desk."""
    return Desk(tmp_path)


def agree(desk: Desk, simulator: Simulator) -> None:
    """Hold both sides' books against each other, call by call."""
    ours = sorted(
        (line["client_identifier"], line["contact_numbers"], line["request_id"])
        for line in desk.export()
        if line["state"] == "accepted"
    )
    theirs = sorted(
        (call["client-identifier"], call["contact-numbers"], call["request-id"])
        for call in simulator.ledger()
    )
    assert ours == theirs
