"""Why a signature failed: hypotheses tried in turn, the cheap and likely first, until one is proven."""

from collections.abc import Callable, Iterator

from relay.model.event import Verdict, Verification
from relay.model.text import escape_unprintable
from relay.providers.doctor import (
    addresses,
    bodies,
    headers,
    other_schemes,
    secrets,
    serialization,
    signatures,
    times,
    unverified,
)
from relay.providers.doctor.case import (
    AS_RECEIVED,
    DEADLINE,
    Diagnosis,
    SignatureCase,
    SignatureFinding,
    VariantTester,
    compare_signatures,
    describe_secret_place,
    format_secret_name,
    list_schemes,
)
from relay.providers.doctor.symptoms import find_symptoms
from relay.providers.schemes import SharedToken, choose_scheme
from relay.providers.schemes.content import sender_address

Hypothesis = Callable[[VariantTester], Iterator[SignatureFinding]]

WITH_SIGNATURE: tuple[Hypothesis, ...] = (
    times.check_age,  # one verification a secret: everything but the age is right
    signatures.try_rewritten_signature,  # compares texts, and hashes once a secret
    other_schemes.try_other_declarations,  # of a declared scheme alone, whose table is likelier wrong than its secret
    secrets.try_misspelt_secrets,  # about thirty spellings a secret, quotes and line breaks first
    other_schemes.find_other_provider,  # decided by headers, so it costs nothing
    secrets.try_other_secrets,  # a source with two environments is often given the other one's secret
    headers.try_header_variants,  # quotes, spaces and prefixes around a right signature
    headers.try_repeated_headers,  # a proxy that signs as well, or joins two headers
    other_schemes.try_other_schemes,  # every scheme of the catalogue that the request could be of
    addresses.try_other_addresses,  # up to 600 addresses, so after everything that is cheaper
    bodies.try_body_variants,  # each variant hashes the whole body
    bodies.try_earlier_bodies,  # an old signature on a new body, or a body that arrived whole before
    headers.try_other_ids,  # a proxy that sets a request id of its own
    serialization.try_key_orders,  # up to 6,000 orders: the most expensive of all
    times.try_other_times,  # up to 7,200 seconds
)
WITHOUT_SIGNATURE: tuple[Hypothesis, ...] = (
    other_schemes.find_other_provider,
    headers.try_similar_headers,  # X-Signature for Signature, dashes for underscores
    headers.find_legacy_signature,  # the older header alone came
    other_schemes.try_other_schemes,
    times.try_other_times,
    headers.try_other_headers,  # any header as the signature's
)
"""Hypotheses that a fitting signature proves, the cheap and likely first."""


def diagnose(
    case: SignatureCase, verification: Verification, monotonic: Callable[[], float], deadline: float = DEADLINE
) -> Diagnosis:
    """Return why a request verifies or not. `verification` is today's, made with the time it came.

    Computes alone and never raises for whatever the request holds; takes `deadline` seconds at
    most, and says so where that was not enough.
    """
    tester = VariantTester(case, monotonic, deadline)
    findings = tuple(_find_causes(tester, verification))
    received, compared = compare_signatures(tester)
    return Diagnosis(
        verification=verification,
        findings=findings,
        tried=tester.tried,
        received=received,
        compared=compared,
        cut=tester.cut,
    )


def _find_causes(tester: VariantTester, verification: Verification) -> Iterator[SignatureFinding]:
    if tester.case.reason == "loop":
        return
    handshake = tuple(unverified.explain_handshake(tester.case, verification))
    if handshake or verification.verdict is Verdict.UNSIGNED:
        yield from handshake
    elif verification.verdict is Verdict.VERIFIED:
        yield from _explain_verified_now(tester.case)
    elif verification.verdict is Verdict.UNCHECKED:
        yield from unverified.explain_unchecked(tester, verification)
    elif broken := tuple(unverified.explain_broken_verifier(tester.case, verification)):
        yield from broken
    else:
        yield from _explain_invalid(tester, verification)


def _explain_verified_now(case: SignatureCase) -> Iterator[SignatureFinding]:
    if case.reason and case.reason.startswith(("signature", "timestamp", "header", "secret", "no_source", "body_m")):
        yield SignatureFinding(
            cause="verifies_now",
            title="It verifies with today's configuration",
            sentence="The signature did not fit when it came, and fits what relay checks with now.",
            fix="Nothing is left to correct; replay it to deliver it to the app.",
        )


def _explain_invalid(tester: VariantTester, verification: Verification) -> Iterator[SignatureFinding]:
    case = tester.case
    absent = verification.reason == "signature_missing"
    found: list[SignatureFinding] = []
    for hypothesis in WITHOUT_SIGNATURE if absent else WITH_SIGNATURE:
        tester.begin_share()
        found += hypothesis(tester)
        if any(finding.certain for finding in found):
            break
    if not any(finding.certain for finding in found):
        # What a body lacks is explained by where the rest of it went.
        found += find_symptoms(tester) if verification.reason == "body_malformed" else ()
        found += headers.explain_missing_signature(case, verification)
        found += headers.explain_malformed_signature(case, verification)
        found += () if absent else secrets.explain_unreadable_secret(tester)
        found += () if absent else secrets.explain_wrong_credential(tester)
        # A signature that cannot be read, or is not there, says more than what a body looks like.
        found += () if found else find_symptoms(tester)
    # Age alone explains no signature that does not fit, so it never comes first.
    yield from found or (explain_unknown_cause(tester),)
    causes = {finding.cause for finding in found}
    if not causes & {"timestamp_stale", "timestamp_unit", "clock_behind"}:
        yield from times.explain_age(case, "Besides, it is")


def explain_unknown_cause(tester: VariantTester) -> SignatureFinding:
    """Return what to say when no cause is proven: that it is not known, and where to begin."""
    case = tester.case
    if is_token_request(tester):
        return explain_other_token(tester)
    kinds = dict.fromkeys(_RULED_OUT_WORDS.get(row.what, "") for row in tester.tried)
    ruled_out = "".join(f", {kind}" for kind in kinds if kind)
    secrets_tried = len({row.secret for row in tester.tried if row.what == AS_RECEIVED})
    named = f"{secrets_tried} secret{'s' if secrets_tried != 1 else ''} as saved and as they may have been misspelt"
    cut = " Not everything could be tried in time." if tester.cut else ""
    # What is likeliest comes first: another address cannot be guessed, and is part of what is signed.
    called = (
        f"Compare the address that {case.title} calls with "
        f"{escape_unprintable(sender_address(case.capture), 300)}, character for "
        f"character: it is part of what is signed, and public_url under {case.header} corrects it. "
        if addresses.is_address_signed(case)
        else ""
    )
    return SignatureFinding(
        cause="unknown",
        title="Nothing that relay tried gives this signature",
        sentence=f"Ruled out: {named}{ruled_out}.{cut}",
        fix=f"{called}Compare the body with the one that {case.title} shows for this delivery, byte for byte. If they "
        "are the same, it was signed with a secret that relay does not have: compare the last four characters with "
        f"those {case.title} shows.",
    )


def is_token_request(tester: VariantTester) -> bool:
    """Say whether the request is checked by a token that it shows, so that nothing is signed."""
    schemes = list_schemes(tester.case.source.scheme)
    return bool(schemes) and isinstance(choose_scheme(schemes, tester.case.capture, tester.own), SharedToken)


def explain_other_token(tester: VariantTester) -> SignatureFinding:
    """Return what to say of a token that is none of those known: it does not depend on anything else."""
    case = tester.case
    known = " or ".join(format_secret_name(secret) for secret in tester.own)
    return SignatureFinding(
        cause="other_token",
        title="The token that came is another one",
        sentence=f"It is not {known}, and no other secret within reach. A token covers nothing of the request, so a "
        "proxy cannot be the cause.",
        fix=f"Enter the same token at {case.title} and in {describe_secret_place(tester.own[0])}, and restart relay.",
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
    "Charset": "character sets",
    "Bodies of earlier events": "the bodies of earlier events",
    "Keys in another order": "keys in another order",
    "Other times": "other times within the limit",
    "Other ids": "other ids",
    "Other declarations": "other digests, encodings and contents",
    "Other providers' ways to sign": "the ways of other providers",
}
"""What was tried, in words for a person, by what the table of trials calls it."""
