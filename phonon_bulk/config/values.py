"""Kinds of values that settings and campaigns have in common."""

import ipaddress
from typing import Annotated, Any

from pydantic import Field

from phonon_bulk.config.problems import FoundError, shown

_LOOPBACK_4 = ipaddress.ip_network("127.0.0.0/8")
_LOOPBACK_6 = ipaddress.ip_address("::1")


def is_loopback(host: str) -> bool:
    """Tell whether the host is this machine itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address == _LOOPBACK_6 or address in _LOOPBACK_4


def off_is_none(value: Any) -> Any:
    """Return None for "off"."""
    return None if _is_word(value, "off") else value


def auto_is_none(value: Any) -> Any:
    """Return None for "auto"."""
    return None if _is_word(value, "auto") else value


def none_is_auto(value: int | None) -> int | str:
    """Return "auto" for None."""
    return "auto" if value is None else value


def _is_word(value: Any, word: str) -> bool:
    return isinstance(value, str) and value.strip().lower() == word


def whole(least: int, most: int) -> Any:
    """Return what a whole number between the two is."""
    described = f"a whole number from {least} to {most}"
    return Field(strict=True, ge=least, le=most, description=described)


def seconds(least: float, most: float) -> Any:
    """Return what a number of seconds between the two is."""
    described = f"a number of seconds from {least:g} to {most:g}"
    return Field(strict=True, ge=least, le=most, allow_inf_nan=False, description=described)


def not_blank(text: str) -> str:
    """Let nothing through that is empty or can't be written as UTF-8: names of bytes can't."""
    if not text.strip() or "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise FoundError(shown(text))
    return text


Switch = Annotated[bool, Field(strict=True, description="true or false")]
ACCOUNT_EXPECTED = "a name of at most 64 letters and digits, with single - or _ between them"
AccountName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$",
        max_length=64,
        description=ACCOUNT_EXPECTED,
    ),
]
