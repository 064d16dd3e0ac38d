"""Reads awkward lists with the command, in this process, and holds what it says to what must be.

Whatever a list is, `Bench.check` sees that the command ends in 0, 1 or 2 without a traceback, that
its counts add up, that each row is there once and unshifted, and that nothing of a contact is said.
"""

import contextlib
import csv
import io
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from builders import FLOW_ID, SECURITY_ID
from desk import Ended

from phonon_bulk import cli
from phonon_bulk.call import LeftOutRow
from phonon_bulk.config import load_campaign
from phonon_bulk.source.contacts import open_list

MAPPED = """
[mapping]
client_identifier = "id"
contact_numbers = "mobile"
keys = { Name = "name", Note = "note" }
"""
"""The columns of most of our lists: `id,mobile,name,note`."""

_CONTACT = re.compile(r"98765|Zorawar|Zoraw", re.IGNORECASE)
"""What every number and every name in these lists has in it, and nothing else has."""

Rows = list[list[str]]


def number(i: int) -> str:
    """Return a number (`i` to 99999) that is nobody's, and is known where it must not turn up."""
    return f"9198765{i:05d}"


def name(i: int) -> str:
    """Return a name like it."""
    return f"Zorawar{i}"


def line(i: int, note: str = "", delimiter: str = ",") -> str:
    """Return a row of `id,mobile,name,note`."""
    return delimiter.join([f"A{i}", number(i), name(i), note]) + "\n"


HEADER = "id,mobile,name,note\n"


def rows_by_csv(text: str, delimiter: str = ",", quote: str = '"') -> Rows:
    """Return the header and the rows that Python's csv finds, strict; blank lines are none."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        strict=True,
    )
    return [row for row in reader if row]


def said_of_contacts(text: str) -> list[str]:
    """Return what a text says of contacts; there must be none of it."""
    return _CONTACT.findall(text)


@dataclass
class Checked:
    """What `check` said of a list; of an accepted one, what becomes of its rows."""

    exit: int
    err: str
    plan: dict[str, Any] = field(default_factory=dict)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By row."""
    left_out: dict[int, LeftOutRow] = field(default_factory=dict)
    """By row."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return cast(int, self.plan["rows"])

    @property
    def reasons(self) -> dict[int, str]:
        """Why rows are no calls, by row."""
        return {row: left.reason for row, left in self.left_out.items()}

    @property
    def remarks(self) -> str:
        """All of them."""
        return "\n".join(self.plan["remarks"])

    def fields(self, row: int) -> list[str | None]:
        """Return a left-out row's fields as they are kept to be mended."""
        return list(orjson.loads(self.left_out[row].fields).values())

    def numbers(self, row: int) -> list[str]:
        """Return the numbers of a call."""
        return cast("list[str]", self.calls[row]["contact-numbers"])

    def values(self, row: int) -> list[str]:
        """Return the flow variables of a call."""
        return [key["value"] for key in self.calls[row]["keys"]]

    def agrees_with(self, rows: Rows) -> None:
        """Hold each row to what Python's csv has read, the header first."""
        header, *rows = rows
        assert self.rows == len(rows)
        place = {text.strip(): i for i, text in enumerate(header)}
        for at, row in enumerate(rows, 1):
            if at in self.calls:
                assert len(row) == len(header)
                _agree(self.calls[at], row, place, f"1-{at}")
                continue
            reason, lacking = self.left_out[at].reason, len(header) - len(row)
            assert self.fields(at) == row + [None] * lacking
            assert ("too few fields" in reason, "too many fields" in reason) == (
                lacking > 0,
                lacking < 0,
            )


def _agree(call: dict[str, Any], row: list[str], place: Mapping[str, int], generated: str) -> None:
    """Hold a call to its row."""
    mobile = place["mobile"] if "mobile" in place else place["tel1"]
    assert call["contact-numbers"][0][-10:] == re.sub(r"[^0-9]", "", row[mobile])[-10:]
    if "mobile" in place:
        assert call["client-identifier"] == (row[place["id"]].strip() or generated)
        wanted = [("$flow.key.Name", row[place["name"]]), ("$flow.key.Note", row[place["note"]])]
    else:
        keys = [(text, i) for text, i in place.items() if text.startswith("$flow.key.")]
        wanted = [(text, row[i]) for text, i in keys]
    assert [(key["name"], key["value"]) for key in call["keys"]] == wanted


class Bench:
    """A folder in which the command is run, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "phonon-bulk.toml").write_text('journal = "journal.db"\n')

    def campaign(self, rest: str = "", source: str = "") -> None:
        """Write campaign.toml."""
        head = f'[campaign]\nname = "reminder"\nflow_id = "{FLOW_ID}"\n[source]\n{source}\n'
        (self.folder / "campaign.toml").write_text(head + rest)

    def write(self, file: str, content: str | bytes) -> Path:
        """Write a file into the folder."""
        path = self.folder / file
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def command(self, *arguments: str) -> Ended:
        """Run the command as the installed one would be. It must not be a fault of its own."""
        out, err = io.StringIO(), io.StringIO()
        with (
            _own_signals(),
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", ["phonon-bulk", *arguments])
            patch.chdir(self.folder)
            patch.setenv("HOME", str(self.folder))
            patch.setenv("PHONON_BULK_SECURITY_ID", SECURITY_ID)
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
        ended = Ended(code, out.getvalue(), err.getvalue())
        assert code != 70, ended.err[-1000:]
        assert "Traceback" not in ended.err
        assert said_of_contacts(ended.err) == []
        return ended

    def check(
        self,
        content: str | bytes | None = None,
        *,
        file: str = "list.csv",
        rest: str | None = None,
        source: str = "",
    ) -> Checked:
        """Have a list checked; the content of one that is not there yet."""
        if content is not None:
            self.write(file, content)
        if rest is None:
            rest = MAPPED if content is not None and _is_mapped(content) else ""
        self.campaign(rest, source)
        ended = self.command("check", "campaign.toml", file, "--json")
        if ended.exit == 2:
            assert ended.out == ""
            assert ended.err.startswith("phonon-bulk: ")
            assert "please report" not in ended.err.lower()  # the program does not suspect itself
            return Checked(2, ended.err)
        checked = Checked(ended.exit, ended.err, ended.summary)
        _check_plan(checked.plan, ended.exit)
        self._read(checked, file)
        return checked

    def refused(self, *words: str, **list_: Any) -> str:
        """Have a list checked that can't be used; return the sentence, which has the words."""
        checked = self.check(**list_)
        assert checked.exit == 2, checked
        for word in words:
            assert word in checked.err
        return checked.err

    def _read(self, checked: Checked, file: str) -> None:
        """Read the list once more, for what becomes of each row."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            contacts = open_list(load_campaign(self.folder / "campaign.toml"), [file])
            chunks = list(contacts.chunks(run=1, now=1_700_000_000.0, room=255_000))
        for chunk in chunks:
            calls = orjson.loads(b"[" + bytes(chunk.calls.data)[:-1] + b"]")
            checked.calls |= dict(zip(chunk.calls.rows, calls, strict=True))
            checked.left_out |= {row.row: row for row in chunk.left_out}
        assert sorted([*checked.calls, *checked.left_out]) == [*range(1, checked.rows + 1)]
        assert len(checked.calls) == checked.plan["calls"]
        for reason in checked.reasons.values():
            assert said_of_contacts(reason) == []


def _is_mapped(content: str | bytes) -> bool:
    data = content.encode() if isinstance(content, str) else content
    return b"mobile" in data.replace(b"\0", b"").lower()


def _check_plan(plan: dict[str, Any], code: int) -> None:
    left = plan["rejected"] + plan["suppressed"] + plan["duplicates"]
    assert plan["rows"] == left + plan["calls"]
    assert sum(reason["contacts"] for reason in plan["reasons"]) == left
    assert code == (1 if plan["rejected"] or not plan["calls"] else 0)
    told = {key: plan[key] for key in ("reasons", "notes", "remarks", "unused_columns")}
    assert said_of_contacts(orjson.dumps(told).decode()) == []


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a folder in which the command is run."""
    return Bench(tmp_path)
