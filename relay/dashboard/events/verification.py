"""Why an event was believed or not: a verdict that names the cause, its evidence, and what to do about it."""

from collections.abc import Iterator, Mapping

from relay.dashboard.filters import capitalize_first, format_count
from relay.model import admission
from relay.model.admission import Problem
from relay.model.event import CapturedEvent, EventOutcome, Source, Verdict, VerifyMode
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.doctor import Diagnosis


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One thing that was looked at. `kind` is ok, err or skip-step."""

    kind: str
    name: str
    detail: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationPanel:
    """The verdict as a panel. `kind` is ok, err, warn or quiet."""

    kind: str
    title: str
    text: str
    steps: tuple[CheckStep, ...]
    scheme: str


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
_STEP_KINDS: Mapping[bool | None, str] = {True: "ok", False: "err", None: "skip-step"}
_VERIFY_WORDS = {
    VerifyMode.ENFORCE: "signature enforced",
    VerifyMode.REPORT: "signature reported, not enforced",
    VerifyMode.OFF: "signature not checked",
}
_RULES = {
    "schema": "Schema",
    "content_type": "Content type",
    "idempotency_key_missing": "Idempotency key",
    "invalid_recipient": "Mail address",
}


def build_verification_panel(
    event: CapturedEvent,
    source: Source | None,
    provider: str,
    found: Diagnosis | None,
    still: tuple[Problem, ...] | None = None,
) -> VerificationPanel:
    """Return what the panel says.

    `source` is None when it is configured no more, `provider` is its title, `found` what the
    doctor says where there was something to explain, `still` what the source's rules of today have
    against an event that was refused for those of its time.
    """
    kind, title, text = (
        _describe_rule_refusal(event, still) if event.problems else _describe_verdict(event, provider, found)
    )
    scheme = source.scheme.title if source and source.scheme else ""
    return VerificationPanel(
        kind=kind, title=title, text=text, steps=tuple(_iterate_steps(event, source, provider)), scheme=scheme
    )


def _iterate_steps(event: CapturedEvent, source: Source | None, provider: str) -> Iterator[CheckStep]:
    yield _build_source_step(event, source)
    for check in event.verification.checks:
        name, detail = escape_unprintable(check.name, 60), escape_unprintable(check.detail, 400)
        yield CheckStep(_STEP_KINDS[check.passed], name, detail, escape_unprintable(check.result, 60))
    for problem in event.problems:
        name, detail = _RULES.get(problem.rule, "Rule"), escape_unprintable(problem.sentence, 400)
        yield CheckStep("err", name, detail, escape_unprintable(problem.pointer, 60))
    yield _build_answer_step(event, provider)


def _describe_rule_refusal(event: CapturedEvent, still: tuple[Problem, ...] | None) -> tuple[str, str, str]:
    if still == ():
        text = "It did not when it came. Replay it, or ask the sender to send it again."
        return "ok", "With today's rules the request would come in", text
    reason = admission.describe_reason(event.row.reason)
    more = f"; {format_count(len(event.problems) - 1, 'more problem')} below" if len(event.problems) > 1 else ""
    problem = capitalize_first(escape_unprintable(event.problems[0].sentence, 400))
    return "err", _TITLES.get(event.row.reason, "Refused"), f"{reason} {problem}{more}."


def _describe_verdict(event: CapturedEvent, provider: str, found: Diagnosis | None) -> tuple[str, str, str]:
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


def _build_source_step(event: CapturedEvent, source: Source | None) -> CheckStep:
    path = escape_unprintable(event.row.path, 120)
    if source is None or not source.configured:
        return CheckStep("skip-step", "Source", f"{path}, not in relay.toml", event.row.source)
    return CheckStep("ok", "Source", f"{path}, {_VERIFY_WORDS[source.verify]}", source.name)


def _build_answer_step(event: CapturedEvent, provider: str) -> CheckStep:
    row, refused = event.row, event.row.outcome is EventOutcome.REJECTED
    if row.recovered:
        return CheckStep(
            "skip-step", f"Answer to {provider}", "No sender was answered: relay fetched it afterwards", ""
        )
    detail = f"Refused, so {provider} may send it again" if refused else "Taken in"
    if row.sample:
        return CheckStep("skip-step", "Answer to relay trigger", detail.partition(",")[0], str(row.status))
    if refused and row.status < 400:
        detail = "Taken in while the vault was locked; refused when it was checked"
    return CheckStep("skip-step", f"Answer to {provider}", detail, str(row.status))
