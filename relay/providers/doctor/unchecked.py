"""Nothing was checked: no secret, no source, or verification is off; what would change that."""

import re
from collections.abc import Iterator

from relay.model.event import Verification, VerifyMode
from relay.providers.catalogue import find
from relay.providers.doctor.bench import AS_RECEIVED, Bench, leaves
from relay.providers.doctor.case import Case, Finding, Known, name_of
from relay.providers.doctor.secrets import given_away
from relay.providers.provider import Provider


def not_checked(bench: Bench, verification: Verification) -> Iterator[Finding]:
    """Say why nothing was checked, and what to do so that the next one is."""
    case = bench.case
    if case.source.verify is VerifyMode.OFF:
        yield Finding(
            cause="verification_off",
            title="Verification is off for this source",
            sentence=f'{case.header} says verify = "off", so anybody can send events here.',
            fix="To check signatures, say:",
            line='verify = "enforce"',
        )
    elif verification.reason == "no_source":
        yield from _no_source(bench)
    elif verification.reason == "secret_missing":
        yield from _no_secret(bench)
    elif verification.reason == "vault_locked":
        yield Finding(
            cause="vault_locked",
            title="Not checked: the vault is locked",
            sentence=f"The secret of source {case.source.name} is in the vault.",
            fix="Unlock it, here or in a terminal; relay then checks what came meanwhile.",
            line="relay vault unlock",
        )


def _no_source(bench: Bench) -> Iterator[Finding]:
    case, sender = bench.case, bench.case.sender
    if sender is None:
        yield Finding(
            cause="no_source",
            title="No source is configured for this path",
            sentence=f"Nothing says who sends to {case.source.path}, and its headers are nobody's that relay knows.",
            fix="Name a provider, or declare the scheme, in relay.toml:",
            line=f'{case.header}\nprovider = "custom"',
        )
        return
    variable = sender.secret_env[0] if sender.secret_env else "its secret"
    fitting = _fitting(bench, sender)
    saved = fitting or next((known for known in case.others if _usual(known, sender)), None)
    proof = f" Its signature fits {name_of(fitting.secret)}." if fitting else ""
    if saved is None:
        yield Finding(
            cause="no_source",
            title=f"Looks like {sender.title}, not verified: set {variable}",
            sentence=f"The headers are those of {sender.title}, but no source is configured for {case.source.path}.",
            fix=f"Save its secret as {variable} and send to {case.base}/webhooks/{sender.name}, or add to relay.toml:",
            line=f'{case.header}\nprovider = "{sender.name}"\nsecret = "env:{variable}"',
        )
        return
    yield Finding(
        cause="no_source",
        title=f"Looks like {sender.title}, not verified: the path is not {sender.title}'s",
        sentence=f"{name_of(saved.secret)} is set, but it only checks what comes to /webhooks/"
        f"{saved.source or sender.name}.{proof}",
        fix=f"Send to {case.base}/webhooks/{saved.source or sender.name}, or add to relay.toml:",
        line=f'{case.header}\nprovider = "{sender.name}"\nsecret = "{saved.secret.reference}"',
        certain=fitting is not None,
    )


def _no_secret(bench: Bench) -> Iterator[Finding]:
    case = bench.case
    provider = find(case.source.provider)
    named = next((reference for reference in case.source.missing_secrets), "")
    usual = provider.secret_env[0] if provider and provider.secret_env else _made_up(case)
    variable = named.removeprefix("env:") if named.startswith("env:") else usual
    for known in case.others:
        if bench.fits(known.secret, AS_RECEIVED):
            yield given_away(case, known) or Finding(
                cause="secret_elsewhere",
                title=f"The secret is there, under another name: {name_of(known.secret)}",
                sentence=f"The signature fits {name_of(known.secret)}, but source {case.source.name} looks for "
                f"{variable}.",
                fix=f"Name it in relay.toml under {case.header}, and restart relay:",
                line=f'secret = "{known.secret.reference}"',
                certain=True,
            )
            return
    absent = f"{variable} is not set"
    if named.startswith("vault:"):
        name = named.removeprefix("vault:")
        absent = f"The vault holds no secret '{name}'"
        fix, line = "Save it in the vault:", f"relay vault set {name}"
    else:
        fix, line = f"Put the secret that {case.title} shows in .env, and restart relay:", f"{variable}="
    yield Finding(
        cause="secret_missing",
        title="No secret for this source",
        sentence=f"{absent}, so nothing could be checked.",
        fix=fix,
        line=line,
    )


def _fitting(bench: Bench, sender: Provider) -> Known | None:
    for known in bench.case.others:
        for scheme in leaves(sender.scheme):
            if bench.fits(known.secret, f"As {sender.title} signs", scheme=scheme):
                return known
    return None


def _usual(known: Known, sender: Provider) -> bool:
    return known.secret.reference.removeprefix("env:") in sender.secret_env


def _made_up(case: Case) -> str:
    return f"{re.sub(r'[^A-Z0-9]+', '_', case.source.name.upper())}_SECRET"
