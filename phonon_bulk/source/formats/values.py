"""A value of any type as the text that a person expects.

`text_of` says it for one value; `text_column` says the same for a column of Arrow's, and a test
holds the two together.
"""

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_EXACT = float(2**53)
"""Whole numbers below it are exact as floats."""
_MOST_DIGITS = 400
"""More than any float has; a decimal with more before or after its point keeps its exponent."""


def text_of(value: object) -> str:
    """Return a value as text; None, and what is not a number, is the empty text.

    Numbers have no exponents, and floats no zeros that say nothing: 919812345678.0 is
    "919812345678". Dates and times are ISO 8601. A list's values are joined by semicolons, a
    mapping is compact JSON, and bytes that are no UTF-8 text are in hexadecimal.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    for kinds, text in _TEXTS:
        if isinstance(value, kinds):
            return text(value)
    return str(value)


def text_column(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as text, each value as `text_of` has it; nulls are the empty text.

    A 32-bit float is the shortest decimal number that it may stand for, and parts of a microsecond
    are dropped. Raises ValueError, OverflowError or KeyError for a moment that Python has no value
    or time zone for.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    for is_kind, texts in _COLUMN_TEXTS:
        if is_kind(array.type):
            return texts(array).fill_null("")
    return _one_by_one(array)


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _float_text(value: float) -> str:
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))  # without a sign before a zero
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    return _decimal_text(Decimal(repr(value))).removesuffix(".0")


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return "" if value.is_nan() else _float_text(float(value))
    return format(value, "f") if abs(value.adjusted()) <= _MOST_DIGITS else str(value)


def _bytes_text(value: bytes | bytearray | memoryview) -> str:
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()


def _list_text(values: list[object] | tuple[object, ...]) -> str:
    return ";".join(map(text_of, values))


def _iso_text(value: date | datetime | time) -> str:
    return value.isoformat()


def _json(value: object) -> str:
    """Return a value as compact JSON; numbers keep their digits."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_quoted(text_of(k))}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, bool | int) or (
        isinstance(value, float | Decimal) and math.isfinite(value)
    ):
        return text_of(value)
    text = text_of(value)
    return _quoted(text) if text or isinstance(value, str) else "null"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_TEXTS: tuple[tuple[Any, Callable[[Any], str]], ...] = (
    (bool, _bool_text),
    (float, _float_text),
    (Decimal, _decimal_text),
    (date | time, _iso_text),
    (list | tuple, _list_text),
    (Mapping, _json),
    (bytes | bytearray | memoryview, _bytes_text),
)


def _cast(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _one_by_one(array: pa.Array) -> pa.Array:
    return pa.array([text_of(value) for value in array.to_pylist()], pa.string())


def _each_once(array: pa.Array) -> pa.Array:
    """Return the texts of values of which many are the same."""
    encoded = array.dictionary_encode()
    return _one_by_one(encoded.dictionary).take(encoded.indices)


def _of_dictionary(array: pa.Array) -> pa.Array:
    return text_column(array.dictionary).take(array.indices)


def _runs(array: pa.Array) -> pa.Array:
    return text_column(pc.run_end_decode(array))


def _stored(array: pa.Array) -> pa.Array:
    """Return the texts of a type that Arrow knows by its storage only, or as a Python value."""
    return _one_by_one(array) if array.type == pa.uuid() else text_column(array.storage)


def _strings(array: pa.Array) -> pa.Array:
    try:
        array.validate(full=True)  # a Parquet file can say of any bytes that they are UTF-8
    except pa.ArrowInvalid:
        return _one_by_one(array.cast(pa.large_binary()))
    return _cast(array)


def _bytes(array: pa.Array) -> pa.Array:
    try:
        return _cast(array)
    except pa.ArrowInvalid:
        return _one_by_one(array)


def _floats(array: pa.Array) -> pa.Array:
    if array.type != pa.float64():
        array = _cast(array).cast(pa.float64())
    exact = pc.less(pc.abs(array), _EXACT)
    whole = pc.and_(exact, pc.equal(pc.trunc(array), array))
    integers = _cast(pc.if_else(whole, array, 0.0).cast(pa.int64()))
    texts = pc.if_else(whole, integers, _cast(array))
    return _with_plain(texts, array, pc.match_substring_regex(texts, "[en]"))


def _decimals(array: pa.Array) -> pa.Array:
    texts = _cast(array)
    return _with_plain(texts, array, pc.match_substring(texts, "E"))


def _with_plain(texts: pa.Array, array: pa.Array, odd: pa.Array) -> pa.Array:
    """Return the texts, but those that are not plain digits as `text_of` has them."""
    odd = odd.fill_null(fill_value=False)
    return pc.replace_with_mask(texts, odd, _one_by_one(array.filter(odd)))


def _moments(array: pa.Array) -> pa.Array:
    """Return moments and times of day as ISO 8601, with microseconds where there are any."""
    if types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False)
        if array.type.tz is not None:
            return _each_once(array)
    else:
        array = array.cast(pa.time64("us"), safe=False)
    texts = pc.replace_substring(_cast(array), " ", "T")
    return pc.replace_substring(texts, ".000000", "")


def _durations(array: pa.Array) -> pa.Array:
    return _one_by_one(array.cast(pa.duration("us"), safe=False))


def _is_string(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_castable(kind: pa.DataType) -> bool:
    return bool(types.is_boolean(kind) or types.is_integer(kind) or types.is_date(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(types.is_timestamp(kind) or types.is_time(kind))


def _is_extension(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


_COLUMN_TEXTS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_string, _strings),
    (_is_castable, _cast),
    (types.is_floating, _floats),
    (types.is_decimal, _decimals),
    (_is_moment, _moments),
    (types.is_duration, _durations),
    (_is_bytes, _bytes),
    (types.is_dictionary, _of_dictionary),
    (types.is_run_end_encoded, _runs),
    (_is_extension, _stored),
)
