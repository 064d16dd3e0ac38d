"""Every line that the doctor can say, with its grade and what to do.

In braces stands what is filled in. docs/doctor.md has each of them, and a test holds it to these.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    """How well a thing is."""

    WELL = "well"
    MIND = "mind"
    """Sending works; somebody should look at this."""
    ILL = "ill"
    """Sending would not work, or its books can't be relied on."""


WELL, MIND, ILL = Grade.WELL, Grade.MIND, Grade.ILL


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    grade: Grade
    found: str
    """What was found, and where it is not well, what to do."""

    def to_dict(self) -> dict[str, Any]:
        """Return the check for `--json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """What can be said of one thing; `what` and `text` have braces where values come in."""

    what: str
    grade: Grade
    text: str

    def check(self, **values: object) -> Check:
        """Return the line with its values filled in."""
        return Check(self.what.format(**values), self.grade, self.text.format(**values))


def to_lines(checks: Sequence[Check]) -> list[str]:
    """Return a line for each check, as an operator reads it."""
    width = max(len(check.what) for check in checks)
    return [f"{check.grade:<5} {check.what:<{width}}  {check.found}" for check in checks]


def to_text(checks: Sequence[Check]) -> str:
    """Return the checks as an operator reads them, and what follows from all of them."""
    lines = to_lines(checks)
    ill = sum(check.grade is ILL for check in checks)
    if ill:
        lines += ["", f"this machine can't send as it is: {ill} of {len(checks)} are ill"]
    else:
        lines += ["", "this machine can send; that Phonon takes its calls, only a call can show"]
    return "\n".join(lines)


# ---- settings, and the files they name

SETTINGS = Line("settings", WELL, "read from {source}, and nothing is wrong in them")
SETTINGS_ILL = Line("settings", ILL, "{problem}")
SETTINGS_FILE = Line(
    "settings file",
    MIND,
    "others than its owner can change {path}, and so send the security id elsewhere: "
    "chmod go-w {path}",
)
SECURITY_ID = Line(
    "security id{of_account}", WELL, "there, and of the right form; only Phonon can say more"
)
SECURITY_ID_OPEN = Line("security id{of_account}", MIND, "{problem}")
SECURITY_ID_ILL = Line("security id{of_account}", ILL, "{problem}")
TOKEN = Line("token file", WELL, "{path} is there, and only its owner may use it")
TOKEN_OPEN = Line(
    "token file",
    MIND,
    "{path} lets its holder have calls placed, and others than its owner may use it: "
    "chmod 600 {path}",
)
TOKEN_AWAY = Line(
    "token file",
    MIND,
    "{path} can't be read ({problem}), so the worker will not start: write a token into it, or "
    "correct worker.token_file",
)
TOKEN_NONE = Line(
    "token file",
    MIND,
    "the worker would listen on {address}, which others can reach, and there is no token: it will "
    "not start so. Name a worker.token_file, or let it listen on 127.0.0.1",
)
CAMPAIGN = Line("campaign {name}", WELL, "read from {path}; {extent}")
CAMPAIGN_ILL = Line("campaign {name}", ILL, "{problem}")
CAMPAIGN_OPEN = Line(
    "campaign {name}",
    MIND,
    "others than its owner can change {path}, and so whom it calls: chmod go-w {path}",
)
FILES_LATE = Line(
    "files",
    ILL,
    "what stands in the settings' files was not read within {seconds} seconds: a disk does not "
    "answer. Is a network drive away (`df`, `dmesg`)?",
)

# ---- the machine

DISK = Line("disk", WELL, "{free} free where the journal is ({folder}); {need}")
DISK_FEW = Line(
    "disk",
    MIND,
    "{free} free where the journal is ({folder}): a million contacts take up to 100 MB. Free some "
    "space before a large list",
)
DISK_SHORT = Line(
    "disk",
    MIND,
    "{free} free where the journal is ({folder}), and {need}: free some space, or move the journal",
)
DISK_FULL = Line(
    "disk",
    ILL,
    "{free} free where the journal is ({folder}): free some space, or move the journal",
)
DISK_ILL = Line(
    "disk",
    ILL,
    "how much is free where the journal is can't be told ({problem}): is its disk mounted?",
)
DISK_LATE = Line(
    "disk",
    ILL,
    "the journal's disk has said nothing for {seconds} seconds. Is a network drive away (`df`, "
    "`dmesg`)?",
)
OPEN_FILES = Line("open files", WELL, "{limit} are allowed, {need} are enough for run and worker")
OPEN_FILES_FEW = Line(
    "open files",
    MIND,
    "{limit} are allowed, and a worker at full rate may need {need}: `ulimit -n {need}`, or "
    "LimitNOFILE={need} in its unit",
)
OPEN_FILES_ILL = Line(
    "open files",
    ILL,
    "{limit} are allowed, and `run` may need {need}: `ulimit -n {need}`, or fewer "
    "endpoints.*.workers",
)
INDIA = Line(
    "date in India", WELL, "{date}, {time}, by this machine's clock; start-times are held to it"
)

# ---- the journal

JOURNAL_SLASHES = Line(
    "journal",
    MIND,
    "{path} lies directly under {root}: three slashes begin an absolute path. Was sqlite:{name} "
    "meant?",
)
JOURNAL_NONE = Line("journal", WELL, "there is none at {path} yet; the first run makes it")
JOURNAL_NO_FOLDER = Line(
    "journal",
    ILL,
    "there is none at {path}, and {folder} can't be written by this user: change its owner, or "
    "name another `journal`",
)
JOURNAL_ILL = Line("journal", ILL, "{problem}")
JOURNAL_LATE = Line(
    "journal",
    ILL,
    "{path} was not read within {seconds} seconds: its disk does not answer, or is far too slow",
)
JOURNAL_FILE = Line("journal file", WELL, "{path}; only its owner may use it")
JOURNAL_OPEN = Line(
    "journal file",
    MIND,
    "{path} holds contact data, and others than its owner may use it: chmod 600 {path}",
)
JOURNAL_FOLDER = Line(
    "journal's folder",
    MIND,
    "others than its owner can put other files in the place of the journal's: chmod go-w {path}",
)
JOURNAL_OWNER = Line(
    "journal's owner",
    MIND,
    "{path} belongs to the user {owner}, and this is {user}: let one user do all the sending, and "
    "ask the doctor as that one",
)
KEPT_OPEN = Line(
    "kept lists",
    MIND,
    "{path} holds contact data, and others than its owner may use it: chmod -R go-rwx {path}",
)
PLACE = Line("journal's disk", WELL, "{kind}, mounted on {mount}")
PLACE_NETWORK = Line(
    "journal's disk",
    ILL,
    "{kind}, mounted on {mount}: over a network, SQLite's locks and its log can't be relied on. "
    "Move the journal to a disk of this machine",
)
PLACE_SHARED = Line(
    "journal's disk",
    MIND,
    "{kind}, mounted on {mount}: nobody can say whether locks work there as on a disk of this "
    "machine's own. Move the journal to one",
)
PLACE_MEMORY = Line(
    "journal's disk",
    MIND,
    "{kind}, mounted on {mount}: it is gone with the next restart, and with it who was called. "
    "Move the journal to a disk",
)
PLACE_CONTAINER = Line(
    "journal's disk",
    MIND,
    "{kind}, mounted on {mount}: it is deleted with its container, and with it who was called. "
    "Put the journal on a volume",
)
JOURNAL_OLDER = Line(
    "journal's version",
    MIND,
    "an older phonon-bulk wrote {path}; it was not looked into. The next command that opens it "
    "brings it up to date, and older installations can't use it from then on: upgrade all of them "
    "first, and copy the file",
)
JOURNAL_EMPTY = Line(
    "journal's version",
    MIND,
    "{path} is an empty file, so nothing is in the journal: the next command that opens it makes "
    "one there. If there was one, look for the file that holds it",
)
JOURNAL_FIXED = Line(
    "journal writable",
    ILL,
    "this user can't write {path}, or not in its folder: is its disk mounted to be read only "
    "(`mount`), or does the file belong to another user (`ls -l`)?",
)
WRITABLE = Line("journal writable", WELL, "it can be written, and nobody holds it locked")
WRITABLE_ILL = Line("journal writable", ILL, "{problem}")
SIZE = Line("journal's size", WELL, "{size} with {runs} runs and {calls} calls; {wal} in its log")
SIZE_WAL = Line(
    "journal's size",
    MIND,
    "{size} with {runs} runs and {calls} calls, and {wal} beside it in its -wal: some program has "
    "been reading for long and keeps it from being merged (a backup, an open `sqlite3`). End that "
    "one",
)
INTEGRITY = Line("SQLite's integrity check", WELL, "ok (its quick form)")
INTEGRITY_ILL = Line(
    "SQLite's integrity check",
    ILL,
    "the file is damaged: {problem}. Send nothing with it: copy it away with its -wal, and take "
    "it back from a backup, or save what can be read with `sqlite3 journal.db .recover`",
)
INTEGRITY_LATE = Line(
    "SQLite's integrity check",
    MIND,
    'not ended within {seconds} seconds; when nothing is sent: `sqlite3 {path} "PRAGMA '
    'quick_check"`',
)
CONSERVATION = Line("conservation", WELL, "{promise} ({seen})")
CONSERVATION_ILL = Line(
    "conservation",
    ILL,
    "{problem}; `phonon-bulk audit` shows all. Keep the journal as it is and report it",
)
CONSERVATION_LATE = Line(
    "conservation",
    MIND,
    "not added up within {seconds} seconds; when there is time: `phonon-bulk audit`",
)
AT_WORK = Line("at work", WELL, "{who}")
RUNS = Line("runs", WELL, "none of the newest {number} waits for anybody")
RUN_STOPPED = Line("run {run}", MIND, "stopped: {reason}. Mend that, then {resuming}")
RUN_PAUSED = Line("run {run}", MIND, "paused, with {left} calls to send; go on with {resuming}")
RUN_UNREAD = Line(
    "run {run}",
    MIND,
    "its list is not read to the end; if nothing is at work on it: `phonon-bulk resume {run}`",
)
RUN_LEFT = Line(
    "run {run}",
    MIND,
    "{left} calls to send; if nothing is at work on it: `phonon-bulk resume {run}`",
)
RUN_SINGLE = Line(
    "run {run}",
    MIND,
    "{left} single calls to send, and nobody sends them: start `phonon-bulk worker`",
)
RUN_DOUBT = Line("run {run}", MIND, "{left} calls in doubt: `phonon-bulk resolve {run}`")

# ---- the way to an endpoint

PROXY = Line("proxy ({endpoint})", WELL, "by way of {proxy}, which the environment names")
PROXY_KIND = Line(
    "proxy ({endpoint})",
    ILL,
    "{proxy}, which the environment names, can't be used: only proxies of HTTP can. Set "
    "HTTPS_PROXY to http://HOST:PORT, or except {host} by NO_PROXY",
)
PROXY_ILL = Line(
    "proxy ({endpoint})",
    ILL,
    "{proxy}, which the environment names, speaks no HTTP or breaks off ({problem}): correct "
    "HTTPS_PROXY, or except {host} by NO_PROXY",
)
PROXY_REFUSES = Line(
    "proxy ({endpoint})",
    ILL,
    "{proxy} does not let through to {host}: it answers HTTP {status}. Have {host} allowed there, "
    "or set its login in HTTPS_PROXY if that is 407",
)
DNS = Line("DNS ({endpoint})", WELL, "{host} is {addresses}; asked within {ms} ms")
DNS_SLOW = Line(
    "DNS ({endpoint})",
    MIND,
    "{host} is {addresses}, but it took {ms} ms to say so: see which name servers are asked "
    "(/etc/resolv.conf), the first may be away",
)
DNS_ILL = Line(
    "DNS ({endpoint})",
    ILL,
    "{host} can't be resolved ({problem}): is its name right, and does this machine reach its name "
    "server (/etc/resolv.conf)?",
)
CONNECTION = Line("connection ({endpoint})", WELL, "to {address} port {port}, within {ms} ms")
CONNECTION_ILL = Line(
    "connection ({endpoint})",
    ILL,
    "none to {host} port {port}: {problem}. Is a firewall in between? It must let this machine out "
    "there",
)
CONNECTION_PROXY_ILL = Line(
    "connection ({endpoint})",
    ILL,
    "none to the proxy {proxy}: {problem}. Correct HTTPS_PROXY, or except {host} by NO_PROXY if it "
    "can be reached without",
)
TLS = Line("TLS ({endpoint})", WELL, "{version}; the certificate is valid for {host}")
TLS_EXPIRED = Line(
    "TLS ({endpoint})",
    ILL,
    "the certificate of {host} has expired, if this machine's clock is right (`date`): set the "
    "clock, or tell whoever runs {host}. Nothing is sent there",
)
TLS_TOO_EARLY = Line(
    "TLS ({endpoint})",
    ILL,
    "the certificate of {host} is not valid yet: this machine's clock is likely to be behind "
    "(`date`). Nothing is sent there",
)
TLS_OTHER_NAME = Line(
    "TLS ({endpoint})",
    ILL,
    "the certificate is for another host than {host}: is endpoints.{endpoint}.url right, and its "
    "name resolved rightly? Nothing is sent there",
)
TLS_UNKNOWN = Line(
    "TLS ({endpoint})",
    ILL,
    "nobody known vouches for the certificate of {host} ({problem}): install the system's "
    "ca-certificates; if a proxy breaks TLS open, name its certificate by SSL_CERT_FILE. Nothing "
    "is sent there",
)
TLS_ILL = Line(
    "TLS ({endpoint})",
    ILL,
    "could not be agreed on with {host} port {port} ({problem}): is it a port for https, and does "
    "a firewall break TLS open?",
)
CERTIFICATE = Line("certificate ({endpoint})", WELL, "ends on {date}, in {days} days")
CERTIFICATE_ENDS = Line(
    "certificate ({endpoint})",
    MIND,
    "ends on {date}, in {days} days, and then nothing can be sent: ask whoever runs {host} to "
    "renew it",
)
ANSWER = Line(
    "answer ({endpoint})",
    WELL,
    "HTTP {status} within {ms} ms, to a GET without a body, which places no call: somebody is "
    "there. Whether calls are taken, only a call can show",
)
ANSWER_403 = Line(
    "answer ({endpoint})",
    MIND,
    "HTTP 403 to a GET without a body: this machine's IP may not be allowed. Have its public "
    "address allowed in Phonon's console, then try with --send-test",
)
ANSWER_404 = Line(
    "answer ({endpoint})",
    MIND,
    "HTTP {status} to a GET without a body: there may be nothing at endpoints.{endpoint}.url. See "
    "that it is right, then try with --send-test",
)
ANSWER_ELSEWHERE = Line(
    "answer ({endpoint})",
    MIND,
    "HTTP {status} to a GET without a body: endpoints.{endpoint}.url leads elsewhere, and is not "
    "followed. Set it to where the endpoint is now",
)
ANSWER_LATER = Line(
    "answer ({endpoint})",
    MIND,
    "HTTP {status} to a GET without a body: the endpoint is not well, or busy. Try again in a "
    "minute; ask Phonon if it stays so",
)
ANSWER_SAYS = Line(
    "answer ({endpoint})",
    MIND,
    'it answers a GET without a body with "{problem}": see to that with Phonon, then try with '
    "--send-test",
)
ANSWER_NONE = Line(
    "answer ({endpoint})",
    ILL,
    "none to a GET without a body: {problem}. Is endpoints.{endpoint}.url right? Ask Phonon "
    "whether the endpoint is well",
)
SEEN = Line("seen as ({endpoint})", WELL, "{address}, if nothing in between changes it")
SEEN_INSIDE = Line(
    "seen as ({endpoint})",
    WELL,
    "from inside as {address}; Phonon sees the public address of the gateway (NAT), which can't be "
    "known from here: ask whoever runs the network, for Phonon's list of allowed addresses",
)
SEEN_PROXY = Line(
    "seen as ({endpoint})",
    WELL,
    "by the proxy as {address}; Phonon sees the proxy's public address, which can't be known from "
    "here: ask whoever runs it, for Phonon's list of allowed addresses",
)
SEEN_HERE = Line("seen as ({endpoint})", WELL, "{address}: the endpoint is this machine itself")
CLOCK = Line("clock ({endpoint})", WELL, "as {host} has it, to {offset} seconds")
CLOCK_OFF = Line(
    "clock ({endpoint})",
    MIND,
    "this machine's is {offset} seconds {direction} that of {host}: around midnight in India a "
    "call may be taken for yesterday's. Let it be set by NTP (`timedatectl set-ntp true`)",
)
CLOCK_FAR = Line(
    "clock ({endpoint})",
    ILL,
    "this machine's is {offset} seconds {direction} that of {host}: start-times, calling windows "
    "and not_after would be wrong. Let it be set by NTP (`timedatectl set-ntp true`)",
)
CLOCK_UNKNOWN = Line(
    "clock ({endpoint})",
    MIND,
    "{host} does not say what time it is: see whether this machine's clock is set by NTP "
    "(`timedatectl`)",
)

# ---- a call, if told to

TEST_ACCEPTED = Line(
    "test call",
    WELL,
    "taken by Phonon ({ids}), run {run}: the telephone should ring. If it does not, look for it in "
    "Phonon's console: the flow may be at fault",
)
TEST_REFUSED = Line("test call", ILL, "refused, run {run}: {reason}. Nothing was placed")
TEST_BLOCKED = Line(
    "test call", ILL, "refused, run {run}: {reason}. {step}, and try again. Nothing was placed"
)
TEST_UNSENT = Line(
    "test call",
    ILL,
    "not sent, run {run}: {reason}. It was taken back, and will not be sent later",
)
TEST_DOUBT = Line(
    "test call",
    MIND,
    "may or may not have been taken, run {run}: {reason}. If the telephone rang: `phonon-bulk "
    "resolve {run} --all --accepted`, else --abandon",
)

LINES = [value for value in tuple(globals().values()) if isinstance(value, Line)]
"""All of them, in the order of what is looked at."""
