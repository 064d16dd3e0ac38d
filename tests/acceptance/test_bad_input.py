"""What bad input gets: rejected rows or one clear sentence, and the counts add up.

Never a traceback, never a lost row, never a row shifted silently, and nothing of a contact in what
is said. Most is asked of `phonon-bulk check` in this process (`awkward.Bench` holds every answer to
this); some goes all the way to the simulator.
"""

import csv
import gzip
import io
import os
import re
import signal
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import phonenumbers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from awkward import (
    HEADER,
    MAPPED,
    Bench,
    bench,
    line,
    name,
    number,
    rows_by_csv,
    said_of_contacts,
)
from desk import COMMAND, Desk, Start

from phonon_bulk.config import load_campaign
from phonon_bulk.errors import ListError
from phonon_bulk.journal.books import SqliteBooks
from phonon_bulk.source.contacts import ContactList, open_list
from phonon_bulk.source.formats.opening import Options, open_part
from phonon_bulk.source.formats.stored import LocalFile

__all__ = ["bench"]

FORMULA = "=cmd|' /C calc'!A0"
SQL = "Robert'); DROP TABLE list; --"
SCIENTIFIC = "Excel did that"
TEMPLATE = "tel1,$flow.key.Name\n"


# --- all the way: a list with everything in it is sent, exported, mended and sent again -----------

GOOD = [
    ["A1", number(1), name(1), "plain"],
    [
        "A2",
        f"+91 {number(2)[2:7]}-{number(2)[7:]}",
        "👩‍👩‍👧 ज़ोरावर 🇮🇳",
        "spaces, a dash and a plus",
    ],
    [FORMULA, f"0{number(3)[2:]}", name(3), SQL],
    ["A4", f"00{number(4)}", name(4), FORMULA],
    ["A5", "".join(chr(0x966 + int(d)) for d in number(5)), name(5), "Devanagari digits"],
    ["A6", f"\u200f\u202a{number(6)}\u202c", f"\u202e{name(6)}\u202c", "marks"],
    ["+A7", number(7), f"-{name(7)}", '5" pipe, "two\nlines"\r\n'],
    ["@A8", number(8), f"\t{name(8)}", "{}"],
]
BAD = [
    ["B1", "9.19877E+11", name(11), FORMULA],
    ["B2", number(12), f"{name(12)}\0", "a NUL"],
    ["B3", number(13)],
    ["B4", number(14), name(14), "more", "than", FORMULA],
    ["B5", SQL, name(15), "-5"],
    ["B6", "", name(16), "' starts with an apostrophe"],
    [FORMULA, FORMULA, f"@{name(17)}", "'=1+1"],
]
WORDS = (SCIENTIFIC, "NUL", "too few", "too many", "letters", "empty", "letters")


def written(rows: list[list[str]]) -> str:
    """Return a list in CSV."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["id", "mobile", "name", "note"], *rows])
    return text.getvalue()


Sent = list[tuple[str, str, list[str]]]
"""Client-identifiers, numbers and flow variables, in order."""


def sent(desk: Desk, *runs: int) -> Sent:
    """Return who was called with what, as it was frozen in the journal."""
    calls: list[dict[str, Any]] = []
    with SqliteBooks(desk.folder / "journal.db") as books:
        for batch in (batch for run in runs for batch in books.batches(run)):
            assert batch.calls is not None
            calls += orjson.loads(b"[" + batch.calls + b"]")
    return sorted(
        (
            call["client-identifier"],
            call["contact-numbers"][0],
            [key["value"] for key in call["keys"]],
        )
        for call in calls
    )


def as_calls(rows: list[list[str]], numbers: range) -> Sent:
    """Return what should have been sent for rows, given the numbers that are meant in them."""
    calls = zip(rows, numbers, strict=True)
    return sorted((row[0], number(i), row[2:4]) for row, i in calls)


def test_all_the_way(desk: Desk, simulate: Start) -> None:
    """Good rows are called with what stood in them, bad ones come back, mended ones are called."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.campaign(rest=MAPPED)
    mixed = [row for pair in zip(GOOD, BAD, strict=False) for row in pair] + GOOD[len(BAD) :]
    desk.write("list.csv", written(mixed))
    ended = desk.run("run", "campaign.toml", "--json")
    summary = ended.summary
    assert (ended.exit, summary["rows"]) == (1, len(GOOD) + len(BAD))
    assert (summary["rejected"], summary["accepted"]) == (len(BAD), len(GOOD))
    assert said_of_contacts(ended.err) == []
    assert sent(desk, 1) == as_calls(GOOD, range(1, 9))
    assert len(simulator.ledger()) == len(GOOD)

    status = desk.run("status", "1", "--json").summary
    assert (status["rows"], status["rejected"], status["accepted"]) == (15, 7, 8)

    assert desk.run("export", "1", "-o", "all.csv").exit == 0
    _header, *lines = harmless_rows(desk.folder / "all.csv")
    assert [int(one[0]) for one in lines] == [*range(1, 16)]
    rejected = [one for one in lines if one[3] == "rejected"]
    for one, words in zip(rejected, WORDS, strict=True):
        assert words in one[4]
        assert said_of_contacts(one[4]) == []

    assert desk.run("export", "1", "--only", "rejected", "-o", "mend.csv").exit == 0
    header, *lines = harmless_rows(desk.folder / "mend.csv")
    assert header[:4] == ["id", "mobile", "name", "note"]
    for i, one in enumerate(lines):
        mend(header, one, i)
    with (desk.folder / "mend.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    again = desk.run("run", "campaign.toml", "mend.csv", "--json")
    assert (again.exit, again.summary["accepted"]) == (0, len(BAD))
    assert said_of_contacts(again.err) == []
    mended = [row[:4] + [""] * (4 - len(row)) for row in BAD]
    mended[1][2] = name(12)
    mended[2][2] = name(13)
    assert sent(desk, 2) == as_calls(mended, range(11, 18))
    called = sorted(call["client-identifier"] for call in simulator.ledger())
    assert called == sorted(row[0] for row in GOOD + BAD)


def harmless_rows(path: Path) -> list[list[str]]:
    """Return the rows of a CSV, having seen that no cell is a formula to a spreadsheet."""
    rows = rows_by_csv(path.read_bytes().decode("utf-8-sig"))
    for cell in (cell for row in rows for cell in row):
        assert not re.match(r"[ \t\r\n\u00a0]*[=+\-@\t\r\n]", cell), cell
    return rows


def mend(header: list[str], row: list[str], i: int) -> None:
    """Mend a rejected row as a person would, in the columns there are."""
    place = {text: at for at, text in enumerate(header)}
    row[place["mobile"]] = number(11 + i)
    if i == 1:
        row[place["name"]] = name(12)
    if i == 2:
        row[place["name"]] = name(13)


# --- numbers --------------------------------------------------------------------------------------

READ = {
    number(1): number(1),
    f"{number(2)[2:7]} {number(2)[7:]}": number(2),
    f"+91 {number(3)[2:7]}-{number(3)[7:]}": number(3),
    f"0{number(4)[2:]}": number(4),
    f"0091 {number(5)[2:]}": number(5),
    f"(+91) {number(6)[2:7]}.{number(6)[7:]}": number(6),
    "".join(chr(0x966 + int(digit)) for digit in number(7)): number(7),
    "".join(chr(0x660 + int(digit)) for digit in number(8)): number(8),
    "".join(chr(0xFF10 + int(digit)) for digit in number(9)): number(9),
    f"\u200e{number(10)}\u200f": number(10),
    f"\u202a+{number(11)}\u202c": number(11),
    f"\u2066{number(12)}\u2069\ufeff": number(12),
    f"'{number(13)}": number(13),
    f'="{number(14)}"': number(14),
    f"{number(15)}.0": number(15),
    f"91\u00a0{number(16)[2:7]}\u2010{number(16)[7:]}": number(16),
    f"{number(17)}\n": number(17),
    f"{number(18)[:6]} {number(18)[6:]}": number(18),
    f"{number(19)};{SQL}": number(19),
}
"""What people write for a number, and the number."""

NOT_READ = {
    "9.19877E+11": SCIENTIFIC,
    "9.19877e11": SCIENTIFIC,
    "+9.19877E+11": SCIENTIFIC,
    " 9.19877E+11 ": SCIENTIFIC,
    "'9.19877E+11": SCIENTIFIC,
    '="9.19877E+11"': SCIENTIFIC,
    "9E+11": SCIENTIFIC,
    "": "is empty",
    "-": "is empty",
    "NA": "is empty",
    "\u200f": "is empty",
    "9876500": "too few digits",
    "\u0967\u0968": "too few digits",
    number(1) * 2: "too many digits",
    "00": "too few digits",
    "0" * 12: "no number that exists",
    "12345678901234": "no number that exists",
    f"Tel {number(1)}": "letters or signs",
    f"{number(1)}x": "letters or signs",
    f"++{number(1)}": "letters or signs",
    f"9198765O00{1}2": "letters or signs",
    "\u00b2" * 12: "letters or signs",
    f"📞{number(1)}": "letters or signs",
    FORMULA: "letters or signs",
    SQL: "",
    "\ufffd" * 12: "letters or signs",
    "\x1b[31m" + number(1): "letters or signs",
}
"""What is no number, and what is said of it."""


def test_numbers_as_people_write_them(bench: Bench) -> None:
    """Each is the number that was meant, or a rejected row with the reason."""
    rows = [[f"A{i}", text, name(i), text] for i, text in enumerate([*READ, *NOT_READ], 1)]
    read = bench.check(written(rows))
    found = {row[3]: read.numbers(i) for i, row in enumerate(rows, 1) if i in read.calls}
    assert found == {text: [wanted] for text, wanted in READ.items()}
    for i, text in enumerate(NOT_READ, len(READ) + 1):
        assert NOT_READ[text] in read.reasons[i], (text, read.reasons[i])
        assert read.fields(i) == rows[i - 1]


def test_scientific_notation_with_a_comma(bench: Bench) -> None:
    """Where commas are decimal points, Excel writes 9,19877E+11."""
    read = bench.check(f"id;mobile;name;note\nA1;9,19877E+11;{name(1)};\n")
    assert SCIENTIFIC in read.reasons[1]


def test_scientific_notation_in_json(bench: Bench) -> None:
    """A number whose last digits are lost is somebody else's, in JSON too."""
    rows = ["9.19877E+11", "9.19876500001E11", f"{number(2)}.0", number(3)]
    text = "".join(f'{{"tel1":{one}}}\n' for one in rows)
    read = bench.check(text, file="list.ndjson")
    assert {row: read.numbers(row) for row in read.calls if row > 2} == {
        3: [number(2)],
        4: [number(3)],
    }
    assert SCIENTIFIC in read.reasons[1]


def test_a_field_of_very_many_numbers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of thousands of numbers costs its row, and not minutes."""
    asked = 0
    parse = phonenumbers.parse

    def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return parse(*arguments)

    monkeypatch.setattr(phonenumbers, "parse", counted)
    text = " ".join(f"{i:08d}" for i in range(5000))
    read = bench.check(f"{HEADER}A1,{text},{name(1)},\n{line(2)}")
    assert (sorted(read.calls), sorted(read.reasons)) == ([2], [1])
    assert asked < 1000


# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["x" * 20_000_000, f'"{"x" * 20_000_000}"'], ids=["", "quoted"])
def test_a_field_of_20_mb(bench: Bench, field: str) -> None:
    """It is damage, and said to be: no contact is that long."""
    bench.refused("line 3", "more than", content=HEADER + line(1) + line(2, field) + line(3))


def test_a_field_of_20_mb_with_line_breaks(bench: Bench) -> None:
    """A closing quote is likely to be missing, and that is asked."""
    field = '"' + "a note\n" * 3_000_000 + '"'
    bench.refused("line 3", "closing quote", content=HEADER + line(1) + line(2, field))


def test_a_field_of_20_mb_in_json(bench: Bench) -> None:
    """As in CSV."""
    row = f'{{"tel1":"{number(1)}"}}\n'
    long = f'{{"tel1":"{number(2)}","note":"{"x" * 20_000_000}"}}\n'
    bench.refused("line 2", "more than", content=row + long + row, file="list.ndjson")


def test_a_field_that_makes_a_call_too_large(bench: Bench) -> None:
    """A row that is well, but for its size, is rejected by itself."""
    read = bench.check(HEADER + line(1) + line(2, "x" * 300_000) + line(3))
    assert sorted(read.calls) == [1, 3]
    assert "too large" in read.reasons[2]


def test_what_stands_in_a_field_does_nothing(bench: Bench) -> None:
    """SQL, templates, JSON, HTML, escape codes and paths are text, in all fields."""
    texts = [
        SQL,
        "$room ${room} $$",
        '","start-time":"2000-01-01"}',
        "{{7*7}} %s %(x)s {0}",
        "<script>alert(1)</script>",
        "\x1b[2J\x07\x08",
        "../../etc/passwd",
        "\\u0041 \\n \\",
        "' OR 1=1 --",
        '"; SELECT * FROM list; --',
        "\ufffd\ufeff\u2028\u202e",
        "\U0001d4b5 e\u0301 \ufdfd",
    ]
    rows = [[text, number(i), text, text] for i, text in enumerate(texts, 1)]
    read = bench.check(written(rows))
    assert read.reasons == {}
    read.agrees_with([["id", "mobile", "name", "note"], *rows])


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ('start_time_form = "dmy"', "01/01/0001 00:00"),
        ('start_time_form = "dmy"', "31/12/9999 23:59"),
        ('start_time_form = "mdy"\ntime_zone = "America/New_York"', "12/31/9999 23:59"),
        ('window = "10:00-19:00"', "0001-01-01"),
        ('window = "10:00-19:00"', "9999-12-31T23:59"),
        ('start_time_form = "excel"\nwindow = "10:00-19:00"', "00000"),
        ('start_time_form = "excel"', "99999.99999"),
    ],
)
def test_times_at_the_end_of_the_calendar(bench: Bench, rest: str, text: str) -> None:
    """`01/01/0001 00:00:00` is .NET's "no time": the row is rejected, or called late."""
    rows = f"tel1,start-time\n{number(1)},{text}\n{number(2)},2099-11-24T12:00:00+05:30\n"
    if "dmy" in rest or "mdy" in rest or "excel" in rest:
        rows = rows.replace("2099-11-24T12:00:00+05:30", "2099-11-24T12:00:00")
    read = bench.check(rows, rest=f"[checks]\n{rest}\n")
    assert 2 in read.calls
    assert said_of_contacts(str(read.reasons)) == []


# --- rows -----------------------------------------------------------------------------------------


def test_a_long_list_of_awkward_rows(bench: Bench) -> None:
    """Rows of all kinds, over several of the pieces in which it is read, stay in their place."""
    kinds: list[Callable[[int], str]] = [
        line,
        lambda i: line(i, '"two\nlines, ""quoted"""'),
        lambda i: line(i, '"\r\n\r\n"').rstrip("\n") + "\r\n",
        lambda i: f"A{i},{number(i)}\n",
        lambda i: line(i).rstrip("\n") + ',"x, y",z\n',
        lambda i: "\n\r\n" + line(i, '5" pipe'),
        lambda i: line(i, "प्रिया " * 20),
        lambda i: f'"A{i}",,"",""\n',
        lambda i: line(i, "\0"),
        lambda i: "\ufeff" + line(i),
    ]
    text = HEADER + "".join(kinds[i * 7 % 10](i) for i in range(1, 40_001)).rstrip("\n")
    read = bench.check(text)
    assert read.rows == 40_000
    read.agrees_with(rows_by_csv(text))


def test_two_thousand_columns(bench: Bench) -> None:
    """Wide lists are read like others, ragged rows too."""
    names = ["tel1", *(f"$flow.key.k{i}" for i in range(1999))]
    rows = [[number(i), *(f"{i}.{k}" for k in range(1999))] for i in range(1, 11)]
    rows[3].append("more")
    rows[5].pop()
    text = "\n".join(",".join(row) for row in [names, *rows])
    read = bench.check(text)
    assert sorted(read.reasons) == [4, 6]
    assert "2001 of 2000" in read.reasons[4].replace(",", "")
    read.agrees_with(rows_by_csv(text))


@pytest.mark.parametrize("content", ["\n", " \n", "\n\n", "\r\n\r\n"])
def test_no_columns(bench: Bench, content: str) -> None:
    """A list without a header has no columns, and that is said."""
    bench.refused("first line is blank", content=content)


@pytest.mark.parametrize(
    ("file", "content"), [("list.ndjson", "{}\n{}\n"), ("list.json", "[{}, {}]"), ("x.json", "[]")]
)
def test_no_columns_in_json(bench: Bench, file: str, content: str) -> None:
    """Objects without anything in them are no list."""
    bench.refused("no", "columns", content=content, file=file)


def test_no_columns_in_parquet(bench: Bench) -> None:
    """The same in Parquet."""
    bench.refused("no columns", content=parquet(pa.table({})), file="list.parquet")


# --- headers --------------------------------------------------------------------------------------

CONTACTS = {
    "plain": f"{number(1)},{name(1)}\n{number(2)},{name(2)}\n",
    "with spaces": f"+91 {number(1)[2:7]} {number(1)[7:]},{name(1)}\n",
    "in quotes": f'"{name(1)}","{number(1)}"\n',
}
UNSEEN = {
    "scientific": f"9.19877E+11,{name(1)}\n9.19877E+11,{name(2)}\n",
    "two numbers in a field": f"{number(1)}/{number(2)},{name(1)}\n",
    "marks around it": f"\u200e{number(1)}\u200f,{name(1)}\n",
    "an Excel text": f"'{number(1)},{name(1)}\n",
    "Devanagari digits": "".join(chr(0x966 + int(d)) for d in number(1)) + f",{name(1)}\n",
    "another delimiter": f"{number(1)}^{name(1)}\n",
    "colons": f"{name(1)}:{number(1)}\n",
}


@pytest.mark.parametrize("content", CONTACTS.values(), ids=CONTACTS)
@pytest.mark.parametrize("rest", ["", MAPPED], ids=["template", "mapped"])
def test_a_header_that_is_data(bench: Bench, content: str, rest: str) -> None:
    """It is asked whether the header is missing, and nothing of the contact is shown."""
    bench.refused("header missing", content=content * 3, rest=rest)


@pytest.mark.parametrize("content", UNSEEN.values(), ids=UNSEEN)
def test_a_header_that_is_data_in_another_form(bench: Bench, content: str) -> None:
    """As above, however the number is written."""
    bench.refused("header missing", content=content * 3, rest="")


def test_a_header_that_is_data_with_a_name_twice(bench: Bench) -> None:
    """As above."""
    bench.refused("header missing", content=f"{number(1)},{name(1)},{name(1)}\n" * 2, rest="")


def test_a_header_that_is_data_near_to_a_column(bench: Bench) -> None:
    """As above."""
    rest = MAPPED.replace('Note = "note"', 'Note = "orawar"')
    bench.refused("header missing", content=f"{number(1)},{name(1)}\n" * 2, rest=rest)


@pytest.mark.parametrize("content", [UNSEEN["scientific"], CONTACTS["plain"]])
def test_a_second_file_without_a_header(bench: Bench, content: str) -> None:
    """Its first contact is not shown as other columns."""
    bench.write("a.csv", TEMPLATE + f"{number(1)},{name(1)}\n")
    bench.write("b.csv", content)
    bench.campaign()
    ended = bench.command("check", "campaign.toml", "a.csv", "b.csv")
    assert ended.exit == 2
    assert "b.csv has other columns than a.csv" in ended.err


def test_a_do_not_call_list_without_a_header(bench: Bench) -> None:
    """Its numbers are not shown either."""
    bench.write("dnc.csv", UNSEEN["scientific"])
    content = TEMPLATE + f"{number(1)},{name(1)}\n"
    bench.refused("dnc.csv", content=content, rest='[checks]\nsuppress = "dnc.csv"\n')


def test_a_name_twice(bench: Bench) -> None:
    """Which of the two is meant can't be told, so neither is taken."""
    bench.refused('"note"', "rename", content=HEADER.replace("name", "note") + line(1))


def test_a_name_that_is_empty(bench: Bench) -> None:
    """A column without a name is called by its place, and kept with a rejected row."""
    read = bench.check("id,mobile,name,note,\n" + line(1).strip() + ",x\nA2,12,n,o,y\n")
    assert read.plan["unused_columns"] == ["(column 5)"]
    assert read.fields(2) == ["A2", "12", "n", "o", "y"]


def test_control_characters_in_a_name(bench: Bench) -> None:
    """A name is shown without what would change the terminal."""
    sentence = bench.refused("tel", content=f"tel,\x1b[2J\x1b]0;x\x07\n{number(1)},x\n")
    assert "\x1b" not in sentence


def test_a_name_of_100_kb(bench: Bench) -> None:
    """A sentence is one that can be read."""
    assert len(bench.refused(content=f"tel,{'x' * 100_000}\n{number(1)},y\n")) < 5_000


# --- what `check` shows ---------------------------------------------------------------------------


def test_names_in_the_column_for_numbers(bench: Bench) -> None:
    """Where columns were mixed up, what is masked is a name."""
    bench.check(f"tel1,$flow.key.Name\n{name(123456)} Singh,{number(1)}\n")
    text = bench.command("check", "campaign.toml", "list.csv").out
    assert "row 1" in text
    assert "Zor" not in text


def test_a_very_long_number_is_not_shown_in_full_length(bench: Bench) -> None:
    """A megabyte in the column for numbers is no megabyte on the terminal."""
    bench.check(f"tel1,$flow.key.Name\n{'9' * 1_000_000},x\n")
    assert len(bench.command("check", "campaign.toml", "list.csv").out) < 10_000


def test_numbers_are_masked_wherever_they_stand(bench: Bench) -> None:
    """Many lists have the number as client-identifier, or hand it to the flow."""
    rest = MAPPED.replace('"id"', '"mobile"').replace('"note"', '"mobile"')
    bench.check(HEADER + line(1), rest=rest)
    text = bench.command("check", "campaign.toml", "list.csv").out
    assert number(1)[:4] in text
    assert number(1) not in text


# --- files that are none --------------------------------------------------------------------------


def test_a_folder_without_a_list(bench: Bench) -> None:
    """It says which."""
    (bench.folder / "lists").mkdir()
    bench.write("lists/readme.md", "x")
    bench.refused("no contact list", "lists", file="lists")


def test_a_folder_of_lists(bench: Bench) -> None:
    """All lists in it are read, by name; what is passed over is said."""
    (bench.folder / "lists").mkdir()
    for i, ending in enumerate(["csv", "CSV", "txt"], 1):
        bench.write(f"lists/{i}.{ending}", HEADER + line(i))
    bench.write("lists/notes.md", "x")
    read = bench.check(file="lists", rest=MAPPED)
    assert [read.numbers(row) for row in (1, 2, 3)] == [[number(i)] for i in (1, 2, 3)]
    assert "notes.md" in read.remarks


def test_endings_in_capitals_in_a_folder(bench: Bench) -> None:
    """Windows writes them so."""
    (bench.folder / "lists").mkdir()
    bench.write("lists/A.CSV", HEADER + line(1))
    bench.write("lists/B.CSV.GZ", gzip.compress((HEADER + line(2)).encode()))
    assert bench.check(file="lists", rest=MAPPED).rows == 2


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if what is done in it takes longer, even if it waits for a file."""

    def too_long(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_pipe_and_endless_devices(bench: Bench) -> None:
    """Nothing is waited for: a named pipe, in a folder too, /dev/zero, /dev/null, a socket."""
    (bench.folder / "lists").mkdir()
    os.mkfifo(bench.folder / "lists/pipe.csv")
    with within(20), socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench.folder)
        server.bind("socket")
        for file in ("lists/pipe.csv", "lists", "/dev/zero", "/dev/null", "socket"):
            bench.refused("no ordinary file", file=file)


@pytest.mark.parametrize("file", ["/proc/cpuinfo", "/proc/self/status", "/proc/self/mem"])
def test_files_that_only_seem_to_be_some(bench: Bench, file: str) -> None:
    """Those of the kernel have no size, and are no lists."""
    bench.refused(file, file=file)


def test_links_that_lead_nowhere(bench: Bench) -> None:
    """To themselves, to each other, to what is gone; in a folder too."""
    for link, target in {"self": "self", "a": "b", "b": "a", "lists/x.csv": "x.csv"}.items():
        (bench.folder / link).parent.mkdir(exist_ok=True)
        (bench.folder / link).symlink_to(target)
    (bench.folder / "gone.csv").symlink_to("nowhere.csv")
    for file in ("self", "a", "lists", "self/list.csv"):
        bench.refused("Too many levels of symbolic links", file=file)
    bench.refused("there is no file gone.csv", file="gone.csv")


def test_links_to_the_folder_they_are_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`**` does not go round in circles: two such links are enough for that."""
    bench.write("list.csv", HEADER + line(1))
    for link in ("one", "two"):
        (bench.folder / link).symlink_to(".")
    steps, scan = 0, os.scandir

    def counted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > 5_000:
            raise AssertionError("it goes round in circles")
        return scan(*arguments)

    monkeypatch.setattr(os, "scandir", counted)
    checked = bench.check(file="**/*.csv", rest=MAPPED)
    assert checked.exit == 2 or checked.rows == 1


def test_a_name_that_is_too_long(bench: Bench) -> None:
    """As when a list's content is given for its name."""
    bench.refused(file="x" * 300 + ".csv")


def test_no_name(bench: Bench) -> None:
    """`phonon-bulk run c.toml "$LIST"`, and LIST is not set: no list is named, and none is sent."""
    bench.write("somebody-elses.csv", HEADER + line(1))
    bench.refused("list", file="", rest=MAPPED)


def test_a_name_that_is_no_text(bench: Bench) -> None:
    """A file whose name is not UTF-8 is read, or refused: `check`, `submit`."""
    file = os.fsdecode(b"list\xff.csv")
    bench.check(HEADER + line(1), file=file)
    assert bench.command("submit", "campaign.toml", file).exit in {0, 2}


def test_a_name_with_line_breaks_and_brackets(bench: Bench) -> None:
    """Odd names are names: of a file that is there, before a pattern."""
    for file in ("a\nb.csv", "list[1].csv", "*.csv", " .csv", "-x.csv", "Ünï.csv", "list"):
        path = f"./{file}"
        assert bench.check(HEADER + line(1), file=path).rows == 1
        (bench.folder / file).unlink()


# --- files that change ----------------------------------------------------------------------------

MANY = HEADER + "".join(line(i, "x" * 100) for i in range(1, 100_000))
FEW = HEADER + "".join(line(i) for i in range(1, 3001))


@contextmanager
def opened(bench: Bench, file: str, content: bytes) -> Iterator[ContactList]:
    """Have a list looked over, and not read yet."""
    path = bench.write(file, content)
    bench.campaign(MAPPED)
    yield open_list(load_campaign(bench.folder / "campaign.toml"), [str(path)])


def append(path: Path) -> None:
    """Let a file grow."""
    with path.open("ab") as file:
        file.write(line(9).encode())


def cut(path: Path) -> None:
    """Let a file shrink."""
    os.truncate(path, 5000)


def replace(path: Path) -> None:
    """Put another file in its place."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"Zorawar", b"Somebody"))
    other.replace(path)


def replace_alike(path: Path) -> None:
    """Put another file in its place, of the same size and time, as `rsync -t` does."""
    status, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"Zorawar", b"Somebod"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def remove(path: Path) -> None:
    """Take it away."""
    path.unlink()


def by_folder(path: Path) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


CHANGES = [append, cut, replace, remove, by_folder]


def calls_in(contacts: ContactList, between: Callable[[], None] = lambda: None) -> int:
    """Read a list to its end, with something done after its first rows; return its calls."""
    calls = 0
    for chunk in contacts.chunks(run=1, now=1_700_000_000.0, room=255_000):
        calls += len(chunk.calls.rows)
        assert b"Somebod" not in bytes(chunk.calls.data)
        between()
        between = _nothing
    return calls


def _nothing() -> None:
    pass


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_it_is_read(
    bench: Bench, change: Callable[[Path], None]
) -> None:
    """What was looked over is what is read, or nothing is."""
    with opened(bench, "list.csv", FEW.encode()) as contacts:
        change(bench.folder / "list.csv")
        with pytest.raises(ListError, match=r"list\.csv (was changed|is gone)"):
            calls_in(contacts)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read(bench: Bench, change: Callable[[Path], None]) -> None:
    """Rows that were read stand, and the list is said to have changed."""
    with (
        opened(bench, "list.csv", MANY.encode()) as contacts,
        pytest.raises(ListError, match=r"list\.csv (was changed|is gone)"),
    ):
        calls_in(contacts, lambda: change(bench.folder / "list.csv"))


def test_a_file_that_is_replaced_by_one_of_its_size_and_time(bench: Bench) -> None:
    """The rows are those that were looked over, or none is."""
    with opened(bench, "list.csv", FEW.encode()) as contacts:
        replace_alike(bench.folder / "list.csv")
        with pytest.raises(ListError, match="was changed"):
            calls_in(contacts)


@pytest.mark.parametrize("change", [*CHANGES, replace_alike])
def test_a_packed_file_that_changes(bench: Bench, change: Callable[[Path], None]) -> None:
    """What is packed is copied first: the copy is what was looked over, and is read to its end."""
    content = gzip.compress((HEADER + "".join(map(line, range(1, 1001)))).encode())
    with opened(bench, "list.csv.gz", content) as contacts:
        change(bench.folder / "list.csv.gz")
        assert calls_in(contacts) == 1000


@pytest.mark.parametrize("file", ["list.csv", "list.csv.gz"])
def test_a_file_that_grows_while_it_is_looked_over(
    bench: Bench, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that it is not complete, and not that it is damaged."""
    text = (HEADER + "".join(map(line, range(1, 1001)))).encode()
    bench.write(file, gzip.compress(text) if file.endswith("gz") else text)
    opening, times = LocalFile.open, 0

    def growing(self: LocalFile) -> Any:
        nonlocal times
        times += 1
        if times == 3:
            append(self.path)
        return opening(self)

    monkeypatch.setattr(LocalFile, "open", growing)
    bench.refused("was changed while it was being read", file=file, rest=MAPPED)


# --- packed, and other formats, damaged -----------------------------------------------------------


def parquet(table: pa.Table, **options: Any) -> bytes:
    """Return a table as Parquet."""
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return content.getvalue()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return content.getvalue()


def workbook(cells: str = "") -> bytes:
    """Return a workbook with one number in it, and more cells if wanted."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    link = '<Relationships xmlns="{}"><Relationship Id="r" Type="{}" Target="{}"/></Relationships>'
    text = '<c r="A{0}" t="inlineStr"><is><t>{1}</t></is></c>'
    rows = f'<row r="1">{text.format(1, "tel1")}</row><row r="2">{text.format(2, number(1))}</row>'
    data = f"<sheetData>{rows}{cells}</sheetData>"
    sheets = f'<sheets><sheet name="S" sheetId="1" r:id="r" xmlns:r="{office}"/></sheets>'
    parts = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": link.format(package, f"{office}/officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{main}">{sheets}</workbook>',
        "xl/_rels/workbook.xml.rels": link.format(package, f"{office}/worksheet", "sheet.xml"),
        "xl/sheet.xml": f'<worksheet xmlns="{main}">{data}</worksheet>',
    }
    return zipped({file: part.encode() for file, part in parts.items()})


PLAIN = (HEADER + "".join(map(line, range(1, 101)))).encode()
PACKED: dict[str, bytes] = {
    "list.csv.gz": gzip.compress(PLAIN),
    "list.csv.zst": zstandard.ZstdCompressor(write_checksum=True).compress(PLAIN),
    "list.zip": zipped({"list.csv": PLAIN}),
    "list.xlsx": workbook(),
    "list.parquet": parquet(pa.table({"tel1": [number(i) for i in range(1, 101)]})),
}


@pytest.mark.parametrize("file", PACKED)
def test_cut_off(bench: Bench, file: str) -> None:
    """Whatever is missing of a packed file, it is said to be damaged, and no row of it is sent."""
    whole = PACKED[file]
    for length in {len(whole) - 1, len(whole) - 9, len(whole) // 2, len(whole) // 5, 40}:
        bench.refused(file, content=whole[:length], file=file, rest=MAPPED)
    assert bench.check(whole, file=file, rest="" if "csv" not in file[4:8] else MAPPED).exit in {
        0,
        2,
    }


@pytest.mark.parametrize("file", [file for file in PACKED if file != "list.parquet"])
def test_damaged(bench: Bench, file: str) -> None:
    """A byte that was changed is found by the checksum, or changes nothing."""
    whole = PACKED[file]
    wanted = rows_read(bench, file, whole)
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at : at + 8] = bytes(8)
        assert rows_read(bench, file, bytes(damaged)) in ("refused", wanted)


def rows_read(bench: Bench, file: str, content: bytes) -> object:
    """Return the rows of a file, or that it was refused."""
    try:
        part = open_part(LocalFile(bench.write(file, content)), Options())
        rows = [row for table in part.tables(0, 0) for row in table.to_pylist()]
    except ListError:
        return "refused"
    return part.names, rows


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_damaged_zip_of_another_method(bench: Bench, method: int) -> None:
    """It is said to be damaged."""
    whole = bytearray(zipped({"list.csv": PLAIN}, method))
    whole[200:216] = bytes(16)
    bench.refused("damaged", content=bytes(whole), file="list.zip", rest=MAPPED)


def test_damaged_parquet_with_checksums(bench: Bench) -> None:
    """Where a Parquet file has checksums, they are looked at: a changed digit calls a stranger."""
    table = pa.table({"tel1": [number(i) for i in range(1, 101)]})
    options = {"write_page_checksum": True, "use_dictionary": False, "compression": "none"}
    whole = parquet(table, **options)
    damaged = whole.replace(number(50).encode(), number(51).encode(), 1)
    assert damaged != whole
    bench.refused("damaged", content=damaged, file="list.parquet")


def test_parquet_with_a_name_that_is_no_text(bench: Bench) -> None:
    """A column's name that is not UTF-8 is damage."""
    whole = parquet(pa.table({"tel1": [number(1)], "nnnn": ["x"]}), store_schema=False)
    bench.refused(content=whole.replace(b"nnnn", b"nn\xffn"), file="list.parquet")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"a.csv": PLAIN, "b.csv": PLAIN}), ("2 files", "unpack")),
        (zipped({}), ("no files", "unpack")),
        (zipped({"folder/": b""}), ("no files", "unpack")),
        (zipped({"b.zip": zipped({"a.zip": zipped({"a.csv": PLAIN})})}), ("more than twice",)),
        (gzip.compress(gzip.compress(gzip.compress(PLAIN))), ("more than twice",)),
        (gzip.compress(b"\0" * 50_000_000), ("list.any", "more than")),
        (gzip.compress(b""), ("is empty",)),
        (gzip.compress(PLAIN) + b"more", ("is damaged",)),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), (".xls", "password", ".xlsx")),
        (zipped({"mimetype": b"x", "content.xml": b"<x/>"}), (".ods", ".xlsx")),
        (zipped({"word/document.xml": b"", "a": b""}), ("2 files",)),
    ],
)
def test_what_can_not_be_unpacked(bench: Bench, content: bytes, words: tuple[str, ...]) -> None:
    """It says what it is, and what to do."""
    bench.refused(*words, content=content, file="list.any", rest=MAPPED)


def test_a_zip_with_a_password(bench: Bench) -> None:
    """It says so."""
    content = bytearray(zipped({"list.csv": PLAIN}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    bench.refused("password", "unpack", content=bytes(content), file="list.zip", rest=MAPPED)


def test_a_workbook_with_something_far_away(bench: Bench) -> None:
    """A slip of the hand in the last cell of a sheet: the list is read, or refused."""
    cell = '<c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c>'
    bench.write("list.xlsx", workbook(f'<row r="1048576">{cell}</row>'))
    bench.campaign()
    script = f"ulimit -v 4000000; exec {COMMAND} check campaign.toml list.xlsx --json"
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=bench.folder,
        env={**os.environ, "HOME": str(bench.folder), "PHONON_BULK_SECURITY_ID": "s" * 64},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in {0, 1, 2}
    assert "panicked" not in ended.stderr


@pytest.mark.parametrize(
    ("content", "rejected", "called"),
    [
        (f'{{"tel1":"{number(1)}"}}\n{{"tel1":"91\n{{"tel1":"{number(3)}"}}\n', [2], [1, 3]),
        (f'{{"tel1":"{number(1)}"}}\n\n[]\nnull\n"x"\n{{"tel1":"{number(5)}"}}', [2, 3, 4], [1, 5]),
        (f'[{{"tel1":"{number(1)}"}},7,{{"tel1":"{number(3)}"}}]', [2], [1, 3]),
        (f'{{"tel1":"{number(1)}"}}\n{{"tel1":"{number(2)}","tel1":"12"}}\n', [2], [1]),
        (f'{{"tel1":"{number(1)}"}}\n{{"tel1":"{number(2)}","a":"\\ud83d"}}\n', [2], [1]),
        (f'{{"tel1":"{number(1)}"}}\n{{"tel1":{"9" * 5000}}}\n', [2], [1]),
        (f'{{"tel1":"{number(1)}"}}\n{{"tel1":{"[" * 5000}{"]" * 5000}}}\n', [2], [1]),
        (f'{{"tel1":"{number(1)}"}}\n{{"tel1":NaN}}\n{{"tel1":null}}\n{{}}\n', [2, 3, 4], [1]),
    ],
)
def test_json_with_bad_objects(
    bench: Bench, content: str, rejected: list[int], called: list[int]
) -> None:
    """What is no contact costs only itself."""
    read = bench.check(content, file="list.ndjson")
    assert (sorted(read.reasons), sorted(read.calls)) == (rejected, called)
    assert [read.numbers(row) for row in called] == [[number(row)] for row in called]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f'[{{"tel1":"{number(1)}"}},{{"tel1":"9198', ("line 1", "cut off")),
        (f'[{{"tel1":"{number(1)}"}},\n{{"tel1":"{number(2)}"', ("line 2", "cut off")),
        (f'[{{"tel1":"{number(1)}"}},\n}}]', ("line 2", "no JSON")),
        (f'[{{"tel1":"{number(1)}"}}]\n[{{"tel1":"{number(2)}"}}]', ("line 2", "two files")),
        (f'{{"data":[{{"tel1":"{number(1)}"}}]}}', ("one object", '"data"')),
        (f'[["{number(1)}","{name(1)}"]]', ("no JSON object",)),
        (f'{{"{number(1)}":"{name(1)}"}}\n', ("header missing",)),
        ("[" * 100_000, ("line 1",)),
    ],
)
def test_json_that_is_no_list(bench: Bench, content: str, words: tuple[str, ...]) -> None:
    """It says where, and what."""
    bench.refused(*words, content=content, file="list.json")


def test_a_long_json_list_in_one_line(bench: Bench) -> None:
    """Characters that lie across the pieces in which it is read are whole ones."""
    for pad in range(3):
        row = f'{{"tel1":"{number(1)}","$flow.key.Name":"{"प्रिया" * 100}"}}'
        content = "[" + " " * pad + ",".join([row] * 2000) + "]"
        assert bench.check(content, file="list.json").rows == 2000


def test_long_lines_that_end_in_carriage_returns(bench: Bench) -> None:
    """As above, for a list from an old Mac program."""
    for pad in range(3):
        row = f"{number(1)},{'प्रिया' * 10}\r"
        content = f"tel1,$flow.key.{'N' * (pad + 1)}\r" + row * 12_000
        assert bench.check(content, rest="").rows == 12_000


# --- mended lists ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ("", HEADER + f"A1,12,José,{FORMULA}\n"),
        ('delimiter = ","', HEADER + f"A1,12,José,{FORMULA}\n"),
        ('delimiter = ";"', f"id;mobile;name;note\nA1;12;José;{FORMULA}\n"),
        ('encoding = "windows-1252"', (HEADER + f"A1,12,José,{FORMULA}\n").encode("cp1252")),
        ('encoding = "utf-16"', (HEADER + f"A1,12,José,{FORMULA}\n").encode("utf-16")),
        ('quote = "\'"', HEADER + "A1,12,'José, Zoë','=1+1'\n"),
        ('quote = ""', HEADER + f'A1,12,"José",{FORMULA}\n'),
    ],
    ids=["", "comma", "semicolon", "windows-1252", "utf-16", "apostrophe", "no quote"],
)
def test_mended_under_the_same_campaign(bench: Bench, source: str, content: str | bytes) -> None:
    """A file of rejected rows is read as it was written, whatever the campaign says of its list."""
    bench.write("list.csv", content)
    bench.campaign(MAPPED, source)
    assert bench.command("submit", "campaign.toml", "list.csv").exit == 1
    first = bench.check(file="list.csv", rest=MAPPED, source=source)
    wanted = first.fields(1)
    ended = bench.command("export", "1", "--only", "rejected", "-o", "mend.csv")
    assert ended.exit == 0, ended.err
    mended = (bench.folder / "mend.csv").read_bytes()
    for digits in (b",12,", b";12;"):
        mended = mended.replace(digits, digits.replace(b"12", number(1).encode()))
    (bench.folder / "mend.csv").write_bytes(mended)
    read = bench.check(file="mend.csv", rest=MAPPED, source=source)
    assert read.exit == 0, read
    assert read.calls[1]["client-identifier"] == "A1"
    assert read.values(1) == wanted[2:4]
