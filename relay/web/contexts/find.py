"""What "find anything" is given: hits of every kind, and the form around them."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing that was found. `keys` open it without looking, `dialog` says that it opens over the page."""

    name: str
    href: str
    kind: str
    icon: str
    keys: tuple[str, ...] = ()
    dialog: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FindForm:
    """The box and what it found so far; `event` is the one that was open."""

    template: ClassVar[str] = "parts/find.html"
    text: str
    event: str
    hits: tuple[Hit, ...]
    back: str = "/events"
    back_name: str = "Events"
