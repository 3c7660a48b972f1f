"""The signature belongs to an earlier event: headers of one request were sent with the body of another."""

from collections.abc import Iterator

from relay.providers.doctor.bench import Bench, with_body
from relay.providers.doctor.case import Finding, name_of


def earlier_body(bench: Bench) -> Iterator[Finding]:
    """Try the bodies of earlier events under the headers of this one."""
    for number, body in bench.case.recent:
        for secret in bench.own:
            if body != bench.case.capture.body and bench.fits(
                secret, "Bodies of earlier events", capture=with_body(bench.case.capture, body)
            ):
                yield Finding(
                    cause="signature_of_another_event",
                    title=f"This is the signature of event {number}",
                    sentence=f"The headers fit {name_of(secret)} with the body of event {number}, not with this body.",
                    fix="Whatever sent this put an old signature on another body: sign every request anew, or use",
                    line=f"relay replay {number}",
                    certain=True,
                )
                return
