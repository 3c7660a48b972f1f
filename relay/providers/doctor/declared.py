"""A scheme of the user's own, declared a little differently from how the sender signs."""

import dataclasses
from collections.abc import Iterator
from itertools import product

from relay.providers.doctor.bench import Bench, leaves
from relay.providers.doctor.case import Finding, name_of
from relay.providers.schemes import Algo, Encoding, Form, Hmac, Key, template

_DIGESTS: tuple[Algo, ...] = ("sha256", "sha1", "sha512")
_ENCODINGS: tuple[Encoding, ...] = ("hex", "base64", "base64url")
_KEYS: tuple[Form, ...] = ("text", "base64", "base64url", "hex")
_CONTENTS = (
    "{body}",
    "{url}{body}",
    "{body}{url}",
    "{method}{url}{body}",
    "{method}{path}{body}",
    "{method}{target}{body}",
)
_TIMED = (
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "{body}{timestamp}",
)
_IDENTIFIED = ("{id}.{timestamp}.{body}", "{id}{timestamp}{body}", "{id}.{body}")


def other_declaration(bench: Bench) -> Iterator[Finding]:
    """Try the neighbours of a declared HMAC: digest, encoding, key and content, one or more of them."""
    if bench.case.source.provider != "custom":
        return
    for declared in leaves(bench.case.source.scheme):
        if not isinstance(declared, Hmac):
            continue
        for variant, lines in neighbours(declared):
            for secret in bench.own:
                if bench.fits(secret, "Other declarations", scheme=variant):
                    named = ", ".join(line.partition(" ")[0] for line in lines)
                    yield Finding(
                        cause="other_declaration",
                        title=f"The declared scheme differs from the sender's: {named}",
                        sentence=f"{name_of(secret)} gives this signature with {' and '.join(lines)}.",
                        fix=f"Correct [sources.{bench.case.source.name}.signature], and restart relay:",
                        line="\n".join(lines),
                        certain=True,
                    )
                    return


def neighbours(declared: Hmac) -> Iterator[tuple[Hmac, tuple[str, ...]]]:
    """Return the schemes near a declared one, fewest changes first, each with its lines for relay.toml."""
    written = declared.signed.text.replace("{ts}", "{timestamp}")
    whole = (written.replace("{path}", "{target}"),) if "{path}" in written else ()
    contents = (
        written,
        *whole,
        *_CONTENTS,
        *(_TIMED if declared.time else ()),
        *(_IDENTIFIED if declared.ident else ()),
    )
    found: list[tuple[Hmac, tuple[str, ...]]] = []
    for algo, encoding, form, content in product(_DIGESTS, _ENCODINGS, _KEYS, dict.fromkeys(contents)):
        changes = {
            "digest": (algo, declared.algo),
            "encoding": (encoding, declared.encoding),
            "key": (form, declared.key.form),
            "content": (content, written),
        }
        lines = tuple(f'{name} = "{new}"' for name, (new, old) in changes.items() if new != old)
        if lines:
            signed = declared.signed if content == changes["content"][1] else template(content)
            key = declared.key if form == declared.key.form else Key(form=form)
            found.append(
                (dataclasses.replace(declared, algo=algo, encoding=encoding, key=key, signed=signed), lines)
            )
    yield from sorted(found, key=lambda pair: len(pair[1]))
