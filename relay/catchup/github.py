"""GitHub: the deliveries of a hook of a repository, an organisation or an app, which are kept for some days."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from relay.catchup.base import ListedEvent, Listing, ListingApi, RebuiltRequest, select_headers
from relay.errors import CatchUpError, CredentialError, ListingNotFoundError
from relay.model.clock import parse_time
from relay.model.parsing import encode_json
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

BASE_URL = "https://api.github.com"
_PAGE = 100
_MOST_HOOKS_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubHook(Listing):
    """A hook: `owner` is `/repos/o/r`, `/orgs/o` or `/app`; `hook` None looks for the one that leads to `path`.

    For an app, `app` is its id or client id if the credential is its private key (PEM) instead of a token.
    """

    owner: str
    path: str
    hook: int | None = None
    app: str | None = None

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the headers of every call. Raises CredentialError for an invalid private key."""
        token = self.access.secret
        if self.app is not None and "PRIVATE KEY" in token:
            token = sign_app_token(token, self.app, now, self.access.reference)
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    async def pages(self, api: ListingApi, since: datetime) -> AsyncIterator[tuple[ListedEvent, ...]]:
        """Yield deliveries, newest first; a redelivery has the key of the first. Raises CatchUpError."""
        where = f"{await self._find_hook(api)}/deliveries"
        answer = await api.get(where, {"per_page": str(_PAGE)})
        while True:
            if not isinstance(answer.value, list):
                raise api.shape_error("a list of deliveries")
            found = tuple([self._parse(api, item, where) for item in answer.value])
            yield tuple([one for one in found if one.sent_at >= since])
            if not found or found[-1].sent_at < since or answer.next is None:
                return
            answer = await api.get(answer.next)

    async def fetch(self, api: ListingApi, found: ListedEvent) -> RebuiltRequest | None:
        """Return the request of a delivery; None if it was removed since the list. Raises CatchUpError."""
        try:
            answer = await api.get(found.path)
        except ListingNotFoundError:
            return None
        request = answer.value.get("request") if isinstance(answer.value, dict) else None
        if not isinstance(request, dict):
            raise api.shape_error("a delivery with its request")
        payload = request.get("payload")
        if not isinstance(payload, dict):
            return None
        headers = select_headers(request.get("headers"))
        names = {name.lower(): value for name, value in headers}
        added = (("X-GitHub-Delivery", found.key), ("Content-Type", "application/json"))
        headers += tuple(pair for pair in added if pair[0].lower() not in names)
        return RebuiltRequest(headers=headers, bodies=_possible_bodies(payload, names.get("content-type", "")))

    def _parse(self, api: ListingApi, item: Any, where: str) -> ListedEvent:
        match item:
            case {"id": int(id_), "guid": str(guid), "delivered_at": str(at), "event": str(event)}:
                sent_at, action = parse_time(at), item.get("action")
                if sent_at is not None and guid:
                    type_ = f"{event}.{action}" if isinstance(action, str) and action else event
                    return ListedEvent(key=guid, sent_at=sent_at, type=type_, path=f"{where}/{id_}")
        raise api.shape_error("a delivery with id, guid, event and time")

    async def _find_hook(self, api: ListingApi) -> str:
        if self.owner == "/app":
            return "/app/hook"
        if self.hook is not None:
            return f"{self.owner}/hooks/{self.hook}"
        answer = await api.get(f"{self.owner}/hooks", {"per_page": str(_PAGE)})
        if not isinstance(answer.value, list):
            raise api.shape_error("a list of hooks")
        hooks = dict(found for hook in answer.value if (found := _read_hook(hook)) is not None)
        chosen = [id_ for id_, url in hooks.items() if _url_path(url) == self.path] or list(hooks)
        if len(chosen) != 1:
            where = self.owner.partition("/")[2].partition("/")[2]
            known = ", ".join(f"{id_} ({escape_unprintable(hooks[id_], 60)})" for id_ in chosen[:_MOST_HOOKS_NAMED])
            raise CatchUpError(
                f"{where} has {len(chosen) or 'no'} hooks that could be the one",
                hint=f"say which under catch_up, hook = …: {known}" if known else "add one at GitHub first",
            )
        return f"{self.owner}/hooks/{chosen[0]}"


def build_owner_path(repository: str | None, organization: str | None) -> str:
    """Return the API path of a hook's owner: a repository `owner/name`, an organisation, else an app."""
    if repository is not None:
        return f"/repos/{quote(repository, safe='/')}"
    return f"/orgs/{quote(organization, safe='')}" if organization is not None else "/app"


def _read_hook(hook: object) -> tuple[int, str] | None:
    """Return the id of an active hook, with its address."""
    match hook:
        case {"active": False}:
            return None
        case {"id": int(id_), "config": {"url": str(url)}}:
            return id_, url
        case {"id": int(id_)}:
            return id_, ""
    return None


def _url_path(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        return ""


def _possible_bodies(payload: object, content_type: str) -> tuple[bytes, ...]:
    # GitHub writes compact JSON, unescaped UTF-8, and upper-case hexadecimal escapes
    # (octokit/webhooks.js#71); its API formats the same value differently.
    compact = encode_json(payload)
    bodies: tuple[bytes, ...] = (_uppercase_escapes(compact), compact)
    if content_type.startswith("application/x-www-form-urlencoded"):
        escaped = [b"payload=" + quote_plus(body).encode() for body in bodies]
        bodies = (*escaped, *(body.replace(b"~", b"%7E").replace(b"%2A", b"*") for body in escaped))
    return tuple(dict.fromkeys(bodies))


def _uppercase_escapes(body: bytes) -> bytes:
    # Only an escape starts with one backslash: `\\u001b` is a backslash and letters.
    pieces = body.split(b"\\\\")
    return b"\\\\".join(
        b"\\u".join((piece[:4].upper() + piece[4:]) if number else piece for number, piece in enumerate(one))
        for one in (piece.split(b"\\u") for piece in pieces)
    )


_CLOCK_SKEW = 60  # seconds, for a clock that is ahead of GitHub's
_TOKEN_SECONDS = 540


def sign_app_token(pem: str, app: str, now: datetime, reference: str) -> str:
    r"""Return a JWT (RS256) for the app of that id; line ends of `pem` may be written `\n`, as in .env.

    Raises CredentialError naming `reference` if it is not an RSA private key.
    """
    import jwt  # noqa: PLC0415 - for GitHub Apps alone

    seconds = int(now.timestamp())
    claims = {"iat": seconds - _CLOCK_SKEW, "exp": seconds + _TOKEN_SECONDS, "iss": app}
    try:
        return jwt.encode(claims, pem.replace("\\n", "\n"), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise CredentialError(
            f"{reference} holds no RSA private key", hint="it needs the app's private key as GitHub gave it (PEM)"
        ) from error
