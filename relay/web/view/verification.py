"""Why an event was believed or not: a verdict that names the cause, its evidence, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from relay.model import reasons
from relay.model.event import Event, EventOutcome, Source, Verdict, VerifyMode
from relay.model.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was looked at. `kind` is ok, err or skip-step."""

    kind: str
    name: str
    detail: str
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What to do: a sentence, and the line to copy where there is one."""

    text: str
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict as a panel. `kind` is ok, err, warn or quiet."""

    kind: str
    title: str
    text: str
    fixes: tuple[Fix, ...]
    steps: tuple[Step, ...]
    scheme: str


_TITLES = {
    "signature_missing": "No signature header",
    "signature_mismatch": "No known secret gives this signature",
    "header_malformed": "Signature header cannot be read",
    "timestamp_stale": "The signature is too old",
    "timestamp_future": "The signature is from the future",
    "body_malformed": "The body lacks what is signed",
    "secret_missing": "No secret for this source",
    "secret_unusable": "The saved secret is not usable",
    "verification_off": "Verification is off for this source",
    "vault_locked": "Not checked: the vault is locked",
    "no_source": "Not checked: no source is configured for this path",
    "no_signature_expected": "No signature expected",
    "idempotency_key_missing": "Refused: no idempotency key",
    "schema": "Refused: the body does not fit the schema",
    "loop": "Refused: relay's own forward came back",
}


_UNKNOWN = (
    "Either the secret is wrong or the body changed on the way. Start with the secret: compare its last four "
    "characters with those the provider shows."
)


def judged(event: Event, source: Source | None, provider: str, secret_env: tuple[str, ...] = ()) -> Judged:
    """Return what the panel says. `source` is None when it is configured no more; `provider` is its title."""
    row = event.row
    reason = row.reason if row.verdict is not Verdict.VERIFIED else ""
    steps = (_source_step(event, source), *_checked(event), _answer_step(event, provider))
    scheme = source.scheme.title if source and source.scheme else ""
    if row.outcome is EventOutcome.REJECTED and row.verdict is not Verdict.INVALID:
        kind, title, text = "err", _TITLES.get(row.reason, "Refused"), reasons.sentence(row.reason)
    elif row.verdict is Verdict.VERIFIED:
        kind, title = "ok", "Signature verified"
        text = f"{provider} sent this, and nothing was changed on the way."
    elif row.verdict is Verdict.INVALID:
        kind, title = "err", _TITLES.get(reason, "Signature check failed")
        text = _UNKNOWN if reason == "signature_mismatch" else reasons.sentence(reason)
    else:
        kind = "warn" if reason in ("vault_locked", "secret_missing", "secret_unusable") else "quiet"
        title, text = _TITLES.get(reason, "Not checked"), reasons.sentence(reason)
    return Judged(
        kind=kind,
        title=title,
        text=text,
        fixes=_fixes(row.reason, row.source, secret_env),
        steps=steps,
        scheme=scheme,
    )


def _checked(event: Event) -> tuple[Step, ...]:
    kinds: Mapping[bool | None, str] = {True: "ok", False: "err", None: "skip-step"}
    return tuple(
        Step(
            kind=kinds[check.passed],
            name=printable(check.name, 60),
            detail=printable(check.detail, 400),
            result=printable(check.result, 60),
        )
        for check in event.verification.checks
    )


def _source_step(event: Event, source: Source | None) -> Step:
    path = printable(event.row.path, 120)
    if source is None or not source.configured:
        return Step(
            kind="skip-step", name="Source", detail=f"{path}, not in relay.toml", result=event.row.source
        )
    modes = {
        VerifyMode.ENFORCE: "signature enforced",
        VerifyMode.REPORT: "signature reported, not enforced",
        VerifyMode.OFF: "signature not checked",
    }
    return Step(kind="ok", name="Source", detail=f"{path}, {modes[source.verify]}", result=source.name)


def _answer_step(event: Event, provider: str) -> Step:
    refused = event.row.outcome is EventOutcome.REJECTED
    detail = f"Refused, so {provider} may send it again" if refused else "Taken in"
    return Step(kind="skip-step", name=f"Answer to {provider}", detail=detail, result=str(event.row.status))


def _fixes(reason: str, source: str, secret_env: tuple[str, ...]) -> tuple[Fix, ...]:
    variable = secret_env[0] if secret_env else f"{source.upper().replace('-', '_')}_SECRET"
    if reason in ("secret_missing", "no_source"):
        return (
            Fix(
                text="Put the signing secret the provider shows you in .env, and restart relay:",
                line=f"{variable}=",
            ),
        )
    if reason == "timestamp_stale":
        return (
            Fix(
                text="To accept older requests of this source, for a replay by the provider say:",
                line='tolerance = "1h"',
            ),
        )
    if reason == "timestamp_future":
        return (Fix(text="Compare this machine's clock with network time:", line="relay doctor"),)
    if reason == "signature_missing":
        return (
            Fix(
                text="Something removed the header, or this is not the provider. The Headers tab shows what came."
            ),
        )
    return ()
