"""Recipients of mail: addresses are parsed by email-validator and must be allowed by relay.toml."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from relay.errors import MailError
from relay.model.text import escape_unprintable

if TYPE_CHECKING:
    from email_validator import ValidatedEmail

MAX_RECIPIENTS = 50

# Reserved names that never leave this computer and are common in development.
_LOCAL_DOMAIN = re.compile(r"((?:@|\.)localhost|\.local)(>?)$", re.IGNORECASE)
_TEST_DOMAIN = ".test"
_NAMED = re.compile(r'(?P<name>[^<>"\\]*[^<>"\\ ]) *<(?P<address>[^<>]+)>')
_LONGEST_ADDRESS = 400  # characters of a name and an address; email-validator itself limits the address to 254


class AddressError(MailError):
    """A text that is not one mail address; `why` continues the sentence `is not one mail address`."""

    def __init__(self, text: str, why: str) -> None:
        self.why = escape_unprintable(why, 200)
        super().__init__(
            f"'{escape_unprintable(text, 80)}' is not one mail address: {self.why}",
            hint="use one plain address such as ada@example.com for each recipient",
        )


def parse_address(text: str) -> str:
    """Return the one address in `text`: `a@example.com` or `Name <a@example.com>`.

    Its domain is converted to ASCII (`xn--…`); the local part may not be ASCII, and then needs
    SMTPUTF8. The domain is not looked up. Raises AddressError for anything else: two
    addresses, comments, quoted local parts, line breaks, reserved names.
    """
    return parse_named_address(text)[1]


def parse_named_address(text: str) -> tuple[str, str]:
    """Return display name ("" for none) and address. Raises AddressError as `one_address` does.

    A name needs no quotes: they are only required in a mail's header, and people write `Jörg Müller <j@example.com>`.
    """
    text = text.strip(" ")
    typed = _NAMED.fullmatch(text) if len(text) <= _LONGEST_ADDRESS else None
    name = typed["name"].strip(" ") if typed else ""
    if not name.isprintable():
        raise AddressError(text, "its name holds a line break or another control character")
    if typed is None or ("@" in name and re.search("[,;]", name)):
        found, home = _validate(text)
        name = found.display_name or ""
    else:
        found, home = _validate(typed["address"])
    domain = found.ascii_domain or ""
    address = f"{found.local_part}@{domain.removesuffix(_TEST_DOMAIN) if home else domain}"
    return name, address


def is_permitted(address: str, allowed: tuple[str, ...]) -> bool:
    """Return whether an address matches one of the patterns (`*@example.com`), ignoring case."""
    forms = {address.lower(), _to_unicode(address).lower()}
    return any(fnmatchcase(form, pattern.lower()) for pattern in allowed for form in forms)


def check_recipients(to: tuple[str, ...], fixed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Raise MailError for recipients that the configuration does not allow.

    If `allowed` is given, only it decides; without it only `fixed`, the literal addresses of the
    configuration, may get mail: an address from a payload never may. Raises MailError.
    """
    known = {address.lower() for address in fixed}
    for address in to:
        if is_permitted(address, allowed) or (not allowed and address.lower() in known):
            continue
        raise MailError(
            f"{address} is not among the allowed recipients",
            hint=f'allow it with allow_recipients = ["*@{address.rpartition("@")[2]}"] under [smtp]',
        )


def _validate(text: str) -> "tuple[ValidatedEmail, bool]":
    """Return email-validator's result, and whether the domain is a reserved one.

    Reserved domains are checked as if they were below .test, which test_environment allows.
    """
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - 20 ms, for mails alone

    if len(text) > _LONGEST_ADDRESS:
        raise AddressError(text, f"it has more than {_LONGEST_ADDRESS} characters")
    home = _LOCAL_DOMAIN.search(text) is not None
    asked = _LOCAL_DOMAIN.sub(rf"\1{_TEST_DOMAIN}\2", text) if home else text
    try:
        found = validate_email(
            asked, check_deliverability=False, test_environment=True, allow_display_name=True, strict=True
        )
    except EmailNotValidError as error:
        why = str(error).rstrip(".").replace(". It", ", it")
        raise AddressError(text, why[:1].lower() + why[1:]) from error
    if "=?" in found.local_part:
        # Formally valid, but a mail program would treat it as an encoded word.
        raise AddressError(text, "it looks like an encoded word of a header")
    return found, home


def _to_unicode(address: str) -> str:
    if "xn--" not in address:
        return address
    from email_validator import validate_email  # noqa: PLC0415 - as above

    return validate_email(address, check_deliverability=False, test_environment=True).normalized
