"""What a handshake leaves to a person: a secret to save, a link to open, a verify token to set."""

from collections.abc import Iterator

from relay.model.event import Verdict, Verification
from relay.providers.catalogue import find
from relay.providers.challenge import Challenge, Proof
from relay.providers.challenges import VERIFY_TOKENS, find_challenge, subscription_link
from relay.providers.doctor.case import Case, Finding


def left_to_do(case: Case, verification: Verification) -> Iterator[Finding]:
    """Say what a handshake still wants, nothing where the request is none or its signature failed."""
    found = find_challenge(case.source.provider, case.capture)
    if found is None:
        return
    challenge, asked = found
    if challenge.proof is Proof.TOKEN and verification.verdict is not Verdict.VERIFIED:
        yield _token(case, challenge, verification)
    if verification.verdict is Verdict.INVALID:
        return
    reply = challenge.reply(asked, next(iter(case.source.secrets), None))
    link = subscription_link(case.capture)
    if reply is not None and reply.todo:
        provider = find(case.source.provider)
        variable = provider.secret_env[0] if provider and provider.secret_env else "its secret"
        todo = reply.todo.format(variable=variable)
        yield Finding(
            cause="handshake",
            title=f"{challenge.name}: one thing is left to you",
            sentence=f"relay answered it and {case.title} is content so far. {_led(todo, verification, link)}",
            fix=f"{todo[0].upper()}{todo[1:]}:",
            line=link or ("" if "Subscribe" in todo else f"{variable}="),
            certain=True,
        )


def _led(todo: str, verification: Verification, link: str | None) -> str:
    if "SubscribeURL" not in todo:
        return "Until it is saved, only this run of relay knows it, and only if no other secret is set."
    if link is None:
        return "Its link does not lead to SNS, so do not open it."
    return "Open the link only if you know the topic." if verification.verdict is not Verdict.VERIFIED else ""


def _token(case: Case, challenge: Challenge, verification: Verification) -> Finding:
    variable = next(iter(VERIFY_TOKENS.get(case.source.provider, ())), "VERIFY_TOKEN")
    if verification.verdict is Verdict.INVALID:
        title, what = (
            "The verify token is another one",
            f"{case.title} shows a verify token that is not relay's.",
        )
    else:
        title, what = "No verify token for this source", f"{variable} is not set, so anybody could ask."
    return Finding(
        cause="verify_token",
        title=title,
        sentence=f"{challenge.name} is answered only where the verify token is right. {what}",
        fix=f"Save the token you typed at {case.title} in .env, restart relay, and verify there again:",
        line=f"{variable}=",
        certain=True,
    )
