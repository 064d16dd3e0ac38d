"""What a user gets when something is wrong: a sentence that says what to do, and the exit code."""

import contextlib
import socket

import pytest
from builders import FLOW_ID, SECURITY_ID
from desk import Desk, Start, agree, until

from phonon_bulk.errors import PhononBulkError
from phonon_bulk.journal.books import SqliteBooks

NOWHERE = "http://127.0.0.1:1"


def unusable(desk: Desk, *words: str, arguments: tuple[str, ...] = ("run", "campaign.toml")) -> str:
    """Run a command that can't work: exit 2, all the words said, and no run opened."""
    ended = desk.run(*arguments)
    assert ended.exit == 2, ended.err
    for word in words:
        assert word in ended.err
    assert ended.out == ""
    if (desk.folder / "journal.db").exists():
        assert desk.run("runs", "--json").summary["runs"] == []
    return ended.err


@pytest.fixture
def ready(desk: Desk) -> Desk:
    """Return a desk with settings and a campaign, but no list."""
    desk.settings(NOWHERE)
    desk.campaign()
    return desk


def rows_read(desk: Desk) -> int:
    """Return how many rows of the first run are in the journal."""
    path = desk.folder / "journal.db"
    if not path.exists():
        return 0
    with contextlib.suppress(PhononBulkError), SqliteBooks(path) as books:
        return books.run(1).rows
    return 0


def test_no_such_list(ready: Desk) -> None:
    """No such file: says which."""
    unusable(ready, "there is no file", "list.csv")


def test_an_empty_list(ready: Desk) -> None:
    """An empty file: says so."""
    ready.write("list.csv", "")
    unusable(ready, "list.csv", "empty")


def test_a_header_without_rows(ready: Desk) -> None:
    """A header alone: says that there are no rows."""
    ready.write("list.csv", "tel1,$flow.key.Name\n")
    unusable(ready, "list.csv", "no rows")


def test_a_mapped_column_that_is_not_there(desk: Desk) -> None:
    """A mapping to a column that is missing: names it, and the columns there are."""
    desk.settings(NOWHERE)
    desk.campaign(rest='[mapping]\ncontact_numbers = "mobile"\n')
    desk.write("list.csv", "mobil,name\n919812345678,Asha\n")
    unusable(desk, "mobile", "mobil", "name")


def test_a_wrong_encoding(ready: Desk) -> None:
    """Text that is UTF-8 in one place and not in another is damaged: names the line."""
    text = "tel1,$flow.key.Name\n919812345678,José\n"
    ready.write("list.csv", text.encode("cp1252") + "919812345679,आशा\n".encode())
    error = unusable(ready, "list.csv", "UTF-8", "line 2")
    assert "Jos" not in error


def test_utf_16(ready: Desk) -> None:
    """A list in UTF-16 that was cut in the middle of a character is recognised as such."""
    ready.write("list.csv", "tel1,$flow.key.Name\n919812345678,Asha\n".encode("utf-16")[:-1])
    unusable(ready, "UTF-16")


def test_no_list_at_all(desk: Desk) -> None:
    """A campaign without a source, and no list on the command line: says where to name one."""
    desk.settings(NOWHERE)
    desk.write("campaign.toml", f'[campaign]\nname = "x"\nflow_id = "{FLOW_ID}"\n')
    unusable(desk, "which list?")


def test_settings_and_campaign_wrong_at_once(desk: Desk) -> None:
    """Every wrong or unknown key of both files is named at once, with what was expected."""
    desk.write("phonon-bulk.toml", "[endpoints.bulk]\nworker = 3\ntimeout = 'long'\n")
    desk.write("campaign.toml", '[campaign]\nname = "x"\nflow_id = "short"\nendpont = "bulk"\n')
    error = unusable(desk, "endpoints.bulk.worker", "endpoints.bulk.timeout", "phonon-bulk.toml")
    assert "campaign.flow_id" in error
    assert "campaign.endpont" in error
    assert "did you mean" in error


def test_no_security_id(ready: Desk) -> None:
    """Without a security id: says where it may come from."""
    ready.contacts(3)
    ready.environment["PHONON_BULK_SECURITY_ID"] = SECURITY_ID[:-1]
    unusable(ready, "PHONON_BULK_SECURITY_ID", "64")


def test_a_limit_too_small(desk: Desk) -> None:
    """Limits under which no batch could ever go out are named, not hung on."""
    desk.settings(NOWHERE, calls_per_minute=499)
    desk.campaign()
    desk.contacts(3)
    unusable(desk, "endpoints.bulk", "too small")


def test_a_journal_that_is_none(ready: Desk) -> None:
    """A journal path that holds something else is left alone."""
    ready.contacts(3)
    ready.write("journal.db", "not a database, but a text of some length" * 100)
    ended = ready.run("run", "campaign.toml")
    assert ended.exit == 2
    assert "damaged, or no journal" in ended.err
    assert (ready.folder / "journal.db").read_bytes().startswith(b"not a database")


def test_no_journal_yet(ready: Desk) -> None:
    """Asking for the status before anything was submitted: says so."""
    unusable(ready, "no journal", arguments=("status",))


def test_no_such_run(ready: Desk, simulate: Start) -> None:
    """A run that is not there: says how to list those that are."""
    ready.settings(simulate().url)
    ready.contacts(3)
    assert ready.run("run", "campaign.toml", "-q").exit == 0
    for arguments in (("status", "9"), ("resume", "9"), ("export", "9", "-o", "x.csv")):
        ended = ready.run(*arguments)
        assert ended.exit == 2
        assert "no run 9" in ended.err


def test_an_export_of_no_known_kind(ready: Desk, simulate: Start) -> None:
    """An export's ending says its kind; another one is refused, and no file is left."""
    ready.settings(simulate().url)
    ready.contacts(3)
    ready.run("run", "campaign.toml", "-q")
    ended = ready.run("export", "1", "-o", "x.xls")
    assert ended.exit == 2
    assert ".csv, .ndjson, .parquet" in ended.err
    assert list(ready.folder.glob("*x.xls*")) == []


def test_a_server_that_is_not_there(desk: Desk, simulate: Start) -> None:
    """Nobody listens: it says so, tries again, gives up in the end; nothing is lost."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quick = {"give_up_after": 0.5, "back_off_first": 0.05, "back_off_most": 0.2}
    desk.settings(f"http://127.0.0.1:{port}", sending=quick)
    desk.campaign()
    desk.contacts(1000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 5
    assert "127.0.0.1 can't be reached: connection refused" in ended.err
    assert "phonon-bulk resume 1" in ended.err
    assert (ended.summary["to_send"], ended.summary["in_doubt"]) == (1000, 0)
    simulator = simulate()
    desk.settings(simulator.url, sending=quick)
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, simulator)


def test_a_name_that_does_not_resolve(desk: Desk) -> None:
    """A host name that does not exist is told from a server that is down."""
    desk.settings("https://no-such-host.invalid", sending={"give_up_after": 0.1})
    desk.campaign()
    desk.contacts(3)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 5
    assert "no-such-host.invalid can't be reached: the name can't be resolved" in ended.err
    assert ended.summary["to_send"] == 3


@pytest.mark.parametrize("endpoint", ["bulk", "realtime"])
def test_a_wrong_flow_id(desk: Desk, simulate: Start, endpoint: str) -> None:
    """The provider knows no such flow: stopped, nothing lost, and resumed with the right one."""
    simulator = simulate("--flow-id", "RIGHT000")
    desk.settings(simulator.url, workers=2)
    desk.campaign(endpoint=endpoint)
    desk.contacts(3000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 3
    assert "Invalid Flow ID (301)" in ended.err
    assert "`phonon-bulk resume 1 --flow-id ID`" in ended.err
    assert (ended.summary["state"], ended.summary["to_send"]) == ("stopped", 3000)
    assert len(simulator.requests()) <= 2
    assert desk.run("resume", "1", "--flow-id", "RIGHT000", "-q").exit == 0
    agree(desk, simulator)


@pytest.mark.parametrize("endpoint", ["bulk", "realtime"])
def test_a_wrong_security_id(desk: Desk, simulate: Start, endpoint: str) -> None:
    """The provider knows no such security id: stopped, and resumed once it is set right."""
    right = "r" * 64
    simulator = simulate("--security-id", right)
    desk.settings(simulator.url)
    desk.campaign(endpoint=endpoint)
    desk.contacts(1000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 3
    assert "Invalid Security ID" in ended.err
    assert "PHONON_BULK_SECURITY_ID" in ended.err
    desk.environment["PHONON_BULK_SECURITY_ID"] = right
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, simulator)


@pytest.mark.parametrize("endpoint", ["bulk", "realtime"])
def test_an_ip_that_is_not_allowed(desk: Desk, simulate: Start, endpoint: str) -> None:
    """HTTP 403 on bulk, code 401 on real time: stopped, and what to have allowed."""
    simulator = simulate("--allow-ip", "10.0.0.1")
    desk.settings(simulator.url)
    desk.campaign(endpoint=endpoint)
    desk.contacts(1000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 3
    assert "public IP address allowed in Phonon's console" in ended.err
    assert ended.summary["to_send"] == 1000
    simulator.change(allowed_ips=["127.0.0.1"])
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, simulator)


def test_a_no_that_left_its_checksum(desk: Desk, simulate: Start) -> None:
    """Where a refused body's checksum is remembered, the batch goes out again in other bytes."""
    simulator = simulate("--remember-refused", "--fault", "code:212#1")
    desk.settings(simulator.url, workers=1)
    desk.campaign()
    desk.contacts(600)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 3
    assert "Top up" in ended.err
    assert desk.run("resume", "1", "-q").exit == 0
    agree(desk, simulator)


def test_the_same_bytes_from_somebody_else(desk: Desk, simulate: Start) -> None:
    """A first try answered Checksum Repeated was not accepted: refused, and why."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(
        rest='[mapping]\ncontact_numbers = "tel1"\nclient_identifier = "client-identifier"\n'
        'start_time = "2099-01-01T10:00:00+05:30"\n'
    )
    desk.contacts(10)
    assert desk.run("run", "campaign.toml", "-q").exit == 0
    ended = desk.run("run", "campaign.toml", "--json", "--journal", "other.db")
    assert (ended.exit, ended.summary["refused"]) == (1, 10)
    assert "Checksum Repeated (201)" in ended.summary["reasons"][0]["reason"]
    assert len(simulator.ledger()) == 10


def test_all_calls_refused_stops_the_run(desk: Desk, simulate: Start) -> None:
    """If every call is bad for the provider, the run stops before a request a call is spent."""
    numbers = [flag for row in range(1, 3001) for flag in ("--bad-number", f"9198{row:08d}")]
    simulator = simulate(*numbers)
    desk.settings(simulator.url, workers=4)
    desk.campaign()
    desk.contacts(3000)
    ended = desk.run("run", "campaign.toml", "--json")
    assert ended.exit == 3
    assert "all rows seem to share" in ended.err
    assert len(simulator.requests()) < 300
    assert ended.summary["refused"] + ended.summary["to_send"] == 3000


def test_a_list_that_was_moved_is_read_on(desk: Desk, simulate: Start) -> None:
    """A run cut short in reading is found by its list's content, wherever that lies now."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(600_000)
    process = desk.start("submit", "campaign.toml")
    until(lambda: rows_read(desk) > 0)
    process.terminate()
    assert desk.end(process).exit == 5
    assert 0 < rows_read(desk) < 600_000
    (desk.folder / "list.csv").rename(desk.folder / "moved.csv")
    moved = desk.run("submit", "campaign.toml", "moved.csv", "--json")
    assert (moved.exit, moved.summary["run"], moved.summary["rows"]) == (0, 1, 600_000)


def test_a_list_cut_short_that_changed(desk: Desk, simulate: Start) -> None:
    """A run cut short in reading goes on only with the same list, or without the rest of it."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign()
    desk.contacts(600_000)
    process = desk.start("submit", "campaign.toml")
    until(lambda: rows_read(desk) > 0)
    process.terminate()
    assert desk.end(process).exit == 5
    desk.contacts(599_999)
    changed = desk.run("resume", "1")
    assert changed.exit == 2
    assert "has changed since" in changed.err
    rest = desk.run("resume", "1", "--without-rest", "--json")
    assert (rest.exit, rest.summary["list_read"], rest.summary["state"]) == (1, False, "done")
    agree(desk, simulator)


def test_a_list_that_changes_while_it_is_sent(desk: Desk, simulate: Start) -> None:
    """What was sent is said and kept; the operator is told not to start the list anew."""
    simulator = simulate("--fault", "delay:0.02")
    desk.settings(simulator.url, workers=2)
    desk.campaign()
    desk.contacts(300_000)
    process = desk.start("run", "campaign.toml", "--json")
    simulator.wait_for(1)
    with (desk.folder / "list.csv").open("a") as file:
        file.write("919812345678,,X,Y\n")
    ended = desk.end(process)
    summary = ended.summary
    assert ended.exit == 5
    assert "do not start" in ended.err.lower()
    assert "--without-rest" in ended.err
    assert (summary["list_read"], summary["accepted"] > 0) == (False, True)
    assert desk.run("resume", "1", "--without-rest", "-q").exit == 1
    agree(desk, simulator)


def test_two_processes_on_one_run(desk: Desk, simulate: Start) -> None:
    """Two `resume`s at once share the work; every call is placed exactly once."""
    simulator = simulate("--fault", "delay:0.05")
    desk.settings(simulator.url, workers=2)
    desk.campaign()
    desk.contacts(20_000)
    assert desk.run("submit", "campaign.toml", "-q").exit == 0
    both = [desk.start("resume", "1", "-q") for _ in range(2)]
    assert [desk.end(process).exit for process in both] == [0, 0]
    assert len(simulator.ledger()) == 20_000
    agree(desk, simulator)
