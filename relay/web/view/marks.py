"""The small coloured monogram that stands for a provider: no logos, one hue each."""

from dataclasses import dataclass
from zlib import crc32

from relay.model.text import printable

# Hues of the stylesheet (`.pv.u0` and so on); providers people meet every day keep the same one.
_HUES = 13
_KNOWN = {
    "stripe": 10,
    "github": 9,
    "shopify": 5,
    "slack": 12,
    "twilio": 0,
    "sendgrid": 8,
    "linear": 11,
    "custom": 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A provider's title, its two letters, and the class of its hue."""

    title: str
    letters: str
    hue: str


def mark(name: str, title: str = "", letters: str = "") -> Mark:
    """Return the mark of a provider or source; title and letters come from its name where not given."""
    title = printable(title or name, 40) or "?"
    hue = _KNOWN.get(name, crc32(name.encode("utf-8", "replace")) % _HUES)
    return Mark(title=title, letters=letters or title[:2].capitalize(), hue=f"u{hue}")
