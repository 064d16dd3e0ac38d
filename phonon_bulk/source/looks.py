"""What a column of a list looks like, by its name and by a sample of its values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from phonon_bulk.call import MIN_DIGITS
from phonon_bulk.config import KEY_PREFIX
from phonon_bulk.config.problems import plain
from phonon_bulk.source.numbers import FILLERS, NumberReader

_MOST_READ = 200  # of a column's values, as numbers: an odd one takes 0.3 ms

# Names are compared in small letters, with one space between words: `_words`.
_NUMBER = re.compile(
    r"mobile|phone|msisdn|whats ?app|\b(mob|ph|tel|cell) ?(nos?|num|numbers?)?\b"
    r"|\bcontacts? ?(nos?|num|numbers?)\b|\bcontacts?( \d+)?$"
    r"|\balt(ernat(e|ive))? (nos?|num|numbers?)\b|^(alt|alternates?)( \d+)?$"
)
# `mobile_type` and `account_name` say something about a number or a customer, and are neither.
_ABOUT_IT = re.compile(
    r"\b(name|holder|person|type|model|date|time|day|email|mail|address|city|status|code|pin|amount"
    r"|amt|balance|emi|premium|due|limit|rate|term|otp|verified|valid|operator|brand|count|flag)\b"
)
_SOMEBODY_ELSE = re.compile(
    r"\b(nominee|guarantor|referee|reference|ref|emergency|spouse|father|mother|agent|rm|manager"
    r"|branch|helpline|care|support|dealer|advisor|executive|company)\b"
)
_ALTERNATE = re.compile(
    r"\b(alt|alternates?|alternative|second|2nd|secondary|other|additional|office|work|home"
    r"|residence|resi|landline|old)\b"
)
_ORDINAL = re.compile(r"\b(\d{1,2})$")
_IDENTIFIERS = (  # the likeliest first
    re.compile(r"\bclient ?id(entifier)?\b"),
    re.compile(r"account|policy|loan|\b(acct|acc|ac|a c|lan|crn|cif|ucic) ?(no|num|number|id)?\b"),
    re.compile(r"customer|consumer|subscriber|identifier|\b(cust|client|member|id) ?(id|no)?$"),
    re.compile(r"reference|\b(uid|uuid|ref|application|order|invoice|lead|case)( (id|no|num))?$"),
)
_START = re.compile(
    r"\bstarts? ?(time|date|at|on)?\b|\b(call|calling|dial) ?(time|date|at|on|slot|back)\b|schedul"
)
_OTHER_START = re.compile(
    r"\b(last|prev|previous|policy|loan|emi|plan|cover|contract|lease|subscription|term|membership"
    r"|insurance|risk|tenure|billing|account)\b"
)
_SCIENTIFIC = re.compile(r"\+?\d([.,]\d+)?[eE]\+?(0?[89]|1[0-5])", re.ASCII)


@dataclass(eq=False)
class LookedAt:
    """A column, and what is found out about it when that is asked for."""

    place: int
    name: str
    values: Sequence[str]
    reader: NumberReader

    def __str__(self) -> str:
        return f'"{plain(self.name)}"'

    @cached_property
    def words(self) -> str:
        """The name in small letters, its words and numbers with single spaces between them."""
        parted = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", self.name.removeprefix(KEY_PREFIX))
        return re.sub(r"[\W_]+", " ", parted).strip().casefold()

    @cached_property
    def filled(self) -> list[str]:
        """The values that are not empty, without the spaces around them."""
        return [text for v in self.values if (text := v.strip()).upper() not in FILLERS]

    @cached_property
    def missing(self) -> int:
        """How many values are empty."""
        return len(self.values) - len(self.filled)

    @cached_property
    def repeated(self) -> int:
        """How many values an earlier row had."""
        return len(self.filled) - len(set(self.filled))

    @cached_property
    def reads(self) -> float:
        """The share of values that are phone numbers, or were before Excel saw them."""
        some = self.filled[:: len(self.filled) // _MOST_READ + 1]
        return sum(map(self._is_number, some)) / max(len(some), 1)

    def _is_number(self, text: str) -> bool:
        if _SCIENTIFIC.fullmatch(text):
            return True
        if sum(map(str.isdigit, text)) < MIN_DIGITS:
            return False
        return any(isinstance(number, str) for number in self.reader.several(text))

    @property
    def says_number(self) -> bool:
        """Whether it is named like a number of the customer's own."""
        says = _NUMBER.search(self.words) and not _ABOUT_IT.search(self.words)
        return bool(says and not _SOMEBODY_ELSE.search(self.words))

    @property
    def says_start(self) -> bool:
        """Whether it is named like the time of a call."""
        return bool(_START.search(self.words) and not _OTHER_START.search(self.words))

    @property
    def says_another(self) -> tuple[bool, bool]:
        """Whether it is named like another person's, or like no number at all."""
        return bool(_SOMEBODY_ELSE.search(self.words)), self.identifier_rank is not None

    @property
    def identifier_rank(self) -> int | None:
        """How likely its name is that of the identifier: 0 is the likeliest, None not at all."""
        if _ABOUT_IT.search(self.words):
            return None
        return next((i for i, name in enumerate(_IDENTIFIERS) if name.search(self.words)), None)

    @property
    def order(self) -> tuple[bool, int, int, int]:
        """Its order among contact numbers: primary ones first, then the more filled."""
        ordinal = _ORDINAL.search(self.words)
        number = int(ordinal[1]) if ordinal else 1
        return bool(_ALTERNATE.search(self.words)), number, self.missing, self.place

    @cached_property
    def damaged(self) -> int:
        """How many values are numbers that Excel has cut."""
        return sum(_SCIENTIFIC.fullmatch(text) is not None for text in self.filled)

    @property
    def damage(self) -> str:
        """What to say of that."""
        return (
            f"{self.damaged:,} values in {self} are in scientific notation, like 9.2E+11: Excel did"
            " that, and digits are lost; format the column as text and export it again"
        )
