"""What the signature doctor takes and what it returns."""

import json
import re
from dataclasses import dataclass

from relay.model.event import Capture, Source, Verification
from relay.model.secret import Secret
from relay.providers.provider import Provider

_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSecret:
    """A secret within reach that the source does not check with.

    `source` is the one that does; "" means that it only lies in the environment.
    """

    secret: Secret
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCase:
    """A stored request, with everything that may explain its signature.

    `sender` is the provider the event is ascribed to. `urls` are further addresses the sender may
    have called, `base` is what its address starts with (`https://hooks.example.dev`). `recent` are
    numbers and bodies of earlier events of the source, newest first.
    """

    capture: Capture
    source: Source
    reason: str = ""
    sender: Provider | None = None
    others: tuple[KnownSecret, ...] = ()
    urls: tuple[str, ...] = ()
    base: str = ""
    recent: tuple[tuple[int, bytes], ...] = ()

    @property
    def title(self) -> str:
        """Return what a person calls the source's provider."""
        return self.source.title or self.source.name

    @property
    def header(self) -> str:
        """Return the table of the source in relay.toml."""
        name = self.source.name
        if not _BARE.fullmatch(name):
            name = json.dumps(name, ensure_ascii=False)
        return f"[sources.{name}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureFinding:
    """One cause: a code, a title, the evidence in a sentence, what to do, and the line to copy.

    `certain` says that a variant matched, so that nothing else need be looked for.
    """

    cause: str
    title: str
    sentence: str
    fix: str = ""
    line: str = ""
    certain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedVariant:
    """One secret with one kind of variant, and whether any of that kind matched."""

    secret: str
    what: str
    matched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSignature:
    """The signature that one secret gives; None where only the provider could make it.

    `tail` is how the secret ends, for comparing with what the provider shows; "" for a short one.
    """

    secret: str
    expected: str | None
    matches: bool
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Why a signature is as it is, judged with today's configuration: the true cause first.

    `received` and `compared` hold signatures: for the person at the dashboard or the terminal,
    never for a log or an export. `cut` says that time ran out before everything was tried.
    """

    verification: Verification
    findings: tuple[SignatureFinding, ...] = ()
    tried: tuple[TriedVariant, ...] = ()
    received: tuple[str, ...] = ()
    compared: tuple[ComparedSignature, ...] = ()
    cut: bool = False


def format_secret_name(secret: Secret) -> str:
    """Return what a person calls a secret: the variable alone where it lies in the environment."""
    return secret.reference.removeprefix("env:") or "the secret"


def describe_secret_place(secret: Secret) -> str:
    """Return where a secret can be changed."""
    places = {"env": ".env or the environment", "vault": "the vault"}
    return places.get(secret.reference.partition(":")[0], "its place")
