"""Why an event was believed or not: a verdict that names the cause, its evidence, and what to do about it."""

from relay.dashboard.filters import capitalize_first, format_count
from relay.model import admission
from relay.model.admission import Problem
from relay.model.event import CapturedEvent, EventOutcome, Verdict
from relay.model.text import escape_unprintable
from relay.providers.doctor import Diagnosis

VerdictWords = tuple[str, str, str]  # what a panel says: its kind (ok, err, warn or quiet), title and text

_TITLES = {
    "verification_off": "Verification is off for this source",
    "no_signature_expected": "No signature expected",
    "no_source": "Not checked: no source is configured for this path",
    "vault_locked": "Not checked: the vault is locked",
    "idempotency_key_missing": "Refused: no idempotency key",
    "schema": "Refused: the body does not fit the schema",
    "recovered": "Recovered, not checked",
    "content_type": "Refused: another content type than the source takes",
    "invalid_recipient": "Refused: no mail address where mail would go",
    "loop": "Refused: relay's own forward came back",
    "handshake": "A setup handshake, answered",
}


def describe_verification(
    event: CapturedEvent, provider: str, found: Diagnosis | None, still: tuple[Problem, ...] | None = None
) -> VerdictWords:
    """Return what the panel says.

    `provider` is its title, `found` what the doctor says where there was something to explain, `still` what the
    source's rules of today have against an event that was refused for those of its time.
    """
    return _describe_rule_refusal(event, still) if event.problems else _describe_verdict(event, provider, found)


def _describe_rule_refusal(event: CapturedEvent, still: tuple[Problem, ...] | None) -> VerdictWords:
    if still == ():
        text = "It did not when it came. Replay it, or ask the sender to send it again."
        return "ok", "With today's rules the request would come in", text
    reason = admission.describe_reason(event.row.reason)
    more = f"; {format_count(len(event.problems) - 1, 'more problem')} below" if len(event.problems) > 1 else ""
    problem = capitalize_first(escape_unprintable(event.problems[0].sentence, 400))
    return "err", _TITLES.get(event.row.reason, "Refused"), f"{reason} {problem}{more}."


def _describe_verdict(event: CapturedEvent, provider: str, found: Diagnosis | None) -> VerdictWords:
    row = event.row
    kind = _get_panel_kind(event)
    if found and found.verification.verdict is Verdict.VERIFIED and row.verdict is not Verdict.VERIFIED:
        text = "It did not when it came. Replay it, or ask the sender to send it again."
        return "ok", "With today's secrets the signature verifies", text
    if found and found.findings:
        first = found.findings[0]
        return kind, escape_unprintable(first.title, 160), escape_unprintable(first.sentence, 600)
    if row.verdict is Verdict.VERIFIED and row.outcome is not EventOutcome.REJECTED:
        return kind, "Signature verified", _describe_verified(event, provider)
    title = _TITLES.get(row.reason, "Signature check failed" if row.verdict is Verdict.INVALID else "Not checked")
    return kind, title, escape_unprintable(admission.describe_reason(row.reason), 400)


def _describe_verified(event: CapturedEvent, provider: str) -> str:
    """Return what a right signature says of who sent an event: nothing of its provider where relay itself signed."""
    if event.row.sample:
        return f"relay made this sample and signed it as {provider} does. {provider} did not send it."
    if any(check.name == "Imported" for check in event.verification.checks):
        return "This event was imported. The relay that exported it found its signature right."
    if event.row.recovered:
        return f"relay fetched this from {provider} afterwards, and the signature of {provider} fits it."
    return f"{provider} sent this, and nothing was changed on the way."


def _get_panel_kind(event: CapturedEvent) -> str:
    row = event.row
    if row.outcome is EventOutcome.REJECTED or row.verdict is Verdict.INVALID:
        return "err"
    if row.verdict is Verdict.VERIFIED:
        return "ok"
    return "warn" if row.reason in ("vault_locked", "secret_missing", "secret_unusable") else "quiet"
