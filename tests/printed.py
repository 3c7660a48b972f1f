"""The blocks that README, docs and examples print, and comparing what they show with what comes."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
_FENCE = re.compile(r"^( *)```+([^\n]*)\n(.*?)^ *```+ *$", re.DOTALL | re.MULTILINE)
# What differs from run to run, and what stands for it, in this order.
_VARYING = (
    (r"token=\S+", "token=X"),
    (r"/\S+/\.relay", "/X/.relay"),
    (r"\b(in|pi|evt|cus|ch)_\w+", r"\1_X"),
    (r"\d[\d,.]*", "N"),
    (r" {2,}", "  "),  # columns are as wide as their widest entry
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its page below the repository, its line there, its language, and its text."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def find_blocks(*kinds, folder=""):
    """Return the blocks of these languages, of every language without any, on the pages below a folder."""
    return [
        Block(page, text[: match.start()].count("\n") + 1, match[2].strip(), match[3])
        for path in PAGES
        for page in [str(path.relative_to(ROOT))]
        if page.startswith(folder)
        for text in [path.read_text(encoding="utf-8")]
        for match in _FENCE.finditer(text)
        if not kinds or match[2].strip() in kinds
    ]


def parametrize_blocks(*kinds, without=()):
    """Return a decorator that gives a test each block, but those of the examples and of the pages `without`."""
    found = [block for block in find_blocks(*kinds) if not block.page.startswith(("examples/", *without))]
    return pytest.mark.parametrize("block", [pytest.param(block, id=str(block)) for block in found])


def find_block(page, words):
    """Return the text of the one block of a page that holds these words."""
    (block,) = [block for block in find_blocks(folder=page) if words in block.text]
    return block.text


def split_commands(text):
    """Return the commands behind each `$`, each with the lines that follow it as what it prints."""
    found = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        taken = 1
        while not _is_whole("\n".join(lines[:taken])) and taken < len(lines):
            taken += 1
        found.append(("\n".join(lines[:taken]), [line for line in lines[taken:] if line.strip()]))
    return found


def _is_whole(command):
    return command.count("'") % 2 == 0 and not command.endswith("\\")


def mask(text):
    """Return the lines of an output with X and N for what is another one at each run."""
    for pattern, stands_for in _VARYING:
        text = re.sub(pattern, stands_for, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def check_output(printed, output):
    """Fail unless a command's output is what a page prints; a line of `…` stands for any lines."""
    expected, came = mask("\n".join(printed)), mask(output)
    if "…" in expected:
        expected = [line for line in expected if line != "…"]
        came = [line for line in came if line in expected]
    assert came == expected, f"printed:\n{chr(10).join(printed)}\n\nwhat came:\n{output}"
