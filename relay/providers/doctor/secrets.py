"""Hypotheses on the secret: damaged when it was saved, or another one."""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from itertools import chain
from urllib.parse import unquote

from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.catalogue import find_provider
from relay.providers.challenge_answers import default_secret_variable
from relay.providers.doctor.case import (
    AS_RECEIVED,
    KnownSecret,
    SignatureCase,
    SignatureFinding,
    VariantTester,
    describe_secret_place,
    format_secret_name,
)
from relay.providers.schemes.encoding import decode_base64, decode_base64url
from relay.providers.schemes.one_of import find_key_problem

# Prefixes that are copied with a secret or omitted, at Svix, Supabase and in Authorization.
_PREFIXES = ("v1,whsec_", "whsec_", "whsk_", "v1,", "sha256=", "Bearer ", "bearer ")
_ASSIGNMENT = re.compile(r"(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*(?=\S)")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
# Usual names of variables for a secret replaced by a rotation.
_RETIRED = re.compile(r"(?:^|[_.-])(?:OLD|PREV|PREVIOUS|RETIRED|FORMER|LAST)(?:[_.-]|$)", re.IGNORECASE)
_MODES = (
    ("test", re.compile(r"(?:^|[_.-])(?:TEST|SANDBOX)(?:[_.-]|$)", re.IGNORECASE)),
    ("live", re.compile(r"(?:^|[_.-])(?:LIVE|PROD|PRODUCTION)(?:[_.-]|$)", re.IGNORECASE)),
)

_WITHOUT_SEPARATORS = "Hex without its marks"
_WITH_LINE_BREAK = "Line break added at its end"
_AS_BASE64 = "Encoded as base64"
_AS_HEX = "Encoded as hex"
_AS_SHOWN = "Save it exactly as the provider shows it"


SecretVariant = tuple[str, str, str, str]
"""A secret as it may have been meant: its text, what was done to it, what was wrong with it, what corrects it."""


def try_misspelt_secrets(tester: VariantTester) -> SignatureFinding | None:
    """Try corrected spellings of every secret of the source."""
    for secret in tester.own:
        name = format_secret_name(secret)
        for text, what, problem, fix in list_secret_variants(secret.reveal()):
            changed = Secret(secret.reference, text)
            if tester.fits(changed, what):
                return _explain_sender_form(tester, secret, changed, what) or SignatureFinding(
                    cause="secret_spoiled",
                    title=f"The saved secret {problem}",
                    sentence=f"The signature fits {name} once that is corrected: {what.lower()}.",
                    fix=f"{fix} in {describe_secret_place(secret)} for {name}, and restart relay.",
                )
    return None


def _explain_sender_form(tester: VariantTester, saved: Secret, signing: Secret, what: str) -> SignatureFinding | None:
    """Say that the sender spoils a secret that is saved as the provider shows it; None where it may be the saved one.

    Scripts that imitate a provider do that; the provider itself does not.
    """
    case, name, scheme = tester.case, format_secret_name(saved), tester.text_scheme
    # Text is rarely hex by chance; base64 is recognised by a prefix.
    encoded = scheme.key.form if scheme is not None and scheme.usable(saved) else ""
    is_text = (encoded, what) == ("hex", _AS_HEX) or (
        (encoded, what) == ("base64", _AS_BASE64) and _is_claimed(case, saved)
    )
    if what == _WITH_LINE_BREAK:
        title = "The sender's secret ends in a line break"
        fix = f"Enter it at {case.title} again without one: echo adds a line break, printf does not."
    elif is_text or (_is_claimed(case, saved) and not _is_claimed(case, signing)):
        form = "as text, without decoding it" if is_text else f"in another form: {what[0].lower()}{what[1:]}"
        title = f"The sender signs with the secret {form}"
        fix = f"Let the sender take the secret as {case.title} does; as saved, it verifies what {case.title} sends."
    else:
        return None
    return SignatureFinding(
        cause="secret_spoiled_by_sender", title=title, sentence=f"The signature fits {name} only in this form.", fix=fix
    )


def _is_claimed(case: SignatureCase, secret: Secret) -> bool:
    return any(scheme.claims_secret(secret) for scheme in case.schemes)


def list_secret_variants(text: str) -> Iterator[SecretVariant]:
    """Return corrected spellings of a secret, the likeliest mistake first; never the text itself."""
    cleaned = [*_clean_variants(text)]
    respelt = [*_spelling_variants(text.strip())]
    unmarked = [one for one in respelt if one[1] == _WITHOUT_SEPARATORS][:1]
    decoded = (way for one in (*cleaned[:3], *unmarked) for way in _encoding_variants(one[0]))
    seen = {text, ""}
    for variant in chain(cleaned, respelt, _encoding_variants(text), decoded):
        if variant[0] not in seen:
            seen.add(variant[0])
            yield variant


def _clean_variants(text: str) -> Iterator[SecretVariant]:
    bare = text.strip()
    if bare != text:
        ends = "a line break" if text.strip(" \t") != bare else "extra spaces"
        yield bare, "Spaces around it removed", f"has {ends}", "Save it without them"
    unquoted = bare.strip("\"'`\u201c\u201d\u2018\u2019 ")
    if unquoted != bare:
        yield unquoted, "Quotes removed", "has quotes around it", "Save it without quotes"
    if assigned := _ASSIGNMENT.match(unquoted):
        rest = unquoted[assigned.end() :].strip("\"' ")
        yield rest, "Variable name removed", "begins with a variable's name", "Save it alone"
    for prefix in _PREFIXES:
        if unquoted.startswith(prefix):
            name, rest = prefix.strip(), unquoted.removeprefix(prefix)
            yield rest, f"{name} removed", f"has {name} in front, which does not belong to it", "Save it without that"
    for prefix in ("whsec_", "v1,whsec_"):
        yield prefix + unquoted, f"{prefix} added", f"lacks its {prefix} in front", f"Save it with {prefix}"
    for end in ("\n", "\r\n"):
        # The sender's mistake: `echo secret > file` on the other side.
        yield text + end, _WITH_LINE_BREAK, "lacks a line break at its end", _AS_SHOWN
    decoded = unquote(unquoted)
    if decoded != unquoted:
        yield decoded, "Percent signs decoded", "is percent-encoded", "Save it decoded"
    for changed, case in ((unquoted.lower(), "lower"), (unquoted.upper(), "upper")):
        yield changed, f"Changed to {case} case", f"should be in {case} case", _AS_SHOWN


def _spelling_variants(text: str) -> Iterator[SecretVariant]:
    """Return a secret in other encodings."""
    prefix = next((known for known in _PREFIXES if text.startswith(known)), "")
    bare = text.removeprefix(prefix)
    for old, new, name, other in (("-_", "+/", "base64url", "base64"), ("+/", "-_", "base64", "base64url")):
        changed = bare.translate(str.maketrans(old, new))
        if changed != bare:
            problem = f"is spelt in {name}, where the provider gives {other}"
            yield prefix + changed, f"Spelt in {other}", problem, f"Save it in {other}"
    yield re.sub(r"\s+", "", text), "Spaces inside removed", "has spaces or line breaks inside", "Save it in one piece"
    if re.fullmatch(r"(?:0[xX])?[0-9A-Fa-f]{2}(?:[:\- ]?[0-9A-Fa-f]{2})+", bare):
        digits = re.sub(r"^0[xX]|[:\- ]", "", bare)
        for changed in (digits, digits.lower(), digits.upper()):
            yield prefix + changed, _WITHOUT_SEPARATORS, "is hex with marks in it", "Save the digits alone"
    for changed, what, problem in (
        (text + "=", "Padding added", "lost the = at its end"),
        (text + "==", "Padding added", "lost the = at its end"),
        (text.rstrip("="), "Padding removed", "has a = at its end that does not belong there"),
        (text.replace("\\n", "\n"), "Line breaks put in", "has \\n in it where line breaks belong"),
        (unicodedata.normalize("NFC", text), "Letters composed differently", "has its accents in another form"),
        (unicodedata.normalize("NFD", text), "Letters composed differently", "has its accents in another form"),
    ):
        yield changed, what, problem, _AS_SHOWN


# Svix's secrets are base64, Zendesk's look like it but are text: the two are easily confused.
def _encoding_variants(text: str) -> Iterator[SecretVariant]:
    digits = bytes.fromhex(text) if _HEX.fullmatch(text) else b""
    for name, other, raw in (
        ("base64", "hex", decode_base64(text) or decode_base64url(text)),
        ("hex", "base64", digits),
    ):
        if raw:
            decoded = raw.decode("utf-8", "surrogateescape")
            again = raw.hex() if other == "hex" else b64encode(raw).decode()
            yield decoded, f"{name.capitalize()} decoded", f"is still {name}", f"Save what the {name} decodes to"
            problem = f"is in {name}, where the provider gives {other}"
            yield again, f"{name.capitalize()} rewritten as {other}", problem, f"Save it in {other}"
    raw, problem = text.encode("utf-8", "surrogateescape"), "was decoded, but signs as it is shown"
    yield b64encode(raw).decode(), _AS_BASE64, problem, _AS_SHOWN
    if text.startswith("whsec_"):
        # OpenAI treats a secret without whsec_ as text, so the encoded one needs it.
        yield f"whsec_{b64encode(raw).decode()}", _AS_BASE64, problem, _AS_SHOWN
    yield raw.hex(), _AS_HEX, problem, _AS_SHOWN


def try_other_secrets(tester: VariantTester) -> SignatureFinding | None:
    """Try the secrets of other sources and those in the environment."""
    own = {secret.reveal() for secret in tester.own}
    for known in tester.case.others:
        if known.secret.reveal() not in own and tester.fits(known.secret, AS_RECEIVED):
            return explain_handshake_secret(tester.case, known) or _explain_other_secret(tester.case, known)
    return None


def explain_handshake_secret(case: SignatureCase, known: KnownSecret) -> SignatureFinding | None:
    """Report that a handshake brought the matching secret; None if that secret is saved somewhere."""
    kind, _, number = known.secret.reference.partition(" ")
    if kind != "handshake":
        return None
    variable = default_secret_variable(case.source)
    checked = [secret.reference for secret in case.source.secrets]
    fix, line = f"Save what event {number} brought in .env, and restart relay:", f"{variable}="
    if checked:
        both = ", ".join(f'"{reference}"' for reference in (*checked, f"env:{variable}_2"))
        fix = f"Save what event {number} brought as {variable}_2, accept both under {case.header}, and restart relay:"
        line = f"secret = [{both}]"
    return SignatureFinding(
        cause="secret_of_handshake",
        title=f"Signed with the secret of handshake {number}",
        sentence=f"The signature fits the secret that {case.title} gave in event {number}, and that is saved nowhere.",
        fix=fix,
        line=line,
    )


def _explain_other_secret(case: SignatureCase, known: KnownSecret) -> SignatureFinding:
    fitting = format_secret_name(known.secret)
    checked = " and ".join(format_secret_name(secret) for secret in case.source.secrets) or "none"
    belongs = f", the secret of source {known.source}" if known.source else ""
    references = [*(secret.reference for secret in case.source.secrets), known.secret.reference]
    cause, title, more = _classify_secret(case, known)
    accept = "Accept both" if case.source.secrets else "Accept it"
    quoted = ", ".join(f'"{reference}"' for reference in references)
    return SignatureFinding(
        cause=cause,
        title=title,
        sentence=f"The signature fits {fitting}{belongs}. Source {case.source.name} checks {checked}.{more}",
        fix=f"{accept} in relay.toml under {case.header}, and restart relay:",
        line=f"secret = [{quoted}]" if len(references) > 1 else f"secret = {quoted}",
    )


def _classify_secret(case: SignatureCase, known: KnownSecret) -> tuple[str, str, str]:
    reference = known.secret.reference
    if _RETIRED.search(reference.partition(":")[2]):
        more = f" Finish the rotation at {case.title}, or accept both meanwhile."
        return "secret_retired", "Signed with a secret you replaced", more
    mode, other = _find_mode(reference), {_find_mode(secret.reference) for secret in case.source.secrets}
    if mode and mode not in other and (other - {""} or mode == "test"):
        more = " The provider keeps one secret for test mode and one for live mode."
        return "secret_of_other_mode", f"Signed with the {mode} mode secret", more
    # The CLI signs with its own secret, printed when it starts: https://docs.stripe.com/webhooks
    listens = case.source.provider == "stripe" and "CLI" in reference.upper()
    more = " You probably have stripe listen running while relay has the Dashboard secret." if listens else ""
    return "secret_of_other_source", "Signed with a different secret", more


def _find_mode(reference: str) -> str:
    return next((mode for mode, pattern in _MODES if pattern.search(reference.partition(":")[2])), "")


def explain_unreadable_secret(tester: VariantTester) -> SignatureFinding | None:
    """Describe which secrets are not keys of the scheme, so that no signature can match."""
    case = tester.case
    for secret in tester.own:
        problem = find_key_problem(case.source.scheme, secret) if case.source.scheme is not None else ""
        if problem:
            form = f"exactly as {case.title} shows it"
            if case.is_custom:
                form = (
                    f"in the form that {case.title} shows, or correct key under [sources.{case.source.name}.signature]"
                )
            return SignatureFinding(
                cause="secret_unreadable",
                title=f"{format_secret_name(secret)} {problem}",
                sentence="So it cannot produce a signature: neither the body nor the sender is the cause.",
                fix=f"Save it in {describe_secret_place(secret)} {form}, and restart relay.",
            )
    return None


def explain_wrong_credential(tester: VariantTester) -> SignatureFinding | None:
    """Report if the secret is another credential of the same provider, by its prefix."""
    provider = find_provider(tester.case.source.provider)
    other = provider.other_credential if provider else None
    if other is None:
        return None
    for secret in tester.own:
        start = next((prefix for prefix in other.prefixes if secret.reveal().startswith(prefix)), "")
        if start:
            name = format_secret_name(secret)
            return SignatureFinding(
                cause="secret_is_another_credential",
                title=f"{name} holds {other.title}, not a signing secret",
                sentence=f"It starts with {escape_unprintable(start)}, as {other.title} of {tester.case.title} does.",
                fix=f"Save {other.signing_secret} instead, and restart relay:",
                line=f"{name}=",
            )
    return None


def explain_other_token(tester: VariantTester) -> SignatureFinding:
    """Return the finding for an unknown token, which depends on nothing else."""
    known = " or ".join(format_secret_name(secret) for secret in tester.own)
    place = describe_secret_place(tester.own[0])
    return SignatureFinding(
        cause="other_token",
        title="A different token was received",
        sentence=f"It is not {known}, and no other secret within reach. A token covers nothing of the request, so a "
        "proxy cannot be the cause.",
        fix=f"Enter the same token at {tester.case.title} and in {place}, and restart relay.",
    )
