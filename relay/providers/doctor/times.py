"""The signature fits but its time does not: too old, or one of the two clocks is wrong."""

import re
from collections.abc import Iterator

from relay.model.event import Check
from relay.providers.doctor.bench import AS_RECEIVED, Bench
from relay.providers.doctor.case import Case, Finding
from relay.providers.schemes import with_tolerance
from relay.providers.schemes.timing import STEP


def out_of_time(bench: Bench) -> Iterator[Finding]:
    """Say that only the age is wrong, when a secret of the source fits the request as it came."""
    for secret in bench.own:
        if bench.fits(secret, AS_RECEIVED):
            yield from lateness(bench.case, "Signature fits, but it is", certain=True)
            return


def lateness(case: Case, lead: str, *, certain: bool = False) -> Iterator[Finding]:
    """Say how late or early the request is by the source's own limits; nothing when it is in time."""
    scheme, capture = case.source.scheme, case.capture
    if scheme is None:
        return
    verification = scheme.verify(case.source.secrets, capture, capture.received_at)
    check = next((step for step in verification.checks if step.name == STEP and step.passed is False), None)
    if check is None:
        return
    if verification.reason == "timestamp_future" or "ahead" in check.detail:
        yield _ahead(check, certain=certain)
    elif check.result == "Too old":
        yield _old(case, check, lead, certain=certain)


def _old(case: Case, check: Check, lead: str, *, certain: bool) -> Finding:
    age, limit = _age_and_limit(check)
    return Finding(
        cause="timestamp_stale",
        title=f"{lead} {age} old (limit {limit})",
        sentence="A replay by the provider or a slow way here looks like this; a clock of this machine that is ahead "
        "does too.",
        fix=f"To accept older requests, widen the limit under {case.header}:",
        line='tolerance = "1h"' if _within_an_hour(case) else 'tolerance = "off"',
        certain=certain,
    )


def _ahead(check: Check, *, certain: bool) -> Finding:
    ahead, limit = _age_and_limit(check)
    return Finding(
        cause="clock_behind",
        title=f"Your clock is {ahead} behind",
        sentence=f"The signature fits, but it was made {ahead} after it arrived here (limit {limit}).",
        fix="Set this machine's clock by network time; this shows how far it is off:",
        line="relay doctor",
        certain=certain,
    )


def _age_and_limit(check: Check) -> tuple[str, str]:
    # The step reads "14 min old when received, limit 300 s".
    age, _, limit = check.detail.partition(", limit ")
    age = age.removesuffix(" old when received").removesuffix(" ahead of this clock")
    return _in_minutes(age), _in_minutes(limit)


def _in_minutes(text: str) -> str:
    seconds = re.fullmatch(r"([0-9]+) s", text)
    if seconds is None or int(seconds[1]) < 120:
        return text
    minutes, rest = divmod(int(seconds[1]), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _within_an_hour(case: Case) -> bool:
    scheme, capture = case.source.scheme, case.capture
    if scheme is None:
        return True
    wider = with_tolerance(scheme, 3600.0, 3600.0)
    return wider.verify(case.source.secrets, capture, capture.received_at).reason != "timestamp_stale"
