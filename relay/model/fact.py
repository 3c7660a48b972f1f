"""One value of the configuration as people read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One value: its table and key, and the line of the file that sets it, 0 where it is the default."""

    table: str
    key: str
    value: str
    line: int
