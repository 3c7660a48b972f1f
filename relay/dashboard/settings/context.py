"""What the Settings page is given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.config.preferences import Preferences
from relay.dashboard.layout import PageLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsValue:
    """One value and where it comes from: `line 14`, `--ingress`, `the environment`, `default`."""

    key: str
    value: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsTable:
    """One table of relay.toml."""

    name: str
    values: tuple[SettingsValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsPage:
    """What can be chosen here, and what relay.toml says; `file` is "" where there is none."""

    template: ClassVar[str] = "pages/settings.html"
    shell: PageLayout
    preferences: Preferences
    file: str
    tables: tuple[SettingsTable, ...]
