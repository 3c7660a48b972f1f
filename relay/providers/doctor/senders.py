"""Somebody else sent this: another provider, or the same one signing in another way."""

from collections.abc import Iterator

from relay.providers.catalogue import PROVIDERS, recognise
from relay.providers.doctor.bench import Bench, header_names, leaves
from relay.providers.doctor.case import Case, Finding, Known, name_of
from relay.providers.provider import Provider

_ANYBODYS = frozenset(
    {"user-agent", "accept", "accept-encoding", "content-type", "connection", "cache-control"}
)


def another_provider(bench: Bench) -> Iterator[Finding]:
    """Say whose headers these are, when they are not those of the source's provider."""
    case = bench.case
    sender = foreign(case)
    if sender is None:
        return
    fitting = _fitting(bench, sender)
    sign = next((name for name in sender.recognise if case.capture.header(name) is not None), "")
    fits = f" The signature fits {name_of(fitting.secret)}." if fitting else ""
    place = f" of source {fitting.source}" if fitting and fitting.source else ""
    name = fitting.source if fitting and fitting.source else sender.name
    yield Finding(
        cause="other_provider",
        title=f"This looks like a {sender.title} signature",
        sentence=f"The request carries {sign}, which {sender.title} sends, and this address checks for "
        f"{case.title}.{fits}",
        fix=f"Paste the address{place} at {sender.title} instead:",
        line=f"{case.base}/webhooks/{name}",
        certain=True,
    )


def foreign(case: Case) -> Provider | None:
    """Return the provider whose headers came, when it is plainly not the source's own."""
    sender = recognise(case.capture)
    if sender is None or sender.name == case.source.provider or case.source.scheme is None:
        return None
    own = PROVIDERS.get(case.source.provider)
    expected = {name.lower() for name in (*header_names(case.source.scheme), *(own.recognise if own else ()))}
    came = {name.lower() for name, _ in case.capture.headers}
    # Resend signs with Svix's headers, Gitea sends GitHub's along: what the source expects counts.
    return (
        None if any(name.lower() in expected for name in sender.recognise if name.lower() in came) else sender
    )


def another_way(bench: Bench) -> Iterator[Finding]:
    """Try every way of signing in the catalogue that the request could be of."""
    case = bench.case
    known = tuple(Known(secret=secret, source=case.source.name) for secret in bench.own)
    identified = _shows_itself(case)
    for provider in PROVIDERS.values():
        if provider.name == case.source.provider or (identified and not _is_kin(case, provider)):
            continue
        for scheme in provider.schemes:
            if not scheme.presented(case.capture):
                continue
            for item in known:
                if bench.fits(item.secret, "Other providers' ways to sign", scheme=scheme):
                    yield Finding(
                        cause="other_scheme",
                        title=f"Signed the way {provider.title} does, not the way {case.title} does",
                        sentence=f"{name_of(item.secret)} gives this signature by {scheme.title} as {provider.title} "
                        "uses it.",
                        fix=f"If that is what sends here, say so under {case.header}, and restart relay:",
                        line=f'provider = "{provider.name}"',
                        certain=True,
                    )
                    return


def _shows_itself(case: Case) -> bool:
    """Say whether headers besides the signature's show that the request is the source's own provider's."""
    own = PROVIDERS.get(case.source.provider)
    if own is None:
        return False
    signing = {name.lower() for name in header_names(case.source.scheme)}
    named = (
        {name.lower() for name in (*own.recognise, *(name for name, _ in own.companions))}
        - signing
        - _ANYBODYS
    )
    return any(name.lower() in named for name, _ in case.capture.headers)


def _is_kin(case: Case, provider: Provider) -> bool:
    """Say whether a provider is another way of the same one to sign, or shows headers of its own as well."""
    came = {name.lower() for name, _ in case.capture.headers}
    return provider.name.startswith(f"{case.source.provider}-") or any(
        name.lower() in came for name in provider.recognise
    )


def _fitting(bench: Bench, sender: Provider) -> Known | None:
    own = tuple(Known(secret=secret) for secret in bench.own)
    for known in (*bench.case.others, *own):
        for scheme in leaves(sender.scheme):
            if bench.fits(known.secret, f"As {sender.title} signs", scheme=scheme):
                return known
    return None
