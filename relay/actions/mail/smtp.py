"""Sends a mail to an SMTP server: encrypted or not at all, to all recipients or none, 10 s a step."""

import asyncio
import base64
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPConnectTimeoutError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from relay.actions.mail import SmtpOptions
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded, Outcome
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

# Servers check a mail when it is complete; RFC 5321 would even wait ten minutes (4.5.3.2.6).
LAST_STEP = 6  # times as long

_FQDN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The SMTP envelope: plain addresses, which may differ from those in the headers."""

    sender: str
    to: tuple[str, ...]


CheckBeforeSending = Callable[[], Awaitable[Outcome | None]]
"""Asked when the server takes all recipients; an outcome instead of None keeps the mail back."""


class _NotSentError(Exception):
    """Ends the conversation with an outcome of relay's own."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


async def send_mail(
    source: bytes, envelope: Envelope, options: SmtpOptions, ready: CheckBeforeSending | None = None
) -> Outcome:
    """Send a mail to the server. 4xx and a lost connection are a Retry, 5xx is Failed, with the server's text.

    If one recipient is refused no one gets the mail, so that a retry cannot send it twice. A
    connection that was lost after the mail was sent over it makes the Retry unsure.
    """
    try:
        tls_context = await asyncio.to_thread(build_tls_context, options.ca_file, options.verify_tls)
    except OSError as error:
        return AttemptFailed(f"smtp.ca_file cannot be used: {escape_unprintable(str(error), 200)}")
    # As smtplib does: a name with a dot, else an address literal; a DNS lookup may take seconds.
    name = socket.gethostname()
    client = SMTP(
        hostname=options.host,
        port=options.port,
        timeout=options.timeout,
        use_tls=options.security == "tls",
        start_tls=False,
        tls_context=tls_context,
        local_hostname=name if _FQDN.fullmatch(name) else "[127.0.0.1]",
    )
    try:
        await client.connect()
        await _encrypt(client, options)
        await _log_in(client, options)
        outcome = await _send(client, source, envelope, options, ready)
        with suppress(SMTPException, OSError):  # the server has accepted the mail already
            await client.quit()
    except _NotSentError as error:
        return error.outcome
    except (SMTPException, OSError, ValueError) as error:
        return _describe_error(error, options)
    finally:
        client.close()
    return outcome


async def check_server(options: SmtpOptions) -> Outcome:
    """Connect, encrypt and log in, then disconnect: for `relay doctor`."""
    return await send_mail(b"", Envelope(sender="", to=()), options)


@lru_cache(maxsize=4)
def build_tls_context(ca_file: Path | None, verify: bool) -> ssl.SSLContext:
    """Return the TLS context of a server. Raises OSError for a file without certificates."""
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_loopback_host(host: str) -> bool:
    """Return whether a host is loopback by its name or number, without a lookup."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


async def _encrypt(client: SMTP, options: SmtpOptions) -> None:
    if options.security == "tls":
        return
    if options.security == "starttls" and await _offers(client, "starttls"):
        await client.starttls()
        return
    if not (options.insecure or is_loopback_host(options.host)):
        advice = "set smtp.insecure = true to allow that"
        raise _NotSentError(AttemptFailed(f"{options.address} offers no encryption; {advice}"))


async def _log_in(client: SMTP, options: SmtpOptions) -> None:
    if options.username is not None and options.password is not None:
        if not await _offers(client, "auth"):
            advice = "take username and password out of [smtp]"
            if options.security == "none" and await _offers(client, "starttls"):
                advice = 'it may after STARTTLS: set smtp.security = "starttls"'
            raise _NotSentError(AttemptFailed(f"{options.address} offers no login; {advice}"))
        await client.login(options.username.reveal(), options.password.reveal())


async def _offers(client: SMTP, extension: str) -> bool:
    if client.last_ehlo_response is None:
        await client.ehlo()
    return client.supports_extension(extension)


async def _send(
    client: SMTP, source: bytes, envelope: Envelope, options: SmtpOptions, ready: CheckBeforeSending | None
) -> Outcome:
    if not envelope.to:
        return AttemptSucceeded("the server is ready")
    how: dict[str, Any] = {}
    if not all(one.isascii() for one in (envelope.sender, *envelope.to)):
        if not await _offers(client, "smtputf8"):
            what = "takes no addresses beyond ASCII: it does not offer SMTPUTF8"
            raise _NotSentError(AttemptFailed(f"{options.address} {what}"))
        how = {"encoding": "utf-8", "options": ["SMTPUTF8", "BODY=8BITMIME"]}  # RFC 6531
    await client.mail(envelope.sender, **how)
    for recipient in envelope.to:
        await client.rcpt(recipient, encoding="utf-8")
    back = await ready() if ready else None
    if back is not None:
        return back
    try:
        reply = await client.data(source, timeout=options.timeout * LAST_STEP)
    except (SMTPServerDisconnected, SMTPTimeoutError, OSError) as error:
        # It received the whole mail, or nearly, and neither accepted nor refused it.
        lost = isinstance(error, SMTPServerDisconnected)
        how_lost = "hung up" if lost else f"did not answer within {options.timeout * LAST_STEP:g} s"
        raise _NotSentError(
            AttemptRetry(f"{options.address} was given the mail and {how_lost}", unsure=True)
        ) from error
    return AttemptSucceeded(_quote_reply(reply.code, reply.message, 200))


def _describe_error(error: Exception, options: SmtpOptions) -> Outcome:
    match error:
        case SMTPAuthenticationError():
            title = options.password.title if options.password else "smtp.password"
            return _describe_refusal(error, options, f"; check {title}")
        case SMTPRecipientRefused() if error.recipient not in error.message:
            return _describe_refusal(error, options, f"; it refuses {error.recipient}")
        case SMTPResponseException() if error.code < 200:
            return AttemptRetry(f"{options.address} does not speak SMTP")
        case SMTPResponseException():
            return _describe_refusal(error, options)
    return _describe_unreachable(error, options)


def _describe_refusal(error: SMTPResponseException, options: SmtpOptions, advice: str = "") -> Outcome:
    words = _quote_reply(error.code, _without_secrets(error.message, options), 300) + advice
    return AttemptRetry(words) if 400 <= error.code < 500 else AttemptFailed(words)


def _quote_reply(code: int, message: str, limit: int) -> str:
    """Return a server's reply, which may have several lines, as one line."""
    return escape_unprintable(f"{code} {message.replace(chr(10), ' ')}", limit)


def _describe_unreachable(error: Exception, options: SmtpOptions) -> Outcome:
    server = options.address
    cause = error.__cause__ or error
    unsafe = next((one for one in (error, cause) if isinstance(one, ssl.SSLError)), None)
    if isinstance(unsafe, ssl.SSLCertVerificationError):
        why = escape_unprintable(unsafe.verify_message, 200)
        return AttemptFailed(f"the certificate of {server} is not trusted: {why}; name its CA in smtp.ca_file")
    if unsafe is not None:
        return AttemptRetry(f"{server} does not speak TLS")
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        connecting = isinstance(error, SMTPConnectTimeoutError)
        what = f"cannot reach {server}" if connecting else f"{server} stopped answering"
        return AttemptRetry(f"{what} (timed out after {options.timeout:g} s)", unreachable=connecting)
    if isinstance(error, SMTPServerDisconnected):
        return AttemptRetry(f"{server} hung up")
    if isinstance(error, SMTPConnectError):
        return AttemptRetry(f"cannot reach {server} ({_connection_reason(cause)})", unreachable=True)
    return AttemptRetry(f"{server}: {escape_unprintable(_without_secrets(str(error), options), 200)}")


def _connection_reason(cause: BaseException) -> str:
    match cause:
        case socket.gaierror():
            return "no such host"
        case ConnectionRefusedError():
            return "connection refused"
        case OSError() if cause.strerror:
            return cause.strerror.lower()
    return "it hung up" if isinstance(cause, SMTPServerDisconnected) else "no connection"


def _without_secrets(text: str, options: SmtpOptions) -> str:
    """Return a server's reply without relay's credentials, in case it echoes them."""
    name, word = (secret.reveal() if secret else "" for secret in (options.username, options.password))
    encoded = (base64.b64encode(form.encode()).decode() for form in (f"\0{name}\0{word}", word, name))
    # A user name that is a word (`resend`, `apikey`) is not secret, and servers use it in replies; a key in capitals
    # (`AKIA…`) may consist of letters only.
    for form in (*encoded, word, "" if name.isalpha() and name.islower() else name):
        if len(form) >= 4:
            text = text.replace(form, "••••")
    return text
