"""Nothing was checked: no secret, no source, or verification is off; what would change that."""

import re
from collections.abc import Iterator

from relay.model.event import Verdict, Verification, VerifyMode
from relay.providers.catalogue import find_provider
from relay.providers.challenge_answers import find_challenge
from relay.providers.challenges import find_subscription_link
from relay.providers.doctor.case import (
    AS_RECEIVED,
    KnownSecret,
    SignatureCase,
    SignatureFinding,
    VariantTester,
    format_secret_name,
    list_schemes,
)
from relay.providers.doctor.secrets import explain_handshake_secret
from relay.providers.generic_challenges import Challenge, Proof
from relay.providers.provider import Provider
from relay.providers.schemes.python_verifier import VerifierScheme


def explain_unchecked(tester: VariantTester, verification: Verification) -> Iterator[SignatureFinding]:
    """Say why nothing was checked, and what to do so that the next one is."""
    case = tester.case
    if case.source.verify is VerifyMode.OFF:
        yield SignatureFinding(
            cause="verification_off",
            title="Verification is off for this source",
            sentence=f'{case.header} says verify = "off", so anybody can send events here.',
            fix="To check signatures, say:",
            line='verify = "enforce"',
        )
    elif verification.reason == "no_source":
        yield from _explain_no_source(tester)
    elif verification.reason == "secret_missing":
        yield from _explain_no_secret(tester)
    elif verification.reason == "vault_locked":
        yield SignatureFinding(
            cause="vault_locked",
            title="Not checked: the vault is locked",
            sentence=f"The secret of source {case.source.name} is in the vault.",
            fix="Unlock it, here or in a terminal; relay then checks what came meanwhile.",
            line="relay vault unlock",
        )


def _explain_no_source(tester: VariantTester) -> Iterator[SignatureFinding]:
    case, sender = tester.case, tester.case.sender
    if sender is None:
        yield SignatureFinding(
            cause="no_source",
            title="No source is configured for this path",
            sentence=f"Nothing says who sends to {case.source.path}, and no provider known to relay sends its headers.",
            fix="Name a provider, or declare the scheme, in relay.toml:",
            line=f'{case.header}\nprovider = "custom"',
        )
        return
    variable = sender.secret_variable or "its secret"
    fitting = tester.find_fitting_secret(case.others, sender)
    saved = fitting or next((known for known in case.others if _is_usual_variable(known, sender)), None)
    proof = f" Its signature fits {format_secret_name(fitting.secret)}." if fitting else ""
    if saved is None:
        yield SignatureFinding(
            cause="no_source",
            title=f"Looks like {sender.title}, not verified: set {variable}",
            sentence=f"The headers are those of {sender.title}, but no source is configured for {case.source.path}.",
            fix=f"Save its secret as {variable} and send to {case.base}/webhooks/{sender.name}, or add to relay.toml:",
            line=f'{case.header}\nprovider = "{sender.name}"\nsecret = "env:{variable}"',
        )
        return
    yield SignatureFinding(
        cause="no_source",
        title=f"Looks like {sender.title}, not verified: the path is not {sender.title}'s",
        sentence=f"{format_secret_name(saved.secret)} is set, but it only checks what comes to /webhooks/"
        f"{saved.source or sender.name}.{proof}",
        fix=f"Send to {case.base}/webhooks/{saved.source or sender.name}, or add to relay.toml:",
        line=f'{case.header}\nprovider = "{sender.name}"\nsecret = "{saved.secret.reference}"',
        certain=fitting is not None,
    )


def _explain_no_secret(tester: VariantTester) -> Iterator[SignatureFinding]:
    case = tester.case
    provider = find_provider(case.source.provider)
    named = next((reference for reference in case.source.missing_secrets), "")
    usual = (provider.secret_variable if provider else "") or _make_variable_name(case)
    variable = named.removeprefix("env:") if named.startswith("env:") else usual
    for known in case.others:
        if tester.fits(known.secret, AS_RECEIVED):
            yield explain_handshake_secret(case, known) or SignatureFinding(
                cause="secret_elsewhere",
                title=f"The secret is there, under another name: {format_secret_name(known.secret)}",
                sentence=f"The signature fits {format_secret_name(known.secret)}, but source "
                f"{case.source.name} looks for "
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
    yield SignatureFinding(
        cause="secret_missing",
        title="No secret for this source",
        sentence=f"{absent}, so nothing could be checked.",
        fix=fix,
        line=line,
    )


def _is_usual_variable(known: KnownSecret, sender: Provider) -> bool:
    return known.secret.reference.removeprefix("env:") in sender.secret_env


def _make_variable_name(case: SignatureCase) -> str:
    return f"{re.sub(r'[^A-Z0-9]+', '_', case.source.name.upper())}_SECRET"


def explain_handshake(case: SignatureCase, verification: Verification) -> Iterator[SignatureFinding]:
    """Say what a handshake still needs, nothing where the request is none or its signature failed."""
    found = find_challenge(case.source.provider, case.capture)
    if found is None:
        return
    challenge, asked = found
    if challenge.proof is Proof.TOKEN and verification.verdict is not Verdict.VERIFIED:
        yield _explain_verify_token(case, challenge, verification)
    if verification.verdict is Verdict.INVALID:
        return
    reply = challenge.reply(asked, next(iter(case.source.secrets), None))
    link = find_subscription_link(case.capture)
    if reply is not None and reply.todo:
        provider = find_provider(case.source.provider)
        variable = (provider.secret_variable if provider else "") or "its secret"
        todo = reply.todo.format(variable=variable)
        yield SignatureFinding(
            cause="handshake",
            title=f"{challenge.name}: one thing is left to you",
            sentence=f"relay answered it and {case.title} is content so far. "
            f"{_explain_next_step(todo, verification, link)}",
            fix=f"{todo[0].upper()}{todo[1:]}:",
            line=link or ("" if "Subscribe" in todo else f"{variable}="),
            certain=True,
        )


def _explain_next_step(todo: str, verification: Verification, link: str | None) -> str:
    if "SubscribeURL" not in todo:
        return "Until it is saved, only this run of relay knows it, and only if no other secret is set."
    if link is None:
        return "Its link does not lead to SNS, so do not open it."
    return "Open the link only if you know the topic." if verification.verdict is not Verdict.VERIFIED else ""


def _explain_verify_token(case: SignatureCase, challenge: Challenge, verification: Verification) -> SignatureFinding:
    provider = find_provider(case.source.provider)
    variable = next(iter(provider.verify_token_env if provider else ()), "VERIFY_TOKEN")
    if verification.verdict is Verdict.INVALID:
        title, what = ("The verify token is another one", f"{case.title} shows a verify token that is not relay's.")
    else:
        title, what = "No verify token for this source", f"{variable} is not set, so anybody could ask."
    return SignatureFinding(
        cause="verify_token",
        title=title,
        sentence=f"{challenge.name} is answered only where the verify token is right. {what}",
        fix=f"Save the token you typed at {case.title} in .env, restart relay, and verify there again:",
        line=f"{variable}=",
        certain=True,
    )


def explain_broken_verifier(case: SignatureCase, verification: Verification) -> Iterator[SignatureFinding]:
    """Say where a verifier failed; no secret is tried with it, for none would change that."""
    if verification.reason != "verifier_failed":
        return
    step = next((check for check in verification.checks if check.passed is False), None)
    verifier = next(
        (leaf.reference for leaf in list_schemes(case.source.scheme) if isinstance(leaf, VerifierScheme)), ""
    )
    detail = step.detail if step else "failed"
    yield SignatureFinding(
        cause="verifier_failed",
        title=f"The verifier {verifier} {detail}",
        sentence="It is your own code that failed on this request, so the signature was not checked at all: neither "
        "the secret nor the body is to blame.",
        fix="Correct it there, restart relay, and check this event again.",
        certain=True,
    )
