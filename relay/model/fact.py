"""One value of the configuration as people read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One value: its table and key, and where it comes from.

    `line` is that of the file that sets it, 0 where it is set elsewhere or is the default; `where` says it in words.
    """

    table: str
    key: str
    value: str
    line: int
    where: str = "default"
