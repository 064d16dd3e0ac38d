"""Lists of numbers that are not to be called."""

from pathlib import Path
from typing import Any

import pytest
from builders import FLOW_ID
from hypothesis import given, settings
from hypothesis import strategies as st

from phonon_bulk.config import Campaign
from phonon_bulk.errors import ListError
from phonon_bulk.source.do_not_call import Listed, load
from phonon_bulk.source.numbers import NumberReader, is_empty

READER = NumberReader("IN")
ONE, TWO, THREE = "919812345671", "919812345672", "919812345673"


def loaded(folder: Path, *entries: Any) -> Listed:
    """Return what a campaign in a folder must not call."""
    campaign = Campaign.model_validate(
        {
            "name": "test",
            "flow_id": FLOW_ID,
            "folder": str(folder),
            "checks": {"suppress": list(entries)},
        }
    )
    return load(campaign, READER, {})


def write(folder: Path, content: str, name: str = "dnd.csv") -> str:
    """Return the path of a new file."""
    path = folder / name
    path.write_text(content, encoding="utf-8", newline="")
    return str(path)


def numbers(listed: Listed) -> set[str]:
    """Return which of ours are in it, having seen that no others are."""
    found = {number for number in (ONE, TWO, THREE) if listed.numbers.has(number)}
    assert len(listed.numbers) == len(found)
    return found


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    """They are what a list's numbers are; what says that there is none is none."""
    text = 'Number\n98123 45671\n"+91 98123-45672;NA"\nNA\n\n\' 09812345673\n-\n'
    listed = loaded(tmp_path, write(tmp_path, text))
    assert numbers(listed) == {ONE, TWO, THREE}
    assert listed.remarks == ()


FIELDS = st.sampled_from(
    ["", "NA", "n/a", "Asha", "12", "9.8E+9", "98123 45678", "9812345679", '="919812345670"',
     "9812345678;9812345671", "9812345678 x", "0612345678", "+14155550100", "98123\u00a045670"]
)  # fmt: skip


@given(st.lists(FIELDS, max_size=15))
@settings(max_examples=10)
def test_every_number_of_every_row_is_found(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str]
) -> None:
    """Law: those that the reader of a list's numbers finds, and a remark counts the other rows."""
    folder = tmp_path_factory.getbasetemp()
    rows = "".join('"{}","x"\n'.format(field.replace('"', '""')) for field in fields)
    path = write(folder, "Phone,x\n" + rows, "any.csv")
    each = [[n for n in READER.several(field) if isinstance(n, str)] for field in fields]
    expected = {number for found in each for number in found}
    if fields and not expected:
        with pytest.raises(
            ListError, match=r"has no number in its column .Phone. that can be read"
        ):
            loaded(folder, path)
        return
    listed = loaded(folder, path)
    assert all(listed.numbers.has(number) for number in expected)
    assert len(listed.numbers) == sum(map(len, each))
    unreadable = [
        n
        for n, (field, found) in enumerate(zip(fields, each, strict=True), 1)
        if not found and not is_empty(field)
    ]
    assert len(listed.remarks) == bool(unreadable)
    for remark in listed.remarks:
        assert remark.startswith(f"{len(unreadable)} rows of the do-not-call list {path} are no")
        assert f"(row {unreadable[0]}, for one)" in remark


def test_several_lists_are_one(tmp_path: Path) -> None:
    """Files, patterns and folders, in whatever format."""
    (tmp_path / "more").mkdir()
    write(tmp_path, f"number\n{ONE}\n", "a1.csv")
    write(tmp_path, f'{{"msisdn": "{TWO}"}}\n', "a2.ndjson")
    write(tmp_path, f"x\n{THREE}\n", "more/b.csv")
    write(tmp_path, "?", "more/readme.md")
    listed = loaded(tmp_path, str(tmp_path / "a*"), str(tmp_path / "more"))
    assert numbers(listed) == {ONE, TWO, THREE}
    (remark,) = listed.remarks
    assert remark.startswith("passed over in the folder")


@pytest.mark.parametrize(
    "text",
    [f"{ONE}\n{TWO}\n", f"{ONE}\n{TWO}", f"+91 98123 45671\r\n{TWO}\r\n", f'"{ONE}"\n{TWO}\n'],
)
def test_a_list_of_nothing_but_numbers_needs_no_header(tmp_path: Path, text: str) -> None:
    """Its first line counts."""
    assert numbers(loaded(tmp_path, write(tmp_path, text))) == {ONE, TWO}


def test_a_list_of_one_number(tmp_path: Path) -> None:
    """There are no rows after the first line."""
    assert numbers(loaded(tmp_path, write(tmp_path, f"{ONE}\n"))) == {ONE}


def test_a_list_without_rows_suppresses_nothing(tmp_path: Path) -> None:
    """Nobody has objected yet."""
    assert numbers(loaded(tmp_path, write(tmp_path, "number\n"))) == set()


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("id,Mobile No,name", None),
        ("id,DND,name", None),
        ("id,x,name", "x"),
        ("phone id,x,mobile name", " X "),
        ("MSISDN,tel,name", "TEL"),
    ],
)
def test_the_column_with_the_numbers(tmp_path: Path, header: str, column: str | None) -> None:
    """The one that looks like it, or that is named."""
    path = write(tmp_path, f"{header}\n1,{ONE},{TWO}\n")
    assert numbers(loaded(tmp_path, {"path": path, "column": column})) == {ONE}


@pytest.mark.parametrize(
    ("header", "column", "sentence"),
    [
        (
            "id,x",
            None,
            r'which column of the do-not-call list .*dnd\.csv.* Its columns are "id", "x"',
        ),
        ("phone,mobile", None, "which column of the do-not-call list"),
        ("919812345678,Asha", None, "is the header missing"),
        ("id,mobile", "mobil", r'dnd\.csv: there is no column "mobil"; is "mobile" meant'),
        ("id,mobile", "id", 'has no number in its column "id" that can be read: is it the right'),
    ],
)
def test_the_wrong_column_is_said(
    tmp_path: Path, header: str, column: str | None, sentence: str
) -> None:
    """Better nothing is sent than to whoever must not be called."""
    path = write(tmp_path, f"{header}\nA1,{ONE}\n")
    with pytest.raises(ListError, match=sentence) as caught:
        loaded(tmp_path, {"path": path, "column": column})
    assert "Asha" not in str(caught.value)


def test_rows_that_are_no_numbers_are_remarked(tmp_path: Path) -> None:
    """They keep nobody from being called, so somebody should look; nothing of them is shown."""
    text = f"number,name\n{ONE},x\nAsha,x\n12,x\n{TWO}\n{THREE},x\n"
    listed = loaded(tmp_path, write(tmp_path, text))
    assert numbers(listed) == {ONE, TWO, THREE}
    (remark,) = listed.remarks
    assert remark.startswith("2 rows of the do-not-call list")
    assert remark.endswith("are no numbers, and keep nobody from being called (row 2, for one)")


def test_a_query_may_give_the_numbers(tmp_path: Path) -> None:
    """Of files, which are looked for beside the campaign; its result may have one column."""
    write(
        tmp_path,
        f'{{"who": "{ONE}", "until": 2025}}\n{{"who": "{TWO}", "until": 2027}}\n',
        "d.json",
    )
    listed = loaded(tmp_path, {"query": "SELECT who FROM 'd.json' WHERE until > 2026"})
    assert numbers(listed) == {TWO}
    with pytest.raises(ListError, match="the query"):
        loaded(tmp_path, {"query": "SELECT nothing FROM 'd.json'"})


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    """It stops everything."""
    with pytest.raises(ListError, match="there is no file"):
        loaded(tmp_path, str(tmp_path / "none.csv"))
