"""Who answers: a connection is opened and closed again, nothing is sent."""

import asyncio
from contextlib import suppress

from relay.actions.email import EmailOptions
from relay.actions.outgoing import ForwardOptions
from relay.dial import check_syntax
from relay.mail.smtp import SmtpOptions
from relay.model.delivery import Target

BRIEF = 0.7  # seconds, where a person waits for the banner
PATIENT = 5.0


async def connects(host: str, port: int, seconds: float) -> str:
    """Return "" when something takes connections there, else why not in a few words."""
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer in {seconds:g} s"
    except OSError as error:
        return (
            "connection refused"
            if isinstance(error, ConnectionRefusedError)
            else error.strerror or "no connection"
        )
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return ""


async def greets(smtp: SmtpOptions, seconds: float) -> str:
    """Return "" when a mail server greets there, else why not in a few words."""
    if smtp.security == "tls":
        return await connects(smtp.host, smtp.port, seconds)
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(smtp.host, smtp.port)
            greeting = await reader.read(3)
    except TimeoutError:
        return f"no greeting in {seconds:g} s"
    except OSError as error:
        return error.strerror or "no connection"
    writer.close()
    return "" if greeting == b"220" else "it does not greet as a mail server does"


async def target_answers(target: Target, smtp: SmtpOptions | None, seconds: float) -> str:
    """Return "" when a target can take something now, else why not. Mail without SMTP is kept, which works."""
    match target.options:
        case ForwardOptions(url=url):
            place = check_syntax(url)
            return await connects(place.host, place.port, seconds)
        case EmailOptions() if smtp is not None:
            return await greets(smtp, seconds)
    return ""
