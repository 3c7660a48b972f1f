"""What the page Messages is given: the list, one message with its history, and the rates."""

from dataclasses import dataclass
from typing import ClassVar

from relay.providers.codes import Meaning
from relay.web.contexts.events import Link, MessageLine
from relay.web.view.messages import Rates, Step
from relay.web.view.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDetail:
    """One message in full: `facts` are names and values, `rule` is what refused a recipient, "" for none.

    `hidden` counts the oldest steps that are left out.
    """

    line: MessageLine
    facts: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    hidden: int
    meaning: Meaning | None
    rule: str
    delivery_id: int | None
    previewable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesPage:
    """Outgoing mail and SMS, and one of them in full or the rates of all.

    `unmatched` says how many statuses wait for their message, "" for none.
    """

    template: ClassVar[str] = "pages/messages.html"
    shell: Shell
    views: tuple[Link, ...]
    lines: tuple[MessageLine, ...]
    suffix: str
    chosen: MessageDetail | None
    rates: Rates | None
    unmatched: str
    detail_shown: bool
    live: str
    older: str
    smtp: str
    empty: str
