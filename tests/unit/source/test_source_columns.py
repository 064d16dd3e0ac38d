"""Which column is what."""

import pytest

from phonon_bulk.call import read_start_time
from phonon_bulk.config import ChecksSettings, MappingSettings
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import (
    Columns,
    describe_difference,
    find_column,
    plan_columns,
    quoted,
)


def mapped(header: list[str], **mapping: object) -> Columns:
    """Return which column is what; the numbers are in the column `m`."""
    settings = MappingSettings.model_validate({"contact_numbers": ["m"], **mapping})
    return plan_columns(header, settings)


def checked(header: list[str], **checks: object) -> Columns:
    """Return which column is what, by Phonon's template, and what is checked."""
    return plan_columns(header, None, ChecksSettings.model_validate(checks))


def test_phonons_template() -> None:
    """Numbers in the order of their names, whatever their case and place; variables exactly."""
    columns = plan_columns(
        ["$flow.key.Name", " TEL 2", "Tel10", "tel1 ", "notes", "Start-Time", "$flow.key.x y ", ""],
        None,
    )
    assert columns.numbers == (3, 1, 2)
    assert columns.keys == (("$flow.key.Name", 0), ("$flow.key.x y", 6))
    assert columns.start_time == 5
    assert columns.client_identifier is None
    assert columns.unused == ("notes", "(column 8)")


@pytest.mark.parametrize("name", ["tel", "tel0", "tel11", "tel01", "telephone", "$flow.key."])
def test_what_is_not_in_the_template_is_unused(name: str) -> None:
    """It is said, not guessed at."""
    assert plan_columns(["tel1", name], None).unused == (name,)


def test_a_mapping_takes_columns_by_name() -> None:
    """Capitals and spaces around it don't count; a column may serve twice, or be nobody's."""
    columns = mapped(
        ["mobile ", "Account No", "first", "", "call at", ""],
        client_identifier=" account no",
        contact_numbers=["MOBILE"],
        start_time="Call At",
        keys={"Name": "First", "Mobile": "mobile"},
    )
    assert columns.numbers == (0,)
    assert columns.client_identifier == 1
    assert columns.start_time == 4
    assert columns.keys == (("$flow.key.Name", 2), ("$flow.key.Mobile", 0))
    assert columns.unused == ("(column 4)", "(column 6)")
    assert columns.derived == ()


def test_a_column_without_a_name_is_named_by_its_place() -> None:
    """In a mapping as in messages."""
    assert mapped(["m", ""], keys={"Name": "(Column 2)"}).keys == (("$flow.key.Name", 1),)


def test_a_name_that_is_written_so_comes_first() -> None:
    """Where names differ in capitals only, they do count."""
    columns = mapped(["m", "a", "A"], keys={"One": "A", "Two": "a"})
    assert columns.keys == (("$flow.key.One", 2), ("$flow.key.Two", 1))
    with pytest.raises(ListError, match='more columns than one are called "Name" but for capitals'):
        mapped(["m", "NAME", "name"], keys={"One": "Name"})


@pytest.mark.parametrize("text", ["2026-11-24T10:00:00+05:30", "2026-11-24 10:00"])
def test_a_mapped_start_time_may_be_a_moment(text: str) -> None:
    """A column of that name comes first."""
    assert mapped(["m"], start_time=text).start_time == read_start_time(text)
    assert mapped(["m", text], start_time=text).start_time == 1


def test_constants_and_sql_become_columns_after_those_of_the_list() -> None:
    """Named by what they are for; of the list's own columns they use none."""
    columns = mapped(
        ["m", "a"],
        contact_numbers=["m", {"sql": "'0' || m"}],
        client_identifier={"sql": "a"},
        start_time={"value": "2026-11-24"},
        keys={"Bank": {"value": "it's"}, "Name": {"sql": "upper(a)"}, "Empty": {"value": ""}},
    )
    assert columns.own == ("m", "a")
    assert columns.names[2:] == (
        "(the sql of contact_numbers)",
        "(the sql of client_identifier)",
        "(the value of start_time)",
        "(the value of keys.Bank)",
        "(the sql of keys.Name)",
        "(the value of keys.Empty)",
    )
    assert columns.derived == ("'0' || m", "a", "'2026-11-24'", "'it''s'", "upper(a)", "''")
    assert (columns.numbers, columns.client_identifier, columns.start_time) == ((0, 2), 3, 4)
    assert columns.keys == (
        ("$flow.key.Bank", 5),
        ("$flow.key.Name", 6),
        ("$flow.key.Empty", 7),
    )
    assert columns.unused == ("a",)


def test_all_other_columns_may_be_flow_variables() -> None:
    """Each that is used for nothing else, by its name; what is checked is sent all the same."""
    mapping = MappingSettings.model_validate(
        {"contact_numbers": "m", "client_identifier": "id", "start_time": {"sql": "x"}, "keys": "*"}
    )
    checks = ChecksSettings.model_validate({"required": "x", "max_lengths": {"$flow.key.Y": 3}})
    columns = plan_columns(["x", "m", "", "$flow.key.y", "id"], mapping, checks)
    assert columns.keys == (("$flow.key.x", 0), ("$flow.key.y", 3))
    assert columns.unused == ("(column 3)",)


def test_all_other_columns_are_different_flow_variables() -> None:
    """Two of one name can't be told apart by the flow."""
    with pytest.raises(ListError, match=r"Name"):
        mapped(["m", "Name", "$flow.key.Name"], keys="*")


# ---- checks


def test_what_is_checked() -> None:
    """Columns by their names, as in a mapping; none of them counts as unused."""
    columns = checked(
        ["tel1", "Name", "City", "x"], required=["name", "TEL1"], max_lengths={"city": 40}
    )
    assert columns.required == (1, 0)
    assert columns.max_lengths == ((2, 40),)
    assert columns.unused == ("x",)


def test_checks_of_columns_that_are_not_there() -> None:
    """All of them are said, with the unknown flow variables."""
    with pytest.raises(ListError) as caught:
        checked(
            ["tel1", "$flow.key.Nmae", "city"],
            required="citty",
            max_lengths={"nobody": 3},
            known_keys=["Name", "Amount"],
        )
    assert str(caught.value).splitlines()[1:] == [
        'there is no column "citty"; is "city" meant?',
        'there is no column "nobody"',
        'checks.known_keys has no flow variable "Nmae"; is "Name" meant?',
        'its columns are "tel1", "$flow.key.Nmae", "city"',
    ]


def test_flow_variables_that_are_known() -> None:
    """By their names as the flow has them, capitals and all; without any known, all are."""
    header = ["tel1", "$flow.key.Name"]
    assert checked(header, known_keys=["Name", "Amount"]).keys == (("$flow.key.Name", 1),)
    assert checked(header).keys == (("$flow.key.Name", 1),)
    with pytest.raises(ListError, match='no flow variable "Name"; is "name" meant'):
        checked(header, known_keys=["name"])
    mapping = MappingSettings.model_validate({"contact_numbers": "m", "keys": "*"})
    with pytest.raises(ListError, match='no flow variable "city"'):
        plan_columns(["m", "city"], mapping, ChecksSettings(known_keys=("Amount",)))


# ---- a file of rejected rows that comes back


@pytest.mark.parametrize(
    "last", [("row", "reason"), ("Row ", "REASON"), ("row (phonon-bulk)", "reason (phonon-bulk)")]
)
def test_nothing_is_sent_of_what_an_export_has_added(last: tuple[str, str]) -> None:
    """The last two columns, under whatever names it gave them; nor are they called unused."""
    first = ["m", "row"] if "(" in last[0] else ["m", "x"]
    columns = mapped([*first, *last], keys="*")
    assert columns.is_mended
    assert columns.keys == (("$flow.key." + first[1], 1),)
    assert columns.unused == ()


@pytest.mark.parametrize("header", [["m", "reason", "row"], ["m", "row", "reason", "x"], ["m"]])
def test_other_lists_are_not_mended(header: list[str]) -> None:
    """Where these are not the last ones, they are columns like any other."""
    assert not mapped(header, keys="*").is_mended
    assert len(mapped(header, keys="*").keys) == len(header) - 1


def test_names_have_the_apostrophe_taken_away_that_an_export_put_there() -> None:
    """So a mended file fits the campaign that it came from."""
    assert mapped(["m", "'=name", "row", "reason"], keys={"Name": "=name"}).keys == (
        ("$flow.key.Name", 1),
    )
    assert mapped(["m", "'=name"], keys={"Name": "'=name"}).keys == (("$flow.key.Name", 1),)


# ---- headers that can't be used


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (["mobile", "name"], r'no column tel1; its columns are "mobile", "name".*\n\[mapping\]'),
        (["tel1", "a", "a ", "b", "b"], 'more than one column is called "a", "b"'),
        (["tel1", "Tel 1"], 'more than one column is called "tel1"'),
        (["tel1", "start-time", "Start-Time"], 'more than one column is called "start-time"'),
    ],
)
def test_a_header_that_cannot_be_meant(header: list[str], sentence: str) -> None:
    """Each message names the columns."""
    with pytest.raises(ListError, match=sentence):
        plan_columns(header, None)


def test_everything_that_a_mapping_lacks_is_said_at_once() -> None:
    """With what may have been meant, and what there is; each once."""
    with pytest.raises(ListError) as caught:
        mapped(
            ["account_no", "mobile", ""],
            client_identifier="acount_no",
            contact_numbers=["Mobil", "second"],
            start_time="tomorrow",
            keys={"Name": "Mobile", "Again": "second"},
        )
    assert str(caught.value).splitlines()[1:] == [
        'there is no column "Mobil"; is "mobile" meant?',
        'there is no column "second"',
        'there is no column "acount_no"; is "account_no" meant?',
        "start_time is 'tomorrow': neither a column nor a time like 2026-11-24T10:00:00+05:30",
        'its columns are "account_no", "mobile", "(column 3)"',
    ]


def test_a_column_is_found_by_its_name() -> None:
    """As in a mapping; the message says of what."""
    assert find_column(["a", "Number"], " number", "dnd.csv") == 1
    with pytest.raises(ListError) as caught:
        find_column(["a", "Number"], "numbr", "dnd.csv")
    assert str(caught.value) == (
        'dnd.csv: there is no column "numbr"; is "Number" meant?; its columns are "a", "Number"'
    )
    with pytest.raises(ListError, match=r'dnd\.csv: more columns than one are called "x"'):
        find_column(["x", "x"], "x", "dnd.csv")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a", "c"], 'without "b", with "c"'),
        (["a"], 'without "b"'),
        (["a", "b", "c"], 'with "c"'),
        (["b", "a"], "the same columns in another order or number"),
    ],
)
def test_how_a_header_differs_is_said(names: list[str], sentence: str) -> None:
    """What lacks, what is there beside, or the order."""
    assert describe_difference(names, ["a", "b"]) == sentence


@pytest.mark.parametrize("number", ["919812345678", "+91 98123 45678", "9812345678"])
def test_nothing_of_a_contact_is_quoted(number: str) -> None:
    """Where a contact stands in place of the header, an error shows nothing of it."""
    names = ("ACC1", number, "Asha")
    with pytest.raises(ListError) as caught:
        plan_columns(names, None)
    told = [str(caught.value), describe_difference(names, ("tel1",)), quoted(names)]
    told.append(describe_difference(("tel1",), names))
    for text in told:
        assert "seems to be a contact" in text
        assert number not in text
        assert "Asha" not in text
