"""What the dialogs are given: replay and e-mail, and what came of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.events import EventHead
from relay.web.view.edits import Difference
from relay.web.view.rows import Chip
from relay.web.view.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One choice of a form."""

    value: str
    name: str
    help: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a delivery that somebody waits for. `page` is the delivery's own."""

    template: ClassVar[str] = "parts/sent.html"
    chip: Chip
    target: str
    took: str
    body: str
    detail: str
    href: str
    again: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayForm:
    """A replay as edited so far; `changes` says what differs and `warning` what will go wrong."""

    template: ClassVar[str] = "parts/replay.html"
    event: EventHead
    action: str
    back: str
    targets: tuple[Field, ...]
    url: str
    method: str
    path: str
    headers: str
    body: str
    editable: bool
    header_count: int
    signs: tuple[Field, ...]
    changes: "Changed"
    results: tuple[Sent, ...] = ()
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """All of them, in words."""

    template: ClassVar[str] = "parts/changed.html"
    words: str
    changes: tuple[Difference, ...]
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailForm:
    """An e-mail from an event; `preview` is the address of its sandboxed preview."""

    template: ClassVar[str] = "parts/email.html"
    event: EventHead
    action: str
    back: str
    templates: tuple[Field, ...]
    to: str
    force: bool
    preview: "Preview | None"
    note: str
    results: tuple[Sent, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A mail as it would be sent; its HTML is shown by a frame of its own, whose address is "" without a mail.

    `notice` says that it was sent already, `error` why there is no mail or who must not get it.
    """

    template: ClassVar[str] = "parts/preview.html"
    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    frame: str = ""
    notice: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogPage:
    """A dialog as a page of its own, for whoever has no JavaScript."""

    template: ClassVar[str] = "pages/dialog.html"
    shell: Shell
    title: str
    form: ReplayForm | EmailForm
