"""The dashboard's own files: read once, packed once, served for a year under an address that holds their hash."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from relay.resources import folder

PREFIX = "/static/"
# Where a page that needs no token finds its stylesheet: nothing but what it shows is there.
OPEN_PREFIX = "/login/static/"
_OPEN = re.compile(r"relay\.css|favicon\.svg|fonts/[\w-]+\.woff2")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file: its bytes, the same packed (None where packing gains nothing), and its version."""

    content_type: str
    body: bytes
    packed: bytes | None
    version: str


class Assets:
    """Every file of `static/`, by its path below that folder."""

    PATTERN = PREFIX + "{name:[a-zA-Z0-9./_-]+}"
    OPEN_PATTERN = OPEN_PREFIX + "{name:[a-zA-Z0-9./_-]+}"

    def __init__(self, root: Path | None = None) -> None:
        root = root or folder("static")
        self._assets = _read(root)

    def url(self, name: str) -> str:
        """Return the address of a file; its content is part of it. Raises KeyError for an unknown one."""
        return f"{PREFIX}{name}?v={self._assets[name].version}"

    def open_url(self, name: str) -> str:
        """Return the address of a file of the sign-in page."""
        return f"{OPEN_PREFIX}{name}?v={self._assets[name].version}"

    async def serve_open(self, request: web.Request) -> web.Response:
        """Answer `/login/static/{name}` for the few files that the sign-in page shows."""
        if not _OPEN.fullmatch(request.match_info["name"]):
            raise web.HTTPNotFound(text="no such file")
        return await self.serve(request)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer `/static/{name}`: for a year when the address names the version, else to be asked again."""
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
        body = asset.body
        if asset.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = asset.packed
        headers["Content-Type"] = asset.content_type
        return web.Response(body=body, headers=headers)


def _read(root: Path) -> dict[str, Asset]:
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*"))}
    assets = {
        name: _asset(name, path.read_bytes())
        for name, path in files.items()
        if path.suffix in _TYPES and path.suffix != ".css"
    }
    for name, path in files.items():
        if path.suffix == ".css":
            assets[name] = _asset(name, _versioned(path.read_bytes(), assets))
    return assets


def _versioned(css: bytes, assets: dict[str, Asset]) -> bytes:
    # A preloaded font is only used when the stylesheet asks for the very same address.
    for name, asset in assets.items():
        css = css.replace(f'url("{name}")'.encode(), f'url("{name}?v={asset.version}")'.encode())
    return css


def _asset(name: str, body: bytes) -> Asset:
    content_type = _TYPES[Path(name).suffix]
    return Asset(
        content_type=content_type,
        body=body,
        packed=None if content_type == "font/woff2" else gzip.compress(body, 9, mtime=0),
        version=hashlib.sha256(body).hexdigest()[:12],
    )
