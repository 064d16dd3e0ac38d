"""Contact numbers: as people write them, to digits with country code.

What an ordinary number of a country looks like, mobile or fixed, and whether any other number
exists, is known by `phonenumbers` (Google's libphonenumber). Its patterns for the former go into
`macros.sql` too, so the quick way and the exact way are one definition. Reasons name what is wrong
and never the number.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata

from phonon_bulk.call import MAX_DIGITS, MIN_DIGITS
from phonon_bulk.errors import ListError

FILLERS = frozenset({"", "-", "--", "0", "NA", "N/A", "#N/A", "NIL", "NONE", "NULL", "."})
"""What people write where there is no number, in capitals."""

# Marks that say how text runs, and such; they come along when a number is copied from a web page.
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_EXCEL_TEXT = re.compile(r'="?([^"]*)"?')
_SEPARATORS = re.compile(r"[;,/|\r\n\t]+")
_BETWEEN_DIGITS = re.compile(r"[\s().\-\u2010-\u2015\u2212\uff0d]+")
_SCIENTIFIC = re.compile(r"[+-]?\d+([.,]\d+)?[eE][+-]?\d+")
_WHOLE_DECIMAL = re.compile(r"(?:([^.]*\d)\.0+|(.*\d)\.0)")
"""With dots between its digits, a number may itself end in .00."""
_DIGITS = re.compile(r"\+?\d+")

_SCIENTIFIC_REASON = (
    "is in scientific notation, like 9.2E+11: Excel did that, and its last digits may be lost; "
    "format the column as text and export it again"
)
_LETTERS_REASON = "has letters or signs that are no part of a number"
_SHORT_REASON = "has too few digits"
_LONG_REASON = "has too many digits"
_MOST = 20
_MANY_REASON = f"holds more than {_MOST} numbers"
_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a text is no number that can be called, to be read after the column's name."""

    reason: str


class NumberReader:
    """Reads numbers as they are written in one country."""

    def __init__(self, region: str) -> None:
        """Take a country by its two letters (ISO 3166). Raises ListError if it is unknown."""
        metadata = PhoneMetadata.metadata_for_region(region)
        kinds = [] if metadata is None else [metadata.mobile, metadata.fixed_line]
        patterns = [kind.national_number_pattern for kind in kinds if kind is not None]
        if metadata is None or not any(patterns):
            raise ListError(f'checks.region: "{region}" is no country with numbers of its own')
        self.region = region
        self.country_code = str(metadata.country_code)
        self.ordinary = f"(?:{'|'.join(filter(None, patterns))})"
        """The pattern of an ordinary number, mobile or fixed, without country code; for RE2 too."""
        self.international = self.country_code + self.ordinary
        """The same with the country code."""
        self._international = re.compile(self.international, re.ASCII)
        self._national = re.compile(self.ordinary, re.ASCII)
        self.trunk = metadata.national_prefix or ""
        """What is dialled before a number within the country."""
        self.read = lru_cache(_KEPT)(self._read)

    def several(self, field: str) -> list[str | Unusable]:
        """Return what each number in a field is: digits with country code, or why it is none.

        Numbers are separated by `;` `,` `/` `|`, line breaks or tabs; spaces separate them only
        where the pieces are numbers each and the whole is none. A field that says that there is no
        number gives an empty list.
        """
        if MIN_DIGITS <= len(field) <= MAX_DIGITS and self._international.fullmatch(field):
            return [field]
        plain = _plain(field)
        if _is_filler(plain):  # some have a separator in them
            return []
        if _SCIENTIFIC.fullmatch(plain):  # and so may have this
            return [Unusable(_SCIENTIFIC_REASON)]
        texts = [text for text in _SEPARATORS.split(plain) if not _is_filler(text)]
        if len(texts) > _MOST:
            return [Unusable(_MANY_REASON)]
        if len(texts) == 1:
            return self._spaced(texts[0])
        return [self.read(text) for text in texts]

    def _spaced(self, text: str) -> list[str | Unusable]:
        whole = self.read(text)
        pieces = text.split()
        if isinstance(whole, str) or not 1 < len(pieces) <= _MOST:
            return [whole]
        each = [self.read(piece) for piece in pieces]
        return each if all(isinstance(number, str) for number in each) else [whole]

    def _read(self, text: str) -> str | Unusable:
        """Return one number as digits with country code, or why it is none.

        An ordinary number is taken with the country code, without it, and with the trunk
        prefix. Any other is first read as it would be dialled in the country, and then as a number
        with the code of whatever country. It must exist in the numbering plan.
        """
        if _SCIENTIFIC.fullmatch(text.strip()):
            return Unusable(_SCIENTIFIC_REASON)
        bare = _bare(text)
        if bare is None:
            return Unusable(_LETTERS_REASON)
        for found in (self._ordinary(bare), self._exact(bare)):
            if found is not None and MIN_DIGITS <= len(found) <= MAX_DIGITS:
                return found
        return self._why_not(bare)

    def _ordinary(self, bare: str) -> str | None:
        digits = bare.removeprefix("+")
        if self._international.fullmatch(digits):
            return digits
        if bare.startswith("+"):
            return None
        national = digits.removeprefix(self.trunk) if self.trunk else digits
        for form in (digits, national):
            if self._national.fullmatch(form):
                return self.country_code + form
        return None

    def _exact(self, bare: str) -> str | None:
        forms: list[tuple[str, str | None]] = [(bare, self.region)]
        if not bare.startswith("+"):
            forms.append(("+" + bare.removeprefix("00"), None))
        for text, region in forms:
            try:
                number = phonenumbers.parse(text, region)
            except NumberParseException:
                continue
            digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
            if phonenumbers.is_valid_number(number):
                return digits
        return None

    def _why_not(self, bare: str) -> Unusable:
        count = len(bare.removeprefix("+"))
        if count < MIN_DIGITS:
            return Unusable(_SHORT_REASON)
        if count > MAX_DIGITS:
            return Unusable(_LONG_REASON)
        return Unusable(f"is no number that exists, read as one of {self.region}")


def is_empty(field: str) -> bool:
    """Say whether a field holds no number, and says so."""
    return _is_filler(_plain(field))


def _is_filler(text: str) -> bool:
    return text.strip().upper() in FILLERS


def _plain(field: str) -> str:
    """Return a field without what a spreadsheet or a web page has added to it."""
    text = _INVISIBLE.sub("", field).strip()
    if text.startswith("="):
        match = _EXCEL_TEXT.fullmatch(text)
        text = match[1] if match else text
    return text.removeprefix("'")


def _bare(text: str) -> str | None:
    """Return the digits, of any script, as ASCII, with a plus if there is one; None if more."""
    text = text.strip().replace("\uff0b", "+")
    if match := _WHOLE_DECIMAL.fullmatch(text):
        text = match[1] or match[2]
    text = _BETWEEN_DIGITS.sub("", text)
    if not _DIGITS.fullmatch(text):
        return None
    if text.isascii():
        return text
    return "".join(char if char == "+" else str(int(char)) for char in text)
