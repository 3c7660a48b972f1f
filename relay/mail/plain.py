"""The plain part of a mail, made from its HTML."""

import re
from html.parser import HTMLParser

_BLOCK = re.compile(
    "address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|p|pre|"
    "section|table|tr|ul",
)
_SILENT = frozenset({"script", "style", "template", "title"})


def text_of(html: str) -> str:
    """Return what a reader of the HTML would read, a line for each block, links with their address."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif _BLOCK.fullmatch(tag):
            self.parts.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()
        elif _BLOCK.fullmatch(tag):
            self.parts.append("\n")
        elif tag == "a" and self._links:
            link = self._links.pop()
            if link.startswith(("http:", "https:", "mailto:")) and self.parts[-1:] != [link]:
                self.parts.append(f" ({link})")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))
