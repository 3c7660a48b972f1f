"""What bulk replays are given: the form with what it would do, a batch and how far it is, the list of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.dialogs import Field
from relay.web.view.batches import BatchLine, Planned
from relay.web.view.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkForm:
    """Many events to send again. `which` says which in words, `query` to relay."""

    template: ClassVar[str] = "parts/bulk.html"
    which: str
    query: str
    targets: tuple[Field, ...]
    url: str
    signs: tuple[Field, ...]
    rate: str
    stop: bool
    planned: Planned
    back: str
    errors: Mapping[str, str]
    back_name: str = "Events"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDialog:
    """A bulk replay that has just begun."""

    template: ClassVar[str] = "parts/begun.html"
    batch: BatchLine
    back: str
    back_name: str = "Events"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """One bulk replay."""

    template: ClassVar[str] = "pages/replay.html"
    shell: Shell
    batch: BatchLine


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesPage:
    """All bulk replays, newest first."""

    template: ClassVar[str] = "pages/replays.html"
    shell: Shell
    lines: tuple[BatchLine, ...]
