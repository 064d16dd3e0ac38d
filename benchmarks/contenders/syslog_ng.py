"""syslog-ng's http() destination, which people use to send lines of a file to an API in batches.

It is a C program that is there in every Debian (syslog-ng-core, syslog-ng-mod-http). Here it reads
the CSV file, splits rows with csv-parser(), writes a call's JSON with format-json, and posts up to
500 calls, or 240,000 bytes of them, a request. `settings` is all of it.

What it does not do, so that its figures are read for what they are: it checks no number and no
start-time, rejects no row (a bad one goes out as it is), keeps no outcome for a contact or a batch,
reads no answer but the HTTP status (an error in the body of a 200 is taken for success), and knows
nothing of the provider's limit. Its disk buffer is off: what it has read and not sent is gone when
it ends. What it is made for it does well: a batch that fails is tried again, and it goes on reading
where it was.

It does not read CSV, but lines: a field with a line feed in it is one field here only because
each row of these lists is known to begin with ACC and eight digits. It takes the last row for whole
after a second without another, so its wall time is a second longer than its work; and it never ends
by itself: it is told to when everything was accepted.
"""

import csv
import shutil
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

MODULES = ("http", "csvparser", "json-plugin", "affile")
"""What it must have been built with; http is a Debian package of its own."""

_WORKERS = 2
"""Threads that post. On one core two are as quick as four, and take less."""

_SETTINGS = """\
@version: 3.38
options { stats-freq(0); use-dns(no); dns-cache(no); log-msg-size(262144); };
source list {
    file(@list@
        follow-freq(0.1) read-old-records(yes) flags(no-parse, no-hostname)
        multi-line-mode(prefix-garbage) multi-line-prefix("^ACC[0-9]{8},") multi-line-timeout(1)
        log-iw-size(20000) log-fetch-limit(1000)
    );
};
filter rows { not message("^client-identifier,"); };
parser columns {
    csv-parser(columns(@columns@) delimiters(",") quotes('"') flags(escape-double-char));
};
destination phonon {
    http(
        url(@url@)
        method("POST")
        headers("Content-Type: application/json")
        body-prefix(@head@)
        delimiter(",")
        body(@call@)
        body-suffix("]}")
        batch-lines(@calls_in_a_request@)
        batch-bytes(240000)
        batch-timeout(200)
        workers(@workers@)
        log-fifo-size(30000)
    );
};
log {
    source(list); filter(rows); parser(columns); destination(phonon);
    flags(flow-control);
};
"""


def program() -> str | None:
    """Return the path of syslog-ng, if it is installed; who is not root may not have it in PATH."""
    return shutil.which("syslog-ng") or shutil.which("syslog-ng", path="/usr/sbin:/usr/local/sbin")


def version() -> str | None:
    """Return its version; None if it is not installed, or can't send to an API."""
    path = program()
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    told = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    modules = told.get("Available-Modules", "").strip().split(",")
    return told.get("Installer-Version", "").strip() if set(MODULES) <= set(modules) else None


def settings(
    path: Path, url: str, *, flow_id: str, security_id: str, calls_in_a_request: int
) -> str:
    """Return the configuration that sends the list at `path`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    of = {name: f"row.{place}" for place, name in enumerate(header)}
    head = f'{{"api-version":"1.0","security-id":"{security_id}","flow-id":"{flow_id}","calls":['
    values = {
        "list": _quoted(str(path)),
        "columns": ",".join(map(_quoted, of.values())),
        "url": _quoted(url),
        "head": _quoted(head),
        "call": _quoted(_call(of)),
        "calls_in_a_request": str(calls_in_a_request),
        "workers": str(_WORKERS),
    }
    text = _SETTINGS
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _call(of: dict[str, str]) -> str:
    """Return the template of a call; `of` tells where each column is."""
    india = timezone(timedelta(hours=5, minutes=30))
    start_time = datetime.now(UTC).astimezone(india).isoformat(timespec="seconds")
    first, *others = [place for name, place in of.items() if name.startswith("tel")]
    numbers = f'"${{{first}}}"' + "".join(
        f'$(if ("${{{other}}}" ne "") \',"${{{other}}}"\' \'\')' for other in others
    )
    keys = ",".join(
        f'$(format-json name="${name}" value="${{{place}}}")'  # $$ is a dollar
        for name, place in of.items()
        if name.startswith("$flow.key.")
    )
    return (
        f'{{"client-identifier":"${{{of["client-identifier"]}}}","start-time":"{start_time}",'
        f'"contact-numbers":[{numbers}],"keys":[{keys}]}}'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
