"""`phonon-bulk init` on lists as they come: the file it proposes loads and fits its list."""

import subprocess
from pathlib import Path

import orjson
import pytest
from builders import FLOW_ID
from desk import COMMAND, PATIENCE, Desk, Ended, Start

from phonon_bulk.config import Campaign, Kind, Value, load_campaign
from phonon_bulk.source.columns import plan_columns

MOBILES = [f"98123456{i:02d}" for i in range(40)]
BANK = [
    "account_no,mobile,alternate,customer_name,emi_due,due_date",
    *(f"{10_000_000_000 + i},{n},,Asha {i},1500.00,05/12/2026" for i, n in enumerate(MOBILES)),
]


def proposed(desk: Desk, *arguments: str) -> tuple[Campaign, str]:
    """Write a campaign in a folder of its own; return it, and what was said."""
    (desk.folder / "campaigns").mkdir(exist_ok=True)
    ended = desk.run("init", *arguments, "-o", "campaigns/new.toml")
    assert ended.exit == 0, ended.err
    assert ended.err == ""
    text = (desk.folder / "campaigns" / "new.toml").read_text()
    for said in (text, ended.out):
        assert "98123" not in said
        assert "Asha" not in said
    return load_campaign(desk.folder / "campaigns" / "new.toml"), ended.out


def columns(*names: str) -> tuple[Value, ...]:
    """Return the columns of these names, as a mapping has them."""
    return tuple(Value(Kind.COLUMN, name) for name in names)


def test_a_bank_export(desk: Desk) -> None:
    """All is found; the path leads from the campaign to the list; the next commands are said."""
    desk.write("bank.csv", "\n".join(BANK) + "\n")
    campaign, said = proposed(desk, "bank.csv")
    assert campaign.name == "new"
    assert campaign.flow_id == "CHANGEME"
    assert [Path(path).resolve() for path in campaign.paths] == [desk.folder / "bank.csv"]
    mapping = campaign.mapping
    assert mapping is not None
    assert mapping.contact_numbers == columns("mobile", "alternate")
    assert (mapping.client_identifier,) == columns("account_no")
    assert list(mapping.keys) == ["customer_name", "emi_due", "due_date"]
    assert campaign.checks.required == ("account_no",)
    for words in ("40 rows", 'unsure: contact_numbers: "alternate" is empty', "CHANGEME"):
        assert words in said
    assert "  phonon-bulk check campaigns/new.toml\n  phonon-bulk run campaigns/new.toml\n" in said


def test_what_is_proposed_can_be_sent(desk: Desk, simulate: Start) -> None:
    """As it is, once it has a flow."""
    simulator = simulate()
    desk.settings(simulator.url)
    desk.write("bank.csv", "\n".join(BANK) + "\n")
    proposed(desk, "bank.csv", "--flow-id", FLOW_ID, "--name", "reminder")
    ended = desk.run("run", "campaigns/new.toml", "--json")
    assert ended.exit == 0, ended.err
    assert (ended.summary["campaign"], ended.summary["accepted"]) == ("reminder", 40)
    (first, *_) = simulator.ledger()
    assert first["contact-numbers"] == ["919812345600"]


def test_to_standard_output(desk: Desk) -> None:
    """The file alone; what is not certain goes to standard error."""
    desk.write("bank.csv", "\n".join(BANK) + "\n")
    ended = desk.run("init", "bank.csv")
    assert ended.exit == 0
    assert 'path = "bank.csv"' in ended.out
    assert 'name = "bank"' in ended.out
    assert all(line.startswith("unsure: ") for line in ended.err.splitlines())
    desk.write("campaign.toml", ended.out)
    assert load_campaign(desk.folder / "campaign.toml").mapping is not None


def test_phonons_template(desk: Desk) -> None:
    """No mapping, and nothing to be unsure of."""
    desk.contacts(30)
    campaign, said = proposed(desk, "list.csv", "--flow-id", FLOW_ID)
    assert campaign.mapping is None
    assert "no mapping is needed" in said
    assert [line for line in said.splitlines() if line.startswith("unsure")] == [
        'unsure: contact_numbers: "tel2" is empty, and taken by its name'
    ]


def test_what_excel_damaged(desk: Desk) -> None:
    """Known as numbers all the same, and said; numbers that became equal are duplicates."""
    rows = "".join(f"A{i},9.19812E+11,46350.{i}\n" for i in range(1, 9))
    desk.write("crm.csv", "id,Phone,Call Time\n" + rows)
    campaign, said = proposed(desk, "crm.csv")
    assert campaign.mapping is not None
    assert campaign.mapping.contact_numbers == columns("Phone")
    assert campaign.checks.start_time_form == "excel"
    assert '8 values in "Phone" are in scientific notation' in said


def test_semicolons_and_windows_text(desk: Desk) -> None:
    """They are found, not set; what was guessed is said; names of columns need quotes."""
    rows = "".join(f"{n};Jos\xe9;0{i % 9 + 1}/12/2026 10:00\n" for i, n in enumerate(MOBILES))
    text = "T\xe9l\xe9phone;Pr\xe9nom;Call date\n" + rows + "9812345600;Ren\xe9;01/12/2026 10:00\n"
    desk.write("liste.csv", text.encode("windows-1252"))
    campaign, said = proposed(desk, "liste.csv")
    mapping, checks = campaign.mapping, campaign.checks
    assert mapping is not None
    assert mapping.contact_numbers == columns("T\xe9l\xe9phone")
    assert mapping.keys == dict(zip(["Pr\xe9nom"], columns("Pr\xe9nom"), strict=True))
    assert (campaign.delimiter, campaign.encoding) == (None, None)
    assert (checks.start_time_form, checks.duplicates) == ("dmy", "drop")
    for words in ("is read as Windows-1252 text", "day first", "1 of 41 rows"):
        assert words in said


def test_what_was_told_is_set(desk: Desk) -> None:
    """The campaign reads the list as `init` did."""
    desk.write("list.txt", "mobile~id\n" + "".join(f"{n}~{i}\n" for i, n in enumerate(MOBILES)))
    flags = ("--delimiter", "~", "--encoding", "utf-8", "--region", "IN")
    campaign, _ = proposed(desk, "list.txt", *flags)
    assert (campaign.delimiter, campaign.encoding) == ("~", "utf-8")


def test_json_lines(desk: Desk) -> None:
    """Several files are one list."""
    for part in ("a", "b"):
        rows = [{"mobile": int(n), "loan_no": part + n[-2:], "due": 1.5} for n in MOBILES]
        desk.write(f"{part}.ndjson", b"".join(orjson.dumps(row) + b"\n" for row in rows))
    campaign, said = proposed(desk, "a.ndjson", "b.ndjson")
    assert campaign.mapping is not None
    assert campaign.mapping.contact_numbers == columns("mobile")
    assert [Path(path).name for path in campaign.paths] == ["a.ndjson", "b.ndjson"]
    assert "40 of 80 rows repeat" in said
    plan_columns(["mobile", "loan_no", "due"], campaign.mapping, campaign.checks)


def test_standard_input(desk: Desk) -> None:
    """A campaign can't name it: the list is named in the commands."""
    process = subprocess.run(
        [COMMAND, "init", "-", "-o", "new.toml"],
        input="\n".join(BANK),
        cwd=desk.folder,
        env=desk._environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert load_campaign(desk.folder / "new.toml").paths == ()
    assert "phonon-bulk check new.toml -\n" in process.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,amount\nAsha,15\n", 'holds phone numbers; its columns are "name", "amount"'),
        ("9812345678,Asha\n9812345679,Ravi\n", "is the header missing"),
        ("mobile,name\n", "no rows"),
        ("mobile,mobile\n9812345678,9812345678\n", 'more than one column is called "mobile"'),
    ],
)
def test_a_list_that_is_none(desk: Desk, content: str, words: str) -> None:
    """Refused, without a word of what stands in it; nothing is written."""
    desk.write("list.csv", content)
    said = refused(desk, "init", "list.csv", "-o", "new.toml").err
    assert words in said
    assert "98123" not in said
    assert "Asha" not in said
    assert not (desk.folder / "new.toml").exists()


def test_a_file_is_not_overwritten(desk: Desk) -> None:
    """Nor is one put where none can be."""
    desk.contacts(3)
    desk.write("new.toml", "mine")
    assert "not overwritten" in refused(desk, "init", "list.csv", "-o", "new.toml").err
    assert (desk.folder / "new.toml").read_text() == "mine"
    assert "can't be written" in refused(desk, "init", "list.csv", "-o", "no/new.toml").err


@pytest.mark.parametrize(
    "flags",
    [("--flow-id", "x"), ("--name", " a"), ("--region", "india"), ("--encoding", "latin")],
)
def test_flags_that_can_not_be(desk: Desk, flags: tuple[str, str]) -> None:
    """They are said by their names."""
    desk.contacts(3)
    assert f"{flags[0]}: expected " in refused(desk, "init", "list.csv", *flags).err


def refused(desk: Desk, *arguments: str) -> Ended:
    """Run a command that can't work: exit 2, and nothing on standard output."""
    ended = desk.run(*arguments)
    assert ended.exit == 2, ended.err
    assert ended.out == ""
    return ended
