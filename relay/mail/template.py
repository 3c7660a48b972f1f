"""Templates filled in with an event: Jinja in a sandbox, with limits, and errors that say where."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relay.errors import MailError
from relay.model.text import printable

MAX_CHARACTERS = 1024 * 1024  # of one rendered part

# What a template may run into with a payload that it did not expect.
_STUMBLES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class Templates:
    """The templates of one mail: a file's neighbours can be included, a payload is only ever data.

    Both ways of filling raise MailError naming `title`, the template, its line and what is wrong.
    """

    def __init__(self, title: str, folder: Path | None, *, autoescape: bool) -> None:
        self._title = title
        self._jinja = _Sandbox(
            autoescape=autoescape,
            undefined=StrictUndefined,
            loader=FileSystemLoader(folder) if folder else None,
            keep_trailing_newline=True,
        )

    def fill(self, text: str, context: Mapping[str, object]) -> str:
        """Return a template given as text, filled in."""
        try:
            return _limited(self._jinja.from_string(text).generate(context))
        except _STUMBLES as error:
            raise self._stumble("", error) from error

    def fill_file(self, name: str, context: Mapping[str, object]) -> str:
        """Return the template of that file name, filled in."""
        try:
            return _limited(self._jinja.get_template(name).generate(context))
        except _STUMBLES as error:
            raise self._stumble(name, error) from error

    def _stumble(self, name: str, error: Exception) -> MailError:
        if isinstance(error, TemplateNotFound):
            where, what = name or "the template", f"there is no template {error.name}"
        else:
            line = error.lineno if isinstance(error, TemplateSyntaxError) else _line_of(error, name)
            where = f"{name or 'the template'}{f', line {line}' if line else ''}"
            what = printable(str(error) or type(error).__name__, 200)
        return MailError(
            f"{self._title}: {where}: {what}",
            hint="compare the template with the event's payload; {{ value | default('') }} allows a missing one",
        )


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with a payload's own names before Python's, and no operator that makes giants."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return `payload.items` as the payload means it, not as dict does."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Multiply, raise and format within reason: `*`, `**` and `%` can make anything of any size."""
        if not _sensible(operator, left, right):
            raise SecurityError(f"{operator} would make too much of it")
        return super().call_binop(context, operator, left, right)


def _sensible(operator: str, left: Any, right: Any) -> bool:
    if operator == "%" and isinstance(left, str):
        return not re.search(r"\d{4}|\*", left)  # "%.2f" is welcome, "%999999999d" is not
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return (
            operator == "*"
            and isinstance(left, str)
            and isinstance(right, int)
            and len(left) * right < 10_000
        )
    digits = left.bit_length() if isinstance(left, int) else 1
    return operator != "**" or digits * abs(right) <= 10_000


def _limited(pieces: Iterable[str]) -> str:
    gathered: list[str] = []
    room = MAX_CHARACTERS
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise ValueError(f"it makes more than {MAX_CHARACTERS} characters")
        gathered.append(piece)
    return "".join(gathered)


def _line_of(error: Exception, name: str) -> int | None:
    # Jinja rewrites tracebacks so that a template's own lines appear in them.
    lines = [
        frame.lineno
        for frame in extract_tb(error.__traceback__)
        if frame.filename in ("<template>", "<unknown>") or (name and Path(frame.filename).name == name)
    ]
    return lines[-1] if lines else None
