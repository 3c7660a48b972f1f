"""What a bare number in a payload probably means: a moment, or an amount of money."""

from collections.abc import Mapping
from datetime import UTC, datetime

_CENTURY = (946_684_800, 4_102_444_800)  # 2000 to 2100, in seconds
_MONEY = ("amount", "total", "subtotal", "price", "fee", "tax", "balance", "net", "due", "paid", "refunded")
_SIGNS = {"eur": "€", "usd": "$", "gbp": "£", "jpy": "¥", "inr": "₹", "krw": "₩", "ils": "₪", "ngn": "₦"}
# ISO 4217 currencies without a minor unit, as Stripe and Adyen list them.
_WHOLE = {
    "bif",
    "clp",
    "djf",
    "gnf",
    "jpy",
    "kmf",
    "krw",
    "mga",
    "pyg",
    "rwf",
    "ugx",
    "vnd",
    "vuv",
    "xaf",
    "xof",
    "xpf",
}


def hint(key: str, value: object, siblings: Mapping[str, object]) -> str:
    """Return a grey hint such as `€48.00` or `22 Nov 2026, 14:07:30 UTC`; "" when there is none to give."""
    if isinstance(value, bool) or not isinstance(value, int):
        return ""
    return _money(key, value, siblings) or _moment(value)


def _money(key: str, value: int, siblings: Mapping[str, object]) -> str:
    currency = siblings.get("currency")
    name = key.lower()
    if not isinstance(currency, str) or len(currency) != 3 or not any(word in name for word in _MONEY):
        return ""
    if value == 0 or name.endswith(("_count", "_percent", "_at", "_id")) or abs(value) > 10**15:
        return ""
    code = currency.lower()
    amount = f"{value:,}" if code in _WHOLE else f"{value / 100:,.2f}"
    sign = _SIGNS.get(code)
    return f"{sign}{amount}" if sign else f"{amount} {code.upper()}"


def _moment(value: int) -> str:
    seconds = value / 1000 if value >= _CENTURY[0] * 1000 else value
    if not _CENTURY[0] <= seconds < _CENTURY[1]:
        return ""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when.day} {when:%b %Y, %H:%M:%S} UTC"
