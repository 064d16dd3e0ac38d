"""`phonon-bulk worker` as an operator has it: started, told, killed, watched."""

import contextlib
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson
import pytest
from builders import FLOW_ID
from desk import COMMAND, Desk, Simulator, Start, until

WORKER = '[worker]\nlisten = "127.0.0.1:0"\nlook_every = 0.1\n'
CALLS = 5000


@dataclass
class Worker:
    """A running worker."""

    process: "subprocess.Popen[str]"
    log: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return [
            cast(dict[str, Any], orjson.loads(line))
            for line in self.log.read_text().splitlines()
            if line.startswith("{")
        ]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log lines of one event."""
        return [line for line in self.lines if line["event"] == name]

    def wait_for(self, name: str, times: int = 1) -> dict[str, Any]:
        """Return the line of an event, once it was logged so often."""
        until(lambda: len(self.events(name)) >= times or self.process.poll() is not None)
        assert self.events(name), self.log.read_text()
        return self.events(name)[-1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.wait_for('worker.listens')['address']}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a path."""
        try:
            with urlopen(self.url + path, timeout=20) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def call(self, row: int, wait: int = 20, **headers: str) -> tuple[int, dict[str, Any]]:
        """Post a single call."""
        body = {"client-identifier": f"SINGLE{row}", "contact-numbers": [f"9197{row:08d}"]}
        request = Request(  # noqa: S310 - loopback
            f"{self.url}/v1/calls?wait={wait}&flow-id={FLOW_ID}",
            orjson.dumps(body),
            {"Content-Type": "application/json", **headers},
        )
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.status, orjson.loads(answer.read())
        except HTTPError as error:
            with error:
                return error.code, orjson.loads(error.read())

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait until it has ended; what it said holds no traceback."""
        code = self.process.wait(60)
        assert "Traceback" not in self.log.read_text()
        return code


@contextlib.contextmanager
def worker(desk: Desk, *flags: str, name: str = "worker.log") -> Iterator[Worker]:
    """Have a worker run within the block; it is stopped at the end."""
    path = desk.folder / name
    with path.open("w") as log:
        process = subprocess.Popen(
            [COMMAND, "worker", "--log-format", "json", *flags],
            cwd=desk.folder,
            env=desk._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
    one = Worker(process, path)
    try:
        yield one
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)


@pytest.fixture
def simulator(desk: Desk, simulate: Start) -> Simulator:
    """Return a simulator that the desk's settings send to, and a campaign with a list."""
    simulator = simulate("--bulk-requests", "0", "--realtime-requests", "0")
    settings(desk, simulator)
    desk.campaign()
    desk.contacts(CALLS)
    return simulator


def settings(desk: Desk, simulator: Simulator, more: str = "", **endpoint: Any) -> None:
    """Write settings that send to a simulator without a ramp."""
    desk.settings(simulator.url, **{"ramp": 0, "requests_per_minute": "off", **endpoint})
    path = desk.folder / "phonon-bulk.toml"
    path.write_text(path.read_text() + WORKER + more)


def status(desk: Desk, run: int = 1) -> dict[str, Any]:
    """Return the summary of a run."""
    return desk.run("status", str(run), "--json").summary


def each_once(simulator: Simulator, calls: int) -> None:
    """Hold that so many contacts were called, each once."""
    times = Counter(call["client-identifier"] for call in simulator.ledger())
    assert len(times) == calls
    assert set(times.values()) == {1}


def test_what_is_submitted_is_sent_until_it_is_stopped(desk: Desk, simulator: Simulator) -> None:
    """The way of life: it runs, lists come, it is stopped; exit 0, nobody is at work any more."""
    with worker(desk) as one:
        one.wait_for("worker.ready")
        assert one.get("/healthz") == (200, b"ok\n")
        assert one.get("/readyz")[0] == 200
        submitted = desk.run("submit", "campaign.toml")
        assert submitted.exit == 0, submitted.err
        until(lambda: status(desk)["state"] == "done")
        code, ticket = one.call(1)
        assert (code, ticket["calls"][0]["state"]) == (200, "accepted")
        metrics = one.get("/metrics")[1].decode()
        of_bulk = r'calls_total\{account="default",endpoint="bulk",state="accepted"\} (.*)'
        found = re.search(of_bulk, metrics)
        assert found is not None
        assert float(found[1]) == CALLS
        one.tell(signal.SIGTERM)
        assert one.end() == 0
        assert one.events("worker.stopped")[0]["accepted"] == CALLS + 1
    each_once(simulator, CALLS + 1)
    assert status(desk)["at_work"] == []
    assert desk.run("audit").exit == 0


def test_nothing_of_a_contact_is_in_the_log_or_in_the_metrics(
    desk: Desk, simulator: Simulator
) -> None:
    """Whatever happens to it: numbers, identifiers and names stay in the journal."""
    simulator.change(faults=["code:400@0.3", "status:500@0.2", "drop-after@0.1"])
    desk.contacts(2000)
    with worker(desk) as one:
        one.wait_for("worker.ready")
        desk.run("submit", "campaign.toml")
        for row in range(1, 6):
            one.call(row, wait=0)
        until(lambda: status(desk)["requests"] > 1)
        pages = b"".join(one.get(path)[1] for path in ("/metrics", "/readyz", "/healthz"))
        seen = one.log.read_text() + pages.decode()
    for secret in ("919800", "919700", "ACC0", "SINGLE", "Asha"):
        assert secret not in seen


def test_paused_resumed_and_cancelled_by_command(desk: Desk, simulator: Simulator) -> None:
    """Once the command has returned not one request more leaves; sums hold at each step."""
    settings(desk, simulator, requests_per_minute=100)
    desk.contacts(20_000)
    with worker(desk) as one:
        one.wait_for("worker.ready")
        desk.run("submit", "campaign.toml")
        simulator.wait_for(3)
        paused = desk.run("pause", "1", "--json")
        assert paused.exit == 0, paused.err
        # At most what was marked before the pause is on its way.
        most = len(simulator.requests()) + paused.summary["sending"] // 500
        until(lambda: status(desk)["at_work"] == [])
        assert len(simulator.requests()) <= most
        before = status(desk)
        assert (before["state"], before["exit"]) == ("paused", 5)
        assert desk.run("pause", "1").exit == 0
        resumed = desk.run("resume", "1", "--to-worker")
        assert resumed.exit == 0, resumed.err
        simulator.wait_for(before["accepted"] // 500 + 3)
        cancelled = desk.run("cancel", "1", "--yes")
        assert cancelled.exit == 0, cancelled.err
        until(lambda: status(desk)["at_work"] == [])
        after = status(desk)
        assert (after["state"], after["to_send"]) == ("cancelled", 0)
        assert after["accepted"] + after["cancelled"] == 20_000
        assert after["cancelled"] > 0
        refused = desk.run("resume", "1", "--to-worker")
        assert refused.exit == 2
        assert "was cancelled" in refused.err
        assert desk.run("cancel", "1", "--yes").exit == 2
    each_once(simulator, after["accepted"])
    assert desk.run("audit").exit == 0


def test_single_calls_go_on_with_a_worker_alone(desk: Desk, simulator: Simulator) -> None:
    """Elsewhere, or to another flow, is refused, with what to do; no list is spoken of."""
    with worker(desk) as one:
        one.wait_for("worker.ready")
        assert one.call(1)[0] == 200
        paused = desk.run("pause", "1")
        assert "`phonon-bulk resume 1 --to-worker`" in paused.out
        assert one.call(2)[0] == 503
        assert "go on with `phonon-bulk resume 1 --to-worker`" in desk.run("status", "1").err
        here = desk.run("resume", "1")
        assert (here.exit, "resume 1 --to-worker" in here.err) == (2, True), here.err
        elsewhere = desk.run("resume", "1", "--flow-id", "QG8k000B", "--to-worker")
        assert (elsewhere.exit, "intake.flow_id" in elsewhere.err) == (2, True), elsewhere.err
        resumed = desk.run("resume", "1", "--to-worker")
        assert (resumed.exit, "list" in resumed.out) == (0, False), resumed.out
        assert one.call(3)[0] == 200
        cancelled = desk.run("cancel", "1", "--yes")
        assert "another run" in cancelled.out
        assert "another run" in desk.run("resume", "1", "--to-worker").err
        assert one.call(4)[1]["run"] == 2
    each_once(simulator, 3)


def test_killed_and_started_again(desk: Desk, simulator: Simulator) -> None:
    """What was in flight is in doubt, and proved by a replay; each contact is called once."""
    simulator.change(faults=["delay:0.1"])
    settings(desk, simulator, "", workers=4)
    text = (desk.folder / "phonon-bulk.toml").read_text()
    (desk.folder / "phonon-bulk.toml").write_text(
        text.replace("[sending]\n", "[sending]\nreplay_after = 0.2\n")
    )
    with worker(desk) as one:
        one.wait_for("worker.ready")
        desk.run("submit", "campaign.toml")
        simulator.wait_for(2)
        one.tell(signal.SIGKILL)
        one.process.wait(60)
    with worker(desk, name="second.log") as other:
        other.wait_for("worker.ready")
        until(lambda: status(desk)["state"] == "done")
        assert status(desk)["accepted"] == CALLS
    each_once(simulator, CALLS)
    assert desk.run("audit").exit == 0


def test_told_twice_it_ends_at_once(desk: Desk, simulator: Simulator) -> None:
    """What was in flight is in doubt, not lost; the exit says that it was cut short."""
    simulator.change(faults=["delay:30"])
    with worker(desk) as one:
        one.wait_for("worker.ready")
        desk.run("submit", "campaign.toml")
        until(lambda: len(simulator.requests()) >= 0 and status(desk)["at_work"] != [])
        until(lambda: desk.run("pause", "1", "--json").summary["sending"] > 0)
        one.tell(signal.SIGTERM)
        one.wait_for("stop.told")
        until(lambda: _told_again(one))
        assert one.end() == 5
    summary = status(desk)
    assert summary["in_doubt"] + summary["to_send"] + summary["accepted"] == CALLS
    assert summary["in_doubt"] > 0


def _told_again(one: Worker) -> bool:
    """Tell it once more, until it is more than a second after the first."""
    one.tell(signal.SIGTERM)
    return bool(one.events("stop.now"))


def test_reloaded(desk: Desk, simulator: Simulator) -> None:
    """SIGHUP: what was changed is logged and holds; what can't be used is complained of."""
    with worker(desk) as one:
        one.wait_for("worker.ready")
        settings(desk, simulator, requests_per_minute=1234)
        one.tell(signal.SIGHUP)
        changed = one.wait_for("settings.changed", times=2)
        assert (changed["now"], changed["takes_hold"]) == ("1234", "now")
        names = {line["setting"] for line in one.events("settings.changed")}
        assert names == {
            "endpoints.bulk.requests_per_minute",
            "endpoints.realtime.requests_per_minute",
        }
        one.tell(signal.SIGHUP)
        one.wait_for("settings.unchanged")
        desk.write("phonon-bulk.toml", "[nonsense]\n")
        one.tell(signal.SIGHUP)
        assert "nonsense" in one.wait_for("settings.unusable")["what"]
        assert one.get("/healthz")[0] == 200


def test_how_it_stands_is_logged(desk: Desk, simulator: Simulator) -> None:
    """SIGUSR1 brings one line."""
    assert simulator.requests() == []
    with worker(desk) as one:
        one.wait_for("worker.ready")
        one.tell(signal.SIGUSR1)
        line = one.wait_for("worker.status")
        assert (line["status"], line["accepted"], line["sending"]) == (
            "idle; 0 calls accepted",
            0,
            [],
        )


def test_systemd_is_told(desk: Desk, simulator: Simulator) -> None:
    """Ready, a status that changes, the watchdog, a reload, and the end."""
    heard: list[str] = []
    path = desk.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(20)
        desk.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "1000000"}

        def hear(word: str) -> None:
            while not heard or word not in heard[-1]:
                heard.append(listener.recv(4096).decode())

        with worker(desk) as one:
            hear("READY=1")
            hear("WATCHDOG=1")
            desk.environment = {}
            desk.run("submit", "campaign.toml")
            hear(f"{CALLS:,} calls accepted")
            one.tell(signal.SIGHUP)
            hear("RELOADING=1")
            hear("READY=1")
            one.tell(signal.SIGTERM)
            hear("STOPPING=1")
            assert one.end() == 0
    assert simulator.requests()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('listen = "0.0.0.0:0"', "token"),
        ('listen = "127.0.0.1:0"\ntoken_file = "missing"', "missing"),
        ('listen = "127.0.0.1:0"\ncampaigns = ["missing.toml"]', "missing.toml"),
        ('listen = "127.0.0.1:0"\ncampaigns = ["campaign.toml"]', "source.watch"),
    ],
)
def test_what_can_not_be_is_said_at_the_start(
    desk: Desk, simulator: Simulator, lines: str, says: str
) -> None:
    """In one sentence, with exit 2, before anything is sent or listened to."""
    desk.run("submit", "campaign.toml")
    path = desk.folder / "phonon-bulk.toml"
    path.write_text(path.read_text().replace(WORKER, f"[worker]\n{lines}\n"))
    ended = desk.run("worker")
    assert ended.exit == 2, ended.err
    assert says in ended.err
    assert simulator.requests() == []


def test_a_port_that_is_taken(desk: Desk, simulator: Simulator) -> None:
    """Two workers can't listen in one place; the second says so."""
    assert simulator.requests() == []
    with worker(desk) as one:
        address = one.wait_for("worker.listens")["address"]
        path = desk.folder / "phonon-bulk.toml"
        path.write_text(path.read_text().replace("127.0.0.1:0", address))
        ended = desk.run("worker")
        assert ended.exit == 2
        assert address in ended.err


def test_a_journal_that_is_none(desk: Desk, simulator: Simulator) -> None:
    """Said at once; later it would be waited for."""
    assert simulator.requests() == []
    desk.write("journal.db", b"nothing of the kind" * 100)
    ended = desk.run("worker")
    assert ended.exit == 2
    assert "journal.db" in ended.err
