"""What the page of a dry run is given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.events import Link
from relay.web.view.marks import Mark
from relay.web.view.rows import Chip
from relay.web.view.shell import Shell
from relay.web.view.words import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunLine:
    """One mail that would have gone out, or why not. `target` is "" where a template was asked for."""

    mark: Mark
    type: str
    event_id: int
    received: Moment
    template: str
    target: str
    chip: Chip
    to: str
    subject: str
    why: str
    preview: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunPage:
    """A dry run of mails over events of the past; `kept` goes along with the next search."""

    template: ClassVar[str] = "pages/dryrun.html"
    shell: Shell
    query: str
    kept: tuple[tuple[str, str], ...]
    views: tuple[Link, ...]
    summary: str
    lines: tuple[DryRunLine, ...]
    older: str
    error: str
