"""A verifier of the user's own that raises, or answers with something else than yes or no."""

from collections.abc import Iterator

from relay.model.event import Verification
from relay.providers.doctor.bench import leaves
from relay.providers.doctor.case import Case, Finding
from relay.providers.python import PythonScheme


def broken_verifier(case: Case, verification: Verification) -> Iterator[Finding]:
    """Say where a verifier failed; no secret is tried with it, for none would change that."""
    if verification.reason != "verifier_failed":
        return
    step = next((check for check in verification.checks if check.passed is False), None)
    called = next((leaf.called for leaf in leaves(case.source.scheme) if isinstance(leaf, PythonScheme)), "")
    detail = step.detail if step else "failed"
    yield Finding(
        cause="verifier_failed",
        title=f"The verifier {called} {detail}",
        sentence="It is your own code that failed on this request, so the signature was not checked at all: neither "
        "the secret nor the body is to blame.",
        fix="Correct it there, restart relay, and check this event again.",
        certain=True,
    )
