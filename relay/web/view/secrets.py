"""The secrets of a source as its page lists them: where each comes from, how it ends, never what it is."""

from dataclasses import dataclass
from urllib.parse import urlencode

from relay.model.event import Source
from relay.providers.doctor.compare import tail


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretLine:
    """One reference. `state` is found, locked or missing; `save` is where a missing one is kept, "" for none."""

    reference: str
    state: str
    ends: str = ""
    save: str = ""


def secret_lines(source: Source) -> tuple[SecretLine, ...]:
    """Return what a source checks with, and what it would check with if it were at hand."""
    return (
        *(
            SecretLine(reference=secret.reference, state="found", ends=tail(secret))
            for secret in source.secrets
        ),
        *(SecretLine(reference=reference, state="locked") for reference in source.locked_secrets),
        *(
            SecretLine(reference=reference, state="missing", save=_save(reference))
            for reference in source.missing_secrets
        ),
    )


def _save(reference: str) -> str:
    kind, _, name = reference.partition(":")
    return f"/vault?{urlencode({'name': name})}" if kind == "vault" else ""
