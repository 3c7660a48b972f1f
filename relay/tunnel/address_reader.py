"""Finds the tunnel's address among the https addresses that a tunnel program prints."""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from relay.errors import TunnelError
from relay.model.values import dataclass
from relay.tunnel.base import check_address

# Hosts under which services publish tunnels: cloudflared, localtunnel, localhost.run, Serveo, Pinggy, Tailscale
# Funnel, zrok, dev tunnels, ngrok, srv.us, LocalXpose, tunnelmole, Expose, Packetriot, Telebit, tunnl.gg.
_SERVICES = """
    *.trycloudflare.com *.loca.lt *.localtunnel.me *.lhr.life *.lhr.rocks *.localhost.run *.serveo.net
    *.serveousercontent.com *.pinggy.link *.pinggy.online *.a.pinggy.io *.pinggy-free.link *.ts.net
    *.share.zrok.io *.shares.zrok.io *.devtunnels.ms *.ngrok.app *.ngrok.dev *.ngrok.io *.ngrok-free.app
    *.ngrok-free.dev *.srv.us *.loclx.io *.tunnelmole.net *.sharedwithexpose.com *.packetriot.net *.telebit.io
    *.tunnl.gg
"""
# Hosts that programs print before or instead of the tunnel's: terms, documentation, sign-in, news, errors.
_FOREIGN_SERVICES = """
    cloudflare.com *.cloudflare.com *.argotunnel.com trycloudflare.com api.trycloudflare.com loca.lt
    localtunnel.me localtunnel.github.io ngrok.com *.ngrok.com localhost.run admin.localhost.run www.localhost.run
    openports.io serveo.net console.serveo.net pinggy.io *.pinggy.io tailscale.com *.tailscale.com zrok.io
    docs.zrok.io netfoundry.io *.netfoundry.io *-inspect.*.devtunnels.ms aka.ms *.microsoft.com microsoft.com
    *.visualstudio.com vscode.dev github.com *.github.com *.github.io *.githubusercontent.com gitlab.com npmjs.com
    *.npmjs.com *.npmjs.org npm.im nodejs.org yarnpkg.com pnpm.io v8.dev pypi.org brew.sh twitter.com x.com bit.ly
    goo.gl opencollective.com discord.gg discord.com *.slack.com localhost *.localhost *.local *.internal
"""
# First labels of hosts that are not an application's.
_NO_APPLICATION = frozenset(
    ("www", "docs", "doc", "help", "support", "blog", "status", "login", "accounts", "dashboard", "console")
)
# Words of a line that refers a person to another site. Only for unknown hosts.
_REMARK = re.compile(
    r"^\W*(?:npm|npx|yarn|pnpm|pip|brew|bun|deno)\b|\((?:node|bun):\d+\)|\b(?:warn|warning|notice|deprecat\w*|docs?|"
    r"documentation|terms|tos|privacy|policy|licen[cs]e|changelog|release notes|new (?:\w+ )?(?:version|release)|"
    r"updates?|upgrade\w*|sign[ -]?(?:up|in)|log[ -]?in|register|account|dashboard|pricing|plans?|premium|"
    r"learn|details|more info\w*|for more|read (?:more|the)|help|support|faq|guide|tutorial|issues?|bugs?|report|"
    r"sponsor|donat\w*|fund\w*|star us|follow|survey|feedback|community|discord|home ?page|web ?site|powered by|"
    r"inspect\w*|web interface)\b",
    re.IGNORECASE,
)
_REMARK_PATH = re.compile(
    r"/(?:terms|tos|privacy|policy|legal|licen[cs]e|docs?|documentation|wiki|blog|releases?|changelog|download|install|"
    r"pricing|plans|signup|register|login|signin|auth|account|settings|dashboard|admin|help|support|faq|guides?|"
    r"issues|discussions|upgrade|update)\b",
    re.IGNORECASE,
)

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78cDEHM]")
# Other escapes move the cursor: the following text is elsewhere on the screen.
_MOVE = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
_LINK = re.compile(r"""https://[^\s"'<>|()\[\]{},;`\\│┃║]+""", re.IGNORECASE)
# Dates, times, levels and box borders around the output of a program.
_FRAME = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d(?:T[\d:.,]+(?:Z|[+-]\d\d:?\d\d)?)?|\b(?:INF|INFO|info|DBG|WRN|LOG)\b|[^A-Za-z/\"'=?&]"
)
_LABEL = re.compile(r"(?:[:=]|->|=>|→|\b(?:is|at|from|on))\s*$")
_ARROW = re.compile(r"^/?\s*(?:->|=>|→|<-|~>)")
# Words of a program that announces another address.
_ADDRESS = re.compile(
    r"\b(?:urls?|address(?:es)?|tunnel\w*|forward\w*|public|endpoints?|available|internet|shar\w+|online|re-?connect\w*)\b",
    re.IGNORECASE,
)


class AddressRank(IntEnum):
    """The certainty that an address is the tunnel's, lowest first."""

    WITH_PATH = 0
    IN_A_SENTENCE = 1
    ON_ITS_OWN = 2
    KNOWN = 3


@dataclass(frozen=True, slots=True)
class PrintedAddress:
    """An address as printed, how sure it is the tunnel's, and the line around it without host and numbers.

    `is_statement`: the line says that there is this address, rather than being about a request.
    """

    address: str
    rank: AddressRank
    shape: str
    is_statement: bool

    @property
    def host(self) -> str:
        """Return the host without its port."""
        return _host_of(self.address)


class AddressReader:
    """Reads a tunnel program line by line; `found` is the best address so far."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = re.compile(pattern) if pattern else None
        self.found: PrintedAddress | None = None

    def read(self, line: str) -> bool:
        """Read a line while no address is in use; return whether `found` changed. The last of a rank wins."""
        best = max(self._printed(line), key=lambda printed: printed.rank, default=None)
        if best is None or (self.found is not None and best.rank < self.found.rank):
            return False
        changed = best != self.found
        self.found = best
        return changed

    def read_later(self, line: str) -> bool:
        """Read a line of a program whose address is in use; return whether there is a new one.

        Requests that the program logs must not be treated as a new address: only a line like the
        one with the address counts, or a plain statement of an address of the same service.
        """
        now = self.found
        printed = [one for one in self._printed(line) if _is_usable(one)]
        if now is None or any(one.host == now.host for one in printed):
            return False
        for one in printed:
            related = one.rank > now.rank or _service_domain(one.host) == _service_domain(now.host)
            said_alike = one.shape == now.shape and (related or bool(re.search("[A-Za-z]", one.shape)))
            if said_alike or (one.is_statement and related):
                self.found = one
                return True
        return False

    def _printed(self, line: str) -> list[PrintedAddress]:
        text = strip_escapes(line)
        if self._pattern is None:
            return list(find_addresses(text))
        match = self._pattern.search(text)
        if match is None:
            return []
        address = match[1] if match.re.groups and match[1] else match[0]
        return [_make_printed_address(address, AddressRank.KNOWN, text[: match.start()], text[match.end() :])]


def find_addresses(text: str) -> Iterator[PrintedAddress]:
    """Yield the addresses of a plain line that may be a tunnel's."""
    for match in _LINK.finditer(text):
        address = match[0].rstrip(".:!*_…")
        host = _host_of(address)
        if "?" in address or "#" in address or _is_foreign_service(host):
            continue
        before, after = text[: match.start()], text[match.start() + len(address) :]
        rank = _rank_address(address, host, before, after)
        if rank is not None:
            yield _make_printed_address(address, rank, before, after)


def strip_escapes(line: str) -> str:
    """Return a line without escapes for colours and cursor movement."""
    return _MOVE.sub(" ", _COLOUR.sub("", line))


def _rank_address(address: str, host: str, before: str, after: str) -> AddressRank | None:
    if _matches_any(host, _SERVICES):
        return AddressRank.KNOWN
    if host.partition(".")[0] in _NO_APPLICATION or _REMARK.search(f"{before} {after}"):
        return None
    path = address.partition("://")[2].partition("/")[2].rstrip("/")
    alone = not _FRAME.sub("", before) and not _FRAME.sub("", after)
    if path:
        named = alone and not _REMARK_PATH.search(f"/{path}")
        return AddressRank.WITH_PATH if named else None
    if alone or _LABEL.search(before) or _ARROW.search(after):
        return AddressRank.ON_ITS_OWN
    return AddressRank.IN_A_SENTENCE


def _make_printed_address(address: str, rank: AddressRank, before: str, after: str) -> PrintedAddress:
    host = _host_of(address)
    around = f"{before}…{after}".replace(host, "…") if host else f"{before}…{after}"
    shape = re.sub(r"\d+", "0", " ".join(around.split()))
    return PrintedAddress(address, rank, shape, _is_statement(before, after))


def _is_statement(before: str, after: str) -> bool:
    """Return whether a program states an address, and nothing around it can come from a request: no path, no value."""
    after = "" if _ARROW.search(after) else after
    rest = re.sub(r"\d{4}/\d\d/\d\d", "", before) + after.strip("/")
    return not re.search(r"[/\"'=?&%]", rest) and (not _FRAME.sub("", rest) or bool(_ADDRESS.search(rest)))


def _is_foreign_service(host: str) -> bool:
    if _matches_any(host, _FOREIGN_SERVICES):
        return True
    with suppress(ValueError):
        return not ipaddress.ip_address(host).is_global
    return False


def _is_usable(printed: PrintedAddress) -> bool:
    try:
        check_address(printed.address, "")
    except TunnelError:
        return False
    return True


def _service_domain(host: str) -> str:
    """Return the domain that the addresses of a service share: the host without its first label."""
    known = next((pattern for pattern in _SERVICES.split() if fnmatchcase(host, pattern)), "")
    parent = host.partition(".")[2]
    return known or (parent if "." in parent else host)


def _matches_any(host: str, patterns: str) -> bool:
    return any(fnmatchcase(host, pattern) for pattern in patterns.split())


def _host_of(address: str) -> str:
    with suppress(ValueError):  # such as an unclosed IPv6 bracket: an odd address, shown as such later
        return urlsplit(address).hostname or ""
    return ""
