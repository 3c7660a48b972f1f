"""What a question is given before something is done that cannot be undone, and dialogs as pages of their own."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from relay.web.view.shell import Shell


class Form(Protocol):
    """What stands in a dialog: its template, and where closing it leads."""

    template: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def back(self) -> str:
        """Return the address behind the dialog."""
        ...

    @property
    def back_name(self) -> str:
        """Return what stands there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question: what will be done, to how much, and the form that does it."""

    template: ClassVar[str] = "parts/ask.html"
    title: str
    sentence: str
    action: str
    fields: tuple[tuple[str, str], ...]
    button: str
    back: str
    back_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingPage:
    """A dialog as a page of its own, for whoever has no JavaScript."""

    template: ClassVar[str] = "pages/standing.html"
    shell: Shell
    title: str
    form: Form
