"""Another sender: another provider, or the same one signing in another way."""

import dataclasses
from collections.abc import Iterator
from itertools import product

from relay.providers.catalogue import PROVIDERS, recognise_provider
from relay.providers.doctor.case import (
    KnownSecret,
    SignatureCase,
    SignatureFinding,
    VariantTester,
    format_secret_name,
    list_header_names,
    list_schemes,
)
from relay.providers.provider import Provider
from relay.providers.schemes import Algo, Encoding, Hmac, KeyForm, KeyFormat, template

# Headers that any client sends say nothing of who it is.
_COMMON_HEADERS = frozenset({"user-agent", "accept", "accept-encoding", "content-type", "connection", "cache-control"})


def find_other_provider(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Say whose headers these are, when they are not those of the source's provider."""
    case = tester.case
    sender = recognise_other_provider(case)
    if sender is None:
        return
    own = (KnownSecret(secret=secret) for secret in tester.own)
    fitting = tester.find_fitting_secret((*case.others, *own), sender)
    sign = next((name for name in sender.own_headers if case.capture.header(name) is not None), "")
    fits = f" The signature fits {format_secret_name(fitting.secret)}." if fitting else ""
    place = f" of source {fitting.source}" if fitting and fitting.source else ""
    name = fitting.source if fitting and fitting.source else sender.name
    yield SignatureFinding(
        cause="other_provider",
        title=f"This looks like a {sender.title} signature",
        sentence=f"The request carries {sign}, which {sender.title} sends, and this address checks for "
        f"{case.title}.{fits}",
        fix=f"Paste the address{place} at {sender.title} instead:",
        line=f"{case.base}/webhooks/{name}",
        certain=True,
    )


def recognise_other_provider(case: SignatureCase) -> Provider | None:
    """Return the provider whose headers came, when it is plainly not the source's own."""
    sender = recognise_provider(case.capture)
    if sender is None or sender.name == case.source.provider or case.source.scheme is None:
        return None
    own = PROVIDERS.get(case.source.provider)
    expected = {name.lower() for name in (*list_header_names(case.source.scheme), *(own.own_headers if own else ()))}
    came = {name.lower() for name, _ in case.capture.headers}
    # Resend signs with Svix's headers, Gitea sends GitHub's along: what the source expects counts.
    return None if any(name.lower() in expected for name in sender.own_headers if name.lower() in came) else sender


def try_other_schemes(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try every way of signing in the catalogue that the request could be of."""
    case = tester.case
    identified = _is_identified(case)
    for provider in PROVIDERS.values():
        if provider.name == case.source.provider or (identified and not _is_related(case, provider)):
            continue
        for scheme in provider.schemes:
            if not scheme.presented(case.capture):
                continue
            for secret in tester.own:
                if tester.fits(secret, "Other providers' ways to sign", scheme=scheme):
                    yield SignatureFinding(
                        cause="other_scheme",
                        title=f"Signed the way {provider.title} does, not the way {case.title} does",
                        sentence=f"{format_secret_name(secret)} gives this signature by {scheme.title} "
                        f"as {provider.title} uses it.",
                        fix=f"If that is what sends here, say so under {case.header}, and restart relay:",
                        line=f'provider = "{provider.name}"',
                        certain=True,
                    )
                    return


def _is_identified(case: SignatureCase) -> bool:
    """Say whether headers besides the signature's show that the request is the source's own provider's."""
    own = PROVIDERS.get(case.source.provider)
    if own is None:
        return False
    signing = {name.lower() for name in list_header_names(case.source.scheme)}
    named = (
        {name.lower() for name in (*own.own_headers, *(name for name, _ in own.companions))} - signing - _COMMON_HEADERS
    )
    return any(name.lower() in named for name, _ in case.capture.headers)


def _is_related(case: SignatureCase, provider: Provider) -> bool:
    """Say whether a provider is another way of the same one to sign, or shows headers of its own as well."""
    came = {name.lower() for name, _ in case.capture.headers}
    return provider.name.startswith(f"{case.source.provider}-") or any(
        name.lower() in came for name in provider.own_headers
    )


_DIGEST_NAMES: tuple[Algo, ...] = ("sha256", "sha1", "sha512")
_ENCODINGS: tuple[Encoding, ...] = ("hex", "base64", "base64url")
_KEY_FORMS: tuple[KeyForm, ...] = ("text", "base64", "base64url", "hex")
_CONTENTS = (
    "{body}",
    "{url}{body}",
    "{body}{url}",
    "{method}{url}{body}",
    "{method}{path}{body}",
    "{method}{target}{body}",
)
_TIMED_CONTENTS = (
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "{body}{timestamp}",
)
_CONTENTS_WITH_ID = ("{id}.{timestamp}.{body}", "{id}{timestamp}{body}", "{id}.{body}")


def try_other_declarations(tester: VariantTester) -> Iterator[SignatureFinding]:
    """Try the neighbours of a declared HMAC: digest, encoding, key and content, one or more of them."""
    if tester.case.source.provider != "custom":
        return
    for declared in list_schemes(tester.case.source.scheme):
        if not isinstance(declared, Hmac):
            continue
        for variant, lines in list_neighbours(declared):
            for secret in tester.own:
                if tester.fits(secret, "Other declarations", scheme=variant):
                    named = ", ".join(line.partition(" ")[0] for line in lines)
                    yield SignatureFinding(
                        cause="other_declaration",
                        title=f"The declared scheme differs from the sender's: {named}",
                        sentence=f"{format_secret_name(secret)} gives this signature with {' and '.join(lines)}.",
                        fix=f"Correct [sources.{tester.case.source.name}.signature], and restart relay:",
                        line="\n".join(lines),
                        certain=True,
                    )
                    return


def list_neighbours(declared: Hmac) -> Iterator[tuple[Hmac, tuple[str, ...]]]:
    """Return the schemes near a declared one, fewest changes first, each with its lines for relay.toml."""
    written = declared.signed.text.replace("{ts}", "{timestamp}")
    whole = (written.replace("{path}", "{target}"),) if "{path}" in written else ()
    contents = (
        written,
        *whole,
        *_CONTENTS,
        *(_TIMED_CONTENTS if declared.time else ()),
        *(_CONTENTS_WITH_ID if declared.ident else ()),
    )
    found: list[tuple[Hmac, tuple[str, ...]]] = []
    for algo, encoding, form, content in product(_DIGEST_NAMES, _ENCODINGS, _KEY_FORMS, dict.fromkeys(contents)):
        changes = {
            "digest": (algo, declared.algo),
            "encoding": (encoding, declared.encoding),
            "key": (form, declared.key.form),
            "content": (content, written),
        }
        lines = tuple(f'{name} = "{new}"' for name, (new, old) in changes.items() if new != old)
        if lines:
            signed = declared.signed if content == changes["content"][1] else template(content)
            key = declared.key if form == declared.key.form else KeyFormat(form=form)
            found.append((dataclasses.replace(declared, algo=algo, encoding=encoding, key=key, signed=signed), lines))
    yield from sorted(found, key=lambda pair: len(pair[1]))
