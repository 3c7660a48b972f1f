"""Static files: read once, compressed when first sent, cached for a year under a URL with their hash."""

import functools
import gzip
import hashlib
import posixpath
import re
from pathlib import Path

from aiohttp import web

from relay.http.guard import LOGIN_STATIC_PREFIX
from relay.model.values import dataclass

STATIC_PREFIX = "/static/"
_PACKAGE = Path(__file__).resolve().parents[1]
# The static files of the sign-in page, which needs no token.
_LOGIN_FILES = re.compile(r"css/[\w-]+\.css|favicon\.svg|fonts/[\w-]+\.woff2")
# References in a stylesheet or a module: `url("../fonts/x.woff2")`, `from "./x.js"`, `import "./x.js"`.
_REFERENCE = re.compile(r'''((?:\burl\(|\bfrom |\bimport )"(\.{1,2}/[^"]+))"''')
_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


def find_resource_folder(name: str) -> Path:
    """Return the folder `ui` or `static`: in the package of a wheel, one level up in a checkout.

    Raises FileNotFoundError if relay was installed without its resources.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        found = parent / name
        if found.is_dir():
            return found
    message = f"relay was installed without its folder {name!r}"
    raise FileNotFoundError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file: its bytes and its version."""

    content_type: str
    body: bytes
    version: str

    @property
    def packed(self) -> bytes | None:
        """Return the compressed bytes; None if compression gains nothing."""
        return None if self.content_type == "font/woff2" else _pack(self.body)


class Assets:
    """The files of `static/`, by path relative to that folder."""

    PATTERN = STATIC_PREFIX + "{name:[a-zA-Z0-9./_-]+}"
    OPEN_PATTERN = LOGIN_STATIC_PREFIX + "{name:[a-zA-Z0-9./_-]+}"

    def __init__(self, root: Path | None = None) -> None:
        self._assets = _load_assets(root or find_resource_folder("static"))

    def url(self, name: str) -> str:
        """Return the URL of a file with a hash of its content. Raises KeyError for an unknown one."""
        return f"{STATIC_PREFIX}{name}?v={self._assets[name].version}"

    def login_url_of(self, name: str) -> str:
        """Return the URL of a file of the sign-in page."""
        return f"{LOGIN_STATIC_PREFIX}{name}?v={self._assets[name].version}"

    async def serve_open(self, request: web.Request) -> web.Response:
        """Answer `/login/static/{name}` for the few files that the sign-in page shows."""
        if not _LOGIN_FILES.fullmatch(request.match_info["name"]):
            raise web.HTTPNotFound(text="no such file")
        return await self.serve(request)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer `/static/{name}`: cached for a year if the URL has the version, else revalidated."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound(text="no such file")
        fresh = request.query.get("v") == asset.version
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if fresh else "no-cache",
            "ETag": f'"{asset.version}"',
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        packed = asset.packed if "gzip" in request.headers.get("Accept-Encoding", "") else None
        if packed is not None:
            headers["Content-Encoding"] = "gzip"
        headers["Content-Type"] = asset.content_type
        return web.Response(body=packed or asset.body, headers=headers)


def _load_assets(root: Path) -> dict[str, Asset]:
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.suffix in _CONTENT_TYPES}
    assets: dict[str, Asset] = {}
    for name in sorted(files):
        _load(name, files, assets)
    return assets


def _load(name: str, files: dict[str, Path], assets: dict[str, Asset]) -> Asset:
    """Add a file to `assets` after the files that it loads, because their versions are part of its content.

    A preloaded font or module is only used if it is loaded by the same URL.
    """

    def add_version(match: re.Match[str]) -> str:
        loaded = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
        return f'{match[1]}?v={_load(loaded, files, assets).version}"'

    if name not in assets:
        body, suffix = files[name].read_bytes(), files[name].suffix
        if suffix in {".css", ".js"}:
            body = _REFERENCE.sub(add_version, body.decode()).encode()
        version = hashlib.sha256(body).hexdigest()[:12]
        assets[name] = Asset(content_type=_CONTENT_TYPES[suffix], body=body, version=version)
    return assets[name]


@functools.cache
def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)
