"""What is wrong with a setting, said so that whoever typed it can mend it.

One line for each problem: where it stands (a file, an environment variable, the command line), its
key, what was expected and what was found. A value is shown shortened, and not at all where it could
be a security id, whatever key it was typed under.
"""

import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from os import PathLike
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

Key = tuple[str, ...]
"""A setting's name, part by part: `("endpoints", "bulk", "workers")`."""

ANY_NAME = "NAME"
"""Stands in a `Key` where the operator chooses the name: `accounts.NAME.security_id_file`."""

SECURITY_ID = re.compile(r"[A-Za-z0-9]{64}")

_SECRET_NAME = re.compile(r"security[-_ ]?id", re.IGNORECASE)
# Letters and digits on end, as a security id has them, or a good part of one: no word is so long.
_SECRET_IN_VALUE = re.compile(r"[A-Za-z0-9]{20,}")
# Names and paths may hold a checksum or a UUID, and are needed to find the place.
_SECRET_IN_NAME = re.compile(r"[A-Za-z0-9]{33,}")
_NOT_SHOWN = "(not shown)"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MOST_SHOWN = 60
_LARGEST_SHOWN = 10**15


class FoundError(ValueError):
    """Raised by a validator; its text goes after "found" and repeats no secret."""


class Section(BaseModel):
    """Base of everything that is set: frozen, no unknown keys, no secret in its repr."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, without_secret(value) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; the key is empty if it is the place as a whole."""

    place: str
    key: Key
    text: str

    def __str__(self) -> str:
        parts = [plain(self.place), dotted(self.key), self.text]
        return ": ".join(part for part in parts if part)


def lines(problems: list[Problem]) -> list[str]:
    """Return the problems as `SettingsError` takes them, sorted by place and key.

    Of several with one key, the first is kept: the others only follow from it.
    """
    first: dict[tuple[str, Key], Problem] = {}
    for problem in problems:
        first.setdefault((problem.place, problem.key), problem)
    return sorted({str(problem) for problem in first.values()})


def plain(name: str) -> str:
    """Return a name or path fit for one line of an error message."""
    return _printable(_SECRET_IN_NAME.sub(_NOT_SHOWN, name))


def dotted(key: Key) -> str:
    """Return the key as TOML writes it: `accounts.south.security_id_file`."""
    shown_parts = (part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in key)
    return plain(".".join(shown_parts))


def without_secret(text: str) -> str:
    """Return the text with everything taken out that could be a secret."""
    return _SECRET_IN_NAME.sub(_NOT_SHOWN, re.sub(r"//[^/@]*@", "//***@", text))


def shown(value: object) -> str:
    """Return what was found as a few words, with nothing that could be a secret."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _shown_text(value)
        case int() | float():
            return "a very large number" if abs(value) > _LARGEST_SHOWN else repr(value)
        case None:
            return "nothing"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case date() | time():
            return "a date or a time"
        case PathLike():
            return _shown_text(str(value))
        case _:
            return f"a {type(value).__name__}"


def _shown_text(text: str) -> str:
    if _SECRET_IN_VALUE.search(text):
        return f"a text of {len(text)} characters {_NOT_SHOWN}"
    return f'"{shortened(text)}"' if text else "an empty text"


def shortened(text: str) -> str:
    """Return a text as it may stand in a message: on one line, and not too long."""
    return _printable(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…")


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def secrets_in(values: Mapping[str, object], place: str, key: Key = ()) -> Iterator[Problem]:
    """Yield a problem for each security id that was typed where it may be shared or shown."""
    for name, value in values.items():
        here = (*key, name)
        if _SECRET_NAME.fullmatch(name):
            yield Problem(place, here, f"a security id must not be written here; {_cure(here)}")
        elif isinstance(value, Mapping):
            yield from secrets_in(value, place, here)
        elif looks_secret(value) or looks_secret(name):
            yield Problem(place, here, f"this looks like a security id; {_cure(here)}")


def looks_secret(value: object) -> bool:
    """Tell whether the value, or one in a list, has the form of a security id."""
    if isinstance(value, list | tuple):
        return any(looks_secret(item) for item in value)
    return isinstance(value, str) and SECURITY_ID.fullmatch(value.strip()) is not None


def _cure(key: Key) -> str:
    where = ".".join(key[:2]) if key[0] == "accounts" and len(key) > 1 else ""
    variable = f"{where}.security_id".lstrip(".").upper().replace("-", "_").replace(".", "__")
    return (
        f"take it out, and set the environment variable PHONON_BULK_{plain(variable)} instead,"
        " or name a file that holds it by security_id_file in phonon-bulk.toml"
    )


def near(name: str, known: list[str]) -> str:
    """Return the known name that was likely meant, or an empty text."""
    from difflib import get_close_matches

    matches = get_close_matches(name, known, n=1, cutoff=0.7)
    return matches[0] if matches else ""


def leaves(model: type[BaseModel], key: Key = ()) -> Iterator[tuple[Key, FieldInfo]]:
    """Yield every key that can be set, with its field."""
    for name, field in model.model_fields.items():
        here, inner = (*key, name), _inner(field.annotation)
        if _is_model(inner):
            yield from leaves(inner, here)
        elif get_origin(inner) is dict and _is_model(get_args(inner)[1]):
            yield from leaves(get_args(inner)[1], (*here, ANY_NAME))
        elif not field.exclude:
            yield here, field


def problems_in(
    error: ValidationError,
    model: type[BaseModel],
    place: Callable[[Key], str],
    hints: Mapping[Key, str] | None = None,
) -> list[Problem]:
    """Return what pydantic found wrong with a `model`, in plain words.

    `place` tells where a key was given; `hints` has what to say of an unknown key one may expect.
    """
    found = []
    for detail in error.errors(include_url=False):
        spot = _locate(model, detail["loc"])
        text = _words(spot, detail, model, hints or {})
        found.append(Problem(place(spot.key), spot.key, text))
    return found


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place in a model: its key, the field, and the model that the field stands in."""

    key: Key
    field: FieldInfo | None
    parent: type[BaseModel]


def _locate(model: type[BaseModel], loc: tuple[int | str, ...]) -> _Spot:
    key: Key = ()
    node: Any = model
    field: FieldInfo | None = None
    parent = model
    for part in loc:
        if not isinstance(part, str) or part == "[key]":
            break
        if _is_model(node):
            parent, field = node, node.model_fields.get(part)
            node = _inner(field.annotation) if field else None
        elif get_origin(node) is dict:
            node = get_args(node)[1]
            if _is_model(node) and loc[-1] != "[key]":
                field = None  # a table in the table: what is said of the outer holds no more
        else:
            break
        key = (*key, part)
    return _Spot(key, field, parent)


def _words(spot: _Spot, detail: Any, model: type[BaseModel], hints: Mapping[Key, str]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return hints.get(spot.key) or f"unknown key{_did_you_mean(spot, model)}"
    if detail["loc"][-1:] == ("[key]",):
        return f"this name can't be used; {_expected(spot)}"
    if kind == "json_invalid":
        return "not JSON"
    if kind == "missing":
        return f"missing; {_expected(spot)}"
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, FoundError):
        return f"{_expected(spot)}, found {cause}"
    hidden = spot.field is not None and spot.field.exclude
    return f"{_expected(spot)}, found {_NOT_SHOWN if hidden else shown(detail['input'])}"


def _expected(spot: _Spot) -> str:
    described = _description(spot.field) if spot.field else None
    if described:
        return f"expected {described}"
    return f"expected a table, written [{dotted(spot.key)}]" if spot.key else "expected a table"


def _description(field: FieldInfo) -> str | None:
    """Return a field's description, or that of the type beside its `| None`."""
    types_of_it = get_args(field.annotation)
    inner = (note for kind in types_of_it for note in getattr(kind, "__metadata__", ()))
    found = (getattr(note, "description", None) for note in (field, *inner))
    return next((text for text in found if text), None)


def _did_you_mean(spot: _Spot, model: type[BaseModel]) -> str:
    *parent, name = spot.key
    siblings = [name for name, field in spot.parent.model_fields.items() if not field.exclude]
    everywhere = [key for key, _field in leaves(model)]
    last = name if name in {key[-1] for key in everywhere} else None  # the section is wrong
    if last is None and (sibling := near(name.casefold(), siblings)):
        return f"; did you mean {dotted((*parent, sibling))}?"
    last = last or near(name.casefold(), [key[-1] for key in everywhere])
    meant = " or ".join(dotted(key) for key in everywhere if key[-1] == last)
    return f"; did you mean {meant}?" if meant else ""


def _inner(annotation: Any) -> Any:
    """Return the type without its `| None` and its `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        if len(inner) > 1:
            return annotation
        annotation = inner[0]
    return getattr(annotation, "__origin__", annotation) if _annotated(annotation) else annotation


def _annotated(annotation: Any) -> bool:
    return hasattr(annotation, "__metadata__")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def type_of(field: FieldInfo) -> Any:
    """Return the plain type that a field's value has: `int` for `int | None`."""
    return _inner(field.annotation)
