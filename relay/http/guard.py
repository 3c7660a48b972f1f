"""Access control of the dashboard: host names, origins, token."""

import hmac
import logging
from hashlib import sha256
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from relay.errors import RelayError
from relay.http.responses import REFUSAL_RENDERER, error_response
from relay.model.values import dataclass

log = logging.getLogger(__name__)

LOGIN_STATIC_PREFIX = "/login/static/"

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "relay",
}
_PUBLIC_PATHS = frozenset({"/healthz", "/login"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# Content types that another site cannot send without a preflight request.
_JSON_TYPES = frozenset({"application/json", "application/x-ndjson"})
_BODY_TYPES = _JSON_TYPES | {"application/x-www-form-urlencoded", "multipart/form-data"}
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The requirements for a request. `token` None means that no token is required."""

    token: str | None
    port: int
    hosts: frozenset[str]

    @property
    def cookie(self) -> str:
        """Return the cookie's name: cookies ignore ports, so the port is part of it."""
        return f"relay-{self.port}"

    @property
    def csrf(self) -> str:
        """Return the CSRF token of forms: derived, so that it needs no state."""
        return hmac.new((self.token or "off").encode(), b"csrf", sha256).hexdigest()

    def is_valid_token(self, token: str | None) -> bool:
        """Compare a token in constant time."""
        if self.token is None:
            return True
        encoded = (token or "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(encoded, self.token.encode())


def own_hosts(port: int, allowed: tuple[str, ...], bound: str) -> frozenset[str]:
    """Return all Host values of the dashboard, each with the port."""
    names = {"127.0.0.1", "localhost", "[::1]", f"[{bound}]" if ":" in bound else bound, *allowed}
    return frozenset(name if name.rpartition(":")[2].isdigit() else f"{name}:{port}" for name in names)


def make_guard_middleware(guard: Guard) -> Middleware:
    """Return the middleware for all requests of the dashboard."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = check_request(guard, request) or await _refuse_forgery(guard, request)
        return refusal if refusal is not None else await _run_handler(request, handler)

    return middleware


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to all responses of the app."""
    set_security_headers(response)


def set_security_headers(response: web.StreamResponse) -> None:
    """Set the security headers of a response; a page may have a stricter policy."""
    for name, value in _SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "relay"


async def _run_handler(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RelayError as error:
        return _refuse(request, error.status, error.code, error.message, error.hint)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = _refuse(request, error.status, *_make_plain_error(error.status))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except TimeoutError:
        return _refuse(request, 503, "too_slow", "the answer took too long to find", "narrow the search")
    except ConnectionError:
        if request.transport is not None and not request.transport.is_closing():
            raise
        # The caller has disconnected; if raised, the error would be logged as a fault.
        return error_response(400, "gone", "the caller hung up", "send it again")
    except Exception:
        log.exception("the dashboard failed on a request")
        return _refuse(request, 500, "internal", "relay failed on this request", "its log says why")


def _make_plain_error(status: int) -> tuple[str, str, str]:
    # Nothing of the request is echoed, because it may be hostile.
    known = {
        404: ("not_found", "there is nothing here", "the dashboard starts at /events"),
        405: ("method_not_allowed", "this address does not take that method", "see the Allow header"),
        413: ("too_large", "the body is too large", "at most 1 MB"),
    }
    return known.get(status, ("bad_request", "the request cannot be understood", ""))


def check_request(guard: Guard, request: web.Request) -> web.Response | None:
    """Return the refusal of a request by its headers, or None."""
    hosts = {host.lower() for host in request.headers.getall("Host", ())} | {request.host.lower()}
    if not hosts <= guard.hosts or len(request.headers.getall("Host", ())) != 1:
        problem = "this dashboard answers only at its own address"
        return _refuse(request, 421, "wrong_host", problem, "open the link that relay printed")
    if any(name in request.headers for name in _PROXY_HEADERS):
        return _refuse(request, 403, "proxied", "refused: request came through a proxy", "open it on this computer")
    is_safe = request.method in _SAFE_METHODS
    is_navigation = is_safe and request.headers.get("Sec-Fetch-Mode") == "navigate"
    is_foreign = request.headers.get("Sec-Fetch-Site") not in (None, "same-origin", "none") and not is_navigation
    if is_foreign or not (is_safe or _is_same_origin(request)):
        return _refuse(request, 403, "cross_site", "refused: request came from another site")
    bearer = _get_bearer_token(request)
    token = request.cookies.get(guard.cookie) if bearer is None else bearer
    if is_public_path(request) or guard.is_valid_token(token):
        return None
    return _refuse(request, 401, "no_token", "open the link that relay printed", "relay token prints it again")


def is_public_path(request: web.Request) -> bool:
    """Return whether a request needs no token."""
    return request.path in _PUBLIC_PATHS or (
        request.method in _SAFE_METHODS and request.path.startswith(LOGIN_STATIC_PREFIX)
    )


def _is_same_origin(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    if origin == "null":
        # With Referrer-Policy: no-referrer a browser sends no origin for a form of our own page.
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.netloc.lower() == request.headers["Host"].lower()


def _get_bearer_token(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def _refuse_forgery(guard: Guard, request: web.Request) -> web.Response | None:
    if request.method in _SAFE_METHODS or is_public_path(request):
        return None
    if request.can_read_body and request.content_type not in _BODY_TYPES:
        return _refuse(request, 415, "media_type", "the body must be JSON or a form", "send application/json")
    if _get_bearer_token(request) is not None and guard.cookie not in request.cookies:
        return None
    if guard.token is None and request.content_type in _JSON_TYPES:
        return None  # no cookie to misuse
    token = request.headers.get("X-Relay-CSRF") or await _read_csrf_field(request)
    if hmac.compare_digest(token.encode("utf-8", "surrogateescape"), guard.csrf.encode()):
        return None
    return _refuse(request, 403, "csrf", "refused: the form was not one of relay's", "reload the page and try again")


async def _read_csrf_field(request: web.Request) -> str:
    if request.content_type in _JSON_TYPES:
        return ""
    value = (await request.post()).get("csrf", "")
    return value if isinstance(value, str) else ""


def _refuse(request: web.Request, status: int, code: str, message: str, hint: str = "") -> web.Response:
    render = request.app.get(REFUSAL_RENDERER)
    return render(request, status, code, message, hint) if render else error_response(status, code, message, hint)
