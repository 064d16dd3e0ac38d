"""A journal that can't be written: nothing goes out unrecorded, one sentence, and then on again."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from desk import COMMAND, PATIENCE, Desk, Ended, Simulator, Start, agree

CALLS = 20_000
_CAN_MOUNT = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]


def can_mount() -> bool:
    """Say whether this user may have a mount namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(_CAN_MOUNT, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(
    not can_mount(), reason="no mount namespaces for this user (unshare --map-root-user --mount)"
)


def ready(desk: Desk, simulator: Simulator, journal: str = "journal.db") -> None:
    """Lay out settings, a campaign and a list."""
    quick = {"journal_wait": 0.5, "replay_after": 0.2}
    desk.settings(simulator.url, workers=4, sending=quick)
    settings = (desk.folder / "phonon-bulk.toml").read_text()
    desk.write("phonon-bulk.toml", settings.replace("journal.db", journal))
    desk.campaign()
    desk.contacts(CALLS)


def on_a_small_disk(desk: Desk, *steps: str) -> dict[str, Ended]:
    """Do `steps` in a mount namespace with a file system of 1 MB at `disk`.

    A step is a line of shell; one that begins with a name and a colon is a command of phonon-bulk,
    and how it ended is returned under the name. At the end the journal is copied to the desk.
    """
    (desk.folder / "disk").mkdir()
    lines = ["set -e", "mount -t tmpfs -o size=1m,mode=700 tmpfs disk", "set +e"]
    names = []
    for step in steps:
        name, colon, arguments = step.partition(": ")
        if colon:
            names.append(name)
            run = f"'{COMMAND}' {arguments} >{name}.out 2>{name}.err; echo $? >{name}.exit"
            lines.append(run)
        else:
            lines.append(step)
    lines.append("cp disk/* .")
    script = desk.write("steps.sh", "\n".join(lines) + "\n")
    subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", script],
        cwd=desk.folder,
        env=desk._environment(),
        check=True,
        timeout=PATIENCE * 2,
    )
    return {name: _ended(desk.folder, name) for name in names}


def _ended(folder: Path, name: str) -> Ended:
    code, out, err = ((folder / f"{name}.{part}").read_text() for part in ("exit", "out", "err"))
    assert "Traceback" not in err, err
    return Ended(int(code), out, err)


def said(ended: Ended) -> str:
    """Return the one sentence that the operator is told at the end."""
    (sentence,) = [line for line in ended.err.splitlines() if line.startswith("phonon-bulk: ")]
    return sentence


@needs_mounts
def test_a_full_disk(desk: Desk, simulate: Start) -> None:
    """The disk fills up under way: exit 5 and what to do; with more space, `resume` finishes."""
    simulator = simulate()
    ready(desk, simulator, "disk/journal.db")
    ended = on_a_small_disk(
        desk,
        "full: run campaign.toml --json",
        "still: resume 1 --json",
        "mount -o remount,size=100m disk",
        "more: resume 1 --json",
        "audit: audit",
    )
    assert ended["full"].exit == 5, ended
    assert "the disk is full. Free some space" in said(ended["full"])
    assert "phonon-bulk resume 1" in said(ended["full"])
    assert ended["still"].exit in {2, 5}
    assert "the disk is full" in said(ended["still"])
    assert ended["more"].exit == 0, ended["more"].err
    assert ended["audit"].exit == 0, ended["audit"].out
    lines = desk.export(1, "--journal", "journal.db")
    placed = sorted(call["client-identifier"] for call in simulator.ledger())
    assert placed == sorted(line["client_identifier"] for line in lines)
    assert {line["state"] for line in lines} == {"accepted"}


@needs_mounts
def test_a_disk_full_from_the_start(desk: Desk, simulate: Start) -> None:
    """No room for a journal at all: exit 2 or 5, one sentence, and nothing goes out."""
    simulator = simulate()
    ready(desk, simulator, "disk/journal.db")
    ended = on_a_small_disk(
        desk,
        "dd if=/dev/zero of=disk/ballast bs=4096 2>dd.err",
        "full: run campaign.toml --json",
        "doctor: doctor",
        "rm disk/ballast && mount -o remount,size=100m disk",
        "more: run campaign.toml --json",
    )
    assert ended["full"].exit in {2, 5}
    assert "full" in said(ended["full"])
    assert "ill   disk" in ended["doctor"].out
    assert ended["doctor"].exit == 2
    assert ended["more"].exit == 0, ended["more"].err
    assert len(simulator.ledger()) == CALLS


@needs_mounts
def test_a_read_only_journal(desk: Desk, simulate: Start) -> None:
    """A journal that may only be read: nothing goes out; made writable, `resume` finishes."""
    simulator = simulate()
    ready(desk, simulator, "disk/journal.db")
    ended = on_a_small_disk(
        desk,
        "mount -o remount,size=100m disk",
        "submit: submit campaign.toml --json",
        "mount -o remount,ro disk",
        "readonly: resume 1 --json",
        "doctor: doctor",
        "mount -o remount,rw disk",
        "more: resume 1 --json",
    )
    assert ended["submit"].exit == 0
    assert ended["readonly"].exit in {2, 5}
    assert "not writable" in said(ended["readonly"])
    assert ended["doctor"].exit == 2
    assert "not writable" in ended["doctor"].out
    assert ended["more"].exit == 0, ended["more"].err
    assert len(simulator.ledger()) == CALLS


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the journal locked, as a backup does that means it too well."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_locked_journal(desk: Desk, simulate: Start) -> None:
    """Another program holds it locked from the start: exit 5, nothing sent; then it goes on."""
    simulator = simulate()
    ready(desk, simulator)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    with locked(desk.folder / "journal.db"):
        for arguments in (("resume", "1"), ("run", "campaign.toml")):
            ended = desk.run(*arguments)
            assert ended.exit == 5
            assert "another program holds it locked" in said(ended)
        doctor = desk.run("doctor")
        assert (doctor.exit, "another program holds it locked" in doctor.out) == (2, True)
    assert simulator.requests() == []
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, simulator)


def test_a_journal_locked_under_way(desk: Desk, simulate: Start) -> None:
    """Locked while it sends: what was under way is in doubt at most, and `resume` proves it."""
    simulator = simulate("--fault", "delay:0.1")
    ready(desk, simulator)
    process = desk.start("run", "campaign.toml")
    simulator.wait_for(4)
    with locked(desk.folder / "journal.db"):
        ended = desk.end(process)
        sent = len(simulator.requests())
    assert ended.exit == 5
    assert "another program holds it locked" in said(ended)
    assert "phonon-bulk resume 1" in said(ended)
    assert sent < CALLS / 500
    assert desk.run("resume", "1", "-q").exit == 0
    assert len(simulator.ledger()) == CALLS
    assert desk.run("audit").exit == 0


def scramble(path: Path) -> None:
    """Overwrite every fourth page of a file but the first ones."""
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096, 4):
            file.seek(page * 4096 + 1)
            file.write(b"\xa5" * 1000)


def test_a_damaged_journal(desk: Desk, simulate: Start) -> None:
    """Damaged pages: one sentence, nothing sent; with the file put back, `resume` finishes."""
    simulator = simulate()
    ready(desk, simulator)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    journal, kept = desk.folder / "journal.db", desk.folder / "kept.db"
    shutil.copy(journal, kept)
    scramble(journal)
    for arguments in (("resume", "1"), ("status",), ("run", "campaign.toml"), ("audit",)):
        ended = desk.run(*arguments)
        assert ended.exit in {2, 5}, ended
        assert "damaged" in said(ended)
    doctor = desk.run("doctor")
    assert (doctor.exit, "damaged" in doctor.out) == (2, True)
    assert simulator.requests() == []
    shutil.copy(kept, journal)
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, simulator)


def test_one_damaged_body(desk: Desk, simulate: Start) -> None:
    """A frozen body that can't be read costs its batch and no other; its rows are named."""
    simulator = simulate()
    ready(desk, simulator)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    connection = sqlite3.connect(desk.folder / "journal.db", isolation_level=None)
    connection.execute("UPDATE body SET calls = zeroblob(100) WHERE batch = 3")
    connection.close()
    ended = desk.run("resume", "1", "--json")
    assert ended.exit == 1
    assert (ended.summary["accepted"], ended.summary["refused"]) == (CALLS - 500, 500)
    assert "can't be read from the journal" in ended.summary["reasons"][0]["reason"]
    lines = [line for line in desk.export() if line["state"] == "refused"]
    assert [line["row"] for line in lines] == list(range(1001, 1501))
    assert desk.run("audit").exit == 1
    assert len(simulator.ledger()) == CALLS - 500


_ASK = """
import re, sys, urllib.error, urllib.request
address = re.search('"address": ?"([^"]+)"', open("worker.log").read())[1]
body = b'{"client-identifier": "A1", "contact-numbers": ["919000000001"]}'
data = body if "single" in sys.argv else None
request = urllib.request.Request(f"http://{address}{sys.argv[1]}", data)
request.add_header("Content-Type", "application/json")
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
"""Asks the worker whose log lies here, and prints the status."""


@needs_mounts
def test_a_full_disk_under_a_worker(desk: Desk, simulate: Start) -> None:
    """With nothing to send it notices too, is not ready, says it once, and comes back by itself."""
    simulator = simulate()
    ready(desk, simulator, "disk/journal.db")
    settings = (desk.folder / "phonon-bulk.toml").read_text()
    worker = '[worker]\nlisten = "127.0.0.1:0"\nlook_every = 0.1\n'
    desk.write("phonon-bulk.toml", f"{settings}{worker}")
    desk.write("ask.py", _ASK)
    call = "/v1/calls?flow-id=QG8k000A'&'wait=20"
    on_a_small_disk(
        desk,
        f"'{COMMAND}' worker --log-format json >worker.log 2>&1 & worker=$!",
        "until grep -q worker.ready worker.log; do sleep 0.1; done",
        "dd if=/dev/zero of=disk/filler bs=1k 2>dd.log",
        f"python3 ask.py {call} single >full.post",
        "sleep 1",
        "python3 ask.py /readyz >full.ready",
        "python3 ask.py /healthz >full.health",
        "mount -o remount,size=100m disk",
        "rm disk/filler",
        "until grep -q journal.back worker.log; do sleep 0.1; done",
        "python3 ask.py /readyz >back.ready",
        f"python3 ask.py {call} single >back.post",
        "kill -TERM $worker",
        "wait $worker",
        "echo $? >worker.exit",
    )

    def found(name: str) -> str:
        return (desk.folder / name).read_text().strip()

    log = found("worker.log")
    assert (found("full.post"), found("full.ready"), found("full.health")) == ("503", "503", "200")
    assert (found("back.ready"), found("back.post"), found("worker.exit")) == ("200", "200", "0")
    assert log.count("journal.away") == log.count("journal.back") == 1, log
    assert "Traceback" not in log
    assert len(simulator.ledger()) == 1
