"""Jinja's sandbox for mails: payload fields before Python attributes, two helpers, limits for size and time."""

import functools
import json
import posixpath
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_CHARACTERS = 1024 * 1024  # characters of a rendered part, and of any intermediate text
TIME_LIMIT = 2.0  # seconds that filling in one template may take
MISSING_PREFIX = "there is no "  # prefix of an error that names a field

_COMMA = "\ufdd0"  # a noncharacter of Unicode, which no text contains
_WIDEST = 1000
_PADDING = frozenset({"center", "expandtabs", "ljust", "rjust", "zfill"})
_WIDTHS = {"batch": 1, "center": 1, "indent": 1, "json": 1, "slice": 1, "tojson": 2}  # argument positions
_WIDE_FIELD = re.compile(r"\{[^{}]*:[^{}]*(?:[0-9]{4}|\{)")
_MILLISECONDS = 1e11  # a number of seconds beyond this would be in the year 5138


class _VisibleFiles(FileSystemLoader):
    """The files below a folder without hidden ones: `.env` and relay's data hold secrets, which no mail may carry."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Return the text of a template. Raises TemplateNotFound."""
        if any(part.startswith(".") for part in template.split("/")):
            raise TemplateNotFound(template)
        return super().get_source(environment, template)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of templates. Exceeding a limit raises SecurityError.

    `folder` contains the templates; each is read again whenever it is used. `compiled` maps the file names in
    tracebacks to templates. With `lists` a list is rendered as separable items, see `split_items`.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, folder: Path | None, *, autoescape: bool, lists: bool = False) -> None:
        super().__init__(
            autoescape=autoescape,
            undefined=UndefinedField,
            finalize=_join_items if lists else None,
            loader=_VisibleFiles(folder) if folder else None,
            keep_trailing_newline=True,
            optimized=False,  # no constant folding: the limits do not apply while compiling
            cache_size=0,
        )
        self.compiled: set[str] = set()
        self._ends = time.monotonic() + TIME_LIMIT
        self.globals.pop("lipsum")
        self.filters |= {"json": _json_filter, "date": _date_filter} | ({"join": _map_items} if lists else {})
        self.filters = {name: self._limited(name, function) for name, function in self.filters.items()}
        self.filters |= {"_patiently": self._with_deadline, "_sensible": check_length}

    def tick(self) -> None:
        """Raise SecurityError if the time for a template is over."""
        if time.monotonic() > self._ends:
            raise SecurityError(f"it takes longer than {TIME_LIMIT:g} s")

    def start(self) -> None:
        """Start the time limit of a template."""
        self._ends = time.monotonic() + TIME_LIMIT

    def join_path(self, template: str, parent: str) -> str:
        """Return the file of a name in a template: relative to its own folder, else to one further up.

        Files outside the project's folder do not exist for templates.
        """
        folders = [posixpath.dirname(parent)]
        while folders[-1]:
            folders.append(posixpath.dirname(folders[-1]))
        names = [posixpath.normpath(posixpath.join(folder, template)) for folder in folders]
        return next((name for name in names if self._is_file(name)), names[0])

    def _is_file(self, name: str) -> bool:
        try:
            return self.loader is not None and bool(self.loader.get_source(self, name))
        except (TemplateNotFound, OSError, UnicodeDecodeError):
            return False

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return `payload.items` as the payload's field, not as the method of dict."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Limit operators that can produce values of any size: add, multiply, power and format."""
        if not _is_within_limits(operator, left, right):
            raise _too_long_error(operator)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function for a template, within the limits for time and size."""
        self.tick()
        method = getattr(obj, "__wrapped__", obj)
        text, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        if isinstance(text, str):
            wide = name in _PADDING and _too_wide_error(*args, *kwargs.values())
            if wide or (name.startswith("format") and _WIDE_FIELD.search(text)):
                raise _too_long_error(name)
        return check_length(super().call(context, obj, *args, **kwargs))

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(_LimitNodes().visit(source), name, filename, defer_init)

    def _compile(self, source: str, filename: str) -> CodeType:
        self.compiled.add(filename)
        return super()._compile(source, filename)

    def _limited(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def limited(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            if name in _WIDTHS and _too_wide_error(*args[_WIDTHS[name] :], *kwargs.values()):
                raise _too_long_error(name)
            if name == "format" and not _is_within_limits("%", args[0], args[1:]):
                raise _too_long_error(name)
            return check_length(function(*args, **kwargs))

        return limited

    def _with_deadline(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.tick()
            yield item


class UndefinedField(StrictUndefined):
    """A field that a template uses and an event does not have."""

    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or f"{MISSING_PREFIX}{self._undefined_name}"


class _LimitNodes(NodeTransformer):
    """Adds the time check to every loop, and the size check to every concatenation."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        node.iter = _filter_node("_patiently", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's name
        return _filter_node("_sensible", self.generic_visit(node))

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        node.filter = _filter_node("_sensible", node.filter)
        return node


def _filter_node(name: str, node: nodes.Node | None) -> nodes.Filter:
    made = nodes.Filter(node, name, [], [], None, None)
    if node is not None:
        made.set_lineno(node.lineno)
    return made


def check_length(value: Any) -> Any:
    """Return a value. Raises SecurityError for a text longer than MAX_CHARACTERS."""
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        raise SecurityError(f"it makes more than {MAX_CHARACTERS} characters")
    return value


def split_items(text: str) -> list[str]:
    """Return the items of a text filled in by a sandbox with `lists`, separated by the template's own commas."""
    return [item.replace(_COMMA, ",") for item in text.split(",")]


def _join_items(value: Any) -> Any:
    """Return the text of an expression with its own commas masked and list items separated by real ones."""
    if isinstance(value, Undefined):
        return value  # raises the error for a missing field
    items = value if isinstance(value, list | tuple) else [value]
    return ",".join(str(item).replace(",", _COMMA) for item in items)


def _map_items(value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> list[Any]:
    """Return the items of a list, or an attribute of each, so that a template need not join them."""
    del d
    path = str(attribute).split(".") if attribute is not None else []
    return [functools.reduce(lambda here, step: here[step], path, item) for item in value]


def _too_long_error(name: str) -> SecurityError:
    return SecurityError(f"{name} would make the value too large")


def _too_wide_error(*given: Any) -> bool:
    return any(isinstance(one, int) and abs(one) > _WIDEST for one in given)


def _is_within_limits(operator: str, left: Any, right: Any) -> bool:
    if operator == "%" and isinstance(left, str):
        return not re.search(r"[0-9]{4}|\*", left)  # "%.2f" is allowed, "%999999999d" is not
    if operator == "+":
        return _length_of(left) + _length_of(right) <= MAX_CHARACTERS
    if operator == "*" and (many := _length_of(left) or _length_of(right)):
        times = right if _length_of(left) else left
        return isinstance(times, int) and many * times < 10_000
    if operator == "*":
        return _bit_length(left) + _bit_length(right) <= 10_000
    return operator != "**" or _bit_length(left) * abs(right) <= 10_000


def _length_of(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0


def _bit_length(value: Any) -> int:
    return value.bit_length() if isinstance(value, int) else 1


def _json_filter(value: Any, indent: int | None = 2) -> str:
    if isinstance(value, Undefined):
        str(value)  # raises the error for a missing field
    return json.dumps(value, indent=indent, ensure_ascii=False)


def _date_filter(value: Any, form: str = "%Y-%m-%d %H:%M UTC") -> str:
    """Return a time in UTC from seconds or milliseconds since 1970, or from text."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,13}(\.[0-9]+)?", value):
        moment = datetime.fromisoformat(value)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    else:
        seconds = float(value)
        moment = datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS else seconds, UTC)
    return moment.strftime(form)
