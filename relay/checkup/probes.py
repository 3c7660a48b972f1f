"""Which targets answer: a connection is opened and closed again, nothing is sent."""

import asyncio

from relay import dial
from relay.actions.email import EmailOptions
from relay.actions.outgoing import ForwardOptions
from relay.dial import Destination
from relay.errors import TargetError
from relay.mail.smtp import SmtpOptions
from relay.model.delivery import Target

BRIEF = 0.7  # seconds, where a person waits for the banner
PATIENT = 5.0


async def target_answers(target: Target, smtp: SmtpOptions | None, seconds: float) -> str:
    """Return "" when a target can take something now, else why not. Mail without SMTP is kept, which works."""
    try:
        async with asyncio.timeout(seconds):
            match target.options:
                case ForwardOptions(url=url):
                    return await _knocked(await dial.check_target(url, dial.Rules()))
                case EmailOptions() if smtp is not None and smtp.blocked:
                    return f"{smtp.blocked}; it waits"
                case EmailOptions() if smtp is not None:
                    return await _knocked(await _server(smtp))
    except TimeoutError:
        return f"no answer in {seconds:g} s"
    except TargetError as error:
        return error.full_text
    return ""


async def _knocked(place: Destination) -> str:
    return "" if await dial.knock(place) else "does not answer"


async def _server(smtp: SmtpOptions) -> Destination:
    addresses = await dial.resolve(smtp.host, smtp.port)
    return Destination(scheme="http", host=smtp.host, port=smtp.port, path="/", query="", addresses=addresses)
