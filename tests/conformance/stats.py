"""Counts what the architecture sets goals for: `make stats` prints each figure beside its goal."""

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The literary register that docs/architecture.md rules out, as regular expressions of whole words.
LITERARY_WORDS = (
    r"mend(s|ed|ing|ings)?",
    r"anew",
    r"whoever",
    r"nobody('s)?",
    r"(tell|tells|told|telling) of",
    r"(stand|stands|stood) (in|for|there|beside|behind|before|between)",
    r"what becomes of",
    r"(comes|come|came) of",
    r"(owe|owes|owed|owing)",
    r"rooms?",
    r"houses?",
    r"doors?",
    r"politely",
)
_LITERARY = re.compile(rf"\b({'|'.join(LITERARY_WORDS)})\b", re.IGNORECASE)

# Participles of irregular verbs that functions have been named with. `run` is left out: it is an imperative too.
_IRREGULAR = frozenset(
    "begun born borne bought bound broken brought built caught chosen come cut dealt done drawn dug eaten"  # noqa: SIM905 - a list of words reads best as words
    " fallen fed felt fit forgotten fought found frozen given gone got grown heard held hidden hit hung hurt"
    " kept knit known laid led left lent let lit lost made meant met owed paid put read said seen sent set"
    " shown shut slept sold sought spelt spent split spoken spread stood struck swept sworn taken taught"
    " thought told torn undone unsaid unseen understood upheld withdrawn woken won worn wound written".split()
)
_NO_PARTICIPLES = frozenset({"bed", "embed", "feed", "need", "red", "seed", "shed", "speed"})

# Keyword arguments and attributes of tags whose text a person reads.
_MESSAGE_KEYWORDS = {"advice", "fix", "help", "hint", "message", "sentence", "title"}
_READ_ATTRIBUTES = re.compile(r'\b(?:alt|aria-label|placeholder|title)="([^"]*)"')


@dataclass(frozen=True)
class Figure:
    """One count, and the goal that it is held against: at most, or at least, that much."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool:
        """Say whether the goal is reached; a figure without one always is."""
        below = self.at_least is not None and self.value < self.at_least
        return not below and (self.at_most is None or self.value <= self.at_most)

    @property
    def goal(self) -> str:
        """Return the goal in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:,}"
        return "" if self.at_most is None else f"at most {self.at_most:,}"


def measure() -> list[Figure]:
    """Return every figure of the tree as it is on disk."""
    code = _texts("relay", ".py", ".sql")
    return [
        Figure("Python files in relay/", len(modules()), at_most=320),
        Figure("Lines of Python in relay/", sum(text.count("\n") for text in modules().values()), at_most=42_000),
        Figure("Entries directly under relay/", len(_entries(ROOT / "relay")), at_most=25),
        Figure("Functions named with a bare participle", len(find_participles()), at_most=20),
        Figure("Public class names used twice", len(find_repeated_class_names()), at_most=0),
        Figure("Literary words in relay/", sum(map(count_literary_words, code.values())), at_most=30),
        Figure(
            "Literary words in README.md and docs/",
            sum(count_literary_words(path.read_text()) for path in _pages()),
            at_most=5,
        ),
        Figure("Literary words in messages", len(find_literary_messages()), at_most=0),
        Figure("Comments per 100 lines in relay/providers/", _comments_per_100_lines(), at_least=5),
        Figure("Longest line in ui/", _longest_line("ui", ".html"), at_most=120),
        Figure("Longest line in static/, vendor/ apart", _longest_line("static", ".js", ".css"), at_most=120),
    ]


def find_participles() -> list[str]:
    """Return `path: name` of each top-level function that is one participle and nothing else."""
    return [
        f"{path}: {node.name}"
        for path in modules()
        for node in parse(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_participle(node.name)
    ]


def find_repeated_class_names() -> dict[str, list[str]]:
    """Return the public names of top-level classes that several modules use, each with its modules."""
    found = defaultdict(list)
    for path in modules():
        for node in parse(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path)
    return {name: paths for name, paths in sorted(found.items()) if len(paths) > 1}


def find_literary_messages() -> list[str]:
    """Return `path: word in "text"` for each literary word in what people read on a terminal or a page."""
    texts = [
        *((path, text) for path in modules() for text in _messages(parse(path))),
        *((path, text) for path, text in _template_texts()),
    ]
    return [
        f"{path}: {found[0]} in {text.strip()[:90]!r}" for path, text in texts for found in _LITERARY.finditer(text)
    ]


def is_participle(name: str) -> bool:
    """Say whether the name of a function is one participle, such as `told` or `_listed`."""
    word = name.strip("_")
    return word in _IRREGULAR or (word.endswith("ed") and "_" not in word and word not in _NO_PARTICIPLES)


def count_literary_words(text: str) -> int:
    """Return how many literary words a text has, in names as well (`stand_in`, `HouseRules`)."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)
    return sum(1 for _ in _LITERARY.finditer(words))


@cache
def modules() -> dict[str, str]:
    """Return the text of each module of relay by its path from the root."""
    return _texts("relay", ".py")


@cache
def parse(path: str) -> ast.Module:
    """Return the syntax tree of a module that `modules` names."""
    return ast.parse(modules()[path])


def _texts(folder: str, *suffixes: str) -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and "vendor" not in path.parts
    }


def _pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def _entries(folder: Path) -> list[Path]:
    # A folder that git emptied may hold caches still.
    return [path for path in folder.iterdir() if path.is_file() or any(path.rglob("*.py"))]


def _comments_per_100_lines() -> float:
    comments = lines = 0
    for path, text in modules().items():
        if path.startswith("relay/providers/"):
            lines += text.count("\n")
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            comments += sum(1 for token in tokens if token.type == tokenize.COMMENT)
    return round(100 * comments / max(lines, 1), 1)


def _longest_line(folder: str, *suffixes: str) -> int:
    texts = _texts(folder, *suffixes).values()
    return max((len(line) for text in texts for line in text.splitlines()), default=0)


@cache
def _error_names() -> frozenset[str]:
    """Return the names of RelayError and of everything that is derived from it."""
    names, size = {"RelayError"}, 0
    while size != len(names):
        size = len(names)
        for path in modules():
            for node in parse(path).body:
                if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & names:
                    names.add(node.name)
    return frozenset(names)


def _messages(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of errors, of what is printed and of a command's help."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in _error_names() or name == "click.echo":
                for argument in node.args:
                    yield from _strings(argument)
            for keyword in node.keywords:
                if keyword.arg in _MESSAGE_KEYWORDS:
                    yield from _strings(keyword.value)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = " ".join(ast.unparse(one) for one in node.decorator_list)
            if re.search(r"\b(command|group)\b", decorators):
                yield ast.get_docstring(node) or ""


def _strings(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _template_texts() -> Iterator[tuple[str, str]]:
    """Yield each template's text between tags, its strings in Jinja and the attributes that are read."""
    for path, text in _texts("ui", ".html").items():
        shown = re.sub(r"\{#.*?#\}", "", text, flags=re.DOTALL)
        for jinja in re.findall(r"\{[{%].*?[}%]\}", shown, flags=re.DOTALL):
            yield from ((path, string) for _, string in re.findall(r"""(["'])(.*?)\1""", jinja))
        shown = re.sub(r"\{[{%].*?[}%]\}", " ", shown, flags=re.DOTALL)
        yield from ((path, value) for value in _READ_ATTRIBUTES.findall(shown))
        yield from ((path, part) for part in re.split(r"<[^>]*>", shown) if part.strip())


def main() -> None:
    """Print the table; with --list, what was counted as well."""
    for figure in measure():
        mark = " " if figure.is_met else "*"
        sys.stdout.write(f"{mark} {figure.name:<44}{figure.value:>10,}   {figure.goal}\n")
    sys.stdout.write("* = the goal is not reached; --list names what was counted\n")
    if "--list" in sys.argv:
        repeated = [f"{name}: {', '.join(paths)}" for name, paths in find_repeated_class_names().items()]
        for title, found in (
            ("Functions named with a bare participle", find_participles()),
            ("Public class names used twice", repeated),
            ("Literary words in messages", find_literary_messages()),
        ):
            sys.stdout.write("\n".join(["", title, *found, ""]))


if __name__ == "__main__":
    main()
