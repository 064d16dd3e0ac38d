"""Starts `phonon-bulk simulate` for the scripts beside this one, and reads its books."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

SECURITY_ID = "Simulated0" * 6 + "Only"
"""64 letters and digits, as the real ones; the simulator takes any."""

FLOW_ID = "QG8k000A"

_SETTINGS = """\
journal = "sqlite:journal.db"
[endpoints.bulk]
url = "{url}"
requests_per_minute = "off"
"""
_CAMPAIGN = """\
[campaign]
name = "benchmark"
flow_id = "{flow_id}"
"""

_STOP_SECONDS = 5.0
_PATH = "/kairos-apis/outbound/create"


def program() -> str:
    """Return the path of `phonon-bulk` in the environment that this script runs in."""
    path = Path(sys.executable).with_name("phonon-bulk")
    if not path.exists():
        sys.exit(f"there is no {path}: use `make demo` or `make bench`, or .venv/bin/python")
    return str(path)


def environment(**more: str) -> Mapping[str, str]:
    """Return this process's environment without settings of phonon-bulk, but with `more`."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("PHONON_BULK_")}
    return own | more


@dataclass(frozen=True, slots=True)
class LocalPhonon:
    """A simulator that is running."""

    announcement: str
    """What it says when it begins."""
    port: int

    @property
    def bulk_url(self) -> str:
        """Where bulk requests go."""
        return f"http://127.0.0.1:{self.port}/bulk{_PATH}"

    @property
    def realtime_url(self) -> str:
        """Where real-time requests go."""
        return f"http://127.0.0.1:{self.port}/realtime{_PATH}"

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Yield every call it accepted."""
        with self._asked("GET", "/ledger") as response:
            yield from map(orjson.loads, response)

    def requests(self) -> Iterator[dict[str, Any]]:
        """Yield every request it received."""
        with self._asked("GET", "/ledger/requests") as response:
            yield from map(orjson.loads, response)

    def summary(self, endpoint: str = "bulk") -> dict[str, Any]:
        """Return the sums of an endpoint."""
        with self._asked("GET", "/ledger/summary") as response:
            sums: dict[str, Any] = orjson.loads(response.read())[endpoint]
        return sums

    def reset(self) -> None:
        """Empty its books."""
        with self._asked("POST", "/reset"):
            pass

    @contextlib.contextmanager
    def _asked(self, method: str, path: str) -> Iterator[http.client.HTTPResponse]:
        # http.client and not urllib, because it never asks a proxy.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request(method, path)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                raise RuntimeError(f"{method} {path}: HTTP {response.status}")
            yield response


def lay_out(folder: Path, url: str) -> None:
    """Write settings that send to `url` without a limit, and a campaign, into a folder."""
    (folder / "phonon-bulk.toml").write_text(_SETTINGS.format(url=url), encoding="utf-8")
    (folder / "campaign.toml").write_text(_CAMPAIGN.format(flow_id=FLOW_ID), encoding="utf-8")


@contextlib.contextmanager
def simulating(*options: str, prefix: tuple[str, ...] = ()) -> Iterator[LocalPhonon]:
    """Run `phonon-bulk simulate` on a free port within the block; it ends with the block.

    `prefix` stands before the command, such as taskset and its options.
    """
    process = subprocess.Popen(
        [*prefix, program(), "simulate", "--port", "0", *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # A Ctrl-C goes to a terminal's whole group. The simulator must answer until the run that
        # got it has ended, so it is in a group of its own, and only `_stop` ends it.
        process_group=0,
    )
    try:
        yield _announced(process)
    finally:
        _stop(process)


def _announced(process: subprocess.Popen[str]) -> LocalPhonon:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line:
        sys.exit("the simulator did not start: try `phonon-bulk simulate --port 0` by itself")
    return LocalPhonon(line, int(line.rpartition(":")[2]))


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
