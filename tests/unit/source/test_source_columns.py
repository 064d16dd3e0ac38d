"""Which column is what."""

import pytest

from phonon_bulk.call import read_start_time
from phonon_bulk.config import MappingSettings
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import describe_difference, plan_columns, quoted


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
    """A column may serve twice, and one without a name is nobody's."""
    columns = plan_columns(
        ["mobile ", "Account No", "first", "", "call at", ""],
        MappingSettings(
            client_identifier="Account No",
            contact_numbers=("mobile",),
            start_time="call at",
            keys={"Name": "first", "Mobile": "mobile"},
        ),
    )
    assert columns.numbers == (0,)
    assert columns.client_identifier == 1
    assert columns.start_time == 4
    assert columns.keys == (("$flow.key.Name", 2), ("$flow.key.Mobile", 0))
    assert columns.unused == ("(column 4)", "(column 6)")


def test_a_mapped_start_time_may_be_a_moment() -> None:
    """A column of that name comes first."""
    text = "2026-11-24T10:00:00+05:30"
    mapping = MappingSettings(contact_numbers=("m",), start_time=text)
    assert plan_columns(["m"], mapping).start_time == read_start_time(text)
    assert plan_columns(["m", text], mapping).start_time == 1


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
    """With what may have been meant, and what there is."""
    mapping = MappingSettings(
        client_identifier="acount_no",
        contact_numbers=("Mobile", "second"),
        start_time="tomorrow",
        keys={"Name": "Mobile"},
    )
    with pytest.raises(ListError) as caught:
        plan_columns(["account_no", "mobile", ""], mapping)
    assert str(caught.value).splitlines()[1:] == [
        'there is no column "Mobile"; is "mobile" meant?',
        'there is no column "second"',
        'there is no column "acount_no"; is "account_no" meant?',
        "start_time is 'tomorrow': neither a column nor a time like 2026-11-24T10:00:00+05:30",
        'its columns are "account_no", "mobile", "(column 3)"',
    ]


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
