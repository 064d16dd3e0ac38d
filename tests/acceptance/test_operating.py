"""docs/operating.md, as somebody would type it: every block of commands, in its order.

It is typed on a machine of its own: a mount, network and process namespace in which /etc is a copy
and the folders that are written to are thrown away. There is no systemd in there; `stand_in.py`
starts the units in its place. What the units keep a service from is for systemd to say, see
tests/integration/test_units.py.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import SECURITY_ID
from desk import COMMAND

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STAND_IN = ROOT / "tests/stand_in.py"
NAMES = ("systemctl", "systemd-run", "journalctl", "runuser")
TOOLS = ("unshare", "curl", "sqlite3", "systemd-sysusers", "shred")
THROWN_AWAY = ("/opt", "/srv", "/var/lib", "/var/backups", "/run")
VENV = Path(COMMAND).parents[1]
ROWS = 100_000

needs_a_machine = pytest.mark.skipif(
    os.getuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
    reason=f"only for root, with {', '.join(TOOLS)}",
)

NOT_TYPED = {
    r"apt-get install .*": ":",
    r"/usr/bin/python3 -m venv /opt/phonon-bulk": f"ln -s {VENV} /opt/phonon-bulk",
    r"/opt/phonon-bulk/bin/pip install .*": ":",
    # On some machines Python itself is in this folder.
    r"/usr/local/bin/": "$BIN/",
}
"""What would take minutes or a network, and what is there in its place."""

SLOW, QUICK = "delay:2", ""
BEFORE = {
    "phonon-bulk check /etc/phonon-bulk/campaigns/reminder.toml": SLOW,
    "systemctl reload phonon-bulk": QUICK,
}
"""How the provider answers from a block on."""


def as_typed(block: str) -> str:
    """Return a block with what is not typed taken out."""
    for pattern, instead in NOT_TYPED.items():
        block = re.sub(rf"^{pattern}$" if " " in pattern else pattern, instead, block, flags=re.M)
    return block


def script() -> str:
    """Return the page as one script, which says before each block which it is."""
    parts = [
        "set -eu",
        "mount --make-rprivate /",
        "mkdir copy; cp -a /etc/. copy; mount --bind copy /etc",
        *(f"mount -t tmpfs -o mode=755 tmpfs {folder}" for folder in THROWN_AWAY),
        f"{sys.executable} -c '{LOOPBACK}'",
        "cd source",
    ]
    for number, block in enumerate(BLOCKS):
        parts.append(f"echo '== {number}'")
        for begin, fault in BEFORE.items():
            if block.startswith(begin):
                faults = f'["{fault}"]' if fault else "[]"
                parts.append(f"curl -sS -o /dev/null {RULES} --data '{{\"faults\": {faults}}}'")
        # An interactive shell reads what is pasted; this one is given it.
        stdin = f"<<< {SECURITY_ID}" if "/dev/stdin /etc/phonon-bulk/security-id" in block else ""
        parts.append(f"{{\n{as_typed(block)}}} {stdin}")
    return "\n".join([*parts, "systemctl stop phonon-bulk", "echo '== end'"])


RULES = "--header 'Content-Type: application/json' http://127.0.0.1:8099/rules"
LOOPBACK = (
    "import fcntl, socket, struct; "
    'flags = struct.pack("16sh14x", b"lo", 0x41); '
    "fcntl.ioctl(socket.socket(), 0x8914, flags)"
)
"""Brings the loopback interface up: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING."""


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what came of the page: the output of each block, by its first line."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "bin").mkdir()
    for name in NAMES:
        stand_in = folder / "bin" / name
        stand_in.write_text(f"#!{sys.executable}\n{STAND_IN.read_text('utf-8')}")
        stand_in.chmod(0o755)
    (folder / "source").mkdir()
    (folder / "source/config").symlink_to(ROOT / "config")
    lines = (f"9190000{row:05d},ACC{row}" for row in range(ROWS))
    (folder / "source/contacts.csv").write_text("\n".join(["tel1,client-identifier", *lines]))
    (folder / "page.sh").write_text(script())
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PHONON_BULK_")}
    bin_folder = folder / "bin"
    ended = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        + ["bash", folder / "page.sh"],
        cwd=folder,
        env={**kept, "BIN": str(bin_folder), "PATH": f"{bin_folder}:{kept['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert "Traceback" not in ended.stdout
    assert SECURITY_ID not in ended.stdout
    parts = re.split(r"^== (\d+|end)\n", ended.stdout, flags=re.MULTILINE)
    outputs = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {block.splitlines()[0]: outputs[str(n)] for n, block in enumerate(BLOCKS)}


def of(typed: dict[str, str], begin: str) -> str:
    """Return the output of the block that begins so."""
    (output,) = [output for line, output in typed.items() if line.startswith(begin)]
    return output


@needs_a_machine
def test_the_page_works_from_its_top_to_its_end(typed: dict[str, str]) -> None:
    """Every command of it ends with 0 on a bare machine."""
    assert len(typed) == len(BLOCKS)


@needs_a_machine
def test_it_is_ready_as_the_page_says(typed: dict[str, str]) -> None:
    """The answers that the page shows are the answers there are."""
    shown = of(typed, "systemctl enable --now phonon-bulk")
    assert '{"ready":true,"reasons":[]}' in shown
    assert '{"ready":true,"reasons":[]}' in PAGE
    assert "this machine can send" in shown


@needs_a_machine
def test_the_worker_sends_what_was_submitted(typed: dict[str, str]) -> None:
    """It is at work on it a moment later; and `pause`, `resume`, `cancel` find it so."""
    assert "sending" in of(typed, "phonon-bulk check")
    held = of(typed, "phonon-bulk pause 1")
    assert "run 1 is paused" in held
    assert "run 1 is cancelled" in held
    assert "written to run-1.csv" in held


@needs_a_machine
def test_a_single_call_is_placed(typed: dict[str, str]) -> None:
    """It passes the campaign, and is answered with its request-id."""
    answer = of(typed, "printf 'Authorization")
    assert '"state":"accepted"' in answer
    assert re.search(r'"request-id":"[0-9a-f-]{36}"', answer)


@needs_a_machine
def test_the_nightly_run_is_reported(typed: dict[str, str]) -> None:
    """Signals and the log are as the page says, and the runs are there after all moves."""
    assert "worker.status" in of(typed, "systemctl reload phonon-bulk")
    assert "settings.unchanged" in of(typed, "systemctl reload phonon-bulk")
    listed = of(typed, "systemctl stop phonon-bulk\nrm") if False else typed
    assert any(re.search(r"nightly +done +100,000", output) for output in listed.values())
