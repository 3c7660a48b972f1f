"""Handing one mail to an SMTP server: encrypted or not at all, all recipients or none, 10 s a step."""

import asyncio
import base64
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPConnectTimeoutError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from relay.model.delivery import Failed, Outcome, Retry, Succeeded
from relay.model.secret import Secret
from relay.model.text import printable

STEP_SECONDS = 10.0

_FQDN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpOptions:
    """The table [smtp]. `security` is starttls, tls or none; `timeout` in seconds for each step.

    `insecure` allows a server elsewhere that offers no encryption. Without `allow_recipients` only
    addresses written out in the configuration get mail. `locked` names credentials whose values are in
    the vault while that is locked: nothing is handed over meanwhile.
    """

    host: str
    port: int = 587
    security: str = "starttls"
    username: Secret | None = None
    password: Secret | None = None
    sender: str = "relay@localhost"
    allow_recipients: tuple[str, ...] = ()
    insecure: bool = False
    timeout: float = STEP_SECONDS
    locked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who a mail is handed over for: plain addresses, which need not be those of its headers."""

    sender: str
    to: tuple[str, ...]


class _NoEncryptionError(Exception):
    pass


async def hand_over(
    source: bytes,
    envelope: Envelope,
    options: SmtpOptions,
    trust: ssl.SSLContext | None = None,
) -> Outcome:
    """Give a mail to the server. 4xx and a lost connection are a Retry, 5xx is Failed, in its own words.

    If one recipient is refused nobody gets the mail, so that trying again cannot send it twice.
    `trust` says which certificates hold; None means those the system trusts.
    """
    client = SMTP(
        hostname=options.host,
        port=options.port,
        timeout=options.timeout,
        use_tls=options.security == "tls",
        start_tls=False,
        tls_context=trust,
        local_hostname=_own_name(),
    )
    try:
        await client.connect()
        await _encrypt(client, options)
        await _log_in(client, options)
        outcome = await _send(client, source, envelope)
        await _quit(client)
    except (SMTPException, OSError, ValueError, _NoEncryptionError) as error:
        return _explained(error, options)
    finally:
        client.close()
    return outcome


async def probe(options: SmtpOptions, trust: ssl.SSLContext | None = None) -> Outcome:
    """Connect, encrypt and log in, then leave: for `relay doctor`."""
    return await hand_over(b"", Envelope(sender="", to=()), options, trust)


def on_this_computer(host: str) -> bool:
    """Say whether a host is loopback by its name or number alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


async def _encrypt(client: SMTP, options: SmtpOptions) -> None:
    if options.security == "tls":
        return
    if options.security == "starttls":
        await client.ehlo()
        if client.supports_extension("starttls"):
            await client.starttls()
            return
    if not (options.insecure or on_this_computer(options.host)):
        raise _NoEncryptionError


async def _log_in(client: SMTP, options: SmtpOptions) -> None:
    if options.username is not None:
        password = options.password.reveal() if options.password else ""
        await client.login(options.username.reveal(), password)


async def takes_connections(options: SmtpOptions, seconds: float = 2.0) -> bool:
    """Say whether the server takes a connection; nothing is said over it."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(options.host, options.port)
    except OSError:
        return False
    writer.close()
    return True


async def _send(client: SMTP, source: bytes, envelope: Envelope) -> Outcome:
    if not envelope.to:
        return Succeeded("the server is ready")
    await client.mail(envelope.sender)
    for recipient in envelope.to:
        await client.rcpt(recipient)
    reply = await client.data(source)
    return Succeeded(printable(f"{reply.code} {reply.message}", 200))


async def _quit(client: SMTP) -> None:
    try:
        await client.quit()
    except (SMTPException, OSError):
        return  # the mail is with the server; how it says goodbye changes nothing


def _explained(error: Exception, options: SmtpOptions) -> Outcome:
    server = f"{options.host}:{options.port}"
    match error:
        case _NoEncryptionError():
            return Failed(f"{server} offers no encryption; set smtp.insecure = true to allow that")
        case SMTPAuthenticationError():
            title = options.password.title if options.password else "smtp.password"
            return _refused(error, options, f"; check {title}")
        case SMTPResponseException() if error.code < 200:
            return Retry(f"{server} does not speak SMTP")
        case SMTPResponseException():
            return _refused(error, options)
    return _unreachable(error, options, server)


def _refused(error: SMTPResponseException, options: SmtpOptions, advice: str = "") -> Outcome:
    words = printable(f"{error.code} {_without_secrets(error.message, options)}", 300) + advice
    return Retry(words) if 400 <= error.code < 500 else Failed(words)


def _unreachable(error: Exception, options: SmtpOptions, server: str) -> Outcome:
    cause = error.__cause__ or error
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        why = (
            getattr(error if isinstance(error, ssl.SSLError) else cause, "verify_message", "")
            or "no TLS there"
        )
        return Retry(f"cannot talk to {server} in secret: {printable(why, 200)}")
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        connecting = isinstance(error, SMTPConnectTimeoutError)
        what = f"cannot reach {server}" if connecting else f"{server} stopped answering"
        return Retry(f"{what} (timed out after {options.timeout:g} s)", unreachable=connecting)
    if isinstance(error, SMTPServerDisconnected):
        return Retry(f"{server} hung up")
    if isinstance(error, SMTPConnectError):
        return Retry(f"cannot reach {server} ({_reason(cause)})", unreachable=True)
    return Retry(f"{server}: {printable(_without_secrets(str(error), options), 200)}")


def _reason(cause: BaseException) -> str:
    match cause:
        case socket.gaierror():
            return "no such host"
        case ConnectionRefusedError():
            return "connection refused"
        case OSError() if cause.strerror:
            return cause.strerror.lower()
    return "it hung up" if isinstance(cause, SMTPServerDisconnected) else "no connection"


def _without_secrets(text: str, options: SmtpOptions) -> str:
    """Return a server's words with our credentials taken out, should it echo them."""
    name, word = (secret.reveal() if secret else "" for secret in (options.username, options.password))
    encoded = (base64.b64encode(form.encode()).decode() for form in (f"\0{name}\0{word}", word, name))
    for form in (*encoded, word, name):
        if len(form) >= 4:
            text = text.replace(form, "••••")
    return text


def _own_name() -> str:
    # As smtplib does: a name with a dot, else an address literal; asking DNS for it may take seconds.
    name = socket.gethostname()
    return name if _FQDN.fullmatch(name) else "[127.0.0.1]"
