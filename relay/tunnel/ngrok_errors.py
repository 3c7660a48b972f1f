"""Explains the errors of ngrok's agent, with what to do about them."""

import re
from collections.abc import Callable

from relay.errors import TunnelError
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.tunnel.base import RefusedError

_CODE = re.compile(r"ERR_NGROK_(\d+)")
_TOKEN_LINE = re.compile(r"(your authtoken:\s*)\S+", re.IGNORECASE)
_NOISE = re.compile(r"^(?:ERROR:\s*)?(?:authentication failed: |failed to start tunnel: )?")

_UNTRUSTED = ("x509", "tls: ", "certificate")
_OFFLINE = (
    "no such host",
    "has no records",
    "dial tcp",
    "i/o timeout",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "failed to dial",
    "failed to send authentication request",
    "context deadline exceeded",
    "EOF",
)


@dataclass(frozen=True, slots=True)
class NgrokFailure:
    """A failure of the agent: message and hint, and when to retry.

    `again` is in seconds; None means never, because nothing changes while relay runs. A `passing` fault follows the
    usual backoff. `{domain}`, `{token}` and `{others}` are replaced by what the configuration says.
    """

    sentence: str
    hint: str
    again: float | None = 60.0
    passing: bool = False


_TOKEN_PAGE = "https://dashboard.ngrok.com/get-started/your-authtoken"  # noqa: S105 - the page, not a token

_REFUSED_TOKEN = NgrokFailure("ngrok refused the authtoken", f"compare {{token}} with {_TOKEN_PAGE}", again=None)
NO_TOKEN = NgrokFailure("ngrok has no authtoken", f"set NGROK_AUTHTOKEN to the one on {_TOKEN_PAGE}", again=None)
_TOO_OLD = NgrokFailure("ngrok no longer serves an agent this old", "run: ngrok update")
_ACCOUNT = NgrokFailure("the ngrok account is suspended or unpaid", "see https://dashboard.ngrok.com/billing")
_NOT_RESERVED = NgrokFailure(
    "the domain {domain} is not reserved for this ngrok account",
    "reserve it at https://dashboard.ngrok.com/domains or remove tunnel.domain",
)

# https://ngrok.com/docs/errors/reference
_BY_CODE = {
    102: _ACCOUNT,
    103: _ACCOUNT,
    105: _REFUSED_TOKEN,
    106: _REFUSED_TOKEN,
    107: _REFUSED_TOKEN,
    108: NgrokFailure(
        "the ngrok account has no agent session left",
        "stop the other agent{others} or see https://dashboard.ngrok.com/agents",
    ),
    109: _REFUSED_TOKEN,
    120: _TOO_OLD,
    121: _TOO_OLD,
    313: _NOT_RESERVED,
    314: _NOT_RESERVED,
    319: _NOT_RESERVED,
    320: _NOT_RESERVED,
    # Also for an agent whose own last session ngrok has not closed yet, which takes a minute.
    334: NgrokFailure(
        "another ngrok agent already serves this address",
        "stop it{others} or choose another tunnel.domain",
        passing=True,
    ),
    4018: NO_TOKEN,
}

INTERCEPTED = NgrokFailure(
    "cannot reach ngrok: its certificate is not trusted, something on the way replaces it",
    "a company proxy or firewall; ask for *.ngrok-agent.com to pass, or use another tunnel",
    passing=True,
)
OFFLINE = NgrokFailure("cannot reach ngrok", "is this machine online, is port 443 open?", passing=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureContext:
    """Values that messages about a tunnel may contain, and the token that they must not.

    `token` is where the token comes from, `hidden` the token itself; `others` finds the ids of
    further ngrok agents on this machine.
    """

    token: str
    hidden: str
    domain: str
    others: Callable[[], list[int]]


def explain_failure(text: str, words: FailureContext) -> TunnelError:
    """Return the error for the agent's message; RefusedError if an early retry is pointless.

    The agent repeats the authtoken in its messages: it is removed.
    """
    code = _CODE.search(text)
    if code is not None and int(code[1]) in _BY_CODE:
        return failure_error(_BY_CODE[int(code[1])], words, code[0])
    for fault, signs in ((INTERCEPTED, _UNTRUSTED), (OFFLINE, _OFFLINE)):
        if code is None and any(sign in text for sign in signs):
            return failure_error(fault, words, _first_words(text, words))
    hint = f"see https://ngrok.com/docs/errors/{code[0].lower()}" if code else ""
    return TunnelError(f"ngrok failed: {_first_words(text, words) or 'it did not say why'}", hint=hint)


def failure_error(fault: NgrokFailure, words: FailureContext, quote: str = "") -> TunnelError:
    """Return the error for a failure, with ngrok's own code or text in brackets."""
    others = words.others() if "{others}" in fault.hint else []
    named = f" (here: process {', '.join(map(str, others))})" if others else ""
    kind, _, name = words.token.partition(":")
    token = f"{words.token} (relay vault set {name} changes it)" if kind == "vault" else words.token
    values = {"domain": words.domain or "asked for", "token": token, "others": named}
    sentence = fault.sentence.format(**values) + (f" ({quote})" if quote else "")
    hint = fault.hint.format(**values)
    if fault.passing:
        return TunnelError(sentence, hint=hint)
    return RefusedError(sentence, hint=hint, again=fault.again)


def _first_words(text: str, words: FailureContext) -> str:
    """Return the first line with text, without the token."""
    if words.hidden:
        text = text.replace(words.hidden, "••••")
    text = _TOKEN_LINE.sub(r"\1••••", text)
    lines = (_NOISE.sub("", line.strip()) for line in text.splitlines())
    return escape_unprintable(next((line for line in lines if line), ""), limit=200)
