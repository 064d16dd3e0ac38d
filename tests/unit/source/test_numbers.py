"""Contact numbers: as people write them, to digits with country code; one definition, two ways."""

import re
from collections.abc import Iterator, Sequence

import duckdb
import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phonon_bulk.errors import ListError
from phonon_bulk.source import numbers
from phonon_bulk.source.calls_query import macros
from phonon_bulk.source.numbers import FILLERS, NumberReader, Unusable, is_empty

REGIONS = ("IN", "US", "DE", "SG", "GB", "AE", "IT", "BR", "AR", "MX")
READERS = {region: NumberReader(region) for region in REGIONS}


def known_numbers(region: str) -> list[str]:
    """Return the numbers, without country code, that libphonenumber has as its examples."""
    kinds = phonenumbers.PhoneNumberType
    found = []
    for kind in (kinds.MOBILE, kinds.MOBILE, kinds.FIXED_LINE):
        number = phonenumbers.example_number_for_type(region, kind)
        assert number is not None
        found.append(phonenumbers.national_significant_number(number))
    return found


KNOWN = {region: known_numbers(region) for region in REGIONS}

REASONS = {numbers._SCIENTIFIC_REASON, numbers._LETTERS_REASON}
REASONS |= {numbers._SHORT_REASON, numbers._LONG_REASON}
NONE_SUCH = "is no number that exists, read as one of"
THOROUGH = settings(max_examples=30)  # each example has many fields

SCRIPTS = ["0123456789", "०१२३४५६७८९", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "０１２３４５６７８９"]  # noqa: RUF001
BETWEEN = ["", "", "", "", " ", "-", ".", "(", ")", "\u00a0", "\u2011", "\u200e", "  ", "\u2212"]
AROUND = ["", "", "", " ", "\t", "\u200e", "\u202a", "'", '="', '"', "=", "+", "\ufeff", "\uff0b"]
ENDINGS = ["", "", "", ".0", ".00", ".5", "E+11", "e5", " x12", "\u202c", '"', " ", ")", ","]
SEPARATORS = [";", ",", "/", "|", "\n", "\t", " ", " ; ", ", "]
NOTHING = st.sampled_from([*sorted(FILLERS), "na", "N/a", " nil ", "Null", '=""', "'"])


@st.composite
def written(draw: st.DrawFn, region: str) -> str:
    """Return one number as somebody might write it, or what is nearly one."""
    reader = READERS[region]
    mobile = st.sampled_from(KNOWN[region]).flatmap(
        lambda known: st.text("0123456789", min_size=4, max_size=4).map(known[:-4].__add__)
    )
    other = st.text("0123456789", min_size=1, max_size=18)
    begin = ["", "", reader.trunk, reader.country_code, f"+{reader.country_code}", "+"]
    begin += [f"00{reader.country_code}", f"+{reader.country_code}(0)", "0", "00", "91", "+1"]
    digits = draw(st.sampled_from(begin)) + draw(mobile | mobile | other)
    if draw(st.booleans()):
        digits = digits.translate(str.maketrans(SCRIPTS[0], draw(st.sampled_from(SCRIPTS))))
    between = draw(st.lists(st.sampled_from(BETWEEN), max_size=3))
    for text in between:
        place = draw(st.integers(0, len(digits)))
        digits = digits[:place] + text + digits[place:]
    return draw(st.sampled_from(AROUND)) + digits + draw(st.sampled_from(ENDINGS))


@st.composite
def fields(draw: st.DrawFn, region: str) -> str:
    """Return what stands in a field: a number, several, none, or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(NOTHING | st.text(max_size=12) | st.text("0123456789+-. eE", max_size=16))
    one = written(region) | written(region) | written(region) | NOTHING
    several = draw(st.lists(one, min_size=1, max_size=draw(st.sampled_from([1, 1, 1, 3]))))
    return draw(st.sampled_from(SEPARATORS)).join(several)


def lists_of_fields() -> st.SearchStrategy[tuple[str, list[str]]]:
    """Return a region, and fields as they are written in it."""
    regions = st.sampled_from(REGIONS)
    return regions.flatmap(
        lambda region: st.tuples(st.just(region), st.lists(fields(region), min_size=1, max_size=6))
    )


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, duckdb.DuckDBPyConnection]]:
    """Open a database for each region."""
    opened = {}
    for region in REGIONS:
        opened[region] = duckdb.connect(config={"threads": 1})
        opened[region].execute(macros(READERS[region]))
    yield opened
    for database in opened.values():
        database.close()


def quick(database: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> list[str | None]:
    """Return what SQL makes of each text."""
    row = database.execute("SELECT [clean_number(t) FOR t IN ?::VARCHAR[]]", [texts]).fetchone()
    assert row is not None
    found: list[str | None] = row[0]
    return found


# ---- laws


@THOROUGH
@given(listed=lists_of_fields())
@example(("IN", ["98123-45678", "+91 (98123) 45678", "098123\u00a045678", "919812345678", ""]))
@example(("US", ["14155550100", "4155550100", "1 415 555 0100"]))
@example(("IT", ["03123456789", "0612345678", "3123456789"]))
def test_the_quick_way_is_the_exact_way(
    engines: dict[str, duckdb.DuckDBPyConnection], listed: tuple[str, list[str]]
) -> None:
    """Law: where SQL gives a number, it is the one and only that Python finds in the field."""
    region, texts = listed
    for text, found in zip(texts, quick(engines[region], texts), strict=True):
        if found is not None:
            assert READERS[region].several(text) == [found]


@pytest.mark.parametrize("region", REGIONS)
def test_ordinary_mobile_numbers_take_the_quick_way(
    engines: dict[str, duckdb.DuckDBPyConnection], region: str
) -> None:
    """With country code, without, with the trunk prefix, and with what people put between."""
    known = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert known is not None
    digits = phonenumbers.format_number(known, phonenumbers.PhoneNumberFormat.E164)[1:]
    reader = READERS[region]
    national = digits.removeprefix(reader.country_code)
    texts = [digits, f"+{digits}", national, reader.trunk + national]
    texts += [f"+{reader.country_code} ({national[:3]}) {national[3:6]}-{national[6:]}"]
    assert quick(engines[region], texts) == [digits] * 5


@THOROUGH
@given(lists_of_fields())
@example(("DE", ["+49 30 1234567890123"]))
@example(("DE", ["030 1234567890123"]))
@example(("IN", ["+80012345678", "+8835100012345", "1800 103 1234"]))
def test_what_is_found_is_a_number_that_exists(listed: tuple[str, list[str]]) -> None:
    """Law: 8 to 15 digits, valid in some country's plan; and found again with a plus before it.

    And what is not found is said in one of five sentences, whatever the text.
    """
    region, texts = listed
    for text in texts:
        for found in READERS[region].several(text):
            if isinstance(found, str):
                assert re.fullmatch("[0-9]{8,15}", found)
                assert phonenumbers.is_valid_number(phonenumbers.parse(f"+{found}"))
                assert READERS[region].several(f"+{found}") == [found]
            else:
                assert found.reason in {*REASONS, f"{NONE_SUCH} {region}"}


@THOROUGH
@given(listed=lists_of_fields())
@example(("US", ["(415) 555-0100"]))
@example(("US", ["415.555.0100"]))
def test_a_spreadsheets_zeros_are_no_digits(listed: tuple[str, list[str]]) -> None:
    """Law: a number that became a decimal one is the same number, or none."""
    region, texts = listed
    for text in texts:
        whole = READERS[region].several(text)
        if len(whole) == 1 and isinstance(whole[0], str) and text[-1:].isdecimal():
            (found,) = READERS[region].several(f"{text}.0")
            if not re.search(r"\.0+\Z", text):
                assert found == whole[0] or isinstance(found, Unusable)


@THOROUGH
@given(lists_of_fields())
def test_a_field_is_empty_where_no_number_is_meant(listed: tuple[str, list[str]]) -> None:
    """Law: in what `is_empty` says is empty there is neither a number nor anything wrong."""
    region, texts = listed
    for text in texts:
        if is_empty(text):
            assert READERS[region].several(text) == []


# ---- what people write


@pytest.mark.parametrize(
    "text",
    [
        "919812345678",
        "+919812345678",
        "9812345678",
        "09812345678",
        "00919812345678",
        "+91 98123 45678",
        "+91-98123-45678",
        "+91 (0) 98123 45678",
        "(+91) 98123.45678",
        "98123\u00a045678",
        "919812345678.0",
        "9812345678.00",
        "+919812345678.0",
        '="919812345678"',
        "=919812345678",
        "'+919812345678",
        " 919812345678\t",
        "\u202a+91 98123 45678\u202c",
        "\u200e9812345678\ufeff",
        "९८१२३४५६७८",
        "٩٨١٢٣٤٥٦٧٨",
        "\uff0b９１９８１２３４５６７８",  # noqa: RUF001 - as a Japanese keyboard writes it
        "98123\u201145678",
        "98123\u221245678",
        "919812345678;",
        "NA / 9812345678",
        "9812345678 | -",
    ],
)
def test_ways_to_write_an_indian_mobile_number(text: str) -> None:
    """All are the same one."""
    assert READERS["IN"].several(text) == ["919812345678"]


@pytest.mark.parametrize(
    ("region", "text", "number"),
    [
        ("IN", "022 2345 6789", "912223456789"),
        ("IN", "+1 415 555 0100", "14155550100"),
        ("IN", "0014155550100", "14155550100"),
        ("IN", "4915112345678", "4915112345678"),
        ("US", "(415) 555-0100", "14155550100"),
        ("US", "1-415-555-0100", "14155550100"),
        ("US", "011 91 98123 45678", "919812345678"),
        ("US", "415.555.0100", "14155550100"),
        ("DE", "0151 12345678", "4915112345678"),
        ("DE", "030/123456", None),
        ("DE", "+49 (0)30 123456", "4930123456"),
        ("SG", "8123 4567", "6581234567"),
        ("GB", "07400 123456", "447400123456"),
        ("GB", "+44 (0)121 234 5678", "441212345678"),
        ("AE", "050 123 4567", "971501234567"),
        ("IT", "312 345 6789", "393123456789"),
        ("IT", "06 1234 5678", "390612345678"),
        ("IT", "+39 06 1234 5678", "390612345678"),
        ("IT", "0612345678.0", "390612345678"),
        ("BR", "(11) 96123-4567", "5511961234567"),
        ("BR", "011 96123-4567", "5511961234567"),
        ("AR", "011 15-2345-6789", "5491123456789"),
        ("AR", "+54 9 11 2345-6789", "5491123456789"),
        ("MX", "222 123 4567", "522221234567"),
    ],
)
def test_how_numbers_are_written_elsewhere(region: str, text: str, number: str | None) -> None:
    """As they would be dialled in the country; a leading zero that counts stays."""
    found = READERS[region].several(text)
    if number is None:
        assert all(isinstance(each, Unusable) for each in found)
    else:
        assert found == [number]


@pytest.mark.parametrize("separator", [*SEPARATORS, "\r\n", " / "])
def test_a_field_may_hold_several_numbers(separator: str) -> None:
    """In their order; one that is none is said to be."""
    field = separator.join(["9812345678", "+919812345679"])
    assert READERS["IN"].several(field) == ["919812345678", "919812345679"]
    if separator.strip():
        found = READERS["IN"].several(f"{field}{separator}12")
        assert found == ["919812345678", "919812345679", Unusable("has too few digits")]


@pytest.mark.parametrize("text", [*sorted(FILLERS), "n/a", " Nil ", "\u200e", "'", '=""', "#n/a"])
def test_fields_without_a_number(text: str) -> None:
    """What people write where there is none is nothing wrong."""
    assert is_empty(text)
    assert READERS["IN"].several(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("12345", "has too few digits"),
        ("12345678901234567890", "has too many digits"),
        ("5555555555", "is no number that exists, read as one of IN"),
        ("Asha", "has letters or signs that are no part of a number"),
        ("98123x45678", "has letters or signs that are no part of a number"),
        ("9812345678 ext 4", "has letters or signs that are no part of a number"),
        ("98123+45678", "has letters or signs that are no part of a number"),
        ("9.19812E+11", "is in scientific notation"),
        ("9.2e11", "is in scientific notation"),
        ("9E+11", "is in scientific notation"),
        ("²²²²²²²²²²", "has letters or signs that are no part of a number"),
    ],
)
def test_why_a_text_is_no_number(text: str, reason: str) -> None:
    """A part of a sentence, after the column's name."""
    (found,) = READERS["IN"].several(text)
    assert isinstance(found, Unusable)
    assert found.reason.startswith(reason)


def test_scientific_notation_with_a_comma() -> None:
    """As Excel writes it in most of Europe: said to be that, and not two numbers."""
    (found,) = READERS["DE"].several("4,91511E+12")
    assert isinstance(found, Unusable)
    assert found.reason.startswith("is in scientific notation")


@pytest.mark.parametrize("region", ["ZZ", "AQ"])
def test_a_country_without_numbers(region: str) -> None:
    """It is refused by the name of the setting."""
    with pytest.raises(ListError, match=f'checks.region: "{region}" is no country with numbers'):
        NumberReader(region)
