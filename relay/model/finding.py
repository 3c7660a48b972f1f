"""What one look at something that relay needs found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at and how it is: `state` is ok, warning or failed; `fix` says what mends it."""

    name: str
    state: str
    detail: str
    fix: str = ""


def good(name: str, detail: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(name=name, state="ok", detail=detail)


def bad(name: str, detail: str, fix: str = "") -> Finding:
    """Return that something does not work."""
    return Finding(name=name, state="failed", detail=detail, fix=fix)


def doubtful(name: str, detail: str, fix: str = "") -> Finding:
    """Return that something deserves a look."""
    return Finding(name=name, state="warning", detail=detail, fix=fix)
