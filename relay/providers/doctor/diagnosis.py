"""Why a signature failed: tests hypotheses, cheap and likely ones first, until one is proven."""

from collections.abc import Callable, Iterator

from relay.model.event import Verdict, Verification, VerifyMode
from relay.model.text import escape_unprintable
from relay.providers.catalogue import find_provider
from relay.providers.challenge_answers import default_secret_variable, find_challenge
from relay.providers.challenges import find_subscription_link
from relay.providers.doctor import bodies, request_head, secrets, serialization, signing, times
from relay.providers.doctor.case import (
    AS_RECEIVED,
    BYTES_ADVICE,
    Diagnosis,
    SignatureCase,
    SignatureFinding,
    VariantTester,
    compare_signatures,
    format_secret_name,
)
from relay.providers.generic_challenges import Challenge, Proof
from relay.providers.schemes.content import BODY_HASH_STEP, sender_address
from relay.providers.schemes.one_of import PairScheme
from relay.providers.schemes.python_verifier import VerifierScheme
from relay.providers.schemes.shared_secret import SharedToken

Hypothesis = Callable[[VariantTester], SignatureFinding | None]

WITH_SIGNATURE: tuple[Hypothesis, ...] = (
    request_head.find_raw_delivery,  # a header says it
    times.check_age,  # one verification per secret: everything except the age is right
    signing.try_rewritten_signature,  # compares texts, and hashes once per secret
    signing.try_other_declarations,  # only for a declared scheme, whose table is more likely wrong than its secret
    secrets.try_misspelt_secrets,  # about thirty spellings per secret, quotes and line breaks first
    signing.find_other_provider,  # decided by headers, so it costs nothing
    secrets.try_other_secrets,  # with two environments the secrets are often confused
    request_head.try_header_variants,  # quotes, spaces and prefixes around a right signature
    request_head.try_repeated_headers,  # a proxy that signs as well, or joins two headers
    signing.try_other_schemes,  # every scheme of the catalogue that the request could be of
    request_head.try_other_addresses,  # up to 600 addresses, so after all cheaper ones
    bodies.try_body_variants,  # each variant hashes the whole body
    bodies.try_earlier_bodies,  # an old signature on a new body, or a body that arrived whole before
    request_head.try_other_ids,  # a proxy that sets its own request id
    serialization.try_key_orders,  # up to 6,000 orders: the most expensive of all
    times.try_other_times,  # up to 7,200 seconds
)
WITHOUT_SIGNATURE: tuple[Hypothesis, ...] = (
    signing.find_other_provider,
    request_head.try_similar_headers,  # X-Signature for Signature, dashes for underscores
    request_head.find_legacy_signature,  # only the older header was received
    signing.try_other_schemes,
    times.try_other_times,
    request_head.try_other_headers,  # any header may be the signature
    bodies.try_body_variants,  # Twilio puts a hash of JSON into the URL: a form converted to JSON lacks it
)
"""Hypotheses that a fitting signature proves, the cheap and likely first."""


def diagnose(case: SignatureCase, verification: Verification, monotonic: Callable[[], float]) -> Diagnosis:
    """Return why a request verifies or not. `verification` is by the current configuration and the time of arrival.

    Does no I/O and never raises, whatever the request contains; takes 1.5 s at most, and reports if that was
    not enough.
    """
    tester = VariantTester(case, monotonic)
    findings = tuple(finding for finding in _find_causes(tester, verification) if finding is not None)
    received, compared = compare_signatures(tester)
    return Diagnosis(
        verification=verification,
        findings=findings,
        tried=tester.tried,
        received=received,
        compared=compared,
        cut=tester.cut,
    )


def _find_causes(tester: VariantTester, verification: Verification) -> Iterator[SignatureFinding | None]:
    case = tester.case
    if case.reason == "loop":
        return
    handshake = tuple(_explain_handshake(case, verification))
    if handshake or verification.verdict is Verdict.UNSIGNED:
        yield from handshake
    elif verification.verdict is Verdict.VERIFIED:
        yield _explain_verified_now(case)
    elif verification.verdict is Verdict.UNCHECKED:
        yield _explain_unchecked(tester, verification)
    elif verification.reason == "verifier_failed":
        yield _explain_broken_verifier(case, verification)
    else:
        yield from _explain_invalid(tester, verification)


def _explain_verified_now(case: SignatureCase) -> SignatureFinding | None:
    if not case.reason.startswith(("signature", "timestamp", "header", "secret", "no_source", "body_m")):
        return None
    was_checked = not case.reason.startswith(("secret", "no_source"))
    return SignatureFinding(
        cause="verifies_now",
        title="It verifies with today's configuration",
        sentence=f"{'The signature did not fit' if was_checked else 'Nothing was checked'} when it came, and the "
        "signature fits what relay checks with now.",
        fix=f"Nothing is left to correct{'; replay it to deliver it to the app' if was_checked else ''}.",
    )


def _explain_invalid(tester: VariantTester, verification: Verification) -> Iterator[SignatureFinding | None]:
    case = tester.case
    absent = verification.reason == "signature_missing"
    found: list[SignatureFinding] = []
    for hypothesis in WITHOUT_SIGNATURE if absent else WITH_SIGNATURE:
        tester.begin_share()
        if finding := hypothesis(tester):
            found.append(finding)
            break
    else:
        # What a body lacks is explained by where the rest of it went.
        found += bodies.find_symptoms(tester) if verification.reason == "body_malformed" else ()
        unproven = [
            request_head.explain_missing_signature(case, verification),
            request_head.explain_malformed_signature(tester, verification),
            None if absent else secrets.explain_unreadable_secret(tester),
            None if absent else secrets.explain_wrong_credential(tester),
        ]
        found += filter(None, unproven)
        # A missing or malformed signature is stronger evidence than the look of a body.
        found += () if found else bodies.find_symptoms(tester)
    yield from found or (_explain_unknown_cause(tester, verification),)
    # Age does not explain a mismatch, so it is never first.
    if not {finding.cause for finding in found} & {"timestamp_stale", "timestamp_unit", "clock_behind"}:
        yield times.explain_age(case, "Besides, it is")


def _explain_unknown_cause(tester: VariantTester, verification: Verification) -> SignatureFinding:
    """Return the finding if no cause is proven: that it is unknown, and where to start."""
    case = tester.case
    if isinstance(tester.chosen_scheme, SharedToken):
        return secrets.explain_other_token(tester)
    body_hash = next((check for check in verification.checks if check.name == BODY_HASH_STEP), None)
    if body_hash is not None and not body_hash.passed and verification.checks[-1].passed:
        return SignatureFinding(
            cause="body_changed",
            title="The body is not the one that was signed",
            sentence=f"The signature fits, so the secret is right, and {body_hash.detail}.",
            fix=f"{BYTES_ADVICE}.",
        )
    kinds = dict.fromkeys(_RULED_OUT_WORDS.get(row.what, "") for row in tester.tried)
    ruled_out = "".join(f", {kind}" for kind in kinds if kind)
    own = {secret.reference for secret in tester.own}
    others = len({row.secret for row in tester.tried if row.what == AS_RECEIVED} - own)
    named = f"{f'its {len(own)} secrets' if len(own) > 1 else 'its secret'} as saved and misspelt"
    named += f", {others} other secret{'s' if others > 1 else ''}" if others else ""
    cut = " Not everything could be tried in time." if tester.cut else ""
    # The likeliest cause first: another signed address cannot be guessed.
    called = (
        f"Compare the address that {case.title} calls with "
        f"{escape_unprintable(sender_address(case.capture), 300)}, character for "
        f"character: it is part of what is signed, and public_url under {case.header} corrects it. "
        if request_head.is_address_signed(case)
        else ""
    )
    # A matching hash proves the body.
    if body_hash is None or not body_hash.passed:
        called += f"Compare the body with the one that {case.title} shows for this delivery, byte for byte. "
    other = "a secret that relay does not have: compare the last four characters with those"
    if isinstance(tester.chosen_scheme, PairScheme):
        other = f"another key: compare {' and '.join(map(format_secret_name, tester.own))} with the one"
    return SignatureFinding(
        cause="unknown",
        title="Nothing that relay tried produces this signature",
        sentence=f"Ruled out: {named}{ruled_out}.{cut}",
        fix=f"{called}{'If they are the same, it' if called else 'It'} was signed with {other} {case.title} shows.",
    )


_RULED_OUT_WORDS = {
    "Signature written differently": "the signature in another encoding or cut short",
    "Signature header corrected": "its header rewritten",
    "Other addresses": "other spellings of the address",
    "Ends and line breaks": "line breaks",
    "Packing": "packing",
    "Envelopes": "envelopes",
    "JSON re-serialised": "JSON or forms serialised again",
    "Form re-encoded": "JSON or forms serialised again",
    "Form as JSON": "JSON or forms serialised again",
    "Charset": "character sets",
    "Bodies of earlier events": "the bodies of earlier events",
    "Keys in another order": "keys in another order",
    "Other times": "other times within the limit",
    "Other ids": "other ids",
    "Other declarations": "other digests, encodings and contents",
    "Other providers' ways to sign": "the ways of other providers",
}
"""What was tried, in words for a person, by what the table of trials calls it."""


def _explain_unchecked(tester: VariantTester, verification: Verification) -> SignatureFinding | None:
    """Explain why nothing was checked, and how to have the next one checked."""
    case = tester.case
    if case.source.verify is VerifyMode.OFF:
        return SignatureFinding(
            cause="verification_off",
            title="Verification is off for this source",
            sentence=f'{case.header} says verify = "off", so anybody can send events here.',
            fix="To check signatures, say:",
            line='verify = "enforce"',
        )
    if verification.reason == "no_source":
        return _explain_no_source(tester)
    if verification.reason == "secret_missing":
        return _explain_no_secret(tester)
    if verification.reason == "certificate_missing":
        name = format_secret_name(case.source.secrets[0])
        return SignatureFinding(
            cause="certificate_missing",
            title=f"{name} holds no certificate",
            sentence=f"{case.title} signs with a key of its own. relay fetches none, so nothing could be checked.",
            fix=f"Add the certificate (PEM) behind what {name} holds, and restart relay. Where to get it:",
            line=f"relay providers {case.source.provider}",
        )
    if verification.reason != "vault_locked":
        return None
    return SignatureFinding(
        cause="vault_locked",
        title="Not checked: the vault is locked",
        sentence=f"The secret of source {case.source.name} is in the vault.",
        fix="Unlock it, here or in a terminal; relay then checks what arrived in the meantime.",
        line="relay vault unlock",
    )


def _explain_no_source(tester: VariantTester) -> SignatureFinding:
    case, sender = tester.case, tester.case.sender
    if sender is None:
        return SignatureFinding(
            cause="no_source",
            title="No source is configured for this path",
            sentence=f"Nothing says who sends to {case.source.path}, and no provider known to relay sends its headers.",
            fix="Name a provider, or declare the scheme, in relay.toml:",
            line=f'{case.new_table}\nprovider = "custom"',
        )
    fitting = tester.find_fitting_secret(case.others, sender)
    usual = (known for known in case.others if known.secret.reference.removeprefix("env:") in sender.secret_env)
    saved = fitting or next(usual, None)
    if saved is None:
        variable = sender.secret_variable
        return SignatureFinding(
            cause="no_source",
            title=f"Looks like {sender.title}, not verified: set {variable}",
            sentence=f"The headers are those of {sender.title}, but no source is configured for {case.source.path}.",
            fix=f"Save its secret as {variable} and send to {case.base}/webhooks/{sender.name}, or add to relay.toml:",
            line=f'{case.new_table}\nprovider = "{sender.name}"\nsecret = "env:{variable}"',
        )
    proof = f" Its signature fits {format_secret_name(saved.secret)}." if fitting else ""
    path = f"/webhooks/{saved.source or sender.name}"
    return SignatureFinding(
        cause="no_source",
        title=f"Looks like {sender.title}, not verified: the path is not {sender.title}'s",
        sentence=f"{format_secret_name(saved.secret)} is set, but it only checks what comes to {path}.{proof}",
        fix=f"Send to {case.base}{path}, or add to relay.toml:",
        line=f'{case.new_table}\nprovider = "{sender.name}"\nsecret = "{saved.secret.reference}"',
    )


def _explain_no_secret(tester: VariantTester) -> SignatureFinding:
    case = tester.case
    kind, _, name = next(iter(case.source.missing_secrets), "").partition(":")
    variable = name if kind == "env" else default_secret_variable(case.source)
    for known in case.others:
        if tester.fits(known.secret, AS_RECEIVED):
            other = format_secret_name(known.secret)
            return secrets.explain_handshake_secret(case, known) or SignatureFinding(
                cause="secret_elsewhere",
                title=f"The secret is there, under another name: {other}",
                sentence=f"The signature fits {other}, but source {case.source.name} looks for {variable}.",
                fix=f"Name it in relay.toml under {case.header}, and restart relay:",
                line=f'secret = "{known.secret.reference}"',
            )
    absent = f"{variable} is not set"
    fix, line = f"Put the secret that {case.title} shows in .env, and restart relay:", f"{variable}="
    if kind == "vault":
        absent = f"The vault holds no secret '{name}'"
        fix, line = "Save it in the vault:", f"relay vault set {name}"
    return SignatureFinding(
        cause="secret_missing",
        title="No secret for this source",
        sentence=f"{absent}, so nothing could be checked.",
        fix=fix,
        line=line,
    )


def _explain_handshake(case: SignatureCase, verification: Verification) -> Iterator[SignatureFinding]:
    """Describe what a handshake still needs; nothing if the request is not one or its signature failed."""
    found = find_challenge(case.source.provider, case.capture)
    if found is None:
        return
    challenge, value = found
    if challenge.proof is Proof.TOKEN and verification.verdict is not Verdict.VERIFIED:
        yield _explain_verify_token(case, challenge, verification)
    if verification.verdict is Verdict.INVALID:
        return
    reply = challenge.reply(value, next(iter(case.source.secrets), None))
    if reply is None or not reply.todo:
        return
    variable = default_secret_variable(case.source)
    todo = reply.todo.format(variable=variable)
    line = find_subscription_link(case.capture) or ""
    warning = "Open the link only if you know the topic." if verification.verdict is not Verdict.VERIFIED else ""
    if "SubscribeURL" not in todo:
        line = line or f"{variable}="
        warning = "Until it is saved, only this run of relay knows it, and only if no other secret is set."
    content = f"relay answered it and {case.title} is content so far. {warning}"
    yield SignatureFinding(
        cause="handshake",
        title=f"{challenge.name}: {'one thing is left to you' if line else 'it is not what SNS sends'}",
        sentence=content if line else "Amazon SNS sends no other address to open.",
        fix=f"{todo[0].upper()}{todo[1:]}{':' if line else '.'}",
        line=line,
    )


def _explain_verify_token(case: SignatureCase, challenge: Challenge, verification: Verification) -> SignatureFinding:
    provider = find_provider(case.source.provider)
    variable = next(iter(provider.verify_token_env if provider else ()), "VERIFY_TOKEN")
    if verification.verdict is Verdict.INVALID:
        title, what = ("The verify token is different", f"{case.title} shows a verify token that is not relay's.")
    else:
        title, what = "No verify token for this source", f"{variable} is not set, so anybody could ask."
    return SignatureFinding(
        cause="verify_token",
        title=title,
        sentence=f"{challenge.name} is answered only if the verify token is correct. {what}",
        fix=f"Save the token you typed at {case.title} in .env, restart relay, and verify there again:",
        line=f"{variable}=",
    )


def _explain_broken_verifier(case: SignatureCase, verification: Verification) -> SignatureFinding:
    """Describe where a verifier failed; no secret is tried, because none would help."""
    step = request_head.find_failed_check(verification)
    verifier = next((leaf.reference for leaf in case.schemes if isinstance(leaf, VerifierScheme)), "")
    return SignatureFinding(
        cause="verifier_failed",
        title=f"The verifier {verifier} {step.detail if step else 'failed'}",
        sentence="Your own code failed on this request, so the signature was not checked: neither the secret nor the "
        "body is the cause.",
        fix="Correct it there, restart relay, and check this event again.",
    )
