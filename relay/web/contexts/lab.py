"""What the pages of the lab are given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.dialogs import Field
from relay.web.view.lab import ReportView, RunLine
from relay.web.view.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class LabForm:
    """A run as filled in so far. `what` is event numbers or a search."""

    what: str
    targets: tuple[Field, ...]
    url: str
    experiments: tuple[Field, ...]
    times: str
    seed: str
    delay: str
    speed: str
    compare: tuple[Field, ...]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPage:
    """The form, and the runs there were; `place` is where these may be asked for again."""

    template: ClassVar[str] = "pages/lab.html"
    shell: Shell
    form: LabForm
    lines: tuple[RunLine, ...]
    older: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabRunPage:
    """One run with its report; `again` are the fields of the form that begins the same once more."""

    template: ClassVar[str] = "pages/lab_run.html"
    shell: Shell
    report: ReportView
    again: tuple[tuple[str, str], ...]
    whole: bool
