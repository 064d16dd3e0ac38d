"""JSON as rows: one object a line, an array, or one after the other."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonon_bulk.errors import ListError
from phonon_bulk.source.formats import encoding, json_rows
from phonon_bulk.source.formats.encoding import NotUtf8Error
from phonon_bulk.source.formats.json_rows import open_json
from phonon_bulk.source.formats.stored import Spool
from phonon_bulk.source.formats.tables import BROKEN, FAULT, Part, column_name

NO_OBJECT = "not a JSON object"


def stored(content: str | bytes) -> Spool:
    """Return a file."""
    file = Spool("list.json")
    file.write(content if isinstance(content, bytes) else content.encode())
    return file


def rows_of(part: Part) -> list[Any]:
    """Return the values of each row, or what is broken of it and why."""
    rows: list[Any] = []
    for table in part.tables(0, 0):
        for row in table.to_pylist():
            values = [row[column_name(i)] for i in range(len(part.names))]
            rows.append((*row[BROKEN], row[FAULT]) if row[FAULT] else values)
    return rows


ONE = '{"tel1": "919812345678", "a": 1}'
TWO = '{"a": "é", "b": null}'


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n{TWO}",
        f"\ufeff{ONE}\r\n\r\n \t\n{TWO}\r\n",
        f"[{ONE},{TWO}]",
        f"\ufeff \n[\n{ONE} ,\n{TWO}\n]\n\n",
        json.dumps([json.loads(ONE), json.loads(TWO)], indent=2),
        "\n".join(json.dumps(json.loads(one), indent=2) for one in (ONE, TWO)),
        f"{ONE}\r\r{TWO}",
        f"{ONE} {TWO}",
    ],
)
def test_every_way_to_write_objects(text: str) -> None:
    """The columns are all keys, in the order in which they appear; what is not there is empty."""
    part = open_json(stored(text))
    assert (part.name, part.names, part.rows) == ("list.json", ("tel1", "a", "b"), 2)
    assert rows_of(part) == [["919812345678", "1", ""], ["", "é", ""]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1234.50", "1234.50"),
        ("919812345678", "919812345678"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1e5", "100000"),
        ("1E-7", "0.0000001"),
        ("919812345678.0", "919812345678"),
        ("1200.00", "1200.00"),
        ("1e99999999999999999999", "1e99999999999999999999"),
        ("NaN", ""),
        ("-Infinity", "-inf"),
        ("true", "true"),
        ("null", ""),
        ('" x "', " x "),
        ('"\\ud83d\\ude00\\n"', "\U0001f600\n"),
        ('[1.0, "a", null]', "1;a;"),
        ('{"n": 1.50, "l": [1]}', '{"n":1.50,"l":[1]}'),
    ],
)
def test_values_are_as_they_were_written(value: str, text: str) -> None:
    """Numbers keep their digits, whatever a float would make of them."""
    assert rows_of(open_json(stored(f'{{"a": {value}}}'))) == [[text]]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("nonsense", NO_OBJECT),
        ('{"a": 1', NO_OBJECT),
        ('{"a": 1} {"a": 2}', NO_OBJECT),
        ("[1]", NO_OBJECT),
        ("5", NO_OBJECT),
        ('{"a": 1, "a": 2}', "a key is there twice"),
        ('{"a": "\\ud800"}', "a value is no valid text"),
        ('{"\\uDFFF": 1}', "a value is no valid text"),
        ('{"a": ["\\ud800"]}', "a value is no valid text"),
        ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "a value is nested too deeply"),
        ('{"a": ' + '{"b":' * 600 + "1" + "}" * 600 + "}", "a value is nested too deeply"),
    ],
)
def test_a_line_that_is_no_object_costs_itself(row: str, fault: str) -> None:
    """It is there as it was written, with the reason."""
    part = open_json(stored(f'{{"a": 1}}\n  {row}\r\n{{"a": 3}}'))
    assert (part.names, part.rows) == (("a",), 3)
    assert rows_of(part) == [["1"], (row, fault), ["3"]]


@pytest.mark.parametrize("row", ["[1]", "5", "null", '{"a": 1, "a": 2}', '{"a": "\\ud800"}'])
def test_an_element_that_is_no_object_costs_itself(row: str) -> None:
    """In an array too."""
    part = open_json(stored(f'[{{"a": 1}}, {row}\n, {{"a": 3}}]'))
    assert [part.rows, *rows_of(part)] == [3, ["1"], (row, rows_of(part)[1][1]), ["3"]]


CUT = "line {}: the list ends in the middle: it was cut off"
NO_JSON = "line {}: this is no JSON"
TOO_LONG = "line {}: an object of more than 2,097,152 bytes: if the list stands within an object"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[\n{"a": 1},\n{"a": 2}', CUT.format(3)),
        ('[\n{"a": 1},\n{"a": tr', CUT.format(3)),
        ('[\n{"a": 1},\n{"a": "xy', CUT.format(3)),
        ('[\n{"a": 1},', CUT.format(2)),
        ("[", CUT.format(1)),
        ('[{"a": 1}\n{"a": 2}]', NO_JSON.format(2)),
        ('[{"a": 1},\n]', NO_JSON.format(2)),
        ('[{"a": 1},\n{"a": 1]}]' + " " * 50, NO_JSON.format(2)),
        ('[{"a": "x\ny"}]' + " " * 50, NO_JSON.format(1)),
        ('[{"a": 1}]\n[{"a": 1}]', "line 2: more follows after the end of the list"),
        ('{\n"a": 1}\n{"a": 2}\nx', NO_JSON.format(4)),
        ('[\n{"a": ' + "[" * 10_000 + "]" * 10_000 + "}]", "line 2: a value is nested too deeply"),
        ("[]", "has no JSON object in it, and so no columns and no rows"),
        ("[1, 2]", "has no JSON object in it"),
        ('{"contacts": [{"a": 1}]}', 'is one object, which holds a list as "contacts": hand in'),
        ('{"n": 1,\n"list": [{"a": 1}, {"a": 1}]}', 'one object, which holds a list as "list"'),
        ("[{}]", "list.json has no columns"),
    ],
)
def test_what_is_no_list_is_refused(text: str, sentence: str) -> None:
    """With the line, and without anything of what stands there."""
    with pytest.raises(ListError, match=sentence) as caught:
        open_json(stored(text))
    assert "xy" not in str(caught.value)


@pytest.mark.parametrize("begin", ["[\n", "\n", '[{"a": 1},\n', '{"a": 1}\n', '{"a":\n1}'])
@pytest.mark.parametrize("length", [1 << 21, 5 << 20])
def test_an_object_without_end_is_refused(begin: str, length: int) -> None:
    """It is not read into memory whole."""
    text = begin + '{"a": "' + "x" * length + '"}' + "]" * begin.startswith("[")
    with pytest.raises(ListError, match=TOO_LONG.format(1 + begin.count("\n"))):
        open_json(stored(text))


@pytest.mark.parametrize("begin", ["", "["])
def test_what_is_not_utf8_is_told_apart(begin: str) -> None:
    """Another encoding can be seen to."""
    with pytest.raises(NotUtf8Error) as caught:
        open_json(stored(begin.encode() + b'{"a": 1}\n\n\xe9'))
    assert caught.value.line == 3


@pytest.mark.parametrize("ends", [("", "\n", ""), ("[", ",", "]"), ("", "\n\n  ", " ")])
def test_keys_that_appear_late_are_columns(ends: tuple[str, str, str]) -> None:
    """The file is read once more then."""
    rows: list[dict[str, int]] = [{"a": i} for i in range(7)]
    rows += [{"b": 7, "a": 8}, {}, {"c": 9}]
    text = ends[0] + ends[1].join(map(json.dumps, rows)) + ends[2]
    with patch.multiple(json_rows, FIRST_ROWS=2, ROWS_AT_ONCE=3):
        part = open_json(stored(text))
    assert part.names == ("a", "b", "c")
    assert rows_of(part) == [
        *([str(i), "", ""] for i in range(7)),
        ["8", "7", ""],
        ["", "", ""],
        ["", "", "9"],
    ]


KEYS = st.sampled_from(["a", "b", "é\n"])
VALUES = st.one_of(st.text(st.sampled_from('a"é\n\u2028{}[],:\\ '), max_size=5), st.integers())


@given(
    rows=st.lists(st.dictionaries(KEYS, VALUES, min_size=1), min_size=1, max_size=8),
    form=st.sampled_from(["lines", "array", "pretty array", "one after the other"]),
    ascii_only=st.booleans(),
    size=st.integers(2, 30),
)
def test_rows_are_those_that_were_written(
    rows: list[dict[str, object]], form: str, ascii_only: bool, size: int
) -> None:
    """Wherever the blocks end."""
    indent = 1 if form in {"pretty array", "one after the other"} else None
    texts = [json.dumps(row, ensure_ascii=ascii_only, indent=indent) for row in rows]
    if "array" in form:
        text = json.dumps(rows, ensure_ascii=ascii_only, indent=indent)
    else:
        text = "\n".join(texts)
    with (
        patch.object(encoding, "_BLOCK", size),
        patch.multiple(json_rows, LONGEST_ROW=max(map(len, texts)) * 2 + len(rows) + 2),
    ):
        part = open_json(stored(text))
    assert list(part.names) == list(dict.fromkeys(key for row in rows for key in row))
    assert rows_of(part) == [[str(row.get(name, "")) for name in part.names] for row in rows]
