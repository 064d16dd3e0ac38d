"""What a list is likely to be."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phonon_bulk.cli.init import Frame, campaign_text, path_in_campaign
from phonon_bulk.config import StartTimeForm, load_campaign
from phonon_bulk.errors import ListError
from phonon_bulk.source.columns import plan_columns
from phonon_bulk.source.proposal import Proposal, propose

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC).timestamp()
MOBILES = ["9812345678", "+91 98123 45679", "9812345680", "09812345681"]
ACCOUNTS = ["100012", "100013", "100014", "100015"]


def proposed(region: str = "IN", /, **columns: Sequence[str]) -> Proposal:
    """Propose for columns of these names; `_` in a name stands as it is."""
    return propose(list(columns), list(columns.values()), region, NOW)


def doubts(proposal: Proposal, about: str) -> str:
    """Return what is not certain about a key, as one text."""
    return "\n".join(doubt.text for doubt in proposal.doubts if doubt.about == about)


def test_a_bank_export() -> None:
    """Numbers by name and order, the account, the rest as flow variables."""
    proposal = proposed(
        alternate=["", "9812345690", "", ""],
        account_no=ACCOUNTS,
        MobileNo=MOBILES,
        name=["Asha", "Ravi", "Li", "Asha"],
        due_date=["01/12/2026"] * 4,
    )
    assert proposal.numbers == ("MobileNo", "alternate")
    assert proposal.client_identifier == "account_no"
    assert proposal.required
    assert proposal.start_time is None
    assert proposal.keys == (("name", "name"), ("due_date", "due_date"))
    assert not proposal.is_template
    assert proposal.rows == 4
    assert {doubt.about for doubt in proposal.doubts} == {"keys"}


@pytest.mark.parametrize(
    "name",
    [
        *("mobile", "Phone", "MOBILE_NO", "MobileNumber", "cell", "tel", "tel1", "ph_no"),
        *("contact", "contact_no", "PrimaryContact", "contact_number", "msisdn", "WhatsApp"),
        *("customer_mobile", "registered-mobile", "alt_no", "Mobile No. 1"),
    ],
)
def test_names_of_numbers(name: str) -> None:
    """Preferred to any other column, whatever that holds."""
    proposal = propose(["account", name], [MOBILES, MOBILES], "IN", NOW)
    assert proposal.numbers == (name,)
    assert '"account"' in doubts(proposal, "contact_numbers")


@pytest.mark.parametrize(
    "name", ["mobile_type", "contact_name", "phone model", "nominee_mobile", "branch phone"]
)
def test_names_of_other_numbers(name: str) -> None:
    """They are about a number, or of somebody else: not called beside the customer's."""
    assert propose([name, "mobile"], [MOBILES, MOBILES], "IN", NOW).numbers == ("mobile",)


def test_the_order_of_numbers() -> None:
    """Primary ones by their numbers and by how many are there, then alternates."""
    some = ["9812345678", "", "", ""]
    proposal = proposed(
        office_phone=MOBILES, mobile2=MOBILES, phone=some, mobile1=MOBILES, alternate=some
    )
    assert proposal.numbers == ("mobile1", "phone", "mobile2", "office_phone", "alternate")


def test_accounts_that_look_like_numbers() -> None:
    """Without a better column they are proposed, and that is said."""
    proposal = proposed(account_no=MOBILES, amount=["1.5", "2", "3", "4"])
    assert proposal.numbers == ("account_no",)
    assert "not named like" in doubts(proposal, "contact_numbers")
    assert proposed(account_no=MOBILES, field7=MOBILES).numbers == ("field7",)


def test_a_column_that_is_numbers_in_part() -> None:
    """Named so, it is taken, and the share is said."""
    proposal = proposed(mobile=["9812345678", "n/k", "ask", "later"])
    assert proposal.numbers == ("mobile",)
    assert "only 25% of the values" in doubts(proposal, "contact_numbers")


def test_an_empty_column_is_taken_by_its_name() -> None:
    """If another one has numbers."""
    proposal = proposed(mobile=MOBILES, alternate=[""] * 4)
    assert proposal.numbers == ("mobile", "alternate")
    assert '"alternate" is empty' in doubts(proposal, "contact_numbers")
    with pytest.raises(ListError, match="no column of the list holds phone numbers"):
        proposed(mobile=[""] * 4)


def test_what_excel_did() -> None:
    """Numbers in scientific notation are known as numbers, and complained of."""
    proposal = proposed(id=["1.2E+15"] * 3, mobile=["9.19812E+11", "9.2e+11", "919812345678"])
    assert proposal.numbers == ("mobile",)
    assert "2 values" in doubts(proposal, "contact_numbers")
    assert "Excel did that" in doubts(proposal, "contact_numbers")


def test_no_numbers() -> None:
    """The columns are named."""
    with pytest.raises(ListError, match=r'no column .* its columns are "name", "amount"'):
        proposed(name=["Asha"], amount=["1500.00"])


@pytest.mark.parametrize(
    "name", ["9812345678", "'+91 98123 45678", '="919812345678"', "22-11-2026"]
)
def test_a_header_that_is_a_contact(name: str) -> None:
    """Nothing of it is shown."""
    with pytest.raises(ListError, match="is the header missing") as caught:
        propose([name, "Asha"], [MOBILES, MOBILES], "IN", NOW)
    assert name not in str(caught.value)
    assert "Asha" not in str(caught.value)


def test_a_name_that_stands_twice() -> None:
    """It can't be meant in a campaign."""
    with pytest.raises(ListError, match='more than one column is called "mobile"'):
        propose(["mobile", " mobile "], [MOBILES, MOBILES], "IN", NOW)


def test_an_unknown_region() -> None:
    """It is the operator's."""
    with pytest.raises(ListError, match="is no country"):
        proposed("XX", mobile=MOBILES)


def test_an_identifier_that_repeats() -> None:
    """Likely still, and the rows are counted; one that is unique is preferred."""
    account, ident = ["A1", "A2", "A2", ""], ["1", "2", "3", "4"]
    alone = proposed(mobile=MOBILES, account=account)
    assert alone.client_identifier is None  # half of the rows
    account += ["A5", "A6"]
    six = [*MOBILES, "9812345682", "9812345683"]
    proposal = proposed(mobile=six, account=account)
    assert proposal.client_identifier == "account"
    assert not proposal.required
    assert "1 rows repeat" in doubts(proposal, "client_identifier")
    assert "1 rows have no" in doubts(proposal, "client_identifier")
    both = proposed(mobile=six, account=account, id=[*ident, "5", "6"])
    assert both.client_identifier == "id"
    assert '"account" as well' in doubts(both, "client_identifier")


def test_no_identifier() -> None:
    """Names, types and amounts of accounts are none."""
    proposal = proposed(
        mobile=MOBILES, account_name=["a", "b", "c", "d"], loan_amount=["1", "2", "3", "4"]
    )
    assert proposal.client_identifier is None
    assert "run and row" in doubts(proposal, "client_identifier")


@pytest.mark.parametrize(
    ("values", "form", "said"),
    [
        (["2026-11-24T10:00", "2026-11-24 11:30"], StartTimeForm.ISO, ""),
        (["24/11/2026 10:00", "01/12/2026 10:00"], StartTimeForm.DAY_FIRST, ""),
        (["11/24/2026 10:00", "12/01/2026 10:00"], StartTimeForm.MONTH_FIRST, ""),
        (["05/12/2026 10:00", "06/12/2026 10:00"], StartTimeForm.DAY_FIRST, "day first"),
        (["24-Nov-2026 10:00 AM", "1-Dec-2026 10:00"], StartTimeForm.DAY_FIRST, ""),
        (["46350.4375", "46351.5"], StartTimeForm.EXCEL, ""),
    ],
)
def test_forms_of_start_times(values: list[str], form: StartTimeForm, said: str) -> None:
    """By what can be read; where that decides nothing, it is said."""
    proposal = proposed(mobile=MOBILES[:2], call_time=values)
    assert proposal.start_time == "call_time"
    assert proposal.start_time_form is form
    assert not proposal.whole_days
    found = doubts(proposal, "start_time_form")
    assert said in found if said else not found


@pytest.mark.parametrize(
    ("name", "is_start"),
    [
        *(("start", True), ("StartTime", True), ("call date", True), ("scheduled_at", True)),
        *(("policy_start_date", False), ("due_date", False), ("last_call_date", False)),
    ],
)
def test_names_of_start_times(name: str, *, is_start: bool) -> None:
    """A date is a start-time only if its name says so."""
    proposal = propose(["mobile", name], [MOBILES, ["2026-12-01T10:00"] * 4], "IN", NOW)
    assert (proposal.start_time == name) is is_start
    assert ((name, name) in proposal.keys) is not is_start


def test_start_times_that_can_not_be_used() -> None:
    """Past, missing, unreadable, without a time of day."""
    proposal = proposed(mobile=MOBILES, start=["24/11/2026", "", "13/11/2026", "soon"])
    assert proposal.whole_days
    said = doubts(proposal, "start_time")
    for words in (
        '1 values in "start" can\'t',
        '1 values in "start" are of past',
        "1 rows have no",
    ):
        assert words in said
    assert "2 values" in doubts(proposal, "window")
    clock = proposed(mobile=MOBILES, call_time=["10:30"] * 4)
    assert clock.start_time is None
    assert "no date with a time" in doubts(clock, "start_time")


def test_numbers_that_repeat() -> None:
    """However they are written, and by the one that is called first."""
    proposal = proposed(
        mobile=["9812345678", "", "ask", "9812345681"],
        alternate=["9812345690", "+91 98123-45678", "9812345678", "9812345678"],
    )
    assert proposal.repeated == 2
    assert "2 of 4 rows" in doubts(proposal, "duplicates")


def test_phonons_template() -> None:
    """It needs no mapping; its values are looked at all the same."""
    names = ["tel1", "tel2", "$flow.key.Name", "client-identifier", "start-time"]
    sample = [MOBILES, [""] * 4, ["Asha"] * 4, ["A1"] * 4, ["24/11/2026 10:00"] * 4]
    proposal = propose(names, sample, "IN", NOW)
    assert proposal.is_template
    assert proposal.numbers == ("tel1", "tel2")
    assert proposal.start_time_form is StartTimeForm.DAY_FIRST
    assert proposal.keys == ()
    assert "3 rows repeat" in doubts(proposal, "client_identifier")
    assert propose(["tel1"], [MOBILES], "IN", NOW).is_template


def test_half_a_template() -> None:
    """Columns that it would not send make a mapping."""
    proposal = propose(["tel1", "name"], [MOBILES, ["Asha"] * 4], "IN", NOW)
    assert not proposal.is_template
    assert proposal.keys == (("name", "name"),)


def test_names_that_can_not_be_used() -> None:
    """Neither secrets nor what nobody can write; and no variable twice."""
    names = ["mobile", "security_id", "", "a" * 64, "b" * 201, "$flow.key.x", "x", "\ud800"]
    names += ["(column 3)", "$flow.key.", "row", "reason"]
    proposal = propose(names, [MOBILES] + [[""] * 4] * (len(names) - 1), "IN", NOW)
    assert proposal.keys == (("x", "$flow.key.x"),)
    assert "(column 4), (column 5), (column 8)" in doubts(proposal, "keys")


NAMES = st.one_of(
    st.sampled_from(
        [
            *("Mobile", "mobile", "MOBILE ", "tel1", "account", "start", "call_date", "a"),
            *("", "(column 2)", "client-identifier", "start-time", "$flow.key.a", "security_id"),
            *('"', "\\", "a\\", "'''", "#", "a.b", "a\nb", "a\r\nb", "\x00", "\x7f", "=1"),
            *("f" * 64, "row", "reason", "\ud800"),
        ]
    ),
    st.text(max_size=12),
)
TEMPLATE = st.one_of(
    st.sampled_from(
        ["tel1", "Tel 2", "tel10", "client-identifier", "Start-Time", "start", "call at"]
    ),
    st.text(max_size=5).map("$flow.key.{}".format),
)
VALUES = st.one_of(
    st.sampled_from([*MOBILES, "", "9.1E+11", "24/11/2026", "2026-12-01T10:00", "A-1", "soon"]),
    st.text(max_size=6),
)


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Draw a header, of which few names stand twice, and columns, one of which may be called."""
    rows = draw(st.integers(1, 5))
    kind = draw(st.sampled_from([NAMES, TEMPLATE]))
    names = draw(st.lists(kind, min_size=1, max_size=40, unique_by=str.strip))
    names += draw(st.lists(st.sampled_from(["a", "start", "mobile no"]), max_size=1))
    column = st.one_of(
        st.lists(VALUES, min_size=rows, max_size=rows), VALUES.map(lambda value: [value] * rows)
    )
    columns = [draw(column) for _ in names]
    columns[draw(st.integers(0, len(names) - 1))] = (MOBILES * rows)[:rows]
    return names, columns


@settings(max_examples=200)
@given(lists(), st.sampled_from([None, ";", "\t"]), st.text(max_size=9))
@example((["mobile", "$flow.key.$flow.key.x"], [MOBILES, MOBILES]), None, "\x85")
def test_whatever_is_proposed_can_be_used(
    drawn: tuple[list[str], list[list[str]]], delimiter: str | None, remark: str
) -> None:
    """The file loads, and fits the header; or the list is refused."""
    names, columns = drawn
    try:
        proposal = propose(names, columns, "IN", NOW)
    except ListError:
        return
    frame = Frame(
        "name",
        paths=(path_in_campaign("a\\b[1].csv", None),),
        delimiter=delimiter,
        doubts=(remark,),
    )
    text = campaign_text(proposal, frame)
    with TemporaryDirectory() as folder:
        path = Path(folder, "campaign.toml")
        path.write_text(text, encoding="utf-8")
        campaign = load_campaign(path)
    plan = plan_columns(names, campaign.mapping, campaign.checks)
    assert tuple(plan.names[place] for place in plan.numbers) == proposal.numbers
    assert (plan.start_time is None) is (proposal.start_time is None)


def test_a_list_of_many_columns(tmp_path: Path) -> None:
    """Thirty are flow variables; others are there to choose from, and the file stays small."""
    longest = "\U0001f600\x01" * 95
    names = ["mobile", *(f"{longest} {i}" for i in range(3000))]
    proposal = propose(names, [MOBILES] * len(names), "IN", NOW)
    text = campaign_text(proposal, Frame("name", flow_id="QG8k000A"))
    path = tmp_path / "campaign.toml"
    path.write_text(text, encoding="utf-8")
    mapping = load_campaign(path).mapping
    assert mapping is not None
    assert len(mapping.keys) == 30
    assert "2,970 more columns" in text


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the campaign's folder; as typed where there is none; not what a campaign can't have."""
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "campaigns" / "c.toml"
    assert path_in_campaign("lists/*.csv", None) == "lists/*.csv"
    assert path_in_campaign("lists/*.csv", there) == "../lists/*.csv"
    assert path_in_campaign("campaigns/x.csv", there) == "x.csv"
    assert path_in_campaign("campaigns/-", there) == "./-"
    assert path_in_campaign("~/x.csv", there) == "~/x.csv"
    assert path_in_campaign("/data/x.csv", there) == "/data/x.csv"
    assert path_in_campaign("a" * 64, Path("c.toml")) == "./" + "a" * 64
    assert path_in_campaign("https://host/x.csv", there) == "https://host/x.csv"
    for place in ("-", "\udcff.csv", "https://me:pw@host/x", "s3://b/x?signature=1"):
        assert path_in_campaign(place, there) == ""
