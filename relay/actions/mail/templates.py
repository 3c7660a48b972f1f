"""Fills in templates with an event, with errors that name the template, the line and the field."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from traceback import extract_tb

from jinja2 import Template, TemplateNotFound, TemplateSyntaxError, UndefinedError, nodes

from relay.actions.mail.sandbox import MAX_CHARACTERS, MISSING_PREFIX, Sandbox, split_items
from relay.errors import MailError
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

_HINT = "compare the template with the event's payload; {{ value | default('') }} allows a missing one"


class Templates:
    """The templates of one mail: files of the project's `folder` can be included, a payload is only ever data.

    All ways of filling raise MailError naming `title`, the template, its line and what is wrong.
    """

    def __init__(self, title: str, folder: Path | None, *, autoescape: bool) -> None:
        self._title = title
        self._folder = folder
        self._jinja = Sandbox(folder, autoescape=autoescape)
        self._lists = Sandbox(None, autoescape=False, lists=True)

    def fill(self, key: str, text: str, context: Mapping[str, object]) -> str:
        """Return a template given as text, filled in; `key` is its key in relay.toml."""
        return self._fill(self._jinja, _TemplateLocation(key=key, text=text), context)

    def fill_list(self, key: str, text: str, context: Mapping[str, object]) -> list[str]:
        """Return the texts from a template: the items of a list, or its comma-separated parts."""
        return split_items(self._fill(self._lists, _TemplateLocation(key=key, text=text), context))

    def fill_file(self, file: Path, context: Mapping[str, object]) -> str:
        """Return a file of the folder, filled in."""
        return self._fill(self._jinja, self._locate(file), context)

    def check(self, key: str, text: str) -> None:
        """Raise MailError for a text that is not a template, or uses one that is invalid or missing."""
        self._check(_TemplateLocation(key=key, text=text))

    def check_file(self, file: Path) -> None:
        """Raise MailError for a file that is not a template, or uses one that is invalid or missing."""
        self._check(self._locate(file))

    def _locate(self, file: Path) -> "_TemplateLocation":
        return _TemplateLocation(file=file.relative_to(self._folder or "").as_posix())

    def _check(self, start: "_TemplateLocation") -> None:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            here = waiting.pop()
            seen.add(here.file)
            try:
                _load(self._jinja, here)
                required = _find_required(self._jinja.parse(self._source(here)))
                found = [self._jinja.join_path(one, here.file) for one in required]
            except Exception as error:
                raise self._build_error(here, error) from error
            waiting += [_TemplateLocation(file=one) for one in found if one not in seen]

    def _fill(self, jinja: Sandbox, start: "_TemplateLocation", context: Mapping[str, object]) -> str:
        try:
            jinja.start()
            template = _load(jinja, start)
            return _join_limited(template.generate(context))
        except Exception as error:
            raise self._build_error(start, error) from error

    def _source(self, place: "_TemplateLocation") -> str:
        loader = self._jinja.loader
        return loader.get_source(self._jinja, place.file)[0] if loader and place.file else place.text

    def _build_error(self, start: "_TemplateLocation", error: Exception) -> MailError:
        place = self._place(start, error)
        what = escape_unprintable(self._words(place, error), 300)
        where = place.file or f"{self._title}.{place.key}"
        title = f"{self._title}: " if place.file else ""
        return MailError(f"{title}{where}{f', line {place.line}' if place.line else ''}: {what}", hint=_HINT)

    def _place(self, start: "_TemplateLocation", error: Exception) -> "_TemplateLocation":
        """Return the innermost template of an error, with its line."""
        if isinstance(error, TemplateSyntaxError):
            return replace(start, file=error.name or start.file, line=error.lineno)
        for frame in reversed(extract_tb(error.__traceback__)):
            # Jinja rewrites tracebacks so that a template's own lines appear in them.
            if frame.filename not in self._jinja.compiled | self._lists.compiled:
                continue
            if self._folder is None or frame.filename.startswith("<"):
                return replace(start, line=frame.lineno or 0)
            return replace(self._locate(Path(frame.filename)), line=frame.lineno or 0)
        return start

    def _words(self, place: "_TemplateLocation", error: Exception) -> str:
        match error:
            case TemplateNotFound():
                return f"there is no template {error.name}"
            case UndefinedError() if str(error).startswith(MISSING_PREFIX):
                return self._missing(place, str(error).removeprefix(MISSING_PREFIX))
            case UnicodeDecodeError():
                return "it is not UTF-8 text"
            case RecursionError():
                return "it calls itself without end"
            case OSError():
                return f"it cannot be read: {(error.strerror or type(error).__name__).lower()}"
        return str(error).rstrip(".") or type(error).__name__

    def _missing(self, place: "_TemplateLocation", name: str) -> str:
        """Return which field is missing, as the template writes it: `there is no payload.user.email`."""
        try:
            tree = self._jinja.parse(self._source(place))
        except Exception:  # noqa: BLE001 - the file changed under us; the bare name must do
            return MISSING_PREFIX + name
        for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
            path = format_node_path(node)
            if node.lineno == place.line and path and _last_node(node) == name:
                return MISSING_PREFIX + path
        return f"{MISSING_PREFIX}{name}; templates know event, payload and items"


@dataclass(frozen=True, slots=True, kw_only=True)
class _TemplateLocation:
    """A location in templates: a key of relay.toml with its text, or a file; `line` from 1, 0 if unknown."""

    key: str = ""
    text: str = ""
    file: str = ""
    line: int = 0


def _load(jinja: Sandbox, place: _TemplateLocation) -> Template:
    return jinja.get_template(place.file) if place.file else jinja.from_string(place.text)


_Reference = nodes.Extends | nodes.FromImport | nodes.Include | nodes.Import


def _find_required(tree: nodes.Template) -> list[str]:
    """Return the required templates: named as text, not one of a list, without `ignore missing`."""
    found: Iterable[_Reference] = tree.find_all((nodes.Extends, nodes.FromImport, nodes.Include, nodes.Import))
    named = [getattr(node.template, "value", None) for node in found if not getattr(node, "ignore_missing", False)]
    return [name for name in named if isinstance(name, str)]


def format_node_path(node: nodes.Node) -> str:
    """Return `payload.items[0]` for a chain of names and constants, "" for anything else."""
    match node:
        case nodes.Name(name=name):
            return name
        case nodes.Getattr(node=below, attr=attr) if path := format_node_path(below):
            return f"{path}.{attr}"
        case nodes.Getitem(node=below, arg=nodes.Const(value=value)) if path := format_node_path(below):
            return f"{path}[{value!r}]"
    return ""


def _last_node(node: nodes.Node) -> str:
    match node:
        case nodes.Getattr(attr=attr):
            return attr
        case nodes.Getitem(arg=nodes.Const(value=value)):
            return str(value)
    return ""


def _join_limited(pieces: Iterable[str]) -> str:
    gathered: list[str] = []
    left = MAX_CHARACTERS
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise ValueError(f"it makes more than {MAX_CHARACTERS} characters")
        gathered.append(piece)
    return "".join(gathered)
