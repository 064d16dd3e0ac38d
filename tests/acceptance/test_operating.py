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
ROWS = 40_000

needs_a_machine = pytest.mark.skipif(
    os.getuid() != 0 or any(shutil.which(tool) is None for tool in TOOLS),
    reason=f"only for root, with {', '.join(TOOLS)}",
)

NOT_TYPED = {
    r"^apt-get install .*$": ":",
    r"^/usr/bin/python3 -m venv /opt/phonon-bulk$": f"ln -s {VENV} /opt/phonon-bulk",
    r"^/opt/phonon-bulk/bin/pip install .*$": ":",
    # On some machines Python itself is in this folder.
    r"/usr/local/bin/": "$BIN/",
}
"""What would take minutes or a network, and what is there in its place."""

SLOW, QUICK = "delay:4", ""
BEFORE = {
    "phonon-bulk check /etc/phonon-bulk/campaigns/reminder.toml": SLOW,
    "cat > /etc/phonon-bulk/campaigns/nightly.toml": QUICK,
}
"""How the provider answers from a block on."""


def as_typed(block: str) -> str:
    """Return a block with what is not typed taken out."""
    for pattern, instead in NOT_TYPED.items():
        block = re.sub(pattern, instead, block, flags=re.MULTILINE)
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
        parts.append(f"echo; echo '== {number}'")
        for begin, fault in BEFORE.items():
            if block.startswith(begin):
                faults = f'["{fault}"]' if fault else "[]"
                parts.append(f"curl -sS -o /dev/null {RULES} --data '{{\"faults\": {faults}}}'")
        # An interactive shell reads what is pasted; this one is given it.
        stdin = f"<<< {SECURITY_ID}" if "/dev/stdin /etc/phonon-bulk/security-id" in block else ""
        parts.append(f"{{\n{as_typed(block)}}} {stdin}")
    return "\n".join([*parts, "systemctl stop phonon-bulk", "echo; echo '== end'"])


RULES = "--header 'Content-Type: application/json' http://127.0.0.1:8099/rules"
LOOPBACK = (
    "import fcntl, socket, struct; "
    'flags = struct.pack("16sh14x", b"lo", 0x41); '
    "fcntl.ioctl(socket.socket(), 0x8914, flags)"
)
"""Brings the loopback interface up: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING."""


def machine(folder: Path) -> None:
    """Lay out the programs, the source and the page."""
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


def typed(folder: Path) -> list[str]:
    """Type the page, and return what came of it: the output of each block."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PHONON_BULK_")}
    path = f"{folder / 'bin'}:{kept['PATH']}"
    ended = subprocess.run(
        [*NAMESPACES, "bash", folder / "page.sh"],
        cwd=folder,
        env={**kept, "BIN": str(folder / "bin"), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    assert "Traceback" not in ended.stdout
    assert SECURITY_ID not in ended.stdout
    return re.split(r"^== (?:\d+|end)\n", ended.stdout, flags=re.MULTILINE)[1:-1]


NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


@needs_a_machine
def test_the_page_works_from_its_top_to_its_end(tmp_path: Path) -> None:
    """Every command of it ends with 0 on a bare machine, and what it says is what happens."""
    machine(tmp_path)
    outputs = typed(tmp_path)

    def of(begin: str) -> str:
        """Return the output of the block that begins so."""
        pairs = zip(BLOCKS, outputs, strict=True)
        (output,) = [output for block, output in pairs if block.startswith(begin)]
        return output

    started = of("systemctl enable --now phonon-bulk")
    assert '{"ready":true,"reasons":[]}' in started
    assert '{"ready":true,"reasons":[]}' in PAGE
    assert "this machine can send" in started

    assert "sending" in of("phonon-bulk check")
    held = of("phonon-bulk pause 1")
    assert "run 1 is paused" in held
    assert "run 1 is cancelled" in held
    assert "written to run-1.csv" in held

    answer = of("printf 'Authorization")
    assert '"state":"accepted"' in answer
    assert re.search(r'"request-id":"[0-9a-f-]{36}"', answer)

    logged = of("systemctl reload phonon-bulk")
    assert "settings.unchanged" in logged
    assert "worker.status" in logged

    assert of("install -d -m 700 /var/backups/phonon-bulk\nsqlite3").strip() == "ok"
    restored = of("systemctl stop phonon-bulk\nrm")
    assert re.search(rf"nightly +done +{ROWS:,} +{ROWS:,}", restored)
    assert re.search(r"premium-reminder +cancelled", restored)
