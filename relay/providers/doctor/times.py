"""Hypotheses on the time: the signature matches, but is too old, or a clock is wrong."""

import re
from collections.abc import Iterator

from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.doctor.case import AS_RECEIVED, SignatureCase, SignatureFinding, VariantTester, format_secret_name
from relay.providers.schemes.signed_text import SignedText
from relay.providers.schemes.timestamps import TIMESTAMP_STEP, Time, choose_unit, format_span

# Some proxies and replays put their own time into the header.
_MAX_OFFSET = 3600  # seconds around the arrival that are tried
_FAR_DAYS = 20_000  # days: 55 years, more than any event's age or any clock's error
_FINER_UNITS = (("nanoseconds", 10**12), ("microseconds", 10**9), ("milliseconds", 0))
_EXTRA_DIGITS = (("milliseconds", 3), ("microseconds", 6), ("nanoseconds", 9))  # digits: more than seconds have
_SPARE_SECONDS = 600  # margin in seconds of a proposed limit


def check_age(tester: VariantTester) -> SignatureFinding | None:
    """Report that only the age is wrong, if a secret of the source matches the request as received."""
    if any(tester.fits(secret, AS_RECEIVED) for secret in tester.own):
        return explain_age(tester.case, "Signature fits, but it is")
    return None


def try_other_times(tester: VariantTester) -> SignatureFinding | None:
    """Try each second within the source's limits: the time in the header may have been replaced."""
    scheme = tester.text_scheme
    if scheme is None or scheme.time is None or scheme.time.unit != "s" or "{t" not in scheme.signed.text:
        return None
    found = tester.read_signature(any_time=True)
    keys = [(secret, key) for secret in tester.own if (key := scheme.read_key(secret)) is not None]
    if found is None or not keys:
        return None
    _, signed, received = found
    written, arrived = signed.ts, int(tester.case.capture.received_at.timestamp())
    for second in _list_seconds(arrived, scheme.time):
        signed.ts = str(second).encode()
        if tester.is_late():
            return None
        for secret, key in keys:
            signed.secret = scheme.shared_text(key)
            fits = scheme.matches(key, scheme.content(signed), received, signed.capture)
            if tester.record_trial(secret, "Other times", fits=fits):
                return _explain_replaced_time(tester.case, scheme.time, secret, (written, second, arrived))
    return None


def _list_seconds(arrived: int, time: Time) -> Iterator[int]:
    """Return the seconds within the limits of a scheme, closest to the arrival first."""
    past, future = (
        _MAX_OFFSET if limit is None else min(int(limit), _MAX_OFFSET) for limit in (time.past, time.future)
    )
    yield arrived
    for away in range(1, max(past, future) + 1):
        if away <= past:
            yield arrived - away
        if away <= future:
            yield arrived + away


def _explain_replaced_time(
    case: SignatureCase, time: Time, secret: Secret, moments: tuple[bytes, int, int]
) -> SignatureFinding:
    written, signed, arrived = moments
    fits = f"The signature fits {format_secret_name(secret)} for the time {signed}"
    finer = next((unit for unit, digits in _EXTRA_DIGITS if written[:-digits] == str(signed).encode()), "")
    if finer:
        return SignatureFinding(
            cause="timestamp_unit",
            title=f"The timestamp is in {finer}, where seconds belong",
            sentence=f"{fits}; what came is {escape_unprintable(written, 40)}, the same time in {finer}.",
            fix="Let the time come as it was signed: the sender writes it otherwise, or something between does.",
        )
    title = time.place.title if time.place else "The time in the signature header"
    age = f"{abs(arrived - signed)} s {'before' if signed <= arrived else 'after'} it arrived"
    held = f"what came is {escape_unprintable(written, 40)}" if written else "it did not come"
    return SignatureFinding(
        cause="timestamp_replaced",
        title=f"{title} is not the time that was signed" if written else f"{title} was removed on the way",
        sentence=f"{fits}, {age}; {held}.",
        fix=f"Let every proxy between {case.title} and relay pass that header on as it came.",
    )


def explain_age(case: SignatureCase, lead: str) -> SignatureFinding | None:
    """Describe how late or early the request is by the source's own limits; nothing if it is in time."""
    scheme, capture = case.source.scheme, case.capture
    if scheme is None:
        return None
    verification = scheme.verify(case.source.secrets, capture, capture.received_at)
    check = next((step for step in verification.checks if step.name == TIMESTAMP_STEP and step.passed is False), None)
    if check is None or check.age is None:
        return None
    if units := _find_other_unit(case, check.age):
        return _explain_wrong_unit(case, *units)
    age = _format_minutes(format_span(abs(check.age)))
    # The step reads "14 min old when received, limit 300 s".
    limit = _format_minutes(check.detail.rpartition(", limit ")[2])
    if check.age < 0:
        return SignatureFinding(
            cause="clock_behind",
            title=f"Your clock is {age} behind",
            sentence=f"The signature fits, but it was made {age} after it arrived here (limit {limit}).",
            fix="Set this machine's clock by network time; this shows how far it is off:",
            line="relay doctor",
        )
    return SignatureFinding(
        cause="timestamp_stale",
        title=f"{lead} {age} old (limit {limit})",
        sentence="A replay by the provider or a slow way here looks like this; a clock of this machine that is ahead "
        "does too.",
        fix=f"To accept older requests, widen the limit under {case.header}:",
        line=f'tolerance = "{_suggest_tolerance(check.age)}"',
    )


def _find_other_unit(case: SignatureCase, age: float) -> tuple[str, str] | None:
    """Return the actual and the declared unit of a timestamp, if it is plausible only in the other."""
    units = {leaf.time.unit for leaf in case.schemes if isinstance(leaf, SignedText) and leaf.time}
    days = round(age / 86_400)
    if days < -_FAR_DAYS and "s" in units:
        return next(word for word, least in _FINER_UNITS if -days >= least), "seconds"
    return ("seconds", "milliseconds") if days > _FAR_DAYS // 2 and "ms" in units else None


def _explain_wrong_unit(case: SignatureCase, written: str, read: str) -> SignatureFinding:
    declared = {"milliseconds": "ms", "seconds": "s"}.get(written, "") if case.is_custom else ""
    return SignatureFinding(
        cause="timestamp_unit",
        title=f"The timestamp is in {written}, where {read} belong",
        sentence=f"The signature fits, but {case.title} counts {read}, so the time that came lies far away.",
        fix=case.correct_table if declared else f"Let the sender write its time in {read}, as {case.title} does.",
        line=f'timestamp_unit = "{declared}"' if declared else "",
    )


def _format_minutes(text: str) -> str:
    seconds = re.fullmatch(r"([0-9]+) s", text)
    if seconds is None or int(seconds[1]) < 120:
        return text
    minutes, rest = divmod(int(seconds[1]), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


# Never "off": a copy of a request would then be valid forever.
def _suggest_tolerance(age: float) -> str:
    """Return a limit that accepts a request of that age with a margin; never no limit."""
    unit = choose_unit(age)[1]
    # The shown age is rounded, and the next request may be slightly older.
    seconds = (round(age / unit) + 1) * unit + _SPARE_SECONDS
    if seconds <= 3600:
        return "1h"
    return f"{-(-seconds // 3600)}h" if seconds <= 48 * 3600 else f"{-(-seconds // 86_400)}d"
