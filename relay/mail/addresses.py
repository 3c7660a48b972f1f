"""Who may get mail: one plain address at a time, and only those that the configuration allows."""

import re
from fnmatch import fnmatchcase

from relay.errors import MailError
from relay.model.text import printable

MAX_RECIPIENTS = 50

_ATOM = r"[A-Za-z0-9!#$&'*+/=^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?P<domain>{_LABEL}(?:\.{_LABEL})*)")
_NAMED = re.compile(r'(?P<name>[^<>@,;:"\\\x00-\x1f\x7f]*|"[^"\\<>@\x00-\x1f\x7f]*") *<(?P<address>[^<>]*)>')


def one_address(text: str) -> str:
    """Return the one plain address in `text`: `a@example.com` or `Name <a@example.com>`.

    Raises MailError for anything else: two addresses, comments, quoted local parts, line breaks.
    """
    return named_address(text)[1]


def named_address(text: str) -> tuple[str, str]:
    """Return display name ("" for none) and address. Raises MailError as `one_address` does."""
    text = text.strip(" ")
    named = _NAMED.fullmatch(text)
    name, address = (named["name"].strip(' "'), named["address"]) if named else ("", text)
    found = _ADDRESS.fullmatch(address)
    # RFC 5321, 4.5.3.1: 64 octets before the @, 254 in all.
    if found is None or len(found["local"]) > 64 or len(address) > 254:
        raise MailError(
            f"'{printable(text, 80)}' is not one mail address",
            hint="use one plain address such as ada@example.com for each recipient",
        )
    return name, address


def permitted(address: str, allowed: tuple[str, ...]) -> bool:
    """Say whether an address fits one of the patterns (`*@example.com`), without regard to case."""
    return any(fnmatchcase(address.lower(), pattern.lower()) for pattern in allowed)


def check_recipients(to: tuple[str, ...], fixed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Refuse recipients that the configuration does not name.

    `allowed` decides alone where it is given; without it only `fixed`, those written out in the
    configuration, may get mail: an address out of a payload never may. Raises MailError.
    """
    known = {address.lower() for address in fixed}
    for address in to:
        if permitted(address, allowed) or (not allowed and address.lower() in known):
            continue
        raise MailError(
            f"{address} is not among the allowed recipients",
            hint='allow it with allow_recipients = ["*@example.com"] under [smtp]',
        )
