"""What the Settings page is given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.preferences import Preferences
from relay.web.view.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value and where it comes from: `line 14`, `--ingress`, `the environment`, `default`."""

    key: str
    value: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of relay.toml."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsPage:
    """What can be chosen here, and what relay.toml says; `file` is "" where there is none."""

    template: ClassVar[str] = "pages/settings.html"
    shell: Shell
    preferences: Preferences
    file: str
    tables: tuple[Table, ...]
