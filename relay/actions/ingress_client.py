"""Posts a prepared request to relay's own ingress, through a real socket."""

import io

import aiohttp
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from relay.errors import RelayError
from relay.model.event import Capture

SAMPLE_HEADER = "X-Relay-Sample"  # marks a request that relay itself triggers
EVENT_HEADER = "X-Relay-Event"  # the id of the event that it became
_SKIPPED_HEADERS = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)
_TIMEOUT = aiohttp.ClientTimeout(total=30)


class IngressError(RelayError):
    """relay's own ingress refused a sample."""

    status = 502
    code = "ingress"


async def post_sample(capture: Capture, ingress_url: str, nonce: str) -> int:
    """Send a sample as its provider would and return the id of the event it became.

    Raises IngressError with the response of the ingress.
    """
    url = URL(ingress_url + capture.path + (f"?{capture.query}" if capture.query else ""), encoded=True)
    headers = CIMultiDict(capture.headers)
    headers[SAMPLE_HEADER] = nonce
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False, trust_env=False) as session,
        session.request(
            capture.method,
            url,
            data=io.BytesIO(capture.body),
            headers=headers,
            skip_auto_headers=_SKIPPED_HEADERS,
            allow_redirects=False,
        ) as response,
    ):
        made = response.headers.get(EVENT_HEADER, "")
        if not made.isdigit():
            raise IngressError(f"the ingress answered {response.status} and kept nothing", hint="relay doctor")
        return int(made)
