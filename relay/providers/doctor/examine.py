"""Why a signature failed: hypotheses tried in turn, the cheap and likely first, until one is proven."""

from collections.abc import Callable, Iterator

from relay.model.event import Verdict, Verification
from relay.model.text import printable
from relay.providers.doctor import (
    addresses,
    bodies,
    declared,
    handshakes,
    headers,
    history,
    order,
    secrets,
    senders,
    signatures,
    times,
    unchecked,
    verifiers,
)
from relay.providers.doctor.bench import AS_RECEIVED, DEADLINE, Bench, leaves
from relay.providers.doctor.case import Case, Diagnosis, Finding, name_of, where_of
from relay.providers.doctor.compare import compare
from relay.providers.doctor.symptoms import symptoms
from relay.providers.schemes import Token, choose
from relay.providers.schemes.urls import address

Hypothesis = Callable[[Bench], Iterator[Finding]]

WITH_SIGNATURE: tuple[Hypothesis, ...] = (
    times.out_of_time,
    signatures.rewritten,
    declared.other_declaration,
    secrets.spoiled,
    senders.another_provider,
    secrets.elsewhere,
    headers.mended,
    headers.repeated,
    senders.another_way,
    addresses.other_address,
    bodies.changed,
    history.earlier_body,
    headers.other_id,
    order.reordered,
    times.replaced,
)
WITHOUT_SIGNATURE: tuple[Hypothesis, ...] = (
    senders.another_provider,
    headers.renamed,
    headers.legacy,
    senders.another_way,
    times.replaced,
    headers.elsewhere,
)
"""Hypotheses that a fitting signature proves, the cheap and likely first."""


def diagnose(
    case: Case, verification: Verification, monotonic: Callable[[], float], deadline: float = DEADLINE
) -> Diagnosis:
    """Return why a request verifies or not. `verification` is today's, made with the time it came.

    Computes alone and never raises for whatever the request holds; takes `deadline` seconds at
    most, and says so where that was not enough.
    """
    bench = Bench(case, monotonic, deadline)
    findings = tuple(_findings(bench, verification))
    received, compared = compare(bench)
    return Diagnosis(
        verification=verification,
        findings=findings,
        tried=bench.tried,
        received=received,
        compared=compared,
        cut=bench.cut,
    )


def _findings(bench: Bench, verification: Verification) -> Iterator[Finding]:
    if bench.case.reason == "loop":
        return
    shaken = tuple(handshakes.left_to_do(bench.case, verification))
    if shaken or verification.verdict is Verdict.UNSIGNED:
        yield from shaken
    elif verification.verdict is Verdict.VERIFIED:
        yield from _fits_now(bench.case)
    elif verification.verdict is Verdict.UNCHECKED:
        yield from unchecked.not_checked(bench, verification)
    elif broken := tuple(verifiers.broken_verifier(bench.case, verification)):
        yield from broken
    else:
        yield from _invalid(bench, verification)


def _fits_now(case: Case) -> Iterator[Finding]:
    if case.reason and case.reason.startswith(
        ("signature", "timestamp", "header", "secret", "no_source", "body_m")
    ):
        yield Finding(
            cause="verifies_now",
            title="It verifies with today's configuration",
            sentence="The signature did not fit when it came, and fits what relay checks with now.",
            fix="Nothing is left to mend; replay it to hand it to the app.",
        )


def _invalid(bench: Bench, verification: Verification) -> Iterator[Finding]:
    case = bench.case
    absent = verification.reason == "signature_missing"
    found: list[Finding] = []
    for hypothesis in WITHOUT_SIGNATURE if absent else WITH_SIGNATURE:
        bench.begin_share()
        found += hypothesis(bench)
        if any(finding.certain for finding in found):
            break
    if not any(finding.certain for finding in found):
        # What a body lacks is explained by where the rest of it went.
        found += symptoms(bench) if verification.reason == "body_malformed" else ()
        found += headers.missing(case, verification)
        found += headers.malformed(case, verification)
        found += () if absent else secrets.unreadable(bench)
        found += () if absent else secrets.not_a_secret(bench)
        # A signature that cannot be read, or is not there, says more than what a body looks like.
        found += () if found else symptoms(bench)
    # Age alone explains no signature that does not fit, so it never comes first.
    yield from found or (unknown(bench),)
    causes = {finding.cause for finding in found}
    if not causes & {"timestamp_stale", "timestamp_unit", "clock_behind"}:
        yield from times.lateness(case, "Besides, it is")


def unknown(bench: Bench) -> Finding:
    """Return what to say when no cause is proven: that it is not known, and where to begin."""
    case = bench.case
    if shows_token(bench):
        return other_token(bench)
    kinds = dict.fromkeys(_RULED_OUT.get(row.what, "") for row in bench.tried)
    ruled_out = "".join(f", {kind}" for kind in kinds if kind)
    secrets_tried = len({row.secret for row in bench.tried if row.what == AS_RECEIVED})
    named = f"{secrets_tried} secret{'s' if secrets_tried != 1 else ''} as saved and as they may have been misspelt"
    cut = " Not everything could be tried in time." if bench.cut else ""
    # What is likeliest comes first: another address cannot be guessed, and is part of what is signed.
    called = (
        f"Compare the address that {case.title} calls with {printable(address(case.capture), 300)}, character for "
        f"character: it is part of what is signed, and public_url under {case.header} corrects it. "
        if addresses.signs_url(case)
        else ""
    )
    return Finding(
        cause="unknown",
        title="Nothing that relay tried gives this signature",
        sentence=f"Ruled out: {named}{ruled_out}.{cut}",
        fix=f"{called}Compare the body with the one that {case.title} shows for this delivery, byte for byte. If they "
        "are the same, it was signed with a secret that relay does not have: compare the last four characters with "
        f"those {case.title} shows.",
    )


def shows_token(bench: Bench) -> bool:
    """Say whether the request is checked by a token that it shows, so that nothing is signed."""
    schemes = leaves(bench.case.source.scheme)
    return bool(schemes) and isinstance(choose(schemes, bench.case.capture, bench.own), Token)


def other_token(bench: Bench) -> Finding:
    """Return what to say of a token that is none of those known: it does not depend on anything else."""
    case = bench.case
    known = " or ".join(name_of(secret) for secret in bench.own)
    return Finding(
        cause="other_token",
        title="The token that came is another one",
        sentence=f"It is not {known}, and no other secret within reach. A token covers nothing of the request, so what "
        "stood between cannot be the cause.",
        fix=f"Enter the same token at {case.title} and in {where_of(bench.own[0])}, and restart relay.",
    )


_RULED_OUT = {
    "Signature written differently": "the signature in another encoding or cut short",
    "Signature header mended": "its header rewritten",
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
