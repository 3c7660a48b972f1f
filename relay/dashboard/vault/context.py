"""What the vault's dialog is given: to open it, or to keep and forget secrets while it is open."""

from dataclasses import dataclass
from typing import ClassVar

from relay.dashboard.layout import PageLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSecretLine:
    """One secret of the vault: its name, who needs it, and the address that forgets it."""

    name: str
    who: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultForm:
    """The vault as it stands. `lines` say what waits or is missing, `name` is the secret to keep next."""

    template: ClassVar[str] = "parts/vault.html"
    state: str
    title: str
    path: str
    lines: tuple[str, ...]
    secrets: tuple[VaultSecretLine, ...]
    name: str = ""
    back: str = "/sources"
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPage:
    """The dialog as a page of its own, for whoever has no JavaScript."""

    template: ClassVar[str] = "pages/vault.html"
    shell: PageLayout
    title: str
    form: VaultForm
