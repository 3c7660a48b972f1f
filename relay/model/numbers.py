"""Numbers of JSON texts that keep their spelling."""

from decimal import Decimal, InvalidOperation
from typing import Self


class WrittenNumber(Decimal):
    """A Decimal that is shown as it was sent: 1e5, not 1E+5."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> Self:
        """Parse a number. Raises InvalidOperation for an exponent beyond any Decimal."""
        number = super().__new__(cls, text)
        number._text = text
        return number

    def __str__(self) -> str:
        return self._text


def parse_number(text: str) -> Decimal | str:
    """Return a number with a fraction or an exponent; as its text where its exponent is past any Decimal."""
    try:
        return WrittenNumber(text)
    except InvalidOperation:
        return text
