"""Why a signature failed: hypotheses tried in turn, the cheap and likely first, until one is proven."""

from collections.abc import Callable, Iterator

from relay.model.event import Verdict, Verification
from relay.providers.doctor import (
    addresses,
    bodies,
    declared,
    handshakes,
    headers,
    history,
    secrets,
    senders,
    times,
    unchecked,
)
from relay.providers.doctor.bench import DEADLINE, Bench
from relay.providers.doctor.case import Case, Diagnosis, Finding
from relay.providers.doctor.compare import compare

Hypothesis = Callable[[Bench], Iterator[Finding]]

WITH_SIGNATURE: tuple[Hypothesis, ...] = (
    times.out_of_time,
    declared.other_declaration,
    secrets.spoiled,
    secrets.elsewhere,
    senders.another_provider,
    headers.mended,
    senders.another_way,
    addresses.other_address,
    bodies.changed,
    history.earlier_body,
    secrets.not_a_secret,
)
WITHOUT_SIGNATURE: tuple[Hypothesis, ...] = (senders.another_provider, headers.renamed, senders.another_way)


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
        found += hypothesis(bench)
        if any(finding.certain for finding in found):
            break
    if not any(finding.certain for finding in found):
        found += headers.missing(case, verification)
        found += headers.malformed(case, verification)
    # Age alone explains no signature that does not fit, so it never comes first.
    yield from found or (unknown(bench),)
    causes = {finding.cause for finding in found}
    if not causes & {"timestamp_stale", "clock_behind"}:
        yield from times.lateness(case, "Besides, it is")


def unknown(bench: Bench) -> Finding:
    """Return what to say when no cause is proven: that it is not known, and where to begin."""
    case = bench.case
    cut = " Not everything could be tried in time." if bench.cut else ""
    return Finding(
        cause="unknown",
        title="No known secret gives this signature",
        sentence=f"Either the secret is wrong or the body changed on the way.{cut}",
        fix=f"Start with the secret: compare its last four characters with those {case.title} shows.",
    )
