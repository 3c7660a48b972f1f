"""The signature fits the body of an earlier event: this one was damaged on its way, or never was the one signed."""

from collections.abc import Iterator

from relay.model.secret import Secret
from relay.providers.doctor.bench import Bench, leaves, with_body
from relay.providers.doctor.case import Case, Finding, name_of
from relay.providers.schemes import InEach, InForm, InJson, Sns, choose


def earlier_body(bench: Bench) -> Iterator[Finding]:
    """Try the bodies of earlier events under the headers of this one."""
    if _is_in_body(bench):
        # An earlier body would bring its own signature along, and fit whatever the headers are.
        return
    for number, body in bench.case.recent:
        for secret in bench.own:
            if body != bench.case.capture.body and bench.fits(
                secret, "Bodies of earlier events", capture=with_body(bench.case.capture, body)
            ):
                yield _damaged(bench.case, secret, number, body) or Finding(
                    cause="signature_of_another_event",
                    title=f"This is the signature of event {number}",
                    sentence=f"The headers fit {name_of(secret)} with the body of event {number}, not with this body.",
                    fix="Whatever sent this put an old signature on another body: sign every request anew, or use",
                    line=f"relay replay {number}",
                    certain=True,
                )
                return


def _is_in_body(bench: Bench) -> bool:
    schemes = leaves(bench.case.source.scheme)
    chosen = choose(schemes, bench.case.capture, bench.own) if schemes else None
    return isinstance(chosen, Sns) or isinstance(getattr(chosen, "place", None), InJson | InEach | InForm)


def _damaged(case: Case, secret: Secret, number: int, body: bytes) -> Finding | None:
    """Return how this body came about from an earlier one that arrived whole; None where it is another one."""
    received = case.capture.body
    fits = f"The signature fits {name_of(secret)} with the body of event {number}"
    if not received:
        cause, title = "body_empty", "The body is empty"
        sentence = f"{fits}, which has {len(body):,} bytes; none of them arrived with this request."
        fix = "Let whatever stands between the provider and relay pass the body on; a body can be read once only."
    elif body.startswith(received):
        cause, title = "body_cut", "The body was cut short"
        sentence = f"{fits}, which has {len(body):,} bytes; the first {len(received):,} of them arrived."
        fix = "Look for a limit on the size of bodies in whatever stands between the provider and relay."
    elif _holds_the_same(case, body):
        cause, title = (
            "body_changed",
            "The body changed before it reached relay: it was read and written anew",
        )
        sentence = f"{fits}, which holds the same values in another order or spelling."
        fix = "Let whatever stands between the provider and relay pass the body on byte for byte: no parsed JSON."
    else:
        return None
    return Finding(cause=cause, title=title, sentence=sentence, fix=fix, certain=True)


def _holds_the_same(case: Case, body: bytes) -> bool:
    value = case.capture.payload.value
    return value is not None and value == with_body(case.capture, body).payload.value
